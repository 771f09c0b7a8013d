"""Token figures: an offline estimate of text, and the usage that a model reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BYTES_PER_TOKEN = 4
"""UTF-8 bytes per token: within ten per cent on prose for current models, unscaled."""

MESSAGE_OVERHEAD = 4
"""Tokens that a message's frame costs, whatever it holds."""


def estimate(text: str) -> int:
    """Estimate the tokens of ``text`` (never negative; 0 for no text).

    No tokenizer of a current model can be had offline, so this is UTF-8 bytes
    divided by four, rounded up. Show it with a "≈".
    """
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return -(-size // BYTES_PER_TOKEN)


def estimate_image(width: int, height: int) -> int:
    """Estimate the tokens of a picture of ``width`` by ``height`` pixels.

    Pixels divided by 750, at least 64; a picture of unknown size counts as 1,600, the
    most that one costs.
    """
    if width <= 0 or height <= 0:
        return 1600
    return max(64, min(1600, width * height // 750))


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the model reports them.

    ``input_tokens`` counts all input, what was read from and written to the
    provider's cache included; ``cache_read_tokens`` and ``cache_write_tokens``
    are the shares of it. ``cache_write_long_tokens`` is the share of those written that
    the provider keeps longer, for a higher price. ``thinking_tokens`` is a share of ``output_tokens``.
    ``web_searches`` counts those that the provider made, which it charges for.
    ``estimated`` says that a figure is an estimate, not a report, and ``batch`` that the answer
    came in a batch, for which the provider charges less.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    thinking_tokens: int = 0
    web_searches: int = 0
    cache_write_long_tokens: int = 0
    estimated: bool = False
    batch: bool = False

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cache_read_tokens + other.cache_read_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.thinking_tokens + other.thinking_tokens,
            self.web_searches + other.web_searches,
            self.cache_write_long_tokens + other.cache_write_long_tokens,
            self.estimated or other.estimated,
            self.batch or other.batch,
        )

    @classmethod
    def sum(cls, usages: Sequence[Usage]) -> Usage:
        """Add up many at once."""
        *counts, estimated, batch = [[getattr(usage, name) for usage in usages] for name in cls.__slots__]
        totals: list[Any] = [*map(sum, counts), any(estimated), any(batch)]
        return cls(*totals)

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Usage:
        return cls(**data)
