"""What an experiment asks, and what a run of it works with."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbsession.experiment.archive import Archive
    from nbsession.experiment.arm import Arm
    from nbsession.experiment.bench import Bench
    from nbsession.experiment.case import Case
    from nbsession.experiment.engine import Engine
    from nbsession.experiment.ledger import Ledger
    from nbsession.experiment.scoring import Scorer
    from nbsession.session.spending import Spending
    from nbsession.usage import Budget


class Design(NamedTuple):
    """What an experiment asks."""

    cases: Sequence[Case]
    arms: Sequence[Arm]
    repeat: int
    scorers: Sequence[Scorer]

    @property
    def size(self) -> int:
        """How many trials there are."""
        return len(self.cases) * len(self.arms) * self.repeat


class Means(NamedTuple):
    """What a run works with: where trials are made, who does them, where they are kept, and what they may spend."""

    bench: Bench
    engine: Engine
    ledger: Ledger
    archive: Archive
    account: Spending
    budget: Budget | None
