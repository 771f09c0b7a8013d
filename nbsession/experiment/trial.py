"""A trial: one case under one arm, asked once, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nbsession.errors import SessionError
from nbsession.experiment.outcome import Figures, Status, total_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbsession.experiment.archive import Archive
    from nbsession.experiment.arm import Arm
    from nbsession.experiment.case import Case
    from nbsession.experiment.scoring import Score, Scored
    from nbsession.session import Session
    from nbsession.session.spending import Total


@dataclass(slots=True, eq=False, repr=False)
class Trial:
    """One case under one arm; ``repeat`` counts the repetitions from 0.

    ``status`` is ``"done"`` (where ``error`` may say that a clean-up failed), ``"failed"`` (``error`` says why), ``"refused"`` (a budget kept it from going on) or
    ``"unsent"``, before it was sent and where it never was. ``figures`` are its tokens, cost (US dollars), seconds,
    ticks and tool calls; ``scores`` are numbers by name, ``None`` where a scorer had nothing to say, and a text that
    says why where it failed. ``reused`` says that it was in the store, and was not asked again.
    """

    number: int
    case: Case
    arm: Arm
    repeat: int
    key: str
    archive: Archive
    status: Status = "unsent"
    figures: Figures = field(default_factory=Figures)
    scored: Scored = field(default_factory=dict)
    error: str = ""
    session_id: str = ""
    reused: bool = False

    @property
    def text(self) -> str:
        """The answer, ``""`` where there is none; a long one is read from the store."""
        figures = self.figures
        return self.archive.texts([figures.digest])[figures.digest] if figures.digest else figures.text

    @property
    def scores(self) -> Mapping[str, Score]:
        """What the scorers gave, by name; of a scorer that gives several, as ``"scorer.name"``."""
        return {name: value for each in self.scored.values() for name, value in each.values.items()}

    @property
    def notes(self) -> Mapping[str, Mapping[str, str]]:
        """What judges said beside their scores, by the same names: ``reason``, and the id of the judge's ``session``."""
        return {name: said for each in self.scored.values() for name, said in each.notes.items()}

    @property
    def scoring(self) -> Total:
        """What the models took that its scorers asked: ``usage``, and ``cost`` in US dollars; no part of its own figures."""
        return total_of(self.scored.values())

    def number_of(self, score: str) -> float | None:
        """Return a score where it was done and has that one as a number, else ``None``."""
        value = self.scores.get(score) if self.status == "done" else None
        return None if isinstance(value, str) else value

    @property
    def tokens(self) -> int:
        """Input and output together."""
        return self.figures.tokens

    @property
    def cost(self) -> float | None:
        """In US dollars, ``None`` where a price is not known."""
        return self.figures.cost

    @property
    def seconds(self) -> float:
        """How long its ticks took, without what was waited before them."""
        return self.figures.seconds

    def session(self) -> Session:
        """Open its session, to be looked at, gone on with or forked. Raises ``SessionError`` before there is one."""
        if not self.session_id:
            raise SessionError(f"{self!r} has no session: it was not sent")
        return self.archive.session(self.session_id, self.arm.model)

    def __repr__(self) -> str:
        again = f", again {self.repeat}" if self.repeat else ""
        return f"<Trial of case {self.case.name!r:.80} under {self.arm.name!r:.80}{again}: {self.status}>"
