"""What an execution or a session may cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from nbsession.errors import BudgetError, SessionError

if TYPE_CHECKING:
    from nbsession.usage.tokens import Usage


class Budget(NamedTuple):
    """A limit in US dollars, in tokens (input and output), or both."""

    usd: float | None = None
    tokens: int | None = None

    @classmethod
    def of(cls, value: Any) -> Budget | None:
        """Read a budget: ``None``, a number of US dollars, ``{"usd": …, "tokens": …}`` or a ``Budget``."""
        if value is None or isinstance(value, Budget):
            return value
        given = dict(value) if isinstance(value, Mapping) else {"usd": value}
        numbers = all(
            isinstance(n, (int, float)) and not isinstance(n, bool) and n >= 0 for n in given.values()
        )
        if not given or not given.keys() <= {"usd", "tokens"} or not numbers:
            raise SessionError(
                f"a budget is a number of US dollars or {{'usd': …, 'tokens': …}}, not below 0, got {value!r}"
            )
        return cls(**given)

    def check(
        self,
        whose: str,
        model: str,
        used: Usage,
        spent: float | None,
        next_input: int,
        *,
        unpriced: str = "",
        answer: int = 0,
        batch: bool = False,
    ) -> None:
        """Raise ``BudgetError`` if a call with so many (estimated) input tokens would pass the limit.

        ``used`` and ``spent`` are what was used so far; where ``spent`` is not known, ``unpriced``
        is the model that has no price, if that is. What the answer will cost
        cannot be known before; its input is counted, corrected by what ``model`` reported before, and
        at its full price, since nobody knows what the provider's cache still holds. Of what is sent
        in a ``batch`` none can be taken back when the first answers are there: its ``answer`` counts as well, with
        the most tokens that it may have.
        """
        from nbsession.usage.calibration import calibrated
        from nbsession.usage.prices import cost
        from nbsession.usage.tokens import Usage

        next_input = calibrated(model).apply(next_input)
        if self.tokens is not None and used.total_tokens + next_input + answer > self.tokens:
            over = used.total_tokens + next_input + answer - self.tokens
            raise BudgetError(
                f"the next call takes ≈{next_input + answer} tokens and would pass the {whose} budget of {self.tokens} tokens "
                f"by ≈{over} ({used.total_tokens} are used); raise budget= to go on"
            )
        if self.usd is None:
            return
        price = cost(model, Usage(next_input, answer, batch=batch))
        if price is None or spent is None:
            raise BudgetError(
                f"{_unpriced(model if price is None else unpriced, price)}, or give the budget in tokens"
            )
        if spent + price > self.usd:
            raise BudgetError(
                f"the next call would cost about {_dollars(price)} and pass the {whose} budget of {_dollars(self.usd)} "
                f"by {_dollars(spent + price - self.usd)} ({_dollars(spent)} are spent); raise budget= to go on"
            )


def _dollars(amount: float) -> str:
    """Write a sum so that one of some tokens is not written as none."""
    return f"${amount:.4f}" if amount >= 0.001 or not amount else f"${amount:.1g}"


def _unpriced(model: str, price: float | None) -> str:
    answered = "" if price is None else ", which answered before,"
    return (
        f"the price of {model or 'a model'}{answered} is not known, so a budget in US dollars cannot be kept; set it "
        f"with nbsession.usage.set_price({repr(model) if model else 'model'}, input=…, output=…)"
    )
