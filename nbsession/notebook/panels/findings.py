"""What was found out about a session, laid out in rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbsession.notebook.panels.tables import Column, Row, Table, count

if TYPE_CHECKING:
    from nbsession.session import Findings


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
