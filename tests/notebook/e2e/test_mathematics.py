"""Read back from the page, character by character: nothing that was sent or said is turned into formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.notebook.e2e.test_sessions import errors, output, scripted, stop_button

if TYPE_CHECKING:
    from playwright.sync_api import Locator

    from tests.notebook.e2e.conftest import MakeNotebook
    from tests.notebook.e2e.lab import Notebook

pytestmark = pytest.mark.timeout(240)

MONEY = ("Is it $5 or $10 today?", "from $1,000 to $2,000 a day", "set $PATH, then $HOME")
"""What an answer may say, too, without being taken for mathematics."""
SIGNS = (
    "so $E=mc^2$ holds",
    "and $$x_1$$ too",
    r"or \(a\) or \[b\]",
    r"\begin{align}c\end{align} see \ref{d}",
    "$<b>x</b>$ & $y$",
)
TEXTS = (*MONEY, *SIGNS)
FIRST = MONEY[0]
AGENT = f"""
%load_ext nbsession
from nbsession import App, Knobs, Section, System, Timeline, component, tool, use_knob, use_state
from nbsession.errors import ModelError
from nbsession.testing import ScriptedModel, call

MONEY, TEXTS = {MONEY!r}, {TEXTS!r}
ALL = " | ".join(TEXTS)

@component
def Notepad():
    price, _ = use_knob("in$or$out", TEXTS[0], options=list(TEXTS[:3]), description=ALL, group=TEXTS[3])
    open_, _ = use_knob("$a$", True, description=ALL)
    notes, set_notes = use_state([])

    @tool
    def keep(note: str) -> str:
        "Keep $5 or $10."
        set_notes(lambda kept: [*kept, note])
        return note

    return [
        System(TEXTS[0]),
        System(ALL),
        Section(price, id="price", title=TEXTS[1]),
        keep,
        Section(*notes, id="notes", title=TEXTS[0]),
        Knobs(),
        Timeline(),
    ]
"""
CELLS = {
    "agent": AGENT,
    "new": scripted(
        "call('keep', note=ALL)",
        "' | '.join(MONEY)",
        "ModelError(ALL)",
        "' | '.join(MONEY)",
        "ModelError(ALL)",
        id="of$5$or$10$",
    ),
    "execution": f"%%session\n{' | '.join(TEXTS)}",
    "context": "%session context",
    "difference": "%session context --diff 0",
    "tree": "%session tree",
    "ticks": "%session ticks",
    "history": "%session history",
    "list": "%session list",
    "error": f"%%session --raw\n{FIRST}",
    "knobs": "%session knobs",
    "sweep": f'%session sweep in$or$out="{MONEY[0]}","{MONEY[1]}" --message "{FIRST}"',
    "value": "app.session('of$5$or$10$')",
    "part": "next(part for part in app.session('of$5$or$10$').compile().parts if part.text == ALL)",
    "diff": "_s = app.session('of$5$or$10$'); _s.ticks[1].context.diff(_s.ticks[0].context)",
}
AT = {name: index for index, name in enumerate(CELLS)}
TYPESET = "mjx-container"
FORMULAS = r"""Einstein: $E=mc^2$, for \(c>0\), not `$x$`, at $5 or $10.

$$
a
- b
$$

\[ \sum_i x_i \]

"""


def text_of(cell: Locator) -> str:
    """All of a cell's text, also what is folded, with blanks as one."""
    return " ".join(str(cell.evaluate("cell => cell.textContent")).split())


def read_back(opened: Notebook, *, live: bool = True) -> None:
    """Find the texts in every view as they were written, and nothing typeset."""
    for name, index in AT.items():
        assert output(opened, index).locator(TYPESET).count() == 0, name
    for name in ("execution", "context", "part"):
        seen = text_of(output(opened, AT[name]))
        for text in TEXTS:
            assert text in seen, name
    for name in ("difference", "tree", "ticks", "error", "sweep", "diff"):
        assert FIRST in text_of(output(opened, AT[name])), name
    for name in ("tree", "knobs", "sweep", "value"):
        assert "in$or$out" in text_of(output(opened, AT[name])), name
    for name in ("history", "list", "value"):
        assert "of$5$or$10$" in text_of(output(opened, AT[name])), name
    for text in TEXTS[:4] if live else TEXTS:
        assert text in text_of(output(opened, AT["knobs"]))


def test_what_was_sent_and_said_reads_as_it_is_in_every_view(notebook: MakeNotebook) -> None:
    opened = notebook(*CELLS.values())
    for index in range(len(CELLS)):
        opened.run(index)
    failed = errors(opened)
    assert len(failed) == 1, failed  # the model's, which is to be read in place, too
    expect(output(opened, AT["knobs"]).locator(".widget-label:not(.nbs-who)").nth(1)).to_be_visible()
    read_back(opened)
    for theme in ("Light", "Dark"):
        opened.theme(f"JupyterLab {theme}")
        for name in ("execution", "knobs", "sweep"):
            opened.screenshot(f"dollars-{name}-{theme.lower()}", of=output(opened, AT[name]))
    opened.reopen_without_kernel()
    expect(output(opened, AT["diff"])).to_contain_text(FIRST)
    read_back(opened, live=False)
    assert opened.errors == []


def test_mathematics_in_an_answer_is_typeset_live_and_when_it_is_read_again(notebook: MakeNotebook) -> None:
    opened = notebook(
        AGENT, scripted(f"{FORMULAS!r} + 'And so on. ' * 300", rate=40), "%%session\nWhat is $x$ or $y$?"
    )
    opened.run(0)
    opened.run(1)
    opened.start(2)
    answer = output(opened, 2).locator(".md")
    expect(answer.locator(TYPESET)).to_have_count(4)
    expect(stop_button(opened, 2)).to_be_visible()
    opened.screenshot("mathematics-live", of=answer)
    stop_button(opened, 2).click()
    opened.finish()
    for again in (False, True):
        if again:
            opened.reopen_without_kernel()
        expect(answer.locator(TYPESET)).to_have_count(4)
        expect(output(opened, 2).locator(TYPESET)).to_have_count(4)
        expect(answer).to_contain_text("not $x$, at $5 or $10.")
        for theme in ("Light", "Dark"):
            opened.theme(f"JupyterLab {theme}")
            opened.screenshot(f"mathematics-{'again-' if again else ''}{theme.lower()}", of=answer)
    assert opened.errors == []
