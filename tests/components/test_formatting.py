from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from nbsession import (
    H1,
    H2,
    H3,
    XML,
    Bold,
    BulletList,
    Code,
    Italic,
    Json,
    Link,
    Markdown,
    NumberedList,
    Paragraph,
    RenderError,
    Section,
    System,
    Table,
    TaskList,
    component,
    use_state,
)
from nbsession.testing import render


class Point(BaseModel):
    x: int
    y: int


def markdown(*nodes: Any) -> str:
    return render(System(*nodes)).context.system.text


def xml(*nodes: Any) -> str:
    return render(XML(System(*nodes))).context.system.text


TABLE = """<table>
<tr><th>n</th><th>s</th></tr>
<tr><td>1</td><td>a|b</td></tr>
<tr><td></td><td>c</td></tr>
</table>"""


@pytest.mark.parametrize(
    ("node", "as_markdown", "as_xml"),
    [
        (H1("Title"), "# Title", "<h1>Title</h1>"),
        (H2("Title"), "## Title", "<h2>Title</h2>"),
        (H3("Title ", Bold("b")), "### Title **b**", "<h3>Title <b>b</b></h3>"),
        (Paragraph("a ", Italic("b"), " c"), "a *b* c", "<p>a <i>b</i> c</p>"),
        (Bold("a"), "**a**", "<b>a</b>"),
        (Italic("a"), "*a*", "<i>a</i>"),
        (Link("here", href="https://a.b/?c&d"), "[here](https://a.b/?c&d)", '<a href="https://a.b/?c&amp;d">here</a>'),
        (Link(href="https://a.b"), "[https://a.b](https://a.b)", '<a href="https://a.b">https://a.b</a>'),
        (BulletList("a", "b"), "- a\n- b", "<ul>\n<li>a</li>\n<li>b</li>\n</ul>"),
        (BulletList(["a", None, ["b"]]), "- a\n- b", "<ul>\n<li>a</li>\n<li>b</li>\n</ul>"),
        (NumberedList("a", "b"), "1. a\n2. b", "<ol>\n<li>a</li>\n<li>b</li>\n</ol>"),
        (
            TaskList("a", ("b", True)),
            "- [ ] a\n- [x] b",
            '<ul>\n<li done="false">a</li>\n<li done="true">b</li>\n</ul>',
        ),
        (
            Table([[1, "a|b"], [None, "c"]], headers=["n", "s"]),
            "| n | s |\n| --- | --- |\n| 1 | a\\|b |\n|  | c |",
            TABLE,
        ),
        (
            Code("print(1)", language="python"),
            "```python\nprint(1)\n```",
            '<code language="python">\nprint(1)\n</code>',
        ),
        (Json({"a": [1]}), '```json\n{\n  "a": [\n    1\n  ]\n}\n```', '<code language="json">\n{\n  "a": [\n    1\n  ]\n}\n</code>'),
    ],
)  # fmt: skip
def test_formatting_compiles_to_markdown_and_xml(node: Any, as_markdown: str, as_xml: str) -> None:
    assert markdown(node) == as_markdown
    assert xml(node) == as_xml


def test_the_nearest_mode_counts() -> None:
    context = render(XML(System(Bold("a")), Markdown(System(Bold("b"))), Section("c", title="T"))).context

    assert [part.text for part in context.system] == [
        "<b>a</b>",
        "**b**",
        '<section title="T">\nc\n</section>',
    ]


def test_blocks_stand_apart_and_lines_follow_each_other() -> None:
    assert markdown("a", "b", H2("T"), Paragraph("p"), "c", Bold("d")) == "a\nb\n\n## T\n\np\n\nc\n**d**"


def test_a_list_inside_a_list_is_indented_below_its_item() -> None:
    assert markdown(BulletList("a", NumberedList("b", "c"), "d")) == "- a\n  1. b\n  2. c\n- d"
    assert xml(BulletList("a", BulletList("b"))) == "<ul>\n<li>a\n<ul>\n<li>b</li>\n</ul></li>\n</ul>"


def test_an_item_of_several_lines_is_indented() -> None:
    assert markdown(NumberedList("a\nb")) == "1. a\n   b"


def test_tasks_that_render_nothing_do_not_shift_what_is_done() -> None:
    assert markdown(TaskList(("a", True), (None, False), ("b", True), "c")) == "- [x] a\n- [x] b\n- [ ] c"


def test_tasks_may_come_as_a_list() -> None:
    assert (
        markdown(TaskList([("a", True), "b", ["c", Bold("d")]])) == "- [x] a\n- [ ] b\n- [ ] c\n- [ ] **d**"
    )


def test_a_components_state_in_an_item_counts() -> None:
    setters: list[Any] = []

    @component
    def Item() -> Any:
        count, set_count = use_state(0)
        setters[:] = [set_count]
        return f"count {count}"

    mounted = render(System(BulletList("a", Item(), "b")))
    setters[0](2)

    assert mounted.context.system.text == "- a\n- count 2\n- b"


@pytest.mark.parametrize("make", [BulletList, NumberedList, TaskList, H1, Paragraph, Bold])
def test_empty_formatting_compiles_to_nothing(make: Any) -> None:
    assert not render(System(make(None, ""))).context.parts


def test_a_fence_is_longer_than_those_in_the_code() -> None:
    assert markdown(Code("```\na\n```")) == "````\n```\na\n```\n````"


def test_tables_take_mappings_and_fill_up_short_rows() -> None:
    assert markdown(Table([{"a": 1}, {"b": 2}])) == "| a | b |\n| --- | --- |\n| 1 |  |\n|  | 2 |"
    assert markdown(Table([[1], [2, 3]])) == "|  |  |\n| --- | --- |\n| 1 |  |\n| 2 | 3 |"


def test_tables_take_data_frames() -> None:
    import pandas as pd

    assert markdown(Table(pd.DataFrame({"a": [1], "b": ["x"]}))) == "| a | b |\n| --- | --- |\n| 1 | x |"


@pytest.mark.parametrize("rows", [["a"], [1], [{"a": 1}, [2]]])
def test_rows_of_another_form_are_refused(rows: Any) -> None:
    with pytest.raises(RenderError, match=r"Table\(\) takes rows"):
        Table(rows)


def test_json_takes_pydantic_models_and_refuses_what_is_none() -> None:
    assert '"x": 1' in markdown(Json(Point(x=1, y=2)))
    with pytest.raises(RenderError, match=r"Json\(\) .*set"):
        Json({1, 2})


def test_text_is_passed_on_as_it_is() -> None:
    assert xml("a < b & c", Bold("<x>")) == "a < b & c\n<b><x></b>"
