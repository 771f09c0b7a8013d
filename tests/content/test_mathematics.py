from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbsession.content.markdown import Stream, inert, render
from nbsession.content.mathematics import IGNORED, LONGEST, TYPESET, end_of
from nbsession.notebook.view.templates import STATIC, root

FORMULA = re.compile(rf'<span class="{TYPESET}">(.*?)</span>', re.DOTALL)


def formulas(text: str) -> list[str]:
    return FORMULA.findall(render(text))


@pytest.mark.parametrize(
    "text",
    [
        "Is it $5 or $10 today?",
        "from $1,000 to $2,000 a day",
        "$ x$ and $x $ and $x$2",
        "set $PATH, then $HOME",
        r"a price of \$5 or \$6$",
        "one $ only",
        "$$ $$",
        "$$$$",
        "a $x\n\ny$",
        "$$\na\n\nb\n$$",
        r"\(a",
        r"\\(a\\)",
        "`$x$` and ``\\(x\\)``",
        "```\n$x$\n$$y$$\n```",
        "    $x$",
        "| a | b |\n|---|---|\n| $5 | $6 |",
        f"${'x' * (LONGEST + 1)}$",
    ],
)
def test_money_names_and_code_are_no_mathematics(text: str) -> None:
    assert formulas(text) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("so $E=mc^2$ holds", ["$E=mc^2$"]),
        (r"so \(a\) and \[b\]", [r"\(a\)", r"\[b\]"]),
        ("$$x$$ and $y$", ["$$x$$", "$y$"]),
        (r"$\$5$ is a price", [r"$\$5$"]),
        ("$a *b* _c_ `d`$", ["$a *b* _c_ `d`$"]),
        (r"*\(a_1\)* and [\(b\)](https://e.x)", [r"\(a_1\)", r"\(b\)"]),
        ("$$\na\n- b\n# c\n> d\n$$", ["$$\na\n- b\n# c\n&gt; d\n$$"]),
        ("So\n\\[\na\n+ b\n\\]\nholds", ["\\[\na\n+ b\n\\]"]),
        ("- x\n  $$\n  a\n  - b\n  $$", ["$$\na\n- b\n$$"]),
        ("> $$\n> a\n> $$", ["$$\na\n$$"]),
        ("| a |\n|---|\n| $x$ |", ["$x$"]),
    ],
)
def test_mathematics_is_kept_as_it_was_written(text: str, found: list[str]) -> None:
    assert formulas(text) == found


def test_mathematics_is_text_and_no_html() -> None:
    assert formulas("$<img src=x onerror=y>$ $$</span><script>z</script>$$") == [
        "$&lt;img src=x onerror=y&gt;$",
        "$$&lt;/span&gt;&lt;script&gt;z&lt;/script&gt;$$",
    ]


def test_mathematics_that_leaves_the_notebook_loads_nothing_elsewhere() -> None:
    assert inert("$$\n<img src=x>\n![y](z)\n$$") == "$$\n&lt;img src=x>\n\\![y](z)\n$$"


@given(st.text(st.sampled_from("$\\()[] \na1")), st.integers(0, 20))
def test_an_end_is_behind_its_beginning_and_within_the_text(text: str, at: int) -> None:
    end = end_of(text, at)
    assert end == 0 or at + 2 < end <= len(text)
    assert end == 0 or "\n\n" not in text[at:end]


PIECES = st.sampled_from(
    ["$$", "\n$$\n", "$x$", "$", "\\[", "\\]\n", "\\(y\\)", "\n", "\n\n", "- b", "# c\n", "word ", "`", "5"]
)


@given(st.lists(PIECES, max_size=30).map("".join), st.integers(1, 7))
def test_mathematics_that_streams_ends_as_the_whole_text_renders(text: str, step: int) -> None:
    stream = Stream()
    for at in range(0, len(text), step):
        stream.add(text[at : at + step])
    stream.end()
    assert FORMULA.findall(stream.html) == formulas(text)


def test_every_page_keeps_what_it_shows_from_being_typeset() -> None:
    roots = [
        element
        for folder in STATIC
        for template in folder.glob("*.j2")
        for element in re.findall(r"<[a-z]+ class=\"?nbs\b[^>]*>", template.read_text("utf-8"))
    ]
    assert len(roots) >= 8
    assert all("{{ root() }}" in element for element in roots), roots
    assert root().startswith(IGNORED)
    assert IGNORED.split() == ["mathjax_ignore", "tex2jax_ignore"]
