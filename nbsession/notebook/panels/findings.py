"""What was found out about a session, laid out in rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbsession.notebook.panels.tables import Column, Row, Table, count

if TYPE_CHECKING:
    from nbsession.session import Findings, Forecast


def check(found: Findings, title: str = "Check") -> Table:
    """Lay out what is doubtful about a context."""
    severities = [finding.severity for finding in found]
    facts = [count(severities.count(severity), severity) for severity in dict.fromkeys(severities)] or [
        "nothing doubtful was found"
    ]
    return Table(
        title,
        facts,
        (Column("", "q"), Column("what"), Column("message")),
        [Row((finding.severity, finding.what, finding.message)) for finding in found],
    )


def forecast(shown: Forecast, title: str = "Forecast") -> Table:
    """Lay out what of a request may be read from the provider's cache, by component."""
    rows = [
        Row((share.path, f"≈{share.tokens:,}", "unknown" if share.kept is None else f"≈{share.kept:,}"))
        for share in shown.shares
    ]
    columns = (Column("component"), Column("tokens", "n"), Column("as before", "n"))
    return Table(title, [str(shown)], columns, rows)
