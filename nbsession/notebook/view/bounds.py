"""How much of a text is shown: an output goes into the notebook's file, and a page is to stay quick."""

from __future__ import annotations

import re

MOST_CHARACTERS = 50_000
MOST_LINES = 2_000
"""Of one text in an output; of what is longer it shows the beginning, and says how much is left out."""

ANSWER_CHARACTERS = 200_000
"""Of an answer, and of all of an output in plain text or Markdown."""

PICTURE_CHARACTERS = 450_000
_PICTURE = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]*")


def bounded(text: str, most: int = MOST_CHARACTERS) -> str:
    """Return a text as far as it is shown, with what is left out of it in words.

    A picture as a data URI stays whole: its beginning shows nothing.
    """
    if len(text) <= most and text.count("\n") < MOST_LINES:
        return text
    if len(text) <= PICTURE_CHARACTERS and _PICTURE.fullmatch(text):
        return text
    beginning = "\n".join(text[:most].split("\n", MOST_LINES)[:MOST_LINES])
    left = len(text) - len(beginning)
    return f"{beginning}\n… ({left:,} more characters)" if left else text
