"""What axe-core finds in the outputs of a page: faults that keep somebody from using it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

SCRIPT = Path(sys.prefix) / "axe" / "node_modules" / "axe-core" / "axe.min.js"
GRAVE = ("serious", "critical")
OUTPUTS = ".jp-OutputArea-output"


def faults(page: Page, within: str = OUTPUTS) -> list[str]:
    """Return what is seriously or critically wrong: the rule, the element, and what to do."""
    assert SCRIPT.is_file(), "axe-core is not installed: sh tests/support/axe/install.sh"
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(SCRIPT.read_text("utf-8"))
    found: list[dict[str, Any]] = page.evaluate(
        "async within => (await axe.run({ include: [[within]] }, { resultTypes: ['violations'] })).violations",
        within,
    )
    return [
        f"{rule['impact']} {rule['id']}: {node['html'][:200]} ({node['failureSummary']})"
        for rule in found
        if rule["impact"] in GRAVE
        for node in rule["nodes"]
    ]
