"""Why a context is another one than before: what was set, where, by whom, and what it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

Kind = Literal["state", "knob", "data", "context", "usage", "timeline", "definition", "property"]


class Cause(NamedTuple):
    """One thing that made the component at ``path`` render again.

    ``name`` is what its author calls it (``plan``), ``old`` and ``new`` are its values in
    short, ``by`` says who set it (``"the tool add_stop in tick 0"``, ``"the user"``), or is
    ``""``. A ``"property"`` came from the component above, which has a cause of its own.
    """

    path: str
    kind: Kind
    name: str = ""
    old: str = ""
    new: str = ""
    by: str = ""

    def __str__(self) -> str:
        match self.kind:
            case "definition":
                return f"{component_of(self.path)} was defined anew"
            case "timeline":
                return "the timeline went on"
            case "usage":
                return "tokens were used"
            case "state":
                what = self.name if self.name.startswith("#") else f"`{self.name}`"
            case _:
                what = f"{self.kind} `{self.name}`"
        return f"{what} went from {self.old} to {self.new}{f', set by {self.by}' if self.by else ''}"


def component_of(path: str) -> str:
    """Return the name of the component that a path ends with: ``Plan`` of ``Agent/Plan[2]``."""
    segment = path.rpartition("/")[2]
    return segment.partition("[")[0].partition(".")[0] or "the root"


def causes_of(path: str, causes: Sequence[Cause]) -> tuple[Cause, ...]:
    """Return what made the part at ``path`` another one: the causes in the nearest component around it.

    Where that component only got other properties, they stand last, behind what made the
    component above it render; one that only hands on what changed above says nothing more. Empty where
    nothing of it is known.
    """
    passed: list[Cause] = []
    for place in upwards(path):
        here = [cause for cause in causes if cause.path == place]
        own = [cause for cause in here if cause.kind != "property"]
        passed += [cause for cause in here if cause.kind == "property"]
        if own:
            told = {(cause.old, cause.new) for cause in own}
            return (*own, *[cause for cause in passed if (cause.old, cause.new) not in told])
    return tuple(passed)


def why(path: str, causes: Sequence[Cause]) -> str:
    """Say in a sentence why the part at ``path`` is another one; ``""`` where that is not known."""
    return "; ".join(map(str, causes_of(path, causes)))


def net(causes: Sequence[Cause]) -> tuple[Cause, ...]:
    """Make one cause of what happened to the same thing over several ticks, from its first old value to its last new one.

    What went and came back to what it was is none.
    """
    met: dict[tuple[str, Kind, str], Cause] = {}
    for cause in causes:
        thing = (cause.path, cause.kind, cause.name)
        met[thing] = cause._replace(old=met[thing].old) if thing in met else cause
    return tuple(cause for cause in met.values() if cause in causes or cause.old != cause.new)


def upwards(path: str) -> Sequence[str]:
    """Return a component path and those of the components around it, the nearest first."""
    segments = path.split("/")
    return ["/".join(segments[:end]) for end in range(len(segments), 0, -1)]
