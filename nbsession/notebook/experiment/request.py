"""What ``%session experiment`` asks for: cases, knob values, scorers and models, read from its line and the notebook's names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from nbsession.errors import SessionError, did_you_mean
from nbsession.notebook.sweep.request import read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbsession.app import App
    from nbsession.experiment import Experiment
    from nbsession.notebook.arguments import Line
    from nbsession.session import Session

READY = ("equals", "contains", "matches")
"""Scorers that go by their names, and by what a case expects."""


def experiment(session: Session, line: Line, names: Mapping[str, Any]) -> Experiment:
    """Make the experiment that a line asks for, of the session's app; nothing is sent.

    Raises ``SessionError`` for cases, a scorer or a model that is not there, and what ``Experiment`` raises.
    """
    from nbsession.experiment import Experiment

    cases, *values = line.words
    scorers = [_scorer(name, names) for name in _listed(line.get("score"))]
    models = _listed(line.get("models")) or ([] if session.model is None else [session.model])
    return Experiment(
        cast("App", session.app),
        _cases(cases, names),
        knobs=read(values, session.knobs.specs()) or None,
        models=models,
        repeat=line.get("repeat", 1),
        score=scorers,
    )


def _cases(word: str, names: Mapping[str, Any]) -> Any:
    if word in names:
        return names[word]
    if Path(word).is_file():
        return word
    near = did_you_mean(word, [name for name in names if not name.startswith("_")])
    raise SessionError(f"{word!r} is neither a variable with cases nor a file of JSON lines{near}")


def _scorer(name: str, names: Mapping[str, Any]) -> Any:
    if callable(names.get(name)):
        return names[name]
    if name in READY:
        from nbsession import experiment

        return getattr(experiment, name)
    known = [
        *READY,
        *(known for known, value in names.items() if callable(value) and not known.startswith("_")),
    ]
    raise SessionError(
        f"no scorer is named {name!r}{did_you_mean(name, known)}; it is a function of a result and its case, or one of "
        f"{', '.join(READY)}"
    )


def _listed(text: str | None) -> list[str]:
    return [word.strip() for word in (text or "").split(",") if word.strip()]
