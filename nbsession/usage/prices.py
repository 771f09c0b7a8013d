"""What an answer costs, in US dollars, from a dated list of prices.

``prices.json`` beside this module is the list; a file of the same form, named
by ``$NBSESSION_PRICES``, is laid over it, and ``set_price`` over both.
"""

from __future__ import annotations

import functools
import json
import math
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbsession.errors import NbsessionError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbsession.usage.tokens import Usage

FREE = ("simulated", "scripted", "recorded", "ollama", "llamacpp", "lmstudio", "vllm")
"""Models that cost nothing: rules, scripts, replays, and those that run on one's own machine."""

PROVIDERS = (*FREE, "anthropic", "openai")
"""What may stand before the colon of a name; any other word there is part of the id."""

_MILLION = 1_000_000
# Anthropic writes 20251001, OpenAI 2025-10-01, and a response carries it where the request did not.
_DATE = re.compile(r"-\d{8}$|-\d{4}-\d{2}-\d{2}$")
_GATEWAYS = (
    re.compile(r"(?:openai|anthropic)/(.+)"),  # OpenRouter: anthropic/claude-sonnet-4.5
    re.compile(r"(?:[a-z-]+\.)?anthropic\.(.+?)(?:-v\d+(?::\d+)?)?"),  # Bedrock: us.anthropic.claude-…-v1:0
    re.compile(r"(claude-.+)@(?:\d{8}|default)"),  # Vertex AI: claude-sonnet-4-5@20250929
)
_set: dict[str, dict[str, Any]] = {}


def cost(model: str, usage: Usage, *, asked: str = "") -> float | None:
    """Return what one answer of ``model`` cost, or ``None`` where no price is known.

    ``model`` is a name with or without its provider's prefix and with or without
    the date at the end of an id, or as OpenRouter, Bedrock and Vertex AI spell one of OpenAI
    or Anthropic (then the price is its maker's; a gateway may ask another). ``usage`` is that of a single answer: some models
    charge long prompts at another rate. What was read from and written to the
    provider's cache has its own price, as have the searches it made; what its other
    tools cost is not in the usage and not counted. The tokens of a batch cost a share of all these. ``asked`` is the name that the model was
    asked for by, where it answers under another, as behind a gateway: a price of yours
    for that name comes first, one of the list's where it knows the answer's name not. Recorded answers cost what they cost when
    they were live; whoever replays them pays nothing and should not ask.
    """
    if model.partition(":")[0] in FREE:
        return 0.0
    price = _price_of(model, asked)
    if price is None:
        return None
    long = price.get("long")
    if long is not None and usage.input_tokens > long["above"]:
        price = long
    fresh = usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens
    searches = usage.web_searches * float(_packaged()["web_search"])
    write = price.get("cache_write", price["input"])
    long_writes = usage.cache_write_long_tokens
    dollars = (
        fresh * price["input"]
        + usage.output_tokens * price["output"]
        + usage.cache_read_tokens * price.get("cache_read", price["input"])
        + (usage.cache_write_tokens - long_writes) * write
        + long_writes * price.get("cache_write_long", write)
    )
    share = float(_packaged()["batch"]) if usage.batch else 1.0
    return share * float(dollars) / _MILLION + searches


def saved(model: str, usage: Usage, *, asked: str = "") -> float | None:
    """Return by how much the provider's cache made an answer cheaper, or ``None`` where no price is known.

    Negative where writing to the cache cost more than was read from it. ``usage`` is
    that of a single answer, ``asked`` as in ``cost``.
    """
    without = cost(
        model,
        replace(usage, cache_read_tokens=0, cache_write_tokens=0, cache_write_long_tokens=0),
        asked=asked,
    )
    paid = cost(model, usage, asked=asked)
    return None if without is None or paid is None else without - paid


def window_of(model: str) -> int | None:
    """Return how many tokens ``model`` takes, or ``None`` where that is not known."""
    price = _price_of(model)
    return None if price is None else price.get("window")


def set_price(
    model: str,
    *,
    input: float,
    output: float,
    cache_read: float | None = None,
    cache_write: float | None = None,
    cache_write_long: float | None = None,
    window: int | None = None,
) -> None:
    """Set the price of ``model`` for this process, in US dollars per million tokens, and its window in tokens.

    It holds for the name with and without its provider before and a date after it, and for no
    other size or model of a gateway. Where no price is given for the cache, its tokens cost what other input does,
    and what it keeps longer costs what else is written to it.
    Raises ``ValueError`` for a negative price.
    """
    price = {
        "input": input,
        "output": output,
        "cache_read": cache_read,
        "cache_write": cache_write,
        "cache_write_long": cache_write_long,
        "window": window,
    }
    given = {name: value for name, value in price.items() if value is not None}
    _check(model, given)
    _set[_named(model)] = given


def own() -> Mapping[str, Any]:
    """Return the prices that were set here or are in the user's file, for another process to ``take``."""
    return {**_own(), **_set}


def take(prices: Mapping[str, Any]) -> None:
    """Set what ``own`` gave in another process."""
    _set.update(prices)


def priced_models() -> tuple[str, ...]:
    """Return the models of the list that comes with the package, without their providers' names."""
    return tuple(_packaged()["models"])


def price_date() -> str:
    """Return the date of the list that comes with the package (ISO 8601): the day its oldest part was read."""
    return str(min(source["date"] for source in _packaged()["sources"]))


def _price_of(model: str, asked: str = "") -> Mapping[str, Any] | None:
    answered, asked_for = _spellings(model), _spellings(asked)
    for prices, names in (
        (_set, asked_for + answered),
        (_own(), asked_for + answered),
        (_packaged()["models"], answered + asked_for),
    ):
        for name in names:
            if name in prices:
                found: Mapping[str, Any] = prices[name]
                return found
    return None


def _named(model: str) -> str:
    """Return a name without its provider's and its date; a colon may also stand in an id (``qwen3:8b``)."""
    provider, _, rest = model.partition(":")
    return _DATE.sub("", rest if provider in PROVIDERS else model)


def _spellings(model: str) -> tuple[str, str]:
    """Return the names that a model's price may stand under: as it is offered, and as its maker calls it."""
    name = _named(model)
    offered = next((found for gateway in _GATEWAYS if (found := gateway.fullmatch(name))), None)
    made = _DATE.sub("", offered[1] if offered else name)
    return name, made.replace(".", "-") if made.startswith("claude-") else made


@functools.cache
def _packaged() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
    return data


def _check(model: str, price: Mapping[str, Any]) -> None:
    for name, value in price.items():
        if name == "long":
            _check(model, value)
        elif isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(f"the {name} price of {model} must be a number, got {value!r}")
        elif not 0 <= value < math.inf:
            raise ValueError(f"the {name} price of {model} must not be negative, got {value!r}")


def _own() -> Mapping[str, Any]:
    """Return the prices of ``$NBSESSION_PRICES``; a file that was edited is read again."""
    path = os.environ.get("NBSESSION_PRICES", "")
    if not path:
        return {}
    try:
        changed = Path(path).stat().st_mtime_ns
    except OSError:
        changed = 0
    return _read(path, changed)


@functools.lru_cache(maxsize=4)
def _read(path: str, changed: int) -> Mapping[str, Any]:  # noqa: ARG001  # a key of the cache
    try:
        models = {
            _named(name): price
            for name, price in json.loads(Path(path).read_text(encoding="utf-8"))["models"].items()
        }
        for name, price in models.items():
            _check(name, price)
            _check(name, {kind: price[kind] for kind in ("input", "output")})
            if "long" in price:
                _check(name, {kind: price["long"][kind] for kind in ("above", "input", "output")})
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise NbsessionError(
            f"NBSESSION_PRICES names {path!r}, which gives no prices ({type(error).__name__}: {error}); it must read "
            '{"models": {"<id>": {"input": <USD per million tokens>, "output": …}}}'
        ) from error
    return models
