"""What the server keeps with a session, in its metadata: whose it is, its app and folder, and the runs it took."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY = "nbsession"
"""The name in the metadata that is the server's own."""


@dataclass(frozen=True, slots=True)
class Note:
    """The server's own part of a session's metadata. ``runs`` are those that were taken and have not ended."""

    app: str = ""
    user: str = ""
    work_dir: str | None = None
    created: float | None = None
    runs: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> Note:
        """Read it from a session's metadata."""
        kept = metadata.get(KEY)
        if not isinstance(kept, dict):
            return cls()
        return cls(**{name: value for name, value in kept.items() if name in cls.__slots__})

    def within(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """Return metadata with this note in it."""
        usual = asdict(Note())
        said = {name: value for name, value in asdict(self).items() if value != usual[name]}
        return {**own(metadata), KEY: said}

    def but(self, **changes: Any) -> Note:
        """Return it with other values."""
        return replace(self, **changes)


def own(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata that is the user's own."""
    return {name: value for name, value in metadata.items() if name != KEY}
