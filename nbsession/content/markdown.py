"""Untrusted Markdown to harmless HTML, whole or as it streams.

What a model, a tool or a prompt says is never live: raw HTML is shown as text,
links lead to http(s) only, remote pictures are named and not loaded (loading
one tells its server who reads what), and characters that hide or reorder text
are made visible. Mathematics is left for the front end to typeset.
"""

from __future__ import annotations

import html
import re
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from nbsession.content import mathematics
from nbsession.content.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markdown_it import MarkdownIt
    from markdown_it.token import Token

TAIL = 600
"""Characters of an unfinished block up to which it is rendered anew with each addition."""

GROWTH = 1.25
"""Beyond ``TAIL``, an unfinished block is rendered anew when it has grown by this factor: linear in sum."""

LINK_REL = "noreferrer"
_TEXT_TAGS = (
    "p",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "strong",
    "em",
    "s",
    "code",
    "pre",
    "a",
    "br",
    "hr",
    "span",
)
_BLOCK_TAGS = ("blockquote", "ul", "ol", "li", "table", "thead", "tbody", "tr", "th", "td")
TAGS = frozenset((*_TEXT_TAGS, *_BLOCK_TAGS))

_OPENING_TAG = re.compile(r"<(?=[A-Za-z/!?])(?!https?://)")
_OPEN_CODE = re.compile(r"\n</code></pre>\Z")
_AFTER_BLOCK = re.compile(
    r"(</?(?:p|h[1-6]|ul|ol|li|blockquote|table|thead|tbody|tr|th|td)(?: [^<>]*)?>|</pre>|<hr>)\n"
)
_CODE_SPAN = re.compile(r"(`+[^`]*`+)")


def render(text: str, *, growing: bool = False) -> str:
    """Return ``text``, as Markdown, as sanitised HTML; with ``growing`` a formula at its end may lack its other half."""
    import nh3

    html = nh3.clean(
        _parser().render(visible(text), {mathematics.GROWING: growing}).strip(),
        tags=set(TAGS),
        attributes={"a": {"href", "title"}, "ol": {"start"}, "th": {"style"}, "td": {"style"}},
        tag_attribute_values={"span": {"class": {mathematics.TYPESET}}},
        set_tag_attribute_values={
            "pre": {"tabindex": "0"}
        },  # what scrolls is to be scrolled by keyboard, too
        url_schemes={"http", "https"},
        link_rel=LINK_REL,
        filter_style_properties={"text-align"},
    )
    # A notebook keeps each line of an output as a string of its own, with 15 bytes around it.
    return _AFTER_BLOCK.sub(r"\1", html)


def inert(text: str) -> str:
    """Return Markdown that reads as ``text`` does and loads nothing, whoever renders it.

    For the ``text/markdown`` of an output: its pictures become links and raw
    HTML text, because other programs render it by rules of their own.
    """
    source = visible(text)
    if "![" not in source and "<" not in source:
        return source
    lines = source.split("\n")
    for token in _parser().parse(source):
        if token.type == "inline" and token.map:
            for n in range(*token.map):
                lines[n] = "".join(_inert_pieces(lines[n]))
    return "\n".join(lines)


def _inert_pieces(line: str) -> Iterator[str]:
    for piece in _CODE_SPAN.split(line):
        if piece.startswith("`"):
            yield piece
        else:
            yield _OPENING_TAG.sub("&lt;", piece).replace("![", r"\![")


class Update(NamedTuple):
    """What an addition changes on the page.

    ``finished`` is HTML to append to what is finished. ``tail`` is HTML that
    replaces the unfinished end; where it is ``None``, ``text`` is appended to
    the unfinished end as it stands.
    """

    finished: str
    tail: str | None
    text: str


class Stream:
    """Markdown that grows: finished blocks are rendered once, the rest while it is short.

    The sum of all updates is linear in the length of the text, also where the
    whole text is one block. ``html`` is all of it at any time.
    """

    __slots__ = ("_ended", "_finished", "_looked", "_pending", "_rendered", "_tail")

    def __init__(self) -> None:
        self._finished: list[str] = []
        self._pending = ""
        self._looked = 0
        self._rendered = 0
        self._tail = ""
        self._ended = False

    @property
    def finished(self) -> str:
        """The HTML of the blocks that no addition can change."""
        return "".join(self._finished)

    @property
    def tail(self) -> str:
        """The HTML of the unfinished end."""
        if self._rendered != len(self._pending):
            self._render_tail()
        return self._tail

    @property
    def html(self) -> str:
        """The HTML of all that was added so far."""
        return self.finished + self.tail

    def add(self, text: str) -> Update:
        """Take more text and say what to change."""
        text = visible(text.replace("\r", ""))
        # The renderer drops the white space at the end; what is appended there brings it back.
        dropped = self._pending[len(self._pending.rstrip()) :] if len(self._pending) == self._rendered else ""
        self._pending += text
        finished = self._finish()
        size = len(self._pending)
        if finished or size <= TAIL or size >= self._rendered * GROWTH:
            self._render_tail()
            return Update(finished, self._tail, "")
        return Update("", None, dropped + text)

    def end(self) -> str | None:
        """Take note that nothing more will come; return the HTML of the end, if it is another one by that."""
        before, self._ended = self.tail, True
        self._render_tail()
        return None if self._tail == before else self._tail

    def _render_tail(self) -> None:
        tail = render(self._pending, growing=not self._ended) if self._pending else ""
        if not self._pending.endswith("\n"):
            tail = _OPEN_CODE.sub("</code></pre>", tail)
        self._tail = tail
        self._rendered = len(self._pending)

    def _finish(self) -> str:
        """Move the finished blocks out of the pending text, and return their HTML."""
        # A line that has not ended yet may turn out to belong to the block above it.
        whole = self._pending.rfind("\n") + 1
        if whole <= self._looked or (whole > TAIL and whole < self._looked * GROWTH):
            return ""
        self._looked = whole
        blocks = _parser().parse(self._pending[:whole], {mathematics.GROWING: True})
        starts = [token.map[0] for token in blocks if token.level == 0 and token.map and token.nesting >= 0]
        if starts and mathematics.is_open(self._pending.split("\n", starts[-1])[-1]):
            # Without its other half it is no block of its own, and may belong to the one above.
            starts.pop()
        if len(starts) < 2:
            return ""
        lines = self._pending.split("\n", starts[-1])
        cut = len(self._pending) - len(lines[-1])
        finished = render(self._pending[:cut])
        self._finished.append(finished)
        self._pending = self._pending[cut:]
        self._looked = self._rendered = 0
        return finished


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    parser.validateLink = _is_web_link  # type: ignore[method-assign]  # the documented way to narrow links
    parser.add_render_rule("image", _picture_as_link)
    # Read the same as a line break; for what a line costs in a notebook see ``render``.
    parser.add_render_rule("softbreak", lambda *_: " ")
    mathematics.enable(parser)
    return parser


def _is_web_link(url: str) -> bool:
    return url.lower().startswith(("https://", "http://"))


def _picture_as_link(_self: object, tokens: list[Token], at: int, _options: object, _env: object) -> str:
    token = tokens[at]
    url = html.escape(str(token.attrs.get("src", "")))
    alt = html.escape(token.content or "no description")
    return f'<a href="{url}">[image not loaded: {alt}]</a>'
