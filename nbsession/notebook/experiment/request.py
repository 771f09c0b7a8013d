"""What ``%session experiment`` asks for: cases, knob values, scorers and models, read from its line and the notebook's names."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from nbsession.errors import SessionError, did_you_mean
from nbsession.knobs import equal
from nbsession.notebook.sweep.request import read

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nbsession.app import App
    from nbsession.experiment import Experiment
    from nbsession.notebook.arguments import Line
    from nbsession.notebook.sessions import Sessions
    from nbsession.session import Session

READY = ("equals", "contains", "matches")
"""Scorers that go by their names, and by what a case expects."""


def experiment(sessions: Sessions, line: Line) -> Experiment:
    """Make the experiment that a line asks for, of the current session's app, with its knobs and model as they stand.

    Nothing is sent. Raises ``SessionError`` for cases or a scorer that is not there, ``ModelError`` for such a model, and
    what ``Experiment`` raises.
    """
    from nbsession.experiment import Experiment

    session, names = sessions.current, sessions.namespace
    cases, *values = line.words
    models = [sessions.model(name) for name in listed(line.get("models"))]
    return Experiment(
        cast("App", session.app),
        _cases(" ".join(shlex.split(cases)), names),
        knobs={**_as_they_stand(session), **read(values, session.knobs.specs())},
        models=models or ([] if session.model is None else [session.model]),
        repeat=line.get("repeat", 1),
        score=[_scorer(name, names) for name in listed(line.get("score"))],
    )


def scorers(names: Mapping[str, Any]) -> list[str]:
    """Return the names of what a line can score by: functions of the notebook, and those that come along."""
    from nbsession.experiment.scorers import Check

    made = [
        name
        for name, value in names.items()
        if not name.startswith("_") and (_is_written_here(value) or isinstance(value, Check))
    ]
    return list(dict.fromkeys([*made, *READY]))


def cases(names: Mapping[str, Any]) -> list[str]:
    """Return the variables that may hold cases: lists that are not empty, and data frames."""
    return [
        name
        for name, value in names.items()
        if not name.startswith("_")
        and name not in ("In", "Out")
        and (
            (isinstance(value, list | tuple) and value)
            or (hasattr(value, "columns") and hasattr(value, "iloc"))
        )
    ]


def listed(text: str | None) -> list[str]:
    """Take a list of names apart: ``"right,contains"``."""
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def _as_they_stand(session: Session) -> dict[str, list[Any]]:
    """Return the values of the knobs that were moved: the trials are of a new session, which knows nothing of it."""
    values = session.knobs.values()
    specs = session.knobs.specs()
    return {name: [values[name]] for name, spec in specs.items() if not equal(values[name], spec.default)}


def _cases(word: str, names: Mapping[str, Any]) -> Any:
    if word in names:
        return names[word]
    if Path(word).is_file():
        return word
    near = did_you_mean(word, [*cases(names), *files("")])
    raise SessionError(f"{word!r} is neither a variable with cases nor a file of JSON lines{near}")


def files(begun: str) -> Iterable[str]:
    """Give the files of JSON lines, and the folders, that what is begun may become."""
    folder, _, _ = begun.rpartition("/")
    try:
        found = sorted(Path(f"{folder}/" if folder or begun.startswith("/") else ".").iterdir())
    except OSError:
        return
    for path in found:
        if path.name.startswith("."):
            continue
        if path.suffix == ".jsonl":
            yield str(path)
        elif path.is_dir():
            yield f"{path}/"


def _scorer(name: str, names: Mapping[str, Any]) -> Any:
    if callable(names.get(name)):
        return names[name]
    if name in READY:
        from nbsession import experiment

        return getattr(experiment, name)
    raise SessionError(
        f"no scorer is named {name!r}{did_you_mean(name, scorers(names))}; it is a function of a result and its case, or "
        f"one of {', '.join(READY)}"
    )


def _is_written_here(value: Any) -> bool:
    """Say whether a value is a function that a cell defined, and can be called with two arguments."""
    code = getattr(value, "__code__", None)
    return code is not None and value.__module__ == "__main__" and code.co_argcount == 2
