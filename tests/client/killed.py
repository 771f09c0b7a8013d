"""A server in a process of its own, to be killed: run by the tests of the client."""

# ruff: noqa: T201  # what it prints is what the test waits for

from __future__ import annotations

import sys
import threading

from nbsession import App
from nbsession.server import stream
from nbsession.stores import default_store
from nbsession.testing import ScriptedModel
from tests.client.conftest import TOKEN
from tests.support.notepad import Notepad

if __name__ == "__main__":
    stream.RETRY = b"retry: 10\n\n"
    words = " ".join(f"word {n}" for n in range(400))
    app = App(Notepad, model=ScriptedModel(*[words] * 10, rate=1000), store=default_store(sys.argv[1]))
    app.serve(int(sys.argv[2]), background=True, say=None, token=TOKEN)
    print("ready", flush=True)
    threading.Event().wait()
