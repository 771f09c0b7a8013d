from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest

from nbsession.errors import BudgetError
from nbsession.usage import Budget, Usage, calibrated, estimate, observe
from nbsession.usage.calibration import Calibration, family_of
from nbsession.usage.tokens import estimate_image

MODEL = "anthropic:claude-test-1"


def kept() -> Path:
    return Path(os.environ["XDG_DATA_HOME"]) / "nbsession" / "tokens.json"


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("a", 1), ("four", 1), ("fives", 2), ("ü" * 4, 2), ("☃" * 4, 3), ("\ud800", 1)],
)
def test_text_is_estimated_by_its_bytes(text: str, tokens: int) -> None:
    assert estimate(text) == tokens


@pytest.mark.parametrize(
    ("size", "tokens"), [((750, 100), 100), ((10, 10), 64), ((9000, 9000), 1600), ((0, 0), 1600)]
)
def test_a_picture_is_estimated_by_its_pixels(size: tuple[int, int], tokens: int) -> None:
    assert estimate_image(*size) == tokens


@pytest.mark.parametrize("text", ["x" * 100_000, "ü" * 50_000])
def test_a_long_text_is_estimated_at_once(text: str) -> None:
    started = time.perf_counter()
    for _ in range(10):
        estimate(text)
    assert (time.perf_counter() - started) / 10 < 0.002


def test_without_live_answers_an_estimate_is_only_about_right() -> None:
    assert calibrated(MODEL) == Calibration(1.0, None, 0)
    assert calibrated(MODEL).show(1240) == "≈1,240"
    assert not kept().exists()


def test_live_answers_correct_the_estimate_and_say_how_far_off_it_is() -> None:
    for estimated, reported in ((1000, 1250), (2000, 2500), (1000, 1150), (4000, 5000)):
        observe(MODEL, estimated, reported)
    learned = calibrated(MODEL)
    assert learned.samples == 4
    assert learned.factor == pytest.approx(1.24, abs=0.01)
    assert learned.spread is not None
    assert 0 < learned.spread < 0.03
    assert learned.show(1000) == "≈1,238 ±2 %"
    assert calibrated("anthropic:claude-other-2").samples == 0


def test_a_family_is_a_model_without_its_date_or_size() -> None:
    assert family_of("anthropic:claude-test-1-20260101") == family_of(MODEL) == MODEL
    assert family_of("openai:gpt-test-2026-01-01") == "openai:gpt-test"
    assert family_of("ollama:qwen3:8b") == family_of("ollama:qwen3:30b") == "ollama:qwen3"
    assert family_of("simulated") == "simulated"


@pytest.mark.parametrize(("estimated", "reported"), [(50, 300), (1000, 10), (1000, 60_000), (1000, 0)])
def test_figures_that_cannot_tell_are_passed_over(estimated: int, reported: int) -> None:
    observe(MODEL, estimated, reported)
    assert calibrated(MODEL).samples == 0


def test_a_tokenizer_that_changes_is_noticed() -> None:
    for _ in range(100):
        observe(MODEL, 1000, 1000)
    for _ in range(100):
        observe(MODEL, 1000, 1400)
    assert calibrated(MODEL).factor == pytest.approx(1.4, abs=0.03)


def test_the_file_holds_figures_only_and_is_read_by_the_next_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        observe(MODEL, 1000, 1250)
    data = json.loads(kept().read_text("utf-8"))
    assert set(data) == {"version", "families"}
    assert set(data["families"][MODEL]) == {"samples", "estimated", "reported", "off"}
    copy = tmp_path / "nbsession" / "tokens.json"
    copy.parent.mkdir()
    copy.write_bytes(kept().read_bytes())
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert calibrated(MODEL).factor == 1.25


@pytest.mark.parametrize(
    "damage", ["", "[]", "{", '{"families": {"x": {"samples": "many"}}}', '{"families": {"x": []}}']
)
def test_a_damaged_file_counts_as_none(damage: str) -> None:
    kept().parent.mkdir()
    kept().write_text(damage, "utf-8")
    assert calibrated(MODEL) == Calibration()
    observe(MODEL, 1000, 1250)
    assert json.loads(kept().read_text("utf-8"))["families"][MODEL]["samples"] == 1


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = tmp_path / "taken"
    taken.write_text("a file", "utf-8")
    monkeypatch.setenv("XDG_DATA_HOME", str(taken))
    for _ in range(3):
        observe(MODEL, 1000, 1250)
    assert calibrated(MODEL).factor == 1.25


def test_threads_lose_no_answer() -> None:
    threads = [threading.Thread(target=observe, args=(MODEL, 1000, 1250)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calibrated(MODEL).samples == 20


def test_a_budget_goes_by_what_the_model_counts() -> None:
    budget = Budget(tokens=1_100)
    budget.check("session's", MODEL, Usage(), 0.0, 1_000)
    for _ in range(3):
        observe(MODEL, 1000, 1250)
    with pytest.raises(
        BudgetError, match="takes ≈1250 tokens and would pass the session's budget of 1100 tokens by ≈150"
    ):
        budget.check("session's", MODEL, Usage(), 0.0, 1_000)
