"""What a budget left out between two contexts, against what of the cached prefix that broke."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nbsession.usage import Usage, cost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbsession.context.withheld import Withheld


class Trade(NamedTuple):
    """What was left out for want of room, and what that breaks, in estimated tokens and in US dollars.

    ``left`` and ``returned`` are tokens, of which each further request has so many fewer or more; ``broken`` are
    those behind the end of the common prefix, which the provider has to read anew, once. ``saves``
    is in dollars a request (as if read from the cache; negative where more returned), ``costs`` once; both are ``None`` where no price is known.
    """

    left: int
    returned: int
    broken: int
    saves: float | None
    costs: float | None

    def __str__(self) -> str:
        moves = [
            f"≈{tokens:,} tokens {how}"
            for tokens, how in ((self.left, "left for want of room"), (self.returned, "returned"))
            if tokens
        ]
        if self.broken:
            moves.append(f"≈{self.broken:,} tokens of the prefix broken")
        said = ", ".join(moves)
        if self.saves is None or self.costs is None or not (self.saves or self.costs):
            return said
        return f"{said} (≈${self.costs:.2g} once, {'−' if self.saves > 0 else '+'}≈${abs(self.saves):.2g} a request)"


def trade_of(left: Sequence[Withheld], returned: Sequence[Withheld], broken: int, model: str) -> Trade | None:
    """Weigh what was left out and what returned; ``None`` where there was neither."""
    if not left and not returned:
        return None
    out, back = sum([item.tokens for item in left]), sum([item.tokens for item in returned])
    read, again = _cached(model, abs(out - back)), _cached(model, broken)
    written = cost(model, Usage(input_tokens=broken, cache_write_tokens=broken)) if model else None
    known = read is not None and again is not None and written is not None
    saves = (read if out >= back else -read) if known else None  # type: ignore[operator]  # they are known
    costs = written - again if known else None  # type: ignore[operator]  # as above
    return Trade(out, back, broken, saves, costs)


def _cached(model: str, tokens: int) -> float | None:
    """Return what tokens cost that are read from the provider's cache."""
    return cost(model, Usage(input_tokens=tokens, cache_read_tokens=tokens)) if model else None
