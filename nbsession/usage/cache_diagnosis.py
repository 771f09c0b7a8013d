"""What a provider says of its cache beside the tokens that it read."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class CacheDiagnosis:
    """Why a provider could not read all of an earlier request from its cache, as it says itself.

    ``reason`` says it in plain words, such as ``"the tools changed"``; ``code`` is the provider's own
    word, ``""`` where it found that nothing changed; ``tokens`` are those that it would have read
    otherwise, by its estimate, 0 where it does not say.
    """

    reason: str
    code: str = ""
    tokens: int = 0

    def __str__(self) -> str:
        told = f" ({self.code})" if self.code else ""
        return f"{self.reason}{told}"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CacheDiagnosis:
        return cls(**data)
