"""A sweep's rows as a data frame, and as a figure of what they took."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from nbsession.errors import SessionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from nbsession.context import CompiledContext
    from nbsession.session.result import Result

MEASURES = (
    "run",
    "tokens",
    "input_tokens",
    "output_tokens",
    "cost",
    "seconds",
    "text",
    "stop_reason",
    "error",
)
"""The columns after those of the knobs."""

COUNTS = frozenset({"tokens", "text"})
CHARTS = (
    ("tokens", "context, tokens"),
    ("cost", "cost, US dollars"),
    ("seconds", "time, seconds"),
    ("text", "different answers"),
)


class Row(Protocol):
    """A row of a sweep, as it is told of here."""

    @property
    def knobs(self) -> Mapping[str, Any]: ...
    @property
    def run(self) -> int: ...
    @property
    def context(self) -> CompiledContext: ...
    @property
    def partial(self) -> Result | None: ...
    @property
    def error(self) -> BaseException | None: ...
    @property
    def seconds(self) -> float | None: ...


def frame_of(rows: Sequence[Row], knobs: Sequence[str]) -> pd.DataFrame:
    """Make the frame; see ``Sweep.frame``."""
    try:
        import pandas as pd
    except ImportError:
        raise SessionError("sweep.frame() needs pandas: pip install pandas") from None
    # Values of several types in a column stay what they are: a knob's options may be anything.
    columns = {column_of(name): pd.Series([row.knobs[name] for row in rows]) for name in knobs}
    told = [_measured(row) for row in rows]
    return pd.DataFrame({**columns, **{name: pd.Series([each[name] for each in told]) for name in MEASURES}})


def plot_of(rows: Sequence[Row], knobs: Sequence[str]) -> Figure:
    """Draw the figure; see ``Sweep.plot``."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise SessionError("sweep.plot() needs matplotlib: pip install matplotlib") from None
    places: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        name = ", ".join(_word(row.knobs[knob]) for knob in knobs) or "all rows"
        places.setdefault(name, []).append(_measured(row))
    figure = Figure(figsize=(9.0, 5.5 + 0.04 * max(map(len, places))), layout="constrained")
    for axes, (measure, title) in zip(figure.subplots(2, 2).flat, CHARTS, strict=True):
        axes.set_title(title, loc="left", fontsize=10)
        _draw(axes, places, measure)
    if knobs:
        figure.supxlabel(", ".join(knobs), fontsize=10)
    return figure


def column_of(knob: str) -> str:
    """Name the column of a knob, which may be called as one of the measures is."""
    return f"{knob} (knob)" if knob in MEASURES else knob


def _measured(row: Row) -> dict[str, Any]:
    result = row.partial
    told = result is not None and bool(result.usage.total_tokens)
    return {
        "run": row.run,
        "tokens": row.context.tokens,
        "input_tokens": result.usage.input_tokens if result is not None and told else None,
        "output_tokens": result.usage.output_tokens if result is not None and told else None,
        "cost": result.cost if result is not None else None,
        "seconds": row.seconds,
        "text": result.text if result is not None else None,
        "stop_reason": str(result.stop_reason) if result is not None and row.error is None else None,
        "error": f"{type(row.error).__name__}: {row.error}" if row.error is not None else None,
    }


def _draw(axes: Axes, places: Mapping[str, Sequence[Mapping[str, Any]]], measure: str) -> None:
    """Draw a bar for each place, at the mean of its runs, and a dot for each run."""
    from matplotlib.ticker import MaxNLocator

    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xticks(range(len(places)), list(places), fontsize=8)
    if sum(map(len, places)) > 60:
        axes.tick_params(axis="x", rotation=90)
    axes.set_xlim(-0.6, len(places) - 0.4)
    drawn = False
    for at, runs in enumerate(places.values()):
        values = list(_values(runs, measure))
        drawn = drawn or bool(values)
        if values:
            axes.bar(at, sum(values) / len(values), width=0.6, color="#4a78d0", alpha=0.55)
        if len(values) > 1:
            axes.plot([at] * len(values), values, "o", color="#4a78d0", markersize=3)
    if not drawn:
        axes.text(0.5, 0.5, "not known", transform=axes.transAxes, ha="center", color="#767676")
        axes.set_yticks([])
        return
    axes.set_ylim(0, None if axes.dataLim.y1 > 0 else 1)
    if measure in COUNTS:
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))


def _values(runs: Sequence[Mapping[str, Any]], measure: str) -> Iterator[float]:
    known = [run[measure] for run in runs if run[measure] is not None]
    if measure == "text":
        return iter([float(len(set(known)))] if known else [])
    return iter([float(value) for value in known])


def _word(value: Any) -> str:
    word = value if isinstance(value, str) else json.dumps(value, default=str)
    # A figure's text would be typeset between dollar signs.
    return (word if len(word) <= 24 else word[:23] + "…").replace("$", r"\$")
