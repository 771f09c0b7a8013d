from __future__ import annotations

import datetime as dt
import json
import os
from typing import TYPE_CHECKING

import pytest

from nbsession.errors import NbsessionError
from nbsession.usage import Usage, cost, prices, saved, window_of
from nbsession.usage.prices import price_date, set_price

if TYPE_CHECKING:
    from pathlib import Path

MILLION = 1_000_000


@pytest.mark.parametrize(
    "name", ["claude-haiku-4-5", "anthropic:claude-haiku-4-5", "anthropic:claude-haiku-4-5-20251001"]
)
def test_a_price_is_found_with_or_without_prefix_and_date(name: str) -> None:
    assert cost(name, Usage(MILLION, MILLION)) == pytest.approx(1 + 5)


def test_what_the_cache_gave_and_took_has_its_own_price() -> None:
    usage = Usage(1_000, 100, cache_read_tokens=600, cache_write_tokens=300)
    expected = (100 * 5 + 100 * 25 + 600 * 0.5 + 300 * 6.25) / MILLION
    assert cost("claude-opus-5", usage) == pytest.approx(expected)


def test_a_long_prompt_may_cost_more_for_all_its_tokens() -> None:
    assert cost("claude-haiku-5-5", Usage(100_000, 0)) == pytest.approx(0.01)
    assert cost("claude-haiku-5-5", Usage(200_000, 1_000)) == pytest.approx(0.1 + 0.0025)


@pytest.mark.parametrize("name", ["anthropic:claude-unheard-of", "gpt-4", "", "openai:claude"])
def test_an_unknown_price_is_none_and_not_zero(name: str) -> None:
    assert cost(name, Usage(5, 5)) is None
    assert window_of(name) is None


@pytest.mark.parametrize("name", ["simulated", "scripted", "ollama:qwen3:8b"])
def test_what_runs_here_costs_nothing(name: str) -> None:
    assert cost(name, Usage(5, 5)) == 0.0


def test_a_price_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "_set", {})
    set_price("anthropic:claude-mine", input=1, output=2, window=9_000)
    assert window_of("claude-mine") == 9_000
    assert cost("claude-mine", Usage(MILLION, MILLION, cache_read_tokens=MILLION)) == pytest.approx(3)
    with pytest.raises(ValueError, match="the output price of x must not be negative, got -1"):
        set_price("x", input=1, output=-1)


def test_a_price_holds_for_the_dated_name_that_a_response_carries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "_set", {})
    set_price("openai:gpt-mine", input=1, output=2)
    assert cost("openai:gpt-mine-2025-10-01", Usage(MILLION, MILLION)) == pytest.approx(3)
    assert cost("openai:gpt-mine-2025", Usage(MILLION, MILLION)) is None


@pytest.mark.parametrize(
    ("priced", "other"),
    [
        ("us.anthropic.claude-mine-4-5-20251001-v1:0", "us.anthropic.claude-yours-4-5-20251101-v1:0"),
        ("openai:qwen3:8b", "openai:llama3:8b"),
        ("qwen3:8b", "qwen3:14b"),
        ("meta/llama:free", "openai:openai/gpt-oss:free"),
        ("somebody:knows", "knows"),
        ("openai/mine", "mine"),
    ],
)
def test_a_price_of_one_model_prices_no_other(
    priced: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prices, "_set", {})
    set_price(priced, input=7, output=0)
    assert cost(priced, Usage(MILLION, 0)) == pytest.approx(7)
    assert cost(other, Usage(MILLION, 0)) is None


def test_one_price_of_ones_own_leaves_the_list_to_the_other_models_of_a_gateway(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prices, "_set", {})
    haiku, opus = (f"us.anthropic.claude-{name}-v1:0" for name in ("haiku-4-5-20251001", "opus-4-5-20251101"))
    set_price(haiku, input=7, output=0)
    assert cost(haiku, Usage(MILLION, 0)) == pytest.approx(7)
    assert cost(opus, Usage(MILLION, 0)) == pytest.approx(5)
    assert cost("claude-haiku-4-5", Usage(MILLION, 0)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("name", "maker"),
    [
        ("openai/gpt-4o", "gpt-4o"),
        ("openai:openai/gpt-4.1-mini", "gpt-4.1-mini"),
        ("openai/gpt-4o-2024-11-20", "gpt-4o"),
        ("anthropic/claude-sonnet-4.5", "claude-sonnet-4-5"),
        ("openai:anthropic/claude-opus-4.6", "claude-opus-4-6"),
        ("claude-sonnet-4.5", "claude-sonnet-4-5"),
        ("anthropic.claude-haiku-4-5-20251001-v1:0", "claude-haiku-4-5"),
        ("us.anthropic.claude-opus-4-5-20251101-v1:0", "claude-opus-4-5"),
        ("us-gov.anthropic.claude-opus-4-6-v1", "claude-opus-4-6"),
        ("anthropic:global.anthropic.claude-sonnet-4-6", "claude-sonnet-4-6"),
        ("claude-sonnet-4-5@20250929", "claude-sonnet-4-5"),
        ("claude-opus-4-6@default", "claude-opus-4-6"),
    ],
)
def test_a_model_behind_a_gateway_has_the_price_and_window_of_its_maker(name: str, maker: str) -> None:
    usage = Usage(1_000, 1_000, cache_read_tokens=500)
    assert cost(name, usage) == cost(maker, usage)
    assert cost(name, usage) is not None
    assert window_of(name) == window_of(maker)


@pytest.mark.parametrize(
    "name",
    ["openai/gpt-4o:free", "somebody/gpt-4o", "anthropic/claude-sonnet-4.5:beta", "openai/claude", "gpt-4-1"],
)
def test_a_name_that_could_be_another_model_has_no_price(name: str) -> None:
    assert cost(name, Usage(5, 5)) is None


def test_a_file_of_ones_own_prices_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "prices.json"
    own.write_text(json.dumps({"models": {"claude-opus-5": {"input": 1, "output": 1}}}))
    monkeypatch.setenv("NBSESSION_PRICES", str(own))
    assert cost("claude-opus-5", Usage(MILLION, 0)) == pytest.approx(1)
    assert cost("claude-haiku-4-5", Usage(MILLION, 0)) == pytest.approx(1)


async def test_a_file_of_prices_that_is_edited_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "prices.json"
    monkeypatch.setenv("NBSESSION_PRICES", str(own))
    for number, price in enumerate((1, 2)):
        own.write_text(json.dumps({"models": {"openai:mine-20260101": {"input": price, "output": 1}}}))
        os.utime(own, (number, number))
        assert cost("openai:mine", Usage(MILLION, 0)) == pytest.approx(price)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"models": {"x": {"input": 1}}}',
        '{"models": {"x": {"input": "1", "output": 2}}}',
        '{"models": {"x": {"input": 1, "output": -2}}}',
        '{"models": {"x": {"input": 1, "output": NaN}}}',
        '{"models": {"x": {"input": 1, "output": 2, "cache_read": null}}}',
        '{"models": {"x": {"input": 1, "output": 2, "long": {"input": 2, "output": 3}}}}',
    ],
)
def test_a_broken_file_of_prices_says_what_it_must_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    own = tmp_path / "prices.json"
    own.write_text(text)
    monkeypatch.setenv("NBSESSION_PRICES", str(own))
    with pytest.raises(NbsessionError, match=r"NBSESSION_PRICES names .*it must read"):
        cost("claude-opus-5", Usage(1, 1))


def test_the_list_is_dated_and_its_prices_make_sense() -> None:
    assert dt.date.fromisoformat(price_date()) > dt.date(2026, 1, 1)
    assert price_date() == min(source["date"] for source in prices._packaged()["sources"])
    for model, price in prices._packaged()["models"].items():
        written = price.get("cache_write", price["input"])  # not every service charges for that
        assert 0 < price["cache_read"] < price["input"] <= written < price["output"], model
        if (long := price.get("long")) is not None:
            assert price.keys() - {"window", "long"} == long.keys() - {"above"}, model
            assert all(price[kind] < long[kind] for kind in long.keys() - {"above"}), model


@pytest.mark.parametrize(
    ("name", "dollars", "window"),
    [
        ("openai:gpt-6.1-sol", 2 + 10, 1_050_000),
        ("openai:gpt-5-mini-2025-08-07", 0.25 + 2, 400_000),
        ("gpt-4.1-mini", 0.4 + 1.6, 1_047_576),
        ("openai:o3", 2 + 8, 200_000),
    ],
)
def test_models_of_openai_have_a_price_and_a_window(name: str, dollars: float, window: int) -> None:
    per_token = cost(name, Usage(100_000, 100_000))
    assert per_token == pytest.approx(dollars / 10)
    assert window_of(name) == window


def test_what_openai_cached_and_a_prompt_that_is_long_have_their_own_price() -> None:
    assert cost("gpt-5.5", Usage(200_000, 0, cache_read_tokens=100_000)) == pytest.approx(0.5 + 0.05)
    assert cost("gpt-5.5", Usage(300_000, 0, cache_read_tokens=100_000)) == pytest.approx(2 + 0.1)


def test_a_price_under_the_name_that_was_asked_for_holds_where_another_name_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prices, "_set", {})
    asked, answered, usage = "openai:gpt-5-mini", "openai:deployment-7", Usage(MILLION, 0)
    assert cost(answered, usage) is None
    assert cost(answered, usage, asked=asked) == pytest.approx(0.25)
    assert cost("openai:gpt-5", usage, asked=asked) == pytest.approx(1.25)  # what answered is what is charged
    own = tmp_path / "prices.json"
    own.write_text(json.dumps({"models": {"gpt-5-mini": {"input": 3, "output": 3}}}))
    monkeypatch.setenv("NBSESSION_PRICES", str(own))
    assert cost("openai:gpt-5", usage, asked=asked) == pytest.approx(3)  # but for a price of one's own
    set_price(answered, input=4, output=4)
    assert cost(answered, usage, asked=asked) == pytest.approx(4)
    set_price(asked, input=5, output=5)
    assert cost(answered, usage, asked=asked) == pytest.approx(5)
    cached = Usage(MILLION, 0, cache_read_tokens=MILLION)
    assert saved(answered, cached, asked=asked) == 0


def test_what_the_cache_saved_is_the_difference_to_paying_for_all_of_it() -> None:
    usage = Usage(10_000, 100, cache_read_tokens=9_000)
    plain = Usage(10_000, 100)
    paid, full = cost("claude-sonnet-5-5", usage), cost("claude-sonnet-5-5", plain)
    assert paid is not None
    assert full is not None
    assert saved("claude-sonnet-5-5", usage) == pytest.approx(full - paid)
    assert saved("claude-sonnet-5-5", plain) == 0
    written = saved("claude-sonnet-5-5", Usage(10_000, 100, cache_write_tokens=9_000))
    assert written is not None
    assert written < 0
    assert saved("claude-unheard-of", usage) is None
