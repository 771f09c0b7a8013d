"""The pytest fixture ``context_lock``: a test fails where a model would be sent something else than was reviewed.

And where a test fails on the mean of an experiment's arm, the cases that were lost are shown. pytest finds it by
itself where the package is installed.
"""

from __future__ import annotations

import hashlib
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from nbsession.context import CompiledContext

FOLDER = "__contexts__"
UPDATE = "--update-contexts"
LONGEST_NAME = 100


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the flag that takes contexts as they are now."""
    parser.getgroup("nbsession").addoption(
        UPDATE,
        action="store_true",
        help=f"keep the contexts that context_lock is given as they are now, in {FOLDER}/",
    )


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Show the cases that an experiment's arm lost where its mean is not as asserted."""
    known = sys.modules.get(
        "nbsession.experiment.arm_report"
    )  # there is no mean of an arm before it is loaded
    means = [side for side in (left, right) if known is not None and isinstance(side, known.Mean)]
    if not means:
        return None
    return [f"{left!r} {op} {right!r}", *(line for mean in means for line in mean.explained())]


@pytest.fixture
def context_lock(request: pytest.FixtureRequest) -> ContextLock:
    """Hold what a model is sent to what is kept beside the test; see ``ContextLock``."""
    test = f"{request.path.stem}.{request.node.name}"
    return ContextLock(request.path.parent / FOLDER, test, update=request.config.getoption(UPDATE))


class ContextLock:
    """Compares compiled contexts with those that were kept, in a JSON file of ``folder`` for each call.

    Call it with a ``CompiledContext``, a session (what it would send now), a ``Result``
    (all its ticks), or an element or component (rendered by itself). Raises
    ``AssertionError`` with the difference by component, its tokens and, where the price
    of the model is known, US dollars; also where nothing is kept yet. With ``update``
    it keeps what it is given instead.
    """

    def __init__(self, folder: Path, test: str, *, update: bool = False) -> None:
        self._folder = folder
        self._test = test
        self._update = update
        self._names: set[str] = set()

    def __call__(self, sent: Any, *, name: str = "", model: str = "") -> None:
        """Compare ``sent``.

        ``name`` tells several locks of one test apart, else they are numbered;
        ``model`` is the one whose price counts (default: the context's own).
        """
        __tracebackhide__ = True
        from nbsession.context.lock import Locked

        path = self._path(name)
        now = Locked.of(_contexts(sent))
        if self._update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(now.write().encode("utf-8", "surrogatepass"))
            return
        remedy = f"if it is meant to be so: pytest {UPDATE}"
        try:
            kept = Locked.read(path.read_bytes().decode("utf-8", "surrogatepass"))
        except FileNotFoundError:
            raise AssertionError(f"no context is kept in {FOLDER}/{path.name} yet; {remedy}") from None
        except ValueError as error:
            raise AssertionError(
                f"{FOLDER}/{path.name} cannot be read ({error}); make it anew: pytest {UPDATE}"
            ) from None
        difference = now.difference(kept, model=model)
        if difference:
            raise AssertionError(f"the context differs from {FOLDER}/{path.name}:\n{difference}\n{remedy}")

    def _path(self, name: str) -> Path:
        number = len(self._names) + 1
        name = name or (str(number) if number > 1 else "")
        if name in self._names:
            raise ValueError(f"context_lock has the name {name!r} twice in {self._test}; give each its own")
        self._names.add(name)
        return self._folder / f"{_file_name(f'{self._test}.{name}' if name else self._test)}.json"


def _file_name(name: str) -> str:
    """Return a name that every file system takes, and that no other test's becomes."""
    plain = re.sub(r"[^\w.\[\]-]+", "-", name, flags=re.ASCII)
    if plain == name and len(name) <= LONGEST_NAME:
        return name
    return f"{plain[:LONGEST_NAME]}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def _contexts(sent: Any) -> Iterable[CompiledContext]:
    from nbsession.context import CompiledContext
    from nbsession.session import Result, Session
    from nbsession.testing import Rendered, render
    from nbsession.tree import Component, Element

    if isinstance(sent, CompiledContext):
        return [sent]
    if isinstance(sent, Session):
        return [sent.compile()]
    if isinstance(sent, Rendered):
        return [sent.context]
    if isinstance(sent, Result):
        return [tick.context for tick in sent.ticks]
    if isinstance(sent, Component | Element):
        return [render(sent() if isinstance(sent, Component) else sent).context]
    raise TypeError(
        f"context_lock takes a compiled context, a session, a result, an element or a component, got {type(sent).__name__}: {sent!r}"
    )
