"""How far two answers lie apart, plainly: by their words, and by the tools that they call."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbsession.timeline import Tick

# A word, or a sign of a script that is written without spaces.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")


class Answer:
    """What an answer is compared by: its words and pairs of words, and the tools that it calls with what."""

    __slots__ = ("_calls", "_words")

    def __init__(self, tick: Tick) -> None:
        words = _WORD.findall(tick.text.casefold())
        self._words: Counter[Any] = Counter([*words, *itertools.pairwise(words)])
        self._calls: Counter[Any] = Counter()
        for run in tick.tool_calls:
            self._calls.update([run.name, (run.name, json.dumps(run.input, sort_keys=True, default=repr))])

    def distance(self, other: Answer) -> float:
        """Return how far they lie apart: 0 for the same words and calls, 1 for nothing in common.

        Of texts it is the share of words and pairs of words that only one has (Dice's coefficient, less than
        1), of calls that of tools and inputs; what differs more counts.
        """
        return max(_apart(self._words, other._words), _apart(self._calls, other._calls))


def _apart(a: Counter[Any], b: Counter[Any]) -> float:
    both = a.total() + b.total()
    return 1 - 2 * (a & b).total() / both if both else 0.0
