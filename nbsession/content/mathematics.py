r"""Mathematics in Markdown, and what keeps a front end from seeing it anywhere else.

Front ends typeset what stands between dollar signs in any HTML, so that of "from $5 to
$10" the middle becomes a formula. They leave alone what has one of their classes, and
inside of that take up what has another. So all that is shown has the first, and only what
is plainly mathematics in an answer has the second: ``\(…\)``, ``\[…\]``, ``$$…$$``, and
``$…$`` by Pandoc's rule.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token

# MathJax 3 (JupyterLab 4, Notebook 7) and MathJax 2 (nbconvert, Colab) each have names of their own.
IGNORED = "mathjax_ignore tex2jax_ignore"
"""The classes of an element whose text is not typeset."""
TYPESET = "mathjax_process tex2jax_process"
"""The classes of an element inside of such a one whose text is."""

GROWING = "growing"
"""What the parser's environment says of a text that more may be added to."""

LONGEST = 3_000
"""Characters of one formula; what does not end before that is none."""

_OPENING = re.compile(r"\$\$?|\\[(\[]")
_DISPLAY = re.compile(r"\$\$|\\\[")
_CLOSING = {"$$": re.compile(r"(?<!\\)\$\$"), r"\[": re.compile(r"(?<!\\)\\\]")}
_BLANK_LINE = re.compile(r"\n[ \t]*\n")
# What stands between the signs: a backslash takes the character behind it along.
_REST = {
    "$": re.compile(r"((?:[^\\$]++|\\.)*+)\$", re.DOTALL),
    "$$": re.compile(r"((?:[^\\$]++|\\.|\$(?!\$))*+)\$\$", re.DOTALL),
    r"\(": re.compile(r"((?:[^\\]++|\\[^)])*+)\\\)"),
    r"\[": re.compile(r"((?:[^\\]++|\\[^\]])*+)\\\]"),
}


def end_of(text: str, at: int) -> int:
    r"""Return where the mathematics ends that begins at ``at``, 0 where none does.

    It holds no blank line. ``$…$`` has no white space inside next to its signs, and no
    digit after the closing one, so that prices are none.
    """
    opening = _OPENING.match(text, at)
    rest = _REST[opening[0]].match(text, opening.end(), opening.end() + LONGEST) if opening else None
    if opening is None or rest is None or not rest[1].strip() or _BLANK_LINE.search(rest[1]):
        return 0
    if opening[0] == "$" and (rest[1].strip() != rest[1] or text[rest.end() : rest.end() + 1].isdigit()):
        return 0
    return rest.end()


def is_open(text: str) -> bool:
    r"""Say whether a text begins with ``$$`` or ``\[`` and the other half is not there, or not yet."""
    start = len(text) - len(text.lstrip(" "))
    return _DISPLAY.match(text, start) is not None and not end_of(text, start)


def enable(parser: MarkdownIt) -> None:
    """Let a parser of Markdown keep mathematics as it was written, in an element of its own."""
    parser.block.ruler.before(
        "fence", "mathematics", _block, {"alt": ["paragraph", "reference", "blockquote", "list"]}
    )
    parser.inline.ruler.before("escape", "mathematics", _inline)
    parser.add_render_rule("mathematics", _element)


def left_alone(text: str) -> str:
    """Return ``text`` as HTML that is not typeset, for where no page of ours is around it."""
    return f'<span class="{IGNORED}">{html.escape(text)}</span>'


def _inline(state: StateInline, silent: bool) -> bool:
    end = end_of(state.src, state.pos)
    if not end or end > state.posMax:
        return False
    if not silent:
        state.push("mathematics", "", 0).content = state.src[state.pos : end]
    state.pos = end
    return True


def _block(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    r"""Make one paragraph of lines that begin with ``$$`` or ``\[``, up to its other half.

    Inside, a line that looks like a list or a heading is none. An answer that still streams may
    not have the other half yet: of a text that is ``GROWING`` and ends without, all there is is
    taken, so that no block is thought finished before.
    """
    start = state.bMarks[first] + state.tShift[first]
    opening = _DISPLAY.match(state.src, start)
    if opening is None or state.is_code_block(first):
        return False
    closing = _CLOSING[opening[0]]
    is_last = bool(state.env.get(GROWING)) and state.level == 0 and len(state.src) - start <= LONGEST
    if not is_last and closing.search(state.src, opening.end(), start + LONGEST) is None:
        return False
    lines: list[str] = []
    after, end = first, 0
    while not end and after < last and not state.isEmpty(after) and state.sCount[after] >= state.blkIndent:
        lines.append(state.getLines(after, after + 1, state.blkIndent, False).strip())
        after += 1
        end = end_of("\n".join(lines), 0) if closing.search(lines[-1]) else 0
    text = "\n".join(lines)
    # What goes on behind it in its first line is an ordinary paragraph, with mathematics in it.
    found = (after > first + 1 or end == len(text)) if end else is_last and after == last
    if found and not silent:
        state.push("paragraph_open", "p", 1).map = [first, after]
        token = state.push("inline", "", 0)
        token.content, token.map, token.children = text, [first, after], []
        state.push("paragraph_close", "p", -1)
        state.line = after
    return found


def _element(_self: object, tokens: list[Token], at: int, _options: object, _env: object) -> str:
    return f'<span class="{TYPESET}">{html.escape(tokens[at].content)}</span>'
