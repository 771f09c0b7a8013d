"""What stands at one tick of a session: what was sent, beside another tick, what came of it, and the tree.

After the last tick stands what would be sent now.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from nbsession.errors import NbsessionError
from nbsession.notebook.panels.tables import shortened
from nbsession.notebook.panels.trial import aftermath
from nbsession.notebook.view import templates
from nbsession.notebook.view.cards import card
from nbsession.notebook.view.sources import NO_SOURCES, Sources
from nbsession.notebook.view.strip import Strip, strip_of
from nbsession.notebook.view.transcript import Transcript
from nbsession.timeline import net, upwards, why

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from nbsession.context import CompiledContext, Part
    from nbsession.notebook.view.cards import Card, Row
    from nbsession.session import Outline, Place, Session
    from nbsession.timeline import Cause, Tick

RECENT = 8
"""Messages at the end of a context that stand there in full; earlier ones that are as they were are one row."""

Beside: TypeAlias = Literal["none", "before"] | int
"""What a tick is compared with: nothing, the tick before it, or the tick of that number."""


class Bar(NamedTuple):
    """A tick in the row of all of them."""

    number: int
    strip: Strip

    def painted(self) -> str:
        """Return the segments as stops of a gradient, from the bottom up."""
        stops, below = [], 0
        for segment in self.strip.segments:
            above = below + segment.tokens
            start, end = (round(100 * edge / self.strip.tokens, 1) for edge in (below, above))
            stops.append(f"var(--{segment.name[:2]}) {start}% {end}%")
            below = above
        return ",".join(stops)


class Share(NamedTuple):
    """A component's share in a context: the tokens of what it and those below it gave.

    ``causes`` say what made it another one, ``written`` where its author wrote it.
    """

    place: Place
    tokens: int
    causes: Sequence[str]
    written: str = ""


@dataclass(frozen=True, slots=True)
class Moment:
    """One tick, or, without ``tick``, what would be sent now.

    ``older`` is what its context is compared with, ``against`` what that is called. ``left_out`` are the paths of
    components that the context shown is without; ``refused`` says why they cannot be left out, ``complaint`` why
    there is no tree.
    """

    context: CompiledContext
    card: Card
    tick: Tick | None = None
    run: Transcript = field(default_factory=Transcript)
    older: CompiledContext | None = None
    against: str = ""
    tree: Sequence[Share] = ()
    left_out: tuple[str, ...] = ()
    refused: str = ""
    complaint: str = ""

    @property
    def delta(self) -> int:
        """The signed tokens from the older context to this one."""
        return self.card.tokens - self.older.tokens if self.older is not None else 0

    def is_out(self, place: Place) -> bool:
        """Whether a component is left out, or stands in one that is."""
        return any(place.path == path or place.path.startswith(f"{path}/") for path in self.left_out)

    @property
    def missing(self) -> str:
        """What is left out, by the components' names."""
        named = {share.place.path: share.place.name for share in self.tree}
        return ", ".join(named[path] for path in self.left_out)

    @property
    def listed(self) -> Card:
        """The context without what is said of it as a whole."""
        return replace(self.card, broken_by="", trade="")

    @property
    def asked(self) -> str:
        """What its user had said last."""
        said = (part.text for part in reversed(self.context.flow) if part.role == "user")
        return shortened(next(said, ""))

    @property
    def is_short(self) -> bool:
        """Whether earlier messages stand in one row."""
        return any(row.title.endswith("earlier messages") for group in self.card.groups for row in group.rows)

    @property
    def failure(self) -> str:
        """What ended the tick, if an error did."""
        error = self.tick.error if self.tick is not None else None
        return f"{type(error).__name__}: {error}" if error is not None else ""

    @property
    def strip(self) -> Strip:
        """Where the tokens of the context and of the answer went."""
        return self.card.strip.with_answer(self.tick.usage.output_tokens if self.tick is not None else 0)

    @property
    def name(self) -> str:
        """What it is called: ``"tick 3"``, or ``"now"``."""
        return "now" if self.tick is None else f"tick {self.tick.number}"

    @property
    def words(self) -> str:
        """What is said of it where it is passed by: ``"tick 3, ≈1,234 tokens, called search"``."""
        called = ", ".join(dict.fromkeys(run.name for run in self.tick.tool_calls)) if self.tick else ""
        said = [self.name, templates.tokens(self.card.tokens)]
        compared = f"{templates.signed(self.delta)} since {self.against}" if self.older is not None else ""
        return ", ".join(filter(None, [*said, f"called {called}" if called else "", compared]))


def bar_of(tick: Tick) -> Bar:
    """Measure a tick."""
    return Bar(tick.number, strip_of(tick.context, None).with_answer(tick.usage.output_tokens))


def moment(
    session: Session,
    number: int,
    beside: Beside = "before",
    *,
    recent: int | None = RECENT,
    without: Collection[str] = (),
) -> Moment:
    """Lay out a tick; without ``recent`` all of its messages are written out.

    ``without`` are paths of components to be left out where they stand; the context is then compared with what was sent.
    """
    ticks = session.ticks
    tick, other = ticks[number], older_of(ticks, number, beside)
    context, older = tick.context, other.context if other is not None else None
    against = f"tick {other.number}" if other is not None else ""
    there = _standing(session, tick)
    left_out = tuple(share.place.path for share in there.tree if share.place.path in without)
    why, refused = _why(ticks, other, tick), ""
    if there.fork is not None and left_out:
        try:
            context, older, why = there.fork.without(*left_out), context, None
            against = "what was sent"
        except NbsessionError as error:
            refused = str(error)
    laid_out = _steady(card(context, older, why=why, recent=recent, sources=there.sources))
    run = aftermath([tick], f"t{number}")
    return Moment(
        context, laid_out, tick, run, older, against, there.tree, left_out, refused, there.complaint
    )


def present(
    session: Session, beside: Beside = "before", *, recent: int | None = RECENT, without: Collection[str] = ()
) -> Moment:
    """Lay out what would be sent now, beside a tick; the other arguments are those of ``moment``. Nothing is sent."""
    context = session.compile()
    other = older_of(session.ticks, len(session.ticks), beside)
    older, against = (other.context, f"tick {other.number}") if other is not None else (None, "")
    sources, complaint = Sources(session.sources()), ""
    try:
        tree = shares_of(session.outline(), context, (), sources)
    except NbsessionError as error:  # of a server's session the tree is there
        tree, complaint = (), str(error)
    left_out, refused = tuple(share.place.path for share in tree if share.place.path in without), ""
    if left_out:
        try:
            context, older = session.without(*left_out), context
            against = "what would be sent"
        except NbsessionError as error:
            refused = str(error)
    laid_out = _steady(card(context, older, recent=recent, sources=sources))
    return Moment(
        context,
        laid_out,
        older=older,
        against=against,
        tree=tree,
        left_out=left_out,
        refused=refused,
        complaint=complaint,
    )


def older_of(ticks: Sequence[Tick], number: int, beside: Beside) -> Tick | None:
    """Return the tick that another is compared with."""
    at = number - 1 if beside == "before" else beside
    return ticks[at] if isinstance(at, int) and 0 <= at < len(ticks) and at != number else None


def _why(ticks: Sequence[Tick], older: Tick | None, tick: Tick) -> Callable[[Part], str] | None:
    """Say why parts are others than at an older tick; of what lies ahead nothing can have been a reason."""
    if older is None or older.number > tick.number:
        return None
    passed = ticks[older.number + 1 : tick.number + 1]
    causes = net([cause for each in passed for cause in each.causes])
    return lambda part: why(part.path, causes)


def _steady(shown: Card) -> Card:
    """Give rows keys that stay the same from tick to tick, so that what a reader unfolded is unfolded there, too."""
    counts: dict[str, int] = {}

    def named(row: Row) -> Row:
        name = f"{row.title}\n{row.path}"
        counts[name] = counts.get(name, -1) + 1
        return replace(row, key=f"r{hash((name, counts[name])):x}")

    groups = tuple(replace(group, rows=tuple(map(named, group.rows))) for group in shown.groups)
    return replace(shown, groups=groups, withheld=tuple(map(named, shown.withheld)))


class _Standing(NamedTuple):
    """The components as they stood at a tick, in a fork that nothing keeps; without one, ``complaint`` says why."""

    fork: Session | None = None
    tree: Sequence[Share] = ()
    sources: Sources = NO_SOURCES
    complaint: str = ""


def _standing(session: Session, tick: Tick) -> _Standing:
    """Mount the components as they stood when a tick was compiled; nothing runs.

    That fails where they cannot be rendered any more, as with a component that was redefined.
    """
    try:
        fork = session.branch(tick.number, before=True)
        sources = Sources(fork.sources())
        return _Standing(fork, shares_of(fork.outline(), tick.context, tick.causes, sources), sources)
    except NbsessionError as error:
        return _Standing(complaint=str(error))


def shares_of(
    outline: Outline, context: CompiledContext, causes: Sequence[Cause], sources: Sources = NO_SOURCES
) -> Sequence[Share]:
    """Say of each component what it contributes to a context, and what made it another one."""
    timelines = [place.path for place in outline.places if place.name == "Timeline"]
    # Entries stand at "timeline", whichever component shows them; of one alone it is clear which.
    told = timelines[0] if len(timelines) == 1 else ""
    given: dict[str, int] = {}
    for part in context.parts:
        given[part.path] = given.get(part.path, 0) + part.tokens
    tokens: dict[str, int] = {}
    for at, count in given.items():
        for path in upwards(told if at == "timeline" else at):
            tokens[path] = tokens.get(path, 0) + count
    return [
        Share(
            place,
            tokens.get(place.path, 0),
            [str(cause) for cause in causes if cause.path == place.path and cause.kind != "timeline"],
            sources.at(place.path),
        )
        for place in outline.places
    ]
