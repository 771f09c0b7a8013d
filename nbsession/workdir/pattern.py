"""Patterns of paths: ``*``, ``?``, ``[abc]`` within a name, ``**`` for any folders, ``{a,b}`` for one of several."""

from __future__ import annotations

import re
from fnmatch import translate
from typing import TypeAlias

from nbsession.errors import ToolError

Places: TypeAlias = frozenset[tuple[int, int]]
"""How far a path has come: places, each in one of the alternatives."""

_MOST_ALTERNATIVES = 100
_MOST_CHARACTERS = 1000
_BRACES = re.compile(r"\{([^{}]*)\}")
_ANY = None


class Pattern:
    """A pattern, matched name by name from the top, so that no folder is entered in vain.

    One without ``/`` is for names in any folder. ``*`` and ``**`` pass over names that begin with a dot, and over
    ``node_modules`` and ``__pycache__``; a pattern that names these finds them. Raises ``ToolError`` for one that
    cannot be read.
    """

    def __init__(self, text: str) -> None:
        if not text or len(text) > _MOST_CHARACTERS:
            raise ToolError(f"a pattern has 1 to {_MOST_CHARACTERS:,} characters, got {len(text):,}")
        if text.startswith("/") or ".." in text.split("/"):
            raise ToolError(
                f"pattern {text!r} leaves the folder that is searched; write it from there down, as 'src/**/*.py'"
            )
        self._alternatives = [_steps(each) for each in _alternatives(text)]

    @property
    def start(self) -> Places:
        """Where every path begins."""
        return self._beyond({(which, 0) for which in range(len(self._alternatives))})

    def after(self, places: Places, name: str) -> Places:
        """Return how far a path has come with one more name; empty where nothing below it can match."""
        found = set()
        for which, at in places:
            steps = self._alternatives[which]
            if at == len(steps):
                continue
            step = steps[at]
            if step is _ANY:
                if not is_passed_over(name):
                    found.add((which, at))
            elif step[1].match(name) and (not is_passed_over(name) or step[0]):
                found.add((which, at + 1))
        return self._beyond(found)

    def is_match(self, places: Places) -> bool:
        """Say whether a path that has come so far matches as a whole."""
        return any(at == len(self._alternatives[which]) for which, at in places)

    def _beyond(self, places: set[tuple[int, int]]) -> Places:
        """Add the places behind each ``**``, which may stand for no folder at all."""
        waiting = list(places)
        while waiting:
            which, at = waiting.pop()
            steps = self._alternatives[which]
            if at < len(steps) and steps[at] is _ANY and (which, at + 1) not in places:
                places.add((which, at + 1))
                waiting.append((which, at + 1))
        return frozenset(places)


def is_passed_over(name: str) -> bool:
    """Say whether a name is found only by who names it."""
    return name.startswith(".") or name in ("node_modules", "__pycache__")


def _alternatives(text: str) -> list[str]:
    """Return what a pattern stands for without braces."""
    done, waiting = [], [text]
    while waiting:
        each = waiting.pop()
        braces = _BRACES.search(each)
        if braces is None or "," not in braces[1]:
            done.append(each)
        else:
            waiting += [each[: braces.start()] + one + each[braces.end() :] for one in braces[1].split(",")]
        if len(done) + len(waiting) > _MOST_ALTERNATIVES:
            raise ToolError(
                f"pattern {text!r} has more than {_MOST_ALTERNATIVES} alternatives; ask for fewer at once"
            )
    return done


def _steps(text: str) -> list[tuple[bool, re.Pattern[str]] | None]:
    """Return a pattern's names: ``None`` for ``**``, else whether it names what is passed over, and its expression."""
    names = [name for name in text.removeprefix("./").split("/") if name]
    if "/" not in text:
        names = ["**", *names]
    steps: list[tuple[bool, re.Pattern[str]] | None] = []
    for name in names:
        if name != "**":
            steps.append((name.startswith(".") or is_passed_over(name), re.compile(translate(name))))
        elif not steps or steps[-1] is not _ANY:
            steps.append(_ANY)
    return steps
