"""How our values show themselves when a cell ends with one.

Registered by the types' names, so that nothing is loaded before one is shown.
The values themselves know no HTML.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from nbsession.notebook.view import templates

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from IPython.core.interactiveshell import InteractiveShell
    from matplotlib.figure import Figure

    from nbsession.context import CompiledContext, ContextDiff, Part
    from nbsession.experiment import ArmReport, Plan, Report, Run, Trial
    from nbsession.experiment.pairs import Preferences
    from nbsession.session import (
        Bisection,
        Execution,
        Explanation,
        Findings,
        Forecast,
        Frozen,
        Grade,
        Outline,
        Preview,
        Result,
        Session,
        SessionDiff,
        Sweep,
    )
    from nbsession.timeline import History, Tick


PNG = "image/png"
FIGURE = ("matplotlib.figure", "Figure")
"""What ``Sweep.plot`` returns: IPython shows one only where pyplot was imported."""


def register(shell: InteractiveShell) -> None:
    """Let the shell show our values as HTML."""
    for mime, formatters in _BY_MIME.items():
        for (module, name), show in formatters.items():
            _formatter(shell, mime).for_type_by_name(f"nbsession.{module}", name, show)
    pictures = _formatter(shell, PNG)
    if ".".join(FIGURE) not in pictures:  # pyplot, once it is imported, brings its own
        pictures.for_type_by_name(*FIGURE, _figure)


def unregister(shell: InteractiveShell) -> None:
    """Take back what ``register`` did."""
    for mime, ours in [*((mime, set(by.values())) for mime, by in _BY_MIME.items()), (PNG, {_figure})]:
        formatter = _formatter(shell, mime)
        for kept in (formatter.deferred_printers, formatter.type_printers):
            for key in [key for key, show in kept.items() if show in ours]:
                del kept[key]


def _formatter(shell: InteractiveShell, mime: str) -> Any:
    assert shell.display_formatter is not None
    return shell.display_formatter.formatters[mime]


def _session(session: Session) -> str:
    from nbsession.notebook.panels.tables import place_of

    facts = (
        ("status", "waits" if session.status == "idle" and session.waiting else session.status),
        ("fork of", f"{session.parent}, {session.forked}" if session.forked else ""),
        ("entries", f"{len(session.timeline):,}"),
        ("ticks", f"{len(session.ticks):,}"),
        ("tokens", f"{session.usage.total_tokens:,}"),
        ("cost", templates.dollars(session.usage.cost)),
        ("kept in", place_of(session.app.store)),
        ("knobs", ", ".join(f"{name} = {value!r}" for name, value in session.knobs.values().items())),
    )
    return _page("values", "facts", f"Session {session.id}", [fact for fact in facts if fact[1]])


def _execution(execution: Execution) -> str:
    return _result(execution.partial)


def _result(result: Result) -> str:
    run = _transcript(result.ticks)
    run.stop_reason, run.reason = str(result.stop_reason), result.reason
    run.usage, run.cost = result.usage, result.cost
    return _run(run)


def _tick(tick: Tick) -> str:
    return _run(_transcript([tick]))


def _context(context: CompiledContext) -> str:
    from nbsession.notebook.panels.knobs import context_bundle

    return context_bundle(context)["text/html"]


def _diff(diff: ContextDiff) -> str:
    from nbsession.notebook.view.cards import broken_by, changes
    from nbsession.notebook.view.live import Ui

    return _page("panels", "difference", Ui(), changes(diff), diff, broken_by(diff))


def _preview(preview: Preview) -> str:
    from nbsession.notebook.panels.knobs import Change
    from nbsession.notebook.view.live import Ui

    return _page("panels", "preview", Ui(), Change.of(preview), "", False)


def _part(part: Part) -> str:
    from nbsession.notebook.view.cards import row
    from nbsession.notebook.view.live import Ui

    return _page("values", "part", Ui(), row(part))


def _history(history: History) -> str:
    from nbsession.notebook.panels import tables

    return tables.bundle(tables.history(history))["text/html"]


def _outline(outline: Outline) -> str:
    from nbsession.notebook.panels import tables

    return tables.bundle(tables.outline(outline, "Components"))["text/html"]


def _findings(found: Findings) -> str:
    from nbsession.notebook.panels import findings, tables

    return tables.bundle(findings.check(found))["text/html"]


def _findings_text(found: Findings, printer: Any, _cycle: bool) -> None:
    printer.text(str(found))


def _forecast(forecast: Forecast) -> str:
    from nbsession.notebook.panels import findings, tables

    return tables.bundle(findings.forecast(forecast))["text/html"]


def _bisection(bisection: Bisection) -> str:
    from nbsession.notebook.panels import findings, tables

    return tables.bundle(findings.bisection(bisection))["text/html"]


def _explanation(explanation: Explanation) -> str:
    from nbsession.notebook.panels import findings, tables

    return tables.bundle(findings.explanation(explanation))["text/html"]


def _session_diff(diff: SessionDiff) -> str:
    from nbsession.notebook.panels import findings, tables

    return tables.bundle(findings.session_diff(diff))["text/html"]


def _grade(grade: Grade) -> str:
    from nbsession.notebook.panels import findings, tables

    return tables.bundle(findings.grade(grade))["text/html"]


def _experiment_run(run: Run) -> str:
    from nbsession.notebook.experiment import sheet

    return sheet.bundle(sheet.sheet(run))["text/html"]


def _experiment_run_text(run: Run, printer: Any, _cycle: bool) -> None:
    from nbsession.notebook.experiment import sheet

    printer.text(sheet.bundle(sheet.sheet(run))["text/plain"])


def _plan(plan: Plan) -> str:
    from nbsession.notebook.experiment import sheet

    return sheet.bundle(sheet.plan(plan))["text/html"]


def _plan_text(plan: Plan, printer: Any, _cycle: bool) -> None:
    from nbsession.notebook.experiment import sheet

    printer.text(sheet.bundle(sheet.plan(plan))["text/plain"])


def _experiment_report(report: Report) -> str:
    from nbsession.notebook.experiment import sheet

    return sheet.bundle(sheet.Sheet(sheet.tables_of(report)))["text/html"]


def _experiment_report_text(report: Report, printer: Any, _cycle: bool) -> None:
    from nbsession.notebook.experiment import sheet

    printer.text(sheet.bundle(sheet.Sheet(sheet.tables_of(report)))["text/plain"])


def _arms(arms: Mapping[str, ArmReport]) -> str:
    from nbsession.notebook.experiment import sheet

    return sheet.bundle(sheet.Sheet((sheet.arms_of(arms),)))["text/html"]


def _arms_text(arms: Mapping[str, ArmReport], printer: Any, _cycle: bool) -> None:
    from nbsession.notebook.experiment import sheet

    printer.text(sheet.bundle(sheet.Sheet((sheet.arms_of(arms),)))["text/plain"])


def _arm(arm: ArmReport) -> str:
    from nbsession.notebook.experiment import values
    from nbsession.notebook.panels import tables

    return tables.bundle(values.arm(arm))["text/html"]


def _trial(trial: Trial) -> str:
    from nbsession.notebook.experiment import values
    from nbsession.notebook.panels import tables

    return tables.bundle(values.trial(trial))["text/html"]


def _preferences(preferences: Preferences) -> str:
    from nbsession.notebook.experiment import values
    from nbsession.notebook.panels import tables

    return tables.bundle(values.preferences(preferences))["text/html"]


def _sweep(sweep: Sweep) -> str:
    from nbsession.notebook.sweep import table as sweep_table

    return sweep_table.bundle(sweep)["text/html"]


def _frozen(frozen: Frozen) -> str:
    from nbsession.notebook.panels.knobs import frozen_bundle

    return frozen_bundle(frozen)["text/html"]


def _frozen_text(frozen: Frozen, printer: Any, _cycle: bool) -> None:
    from nbsession.notebook.panels.knobs import frozen_bundle

    printer.text(frozen_bundle(frozen)["text/plain"])


def _figure(figure: Figure) -> bytes:
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    return drawn.getvalue()


def _sweep_text(sweep: Sweep, printer: Any, _cycle: bool) -> None:
    from nbsession.notebook.sweep import table as sweep_table

    printer.text(sweep_table.bundle(sweep)["text/plain"])


def _transcript(ticks: list[Tick]) -> Any:
    from nbsession.notebook.view.transcript import Transcript

    return Transcript.of(ticks)


def _run(run: Any) -> str:
    from nbsession.notebook.view.live import Ui

    return _page("execution", "page", Ui(), run)


def _checked(checked: Any) -> str:
    return templates.macro("checked", "checked")(checked)


def _page(template: str, macro: str, *values: object) -> str:
    return f"{templates.style()}{templates.macro(template, macro)(*values)}"


_FORMATTERS: dict[tuple[str, str], Callable[[Any], str]] = {
    ("session.session", "Session"): _session,
    ("session.preview", "Preview"): _preview,
    ("session.execution", "Execution"): _execution,
    ("session.result", "Result"): _result,
    ("timeline.tick", "Tick"): _tick,
    ("context.compiled", "CompiledContext"): _context,
    ("context.diff", "ContextDiff"): _diff,
    ("timeline.history", "History"): _history,
    ("session.outline", "Outline"): _outline,
    ("context.part", "Part"): _part,
    ("session.sweep", "Sweep"): _sweep,
    ("session.check", "Findings"): _findings,
    ("session.forecast", "Forecast"): _forecast,
    ("session.freeze", "Frozen"): _frozen,
    ("session.bisect", "Bisection"): _bisection,
    ("session.prediction", "Grade"): _grade,
    ("experiment.run", "Run"): _experiment_run,
    ("experiment.plan", "Plan"): _plan,
    ("experiment.report", "Report"): _experiment_report,
    ("experiment.report", "Arms"): _arms,
    ("experiment.arm_report", "ArmReport"): _arm,
    ("experiment.trial", "Trial"): _trial,
    ("experiment.pairs", "Preferences"): _preferences,
    ("session.explain", "Explanation"): _explanation,
    ("session.diff", "SessionDiff"): _session_diff,
    ("exercise", "Checked"): _checked,
}
# In plain text the others show their ``repr``, or lay themselves out.
_BY_MIME: dict[str, dict[tuple[str, str], Callable[..., Any]]] = {
    "text/html": dict(_FORMATTERS),
    "text/plain": {
        ("session.sweep", "Sweep"): _sweep_text,
        ("experiment.run", "Run"): _experiment_run_text,
        ("experiment.plan", "Plan"): _plan_text,
        ("experiment.report", "Report"): _experiment_report_text,
        ("experiment.report", "Arms"): _arms_text,
        ("session.check", "Findings"): _findings_text,
        ("session.freeze", "Frozen"): _frozen_text,
    },
}
