"""Texts as they may be shown: what hides or reorders characters is spelled out."""

from __future__ import annotations

import re

# Controls but tab and newline; bidirectional overrides and isolates; invisible tag characters, with
# which prompts are smuggled past a reader; lone surrogates, which no JSON message can carry.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u202a-\u202e\u2066-\u2069\ud800-\udfff\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """Return ``text`` with each hidden or reordering character spelled out, as ``⟨U+202E⟩``."""
    if _HIDDEN.search(text) is None:
        return text
    return _HIDDEN.sub(
        lambda found: f"⟨U+{ord(found[0]):04X}⟩", text.replace("\r\n", "\n").replace("\r", "\n")
    )


def in_a_line(text: str, most: int = 200) -> str:
    """Return what somebody else wrote as it may stand in a sentence: one line of at most ``most`` characters, nothing hidden."""
    line = " ".join(visible(text[: 4 * most]).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
