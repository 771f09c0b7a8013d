"""How all outputs of this kernel look, as its user set it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Look:
    """What the settings write, and whatever is rendered reads.

    ``folds`` says what is unfolded at first (``"none"``, ``"changed"``, ``"all"``), ``theme``
    which colours hold (the front end's for ``"auto"``, else ``"light"`` or ``"dark"``).
    """

    folds: str = "changed"
    theme: str = "auto"

    def unfolds(self, default: bool) -> bool:
        """Say whether something is unfolded that is so by ``default`` where it has changed."""
        return self.folds == "all" or (default and self.folds != "none")


look = Look()
