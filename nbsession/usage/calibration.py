"""How the token estimate compares with what live models report, kept per user.

A small file in the user's data folder holds, for each family of models, sums of
figures and nothing else: no text, no key, no session.
"""

from __future__ import annotations

import json
import os
import re
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENOUGH = 3
"""Answers of a family before its figures are used."""

SMALLEST = 200
"""Estimated tokens of a context that counts: in a smaller one, the provider's own frame outweighs the text."""

FADE = 0.97
"""What earlier answers weigh against the next one, so that a changed tokenizer is noticed."""

# Anthropic writes 20251001, OpenAI 2025-10-01, and a response carries it where the request did not.
_DATE = re.compile(r"-\d{8}$|-\d{4}-\d{2}-\d{2}$")
_LIKELY = (0.2, 5.0)
_lock = threading.Lock()
_held: dict[Path, dict[str, dict[str, float]]] = {}


@dataclass(frozen=True, slots=True)
class Calibration:
    """What one estimated token of a model's family was in its own count, over ``samples`` live answers.

    ``spread`` is by how much the corrected estimate was mostly off, as a share of
    the count (0.06: ±6 %); ``None`` where there are too few samples to say, and
    then ``factor`` is 1.
    """

    factor: float = 1.0
    spread: float | None = None
    samples: int = 0

    def apply(self, tokens: int) -> int:
        """Correct an estimate."""
        return round(tokens * self.factor)

    def show(self, tokens: int) -> str:
        """Write an estimate as this model counts: ``"≈1,240 ±6 %"``, without ``±`` where it is not known."""
        spread = "" if self.spread is None else f" ±{max(1, round(self.spread * 100))} %"
        return f"≈{self.apply(tokens):,}{spread}"


def observe(model: str, estimated: int, reported: int) -> None:
    """Take a live answer into account: the context's estimate, and the input tokens that the model reported.

    Contexts that are too small to tell, and figures that cannot be right, are passed
    over. Blocks for the writing of a small file.
    """
    if estimated < SMALLEST or not _LIKELY[0] <= reported / estimated <= _LIKELY[1]:
        return
    with _lock:
        path = _path()
        families = _read(path)
        sums = families.setdefault(family_of(model), {"samples": 0})
        factor = _factor(sums)
        off = abs(estimated * factor - reported) if sums["samples"] else 0.0
        for name, figure in (("estimated", estimated), ("reported", reported), ("off", off)):
            sums[name] = round(sums.get(name, 0.0) * FADE + figure, 3)
        sums["samples"] += 1
        _write(path, families)


def calibrated(model: str) -> Calibration:
    """Return how this user's live answers of ``model``'s family compared with the estimate.

    Estimates stay as they are; this says how to read one for a model, and is
    applied where a figure is shown or a budget is checked.
    """
    with _lock:
        sums = _read(_path()).get(family_of(model), {"samples": 0})
        samples = int(sums["samples"])
        if samples < ENOUGH:
            return Calibration(samples=samples)
        return Calibration(_factor(sums), sums["off"] / sums["reported"], samples)


def family_of(model: str) -> str:
    """Return a model's name without what does not change its tokenizer: a date, or the size behind a colon."""
    prefix, colon, identifier = model.partition(":")
    if not colon:
        return _DATE.sub("", model)
    return f"{prefix}:{_DATE.sub('', identifier.partition(':')[0])}"


def _factor(sums: dict[str, float]) -> float:
    return sums["reported"] / sums["estimated"] if sums["samples"] else 1.0


def _path() -> Path:
    import platformdirs

    return Path(platformdirs.user_data_dir("nbsession", appauthor=False)) / "tokens.json"


def _read(path: Path) -> dict[str, dict[str, float]]:
    if path not in _held:
        try:
            _held[path] = {
                str(family): _sums_of(sums)
                for family, sums in json.loads(path.read_text(encoding="utf-8"))["families"].items()
            }
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            # Without it, or with one that is damaged, the estimate is as good as it was before.
            _held[path] = {}
    return _held[path]


def _sums_of(data: Any) -> dict[str, float]:
    sums = {name: float(data[name]) for name in ("samples", "estimated", "reported", "off")}
    if min(sums["samples"], sums["estimated"], sums["reported"]) <= 0:
        raise ValueError(f"figures must be positive, got {data!r}")
    return sums


def _write(path: Path, families: dict[str, dict[str, float]]) -> None:
    # A folder that cannot be written costs the next process its calibration, and nothing else.
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f"{path.name}.{os.getpid()}")
        new.write_text(json.dumps({"version": 1, "families": families}, indent=1), encoding="utf-8")
        new.replace(path)
