"""The tree of a session's forks: who came from whom, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from nbsession.timeline.twigs import leads

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class ForkPoint(NamedTuple):
    """Where a session was forked: after a tick of its parent, or as that tick was compiled.

    ``tick`` is ``None`` where the parent had none.
    """

    tick: int | None
    before: bool = False

    def __str__(self) -> str:
        if self.tick is None:
            return "forked before the first tick"
        return f"forked {'before' if self.before else 'after'} tick {self.tick}"


class Branch(NamedTuple):
    """One session of a family. ``ticks`` counts those that it shares with its parent, too.

    ``parent`` and ``forked`` are ``None`` for a session that is nobody's fork.
    ``used`` is when it was last used, in seconds since the epoch, ``None`` where
    nobody knows.
    """

    id: str
    parent: str | None
    forked: ForkPoint | None
    ticks: int
    used: float | None = None


class History:
    """A session with all that it was forked from and all that was forked from these.

    ``branches`` are the sessions, parents first, and forks of one by where they left it; ``current`` is the id of the one
    that was asked. As text it is a tree, one line a session.
    """

    __slots__ = ("branches", "current")

    def __init__(self, branches: Iterable[Branch], current: str) -> None:
        self.current = current
        self.branches = _family({branch.id: branch for branch in branches}, current)

    def lines(self) -> list[tuple[str, Branch]]:
        """Return the tree's lines from the top: what is drawn before a session, and the session."""
        below: dict[str | None, list[Branch]] = {}
        for branch in self.branches[1:]:
            below.setdefault(branch.parent, []).append(branch)
        order: list[tuple[int, Branch]] = []
        stack = [(0, self.branches[0])]
        while stack:
            depth, branch = stack.pop()
            order.append((depth, branch))
            stack += [(depth + 1, fork) for fork in reversed(below.get(branch.id, []))]
        return list(zip(leads([depth for depth, _ in order]), [branch for _, branch in order], strict=True))

    def facts(self, branch: Branch) -> list[str]:
        """Say of a session, in few words each, where it was forked and how far it went."""
        words = [f"{branch.ticks} tick{'s' if branch.ticks != 1 else ''}"]
        if branch.forked is not None:
            words.insert(0, str(branch.forked))
        if branch is self.branches[0] and branch.parent is not None:
            words.append(f"its parent {branch.parent!r} is not kept")
        return words

    def __str__(self) -> str:
        return "\n".join(
            f"{lead}{' · '.join([branch.id, *self.facts(branch)])}{' ←' if branch.id == self.current else ''}"
            for lead, branch in self.lines()
        )

    def __repr__(self) -> str:
        return f"<History of {self.current!r}: {len(self.branches)} sessions>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))


def _family(known: Mapping[str, Branch], current: str) -> Sequence[Branch]:
    """Return the branches that hang together with one, the topmost first, then by their parents."""
    top = known[current]
    while top.parent is not None and top.parent in known:
        top = known[top.parent]
    below: dict[str | None, list[Branch]] = {}
    for fork in known.values():
        below.setdefault(fork.parent, []).append(fork)
    family = [top]
    for branch in family:  # grows while it is walked
        family += sorted(below.get(branch.id, ()), key=_place)
    return tuple(family)


def _place(fork: Branch) -> tuple[int, bool, str]:
    """Order the forks of one session by where they left it, and forks of one place by their ids."""
    tick, before = fork.forked or ForkPoint(None)
    return (-1 if tick is None else tick, not before, fork.id)
