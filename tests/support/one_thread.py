"""What must work where no thread can be started: run as it is in Pyodide, and here with threads refused.

``python -m tests.support.one_thread FOLDER`` refuses threads to itself.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from nbsession import App, Section, Timeline, component, tool, use_data, use_knob, use_state
from nbsession.errors import NbsessionError
from nbsession.models import RecordedModel
from nbsession.stores import MemoryStore, SqlStore
from nbsession.testing import ScriptedModel, call

if TYPE_CHECKING:
    from collections.abc import Iterator


@component
def Notepad() -> Any:
    tone, _ = use_knob("tone", "friendly", options=["friendly", "terse"])
    none: list[str] = []
    notes, set_notes = use_state(none)
    weather = use_data("weather", fetch)

    @tool
    def add_note(note: str) -> str:
        """Keep a note for later."""
        set_notes(lambda kept: [*kept, note])
        return "Noted."

    @tool
    async def look_up(word: str) -> str:
        """Look a word up."""
        await asyncio.sleep(0)
        return word.upper()

    return [Section(f"{tone} {notes} {weather}", id="state", title="State"), add_note, look_up, Timeline()]


async def fetch() -> str:
    return "rain"


def refuse(self: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


@contextmanager
def refused(words: str) -> Iterator[None]:
    """Expect an error of ours: there is no pytest in a browser."""
    told = "nothing was refused"
    try:
        yield
    except NbsessionError as error:
        told = str(error)
    assert words in told, told


async def check_session(folder: Path) -> None:
    """Send, with a store: tools, a fork, a sweep, a recording, and the session opened again."""
    store = SqlStore(f"sqlite:///{folder / 'sessions.db'}")
    answers: list[Any] = [[call("add_note", note="milk"), call("look_up", word="egg")], "It is noted."]
    app = App(Notepad, model=ScriptedModel(*answers, "And so on.", "Hm.", "Hm."), store=store)
    session = app.session("kept")
    result = await session.send("Note: milk")
    assert [run.result.text for run in result.tool_calls if run.result] == ["Noted.", "EGG"], (
        result.tool_calls
    )
    assert "friendly ['milk'] rain" in str(result.ticks[1].context.parts[0]), result.ticks[1].context

    fork = session.fork(at=0, before=True)
    assert (await fork.send("Go on.")).text == "And so on."
    swept = await session.sweep("What now?", tone=["friendly", "terse"])
    assert [row.result.text for row in swept.rows if row.result] == ["Hm.", "Hm."], swept.rows
    with refused("nothing may block here, for there is one thread only; await session.send(...)"):
        session.run("Blocking")
    for closed in (fork, session):
        await closed.aclose()
    store.close()

    again = App(Notepad, model=ScriptedModel("Milk."), store=SqlStore(f"sqlite:///{folder / 'sessions.db'}"))
    kept = again.session("kept")
    assert (await kept.send("What did I note?")).text == "Milk."
    assert "['milk']" in str(kept.ticks[-1].context.parts[0])
    assert kept.verify() == []
    await kept.aclose()

    memory = App(Notepad, model=RecordedModel(folder / "none.jsonl"), store=MemoryStore()).session("m")
    with refused("does not exist; record it with"):
        await memory.send("Is this recorded?")
    await memory.aclose()


async def check_cells(*, shown: bool) -> None:
    """Run the magics in an IPython shell whose cells await on one loop, as a browser's kernel does."""
    from IPython.core.interactiveshell import InteractiveShell

    shell: Any = InteractiveShell.instance()
    shell.kernel = SimpleNamespace(comm_manager=None)
    shell.user_ns.update(Notepad=Notepad, MODEL=ScriptedModel("Good day.", "Again.", "Hm.", "Hm."))

    async def run(cell: str) -> Any:
        code = shell.transform_cell(cell)
        done = await shell.run_cell_async(cell, transformed_cell=code, store_history=False)
        done.raise_error()
        return done.result

    await run("%load_ext nbsession")
    await run("%config Nbsession.live = False")
    await run("%session new Notepad --model MODEL --name pad")
    session = shell.user_ns["get_ipython"]().nbsession.sessions.current
    assert session.app.home.here
    if shown:
        await run("%%session --as said\nHello")
        assert shell.user_ns["said"].text == "Good day."
        await run("%%session --background --as later\nOnce more")
        assert (await shell.user_ns["later"]).text == "Again."
        await run("%session sweep tone=friendly,terse --message 'And now?' --as swept")
        assert len(shell.user_ns["swept"].rows) == 2
        await run("%session list")
    with refused(
        "nothing may block: put %%session at the top of a cell of its own, or await session.send(...)"
    ):
        await run("get_ipython().run_cell_magic('session', '', 'Hi')")
    await run("%unload_ext nbsession")


async def main(folder: str, *, shown: bool) -> None:
    """Check all of it; ``shown`` says whether what shows things in a cell is installed."""
    await check_session(Path(folder))
    await check_cells(shown=shown)
    print("one thread was enough")  # noqa: T201  # whoever started it reads it


if __name__ == "__main__":
    threading.Thread.start = refuse  # type: ignore[method-assign]  # as it is in a browser
    asyncio.run(main(sys.argv[1], shown=True))
