"""Loading into IPython, and out of it again.

Loading costs next to nothing: the view, the widgets and the templates are
loaded beside the next cells, or at the first display.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from typing import TYPE_CHECKING, Any

from IPython.core.magic import no_var_expand

from nbsession.errors import KnobError, SessionNotFoundError
from nbsession.notebook import arguments, completion, formatters, forms, kernel, warm
from nbsession.notebook.awaiting import AwaitedLines, Rewriter
from nbsession.notebook.loop import Engine
from nbsession.notebook.magics import Magics, one_line
from nbsession.notebook.project import find_project
from nbsession.notebook.pyplot import Guard
from nbsession.notebook.sessions import Sessions
from nbsession.notebook.settings import Nbsession
from nbsession.notebook.stale import Stale
from nbsession.session import Home

if TYPE_CHECKING:
    from collections.abc import Callable

    from IPython.core.interactiveshell import InteractiveShell

SLIPS = (KnobError, SessionNotFoundError)
RENDER = "_render_traceback_"  # what IPython asks an exception for

ATTRIBUTE = "nbsession"
"""Under this name the shell holds what was loaded; a rewritten cell finds it there."""


NEXT = "nbsession: %session new COMPONENT, then %%session over a message; %session help says more"


class Extension:
    """What one shell has loaded: the magics, the engine, and what must be undone."""

    def __init__(self, shell: InteractiveShell) -> None:
        self.shell = shell
        self.settings = Nbsession(parent=shell)
        self._adopt_project()
        self.engine = Engine()
        self.sessions = Sessions(self.engine, shell.user_ns, self.settings, kernel.loop(shell))
        self.stale = Stale(shell.user_ns)
        self.magics = Magics(shell, self.sessions, self.settings, self.stale)
        self.send = self.magics.send
        self.answer = self.magics.answer
        self.sweep = self.magics.sweep
        self.experiment = self.magics.experiment
        self._rewriter = Rewriter(shell)
        self._awaited = AwaitedLines(shell)
        self._complete = completion.matcher(self.sessions)
        self._pyplot = Guard(self.engine)
        self._shims = contextlib.ExitStack()

    def load(self) -> None:
        """Register everything with the shell."""
        shell: Any = self.shell
        shell.input_transformer_manager.line_transforms.insert(0, self._rewriter)
        shell.input_transformer_manager.token_transformers.append(self._awaited)
        for kind, manual in (("line", arguments.manual()), ("cell", arguments.describe(forms.CELL))):
            shell.register_magic_function(self._magic(manual), kind, "session")
        shell.configurables.append(self.settings)
        shell.events.register("post_run_cell", self.stale.check)
        if shell.Completer is not None:
            shell.Completer.custom_matchers.append(self._complete)
        self._shims.enter_context(kernel.idle_for_comms(shell))
        for slip in SLIPS:
            setattr(slip, RENDER, one_line)
        self._pyplot.install()
        Home.default = self.sessions.bind
        formatters.register(shell)
        setattr(shell, ATTRIBUTE, self)
        _let_colab_show_widgets()
        if kernel.of(shell) is not None:
            warm.up(*warm.DISPLAY, *warm.DISPLAY_LIBRARIES)

    def _adopt_project(self) -> None:
        project = find_project()
        complaints = [project.complaint] if project.complaint else self.settings.adopt(project)
        for complaint in complaints:
            sys.stderr.write(f"{complaint}\n")

    def _magic(self, manual: str) -> Callable[..., None]:
        @no_var_expand  # a brace on the line is a brace, as it is where the cell awaits
        def session(line: str, cell: str | None = None) -> None:
            self.magics.session(line, cell)

        session.__doc__ = manual  # what IPython shows of %session? and %%session?
        found: Callable[..., None] = session
        return found

    def unload(self) -> None:
        """Close the sessions opened here and take everything back."""
        shell: Any = self.shell
        shell.input_transformer_manager.line_transforms.remove(self._rewriter)
        shell.input_transformer_manager.token_transformers.remove(self._awaited)
        for kind in ("line", "cell"):
            shell.magics_manager.magics[kind].pop("session", None)
        shell.configurables.remove(self.settings)
        shell.events.unregister("post_run_cell", self.stale.check)
        if shell.Completer is not None:
            shell.Completer.custom_matchers.remove(self._complete)
        self._shims.close()
        for slip in SLIPS:
            delattr(slip, RENDER)
        self._pyplot.remove()
        formatters.unregister(shell)
        Home.default = None
        self.sessions.close()
        self.engine.stop()
        delattr(shell, ATTRIBUTE)


def _let_colab_show_widgets() -> None:
    """Ask Colab, where this is Colab, to show widgets other than its own; it does so only when asked."""
    if "google.colab" in sys.modules:
        importlib.import_module("google.colab.output").enable_custom_widget_manager()


def load(shell: InteractiveShell) -> None:
    """Give the shell ``%%session`` and ``%session``; a second time does nothing."""
    if not hasattr(shell, ATTRIBUTE):
        Extension(shell).load()
        _say_what_next(shell)


def _say_what_next(shell: InteractiveShell) -> None:
    """Say it where a cell loads the extension and does nothing else: not in scripts, and not at a kernel's start."""
    history = shell.history_manager
    if history is not None and history.input_hist_raw[-1].strip() == "%load_ext nbsession":
        sys.stdout.write(f"{NEXT}\n")


def unload(shell: InteractiveShell) -> None:
    """Take the magics away again and close the sessions they opened."""
    extension = getattr(shell, ATTRIBUTE, None)
    if isinstance(extension, Extension):
        extension.unload()
