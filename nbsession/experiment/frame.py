"""An experiment's trials as a data frame, and its arms as a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession.errors import SessionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.figure import Figure

    from nbsession.experiment.arm_report import ArmReport
    from nbsession.experiment.trial import Trial

_FIGURES = (
    "input_tokens",
    "output_tokens",
    "tokens",
    "cost",
    "seconds",
    "ticks",
    "tool_calls",
    "stop_reason",
    "source",
)


def frame_of(trials: Sequence[Trial], scores: Sequence[str]) -> pd.DataFrame:
    """Make the frame; see ``Report.frame``."""
    try:
        import pandas as pd
    except ImportError:
        raise SessionError("frame() needs pandas: pip install pandas") from None
    columns: dict[str, list[Any]] = {
        "case": [trial.case.name for trial in trials],
        "arm": [trial.arm.name for trial in trials],
        "model": [trial.figures.model or trial.arm.label or None for trial in trials],
        "repeat": [trial.repeat for trial in trials],
        "held_out": [trial.case.held_out for trial in trials],
        "status": [trial.status for trial in trials],
    }
    asked = [trial.status in ("done", "failed") for trial in trials]
    later: dict[str, list[Any]] = {
        name: [
            getattr(trial.figures, name) if sent else None for trial, sent in zip(trials, asked, strict=True)
        ]
        for name in _FIGURES
    }
    later["text"] = _texts(trials)
    later["error"] = [trial.error or None for trial in trials]
    later["session"] = [trial.session_id or None for trial in trials]
    knobs = dict.fromkeys(name for trial in trials for name in trial.arm.knobs)
    for name in scores:
        values = [trial.scores.get(name) for trial in trials]
        columns[_free(name, "score", columns, later)] = [
            value if isinstance(value, float | int) else None for value in values
        ]
        if any(isinstance(value, str) for value in values):
            columns[f"{name} (error)"] = [value if isinstance(value, str) else None for value in values]
    for name in knobs:
        columns[_free(name, "knob", columns, later)] = [trial.arm.knobs.get(name) for trial in trials]
    return pd.DataFrame({name: pd.Series(values) for name, values in {**columns, **later}.items()})


def _texts(trials: Sequence[Trial]) -> list[str | None]:
    """Return the answers; the long ones are read all at once."""
    long = {trial.figures.digest for trial in trials if trial.figures.digest}
    known = trials[0].archive.texts(long) if long else {}
    return [
        known.get(trial.figures.digest, trial.figures.text) if trial.status == "done" else None
        for trial in trials
    ]


def _free(name: str, kind: str, *taken: dict[str, Any]) -> str:
    return f"{name} ({kind})" if any(name in columns for columns in taken) else name


def plot_of(arms: Sequence[ArmReport], scores: Sequence[str]) -> Figure:
    """Draw the figure; see ``Report.plot``."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise SessionError("plot() needs matplotlib: pip install matplotlib") from None
    shown = list(scores) or [""]
    figure = Figure(figsize=(7.0, (0.8 + 0.35 * len(arms)) * len(shown)), layout="constrained")
    for axes, score in zip(figure.subplots(len(shown), squeeze=False)[:, 0], shown, strict=True):
        axes.set_title(_plain(score or "no score"), loc="left", fontsize=10)
        for place, arm in enumerate(arms):
            told = arm.interval_of(score or None)
            if told.mean is None:
                continue
            if told.low is not None and told.high is not None:
                axes.plot(
                    (told.low, told.high), (place, place), color="0.6", linewidth=3, solid_capstyle="round"
                )
            axes.plot([told.mean], [place], "o", color="C0")
        axes.set_yticks(range(len(arms)), [_plain(arm.name) for arm in arms])
        axes.set_ylim(len(arms) - 0.5, -0.5)
        axes.margins(x=0.05)
    return figure


def _plain(text: str) -> str:
    """Keep a figure from typesetting what stands between dollar signs."""
    return text.replace("$", r"\$")
