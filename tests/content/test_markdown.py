from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbsession.content import visible
from nbsession.content.markdown import TAGS, Stream, inert, render

NASTY = [
    "<script>alert(1)</script>",
    "a <img src=x onerror=alert(1)> b",
    "<svg onload=alert(1)><style>*{display:none}</style>",
    "<iframe src='data:text/html,<script>alert(1)</script>'></iframe>",
    "[a](javascript:alert(1)) [b](JaVaScRiPt:alert(1)) [c](data:text/html;base64,PHNjcmlwdD4=) [d](vbscript:x)",
    "[a]: javascript:alert(1)\n\n[a]",
    "<javascript:alert(1)> <data:text/html,x>",
    '[x](https://a.b/"onmouseover="alert(1))',
    "![x](https://evil.example/pixel.png) ![y](data:image/svg+xml;base64,PHN2Zz4=) ![z](javascript:alert(1))",
    "</div></details><h1>unclosed <b><i><table><tr>",
    "```html\n</code></pre><script>alert(1)</script>\n```",
    "`</code><script>alert(1)</script>`",
    "{{7*7}} {% raw %} ${7*7} <%= 7*7 %>",
    "<!-- --><!DOCTYPE html><?php ?><![CDATA[ x ]]>",
    "| <b onclick=x>a</b> |\n|---|\n| <script>x</script> |",
    "x" * 10 + "\x00\x1b[31m\ud800",
]


class Seen(HTMLParser):
    """Every tag and attribute that a browser would meet."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.extend((name, value or "") for name, value in attrs)


def assert_harmless(html: str) -> None:
    seen = Seen(html)
    assert seen.tags <= TAGS
    for name, value in seen.attributes:
        assert name in ("href", "title", "rel", "start", "style", "tabindex")
        if name == "href":
            assert value.startswith(("http://", "https://"))
        if name == "style":
            assert value.startswith("text-align")
        if name == "tabindex":
            assert value == "0"
    json.dumps(html).encode("utf-8")


@pytest.mark.parametrize("text", NASTY)
def test_untrusted_markdown_is_never_live(text: str) -> None:
    assert_harmless(render(text))


@given(
    st.text(st.characters())
    | st.lists(st.sampled_from([*NASTY, "\n\n", "*", "`", "<", ">", "[", "](", "|"])).map("".join)
)
def test_no_text_at_all_makes_live_html(text: str) -> None:
    assert_harmless(render(text))


def test_raw_html_is_shown_as_text() -> None:
    assert render("<b>hi</b>") == "<p>&lt;b&gt;hi&lt;/b&gt;</p>"


def test_links_lead_to_the_web_only_and_do_not_tell_where_from() -> None:
    assert 'rel="noreferrer"' in render("[a](https://example.com)")
    assert "<a" not in render("[a](mailto:x@y.z) [b](/etc/passwd) [c](file:///etc/passwd) [d](#top)")


def test_a_remote_picture_is_named_and_linked_but_not_loaded() -> None:
    html = render("![a chart](https://example.com/x.png)")
    assert "<img" not in html
    assert "[image not loaded: a chart]" in html
    assert 'href="https://example.com/x.png"' in html


def test_markdown_that_leaves_the_notebook_loads_nothing_elsewhere() -> None:
    text = inert(
        "![a](https://e.x/i.png) <img src=https://e.x/j.png> <https://ok.example>\n\n```\n<b>![c](d)\n```"
    )
    assert r"\![a](https://e.x/i.png)" in text
    assert "&lt;img" in text
    assert "<https://ok.example>" in text
    assert "<b>![c](d)" in text


def test_inert_leaves_code_in_a_line_as_it_is() -> None:
    assert inert("`<div>` and <div>") == "`<div>` and &lt;div>"


@pytest.mark.parametrize("char", ["\u202e", "\u2066", "\x1b", "\x00", "\U000e0041", "\ud800", "\x7f"])
def test_characters_that_hide_or_reorder_are_spelled_out(char: str) -> None:
    assert visible(f"a{char}b") == f"a⟨U+{ord(char):04X}⟩b"


def test_ordinary_text_is_left_alone() -> None:
    text = "naïve 日本語 עברית 👩‍👩‍👧\tand\nlines"
    assert visible(text) is text


PIECES = st.sampled_from(
    ["# Title\n", "A paragraph with **bold**", "\n\n", "\n", "- item\n", "1. one\n", "2. two\n\n", "```py\nx = 1\n", "```\n\n",
     "| a | b |\n|---|---|\n| 1 | 2 |\n", "> quote\n", " ", "  indented", "---\n", "`code`", "[link](https://e.x)", "*", "word "]
)  # fmt: skip


@given(st.lists(PIECES, max_size=40).map("".join), st.integers(1, 30))
def test_a_stream_ends_as_the_whole_text_renders(text: str, step: int) -> None:
    stream = Stream()
    for at in range(0, len(text), step):
        stream.add(text[at : at + step])
    assert Seen(stream.html).tags == Seen(render(text)).tags
    assert _words(stream.html) == _words(render(text))


def _words(html: str) -> list[str]:
    found: list[str] = []

    class Words(HTMLParser):
        def handle_data(self, data: str) -> None:
            found.extend(data.split())

    Words().feed(html)
    return found


@pytest.mark.parametrize(
    "text",
    [
        "A paragraph of some words, **bold** too.\n\n" * 500,
        "- a list that never ends, item by item\n" * 500,
        "```python\n" + "print('a long block of code')\n" * 700,
        "one single paragraph without any end " * 550,
        "| a | b |\n|---|---|\n" + "| one | two |\n" * 1500,
    ],
    ids=["paragraphs", "list", "code", "paragraph", "table"],
)
def test_what_a_stream_sends_grows_linearly(text: str) -> None:
    whole, half = _sent(text), _sent(text[: len(text) // 2])
    assert whole < 2.6 * half
    assert whole < 400_000


def _sent(text: str) -> int:
    stream = Stream()
    total = 0
    for at in range(0, len(text), 100):
        update = stream.add(text[at : at + 100])
        total += len(update.finished) + len(update.tail or "") + len(update.text)
    return total


def test_text_between_two_renderings_is_appended_as_it_stands() -> None:
    stream = Stream()
    stream.add("word " * 200)
    update = stream.add("more words")
    assert update == ("", None, " more words")


def test_an_open_code_block_takes_text_at_the_end_of_its_last_line() -> None:
    stream = Stream()
    update = stream.add("```py\n" + "x = 1\n" * 3 + "y =")
    assert update.tail is not None
    assert update.tail.endswith("y =</code></pre>")
