from __future__ import annotations

from typing import Any

import pytest

from nbsession import XML, CompileError, Image, RenderError, Section, System, Timeline, User, component
from nbsession.testing import render

PIXEL = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89"
    b"\x00\x00\x00\rIDATx\x9cc\xf8\xcf\xc0\xf0\x1f\x00\x05\x00\x01\xff\x89\x99=\x1d\x00\x00\x00\x00IEND\xaeB`\x82"
)


def text_of(*nodes: Any) -> str:
    return render(list(nodes)).context.system.text


def test_a_section_is_a_heading_and_its_body() -> None:
    assert text_of(Section("a", "b", id="x", title="Facts")) == "## Facts\n\na\nb"


def test_without_a_title_it_has_no_heading() -> None:
    assert text_of(Section("body", id="x")) == "body"


def test_in_xml_it_is_an_element_whose_attributes_are_escaped() -> None:
    context = render(XML(Section("body", id="x", title='A "b" & c'))).context

    assert context.system.text == '<section id="x" title="A &quot;b&quot; &amp; c">\nbody\n</section>'


def test_sections_inside_sections_step_down() -> None:
    inner = Section("deep", title="Inner")
    assert text_of(Section("top", inner, id="x", title="Outer")) == "## Outer\n\ntop\n\n### Inner\n\ndeep"


@pytest.mark.parametrize("children", [(), (None, False, True, ""), ([],), ([[], None],)])
def test_an_empty_section_compiles_to_nothing(children: tuple[Any, ...]) -> None:
    context = render([System("s"), Section(*children, id="x", title="X")]).context

    assert [part.path for part in context.parts] == ["System.0"] or len(context.parts) == 1


def test_for_the_user_only_it_is_withheld_and_listed() -> None:
    context = render([System("s"), Section("secret", id="x", title="X", audience="user")]).context

    assert "secret" not in str(context)
    (withheld,) = context.withheld
    assert (withheld.reason, withheld.text) == ("user audience", "## X\n\nsecret")
    assert withheld.tokens > 0


def test_for_all_it_is_sent() -> None:
    context = render(Section("shared", audience="all")).context

    assert context.system.text == "shared"
    assert not context.withheld


def test_an_unknown_audience_is_refused_by_name() -> None:
    with pytest.raises(RenderError, match=r"Section\[x\].*audience must be one of .*'user'.*got 'admin'"):
        _ = render(Section("a", id="x", audience="admin")).context


@pytest.mark.parametrize("props", [{"id": 0}, {"id": 3}, {"title": 3}])
def test_an_id_or_title_that_is_no_text_is_refused(props: dict[str, Any]) -> None:
    with pytest.raises(
        RenderError, match=r"Section\((id|title)=\) must be text, got \d; write (id|title)=str"
    ):
        _ = render(Section("a", **props)).context


def test_two_sections_of_one_id_name_both_places() -> None:
    @component
    def One() -> Any:
        return Section("a", id="facts")

    @component
    def Two() -> Any:
        return Section("b", id="facts")

    with pytest.raises(CompileError, match=r"two sections have the id 'facts': one at .*One.*, one at .*Two"):
        _ = render([One(), Two()]).context


def test_two_sections_of_one_id_side_by_side_are_told_of_the_id() -> None:
    told = r"two children of .* have the id 'facts': Section\(.* give each sibling an id of its own"
    with pytest.raises(RenderError, match=told):
        render([Section("a", id="facts"), Section("b", id="facts")])
    with pytest.raises(RenderError, match=r"have the key 'facts'.* give each sibling a key of its own"):
        render([Section("a", id="facts"), Section("b", key="facts")])


def test_a_section_inside_another_may_not_repeat_its_id() -> None:
    with pytest.raises(CompileError, match="'facts'"):
        _ = render(Section("a", Section("b", id="facts"), id="facts")).context


def test_a_section_and_a_system_part_stand_side_by_side() -> None:
    context = render([System("one"), Section("two", id="x"), System("three"), "four"]).context

    assert [part.text for part in context.system] == ["one", "two", "three", "four"]
    assert [part.kind for part in context.system] == ["system", "section", "system", "text"]
    assert not context.messages


def test_a_part_knows_its_path_and_its_tokens() -> None:
    @component
    def Agent() -> Any:
        return [System("x" * 400), Section("body", id="facts", title="Facts")]

    system, section = render(Agent()).context.parts

    assert (system.path, system.tokens) == ("Agent/System.0", 100)
    assert (section.path, section.key, section.title, section.body) == (
        "Agent/Section[facts]",
        "facts",
        "Facts",
        "body",
    )
    assert str(section) == section.text == "## Facts\n\nbody"


@pytest.mark.parametrize("outer", [System, Section])
def test_a_message_inside_text_is_an_error_that_says_where(outer: Any) -> None:
    with pytest.raises(CompileError, match=r"a message stands inside (System|Section); put it beside"):
        _ = render(outer("a", User("b"))).context


@pytest.mark.parametrize("outer", [System, Section])
def test_a_picture_inside_text_is_an_error_that_says_where_it_may_stand(outer: Any) -> None:
    with pytest.raises(CompileError, match=r"a picture or document stands inside .*put it in a message"):
        _ = render(outer("a", Image(PIXEL))).context


def test_a_timeline_inside_a_section_is_an_error() -> None:
    with pytest.raises(CompileError, match=r"stands inside Section\[x\]"):
        _ = render(Section(Timeline(), User("a"), id="x")).context


def test_loose_text_reaches_the_context() -> None:
    @component
    def Loose() -> Any:
        return ["one", 2, None, [3.5, "four"]]

    assert render(Loose()).context.system.text == "one\n\n2\n\n3.5\n\nfour"
