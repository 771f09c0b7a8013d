"""The sessions a kernel knows by name, and which of them a cell speaks to."""

from __future__ import annotations

import contextlib
import weakref
from typing import TYPE_CHECKING, Any, Protocol, cast

from nbsession.errors import SessionError, SessionNotFoundError, did_you_mean
from nbsession.notebook import warm

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator, Mapping

    from nbsession.app import App
    from nbsession.notebook.loop import Engine
    from nbsession.notebook.opened import Opened
    from nbsession.notebook.remote import Remote
    from nbsession.session import Home, Prediction, Session
    from nbsession.stores.base import SessionInfo, SessionStore
    from nbsession.traces import Trace, Traces
    from nbsession.tree import Component


_NEAR = 200  # stored sessions among which one is looked for that was probably meant


class Defaults(Protocol):
    """What holds where a cell or command does not say: a model's name, a store's URL or ``""``, a limit or 0."""

    model: str
    store: str
    max_ticks: int
    budget: float


class Server(Protocol):
    """What serves them over HTTP: what ``app.serve`` returned."""

    url: str
    greeting: str

    @property
    def closed(self) -> bool:
        """Whether it has ended."""

    def close(self) -> None:
        """End it, and wait."""


class Sessions:
    """Sessions by name, and the current one.

    ``namespace`` is where components, apps, sessions and models are looked up by
    the names the user gave them. Sessions opened here have the engine's loop for
    their home; ``user_loop`` is the one on which users' async tools run.
    """

    def __init__(
        self,
        engine: Engine,
        namespace: Mapping[str, Any],
        defaults: Defaults,
        user_loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.engine = engine
        self.namespace = namespace
        self.defaults = defaults
        self.user_loop = user_loop
        self.server: Server | None = None
        self.predictions: weakref.WeakKeyDictionary[Session, Prediction] = weakref.WeakKeyDictionary()
        self._by_name: dict[str, Session] = {}
        self._targets: dict[str, str] = {}
        self._current: str | None = None
        self._stores: dict[str, SessionStore] = {}
        self._homes: weakref.WeakSet[Home] = weakref.WeakSet()
        self._blocked = False

    def __iter__(self) -> Iterator[tuple[str, Session]]:
        self._forget_closed()
        return iter(list(self._by_name.items()))

    def __len__(self) -> int:
        return len(self._by_name)

    @property
    def current_name(self) -> str | None:
        """The name of the session that a cell without a name speaks to."""
        return self._current

    @property
    def current(self) -> Session:
        """The session that a cell without a name speaks to; ``SessionError`` where there is none."""
        self._forget_closed()
        if self._current is None:
            raise SessionError(f"there is no session yet: %session new COMPONENT{self._suggest()}")
        return self._by_name[self._current]

    def target_of(self, name: str) -> str:
        """The component or app that a session was opened of, by the user's name for it."""
        return self._targets.get(name, "")

    def get(self, name: str | None) -> Session:
        """The session of that name, or the current one for ``None``.

        A variable of the user's that holds a session is a name too. Raises
        ``SessionError`` with the nearest name.
        """
        if name is None:
            return self.current
        self._forget_closed()
        from nbsession.session import Session

        value = self.namespace.get(name)
        # A variable may hold another session by now; a name given by a command stays.
        if isinstance(value, Session) and name not in self._targets:
            self.bind(value.app.home)
            return self.add(value, name)
        if name in self._by_name:
            return self._by_name[name]
        hint = did_you_mean(name, self.names()) or "; open one: %session new COMPONENT"
        raise SessionError(f"no session is named {name!r}{hint}")

    def use(self, name: str) -> Session:
        """Make a session the current one."""
        session = self.get(name)
        self._current = name
        return session

    def add(self, session: Session, name: str | None = None, target: str = "") -> Session:
        """Know a session by a name, by default its id."""
        name = name or session.id
        self._by_name[name] = session
        if target:
            self._targets[name] = target
        return session

    def new(
        self, target: str, *, id: str | None = None, model: str | None = None, name: str | None = None
    ) -> Session:
        """Open a session of a component or app and make it the current one.

        One with an ``id`` goes on where it was: in this kernel, or from disk; an
        app without a store is given the user's for that. One without an id begins
        afresh and lives in memory. Raises ``SessionError``
        where ``target`` names nothing that a session can be opened of.
        """
        found = self._find(target)
        session = self._open_already(found, id, target)
        if session is None:
            session = self._app(found, stored=id is not None).session(id)
        if model or (self.defaults.model and session.model is None):
            session.model = self.model(model or self.defaults.model)
        self._warm(session)
        self.add(session, name, target)
        self._current = name or session.id
        return session

    def connect(
        self, url: str, *, token: str | None = None, id: str | None = None, name: str | None = None
    ) -> tuple[Remote, bool]:
        """Know a session of a server by a name, make it the current one, and say whether it was made just now.

        Without an ``id`` it is a new one. Raises ``SessionError`` where the server does not answer, or the token is not
        its own.
        """
        from nbsession.client import AsyncClient
        from nbsession.content import new_id
        from nbsession.notebook.remote import Remote

        remote = Remote(AsyncClient(url, token=token), id or new_id("se"), self.engine)
        made = remote.connect(make=True)
        self.add(cast("Session", remote), name, url)
        self._current = name or remote.id
        return remote, made

    def load(self, path: str) -> Traces:
        """Read what another tool recorded; raises ``SessionError`` for what is no such file."""
        from nbsession.traces import load

        return load(path)

    def open(self, trace: Trace, name: str | None = None) -> Opened:
        """Know a trace by a name, as a session that is only looked at, and make it the current one."""
        from nbsession.notebook.opened import Opened

        opened = Opened(trace, self.engine.loop)
        self.add(cast("Session", opened), name, f"a {trace.source}")
        self._current = name or trace.id
        return opened

    def fork(
        self,
        parent: str | None,
        at: int | None = None,
        *,
        before: bool = False,
        id: str | None = None,
        name: str | None = None,
        without: str = "",
    ) -> tuple[Session, str]:
        """Fork a session, make the copy the current one, and say what it is.

        An ``id`` under which the very same fork was made already, by a cell that is
        run again, gives that one. Raises ``SessionError`` for a tick that is not there, or for the id of another session.
        """
        session = self.get(parent)
        target = self.target_of(parent or self._current or "")
        made = self._forked_already(session, at, before, id, without)
        fork = made or session.fork(at, before=before, id=id, without=without)
        self.add(fork, name, target)
        self._current = name or fork.id
        if at is None:
            where = "at the head"
        else:
            where = f"as tick {at} was compiled, before its call" if before else f"after tick {at}"
        named = "" if name in (None, fork.id) else f" ({name})"
        entries = len(fork.timeline)
        where += f" without {without}" if without else ""
        state = f"; it goes on after {entries} entr{'y' if entries == 1 else 'ies'}" if made else ""
        return (
            fork,
            f"session {fork.id!r}{named}, now the current one, is a copy of {session.id!r} {where}{state}",
        )

    def _forked_already(
        self, session: Session, at: int | None, before: bool, id: str | None, without: str
    ) -> Session | None:
        if id is None or at is None or not session.app.knows(id):
            return None
        known = session.app.session(id)
        added = {item.path for item in known.left_out} - {item.path for item in session.left_out}
        same = (known.parent, known.forked, added) == (session.id, (at, before), {without} - {""})
        return known if same else None

    def resume(self, id: str) -> Session:
        """Open a stored session again, of the app of the current session.

        Raises ``SessionNotFoundError`` with the nearest id where none is stored.
        """
        target = self.target_of(self._current or "")
        if not target:
            raise SessionError(
                f"%session resume {id} needs a current session to take the component from; "
                f"%session new COMPONENT --id {id} names it"
            )
        store = self._app(self._find(target), stored=True).store
        if store is None or not store.revision(id):
            near = [info.id for info in store.sessions(limit=_NEAR)] if store is not None else []
            raise SessionNotFoundError(f"no stored session has the id {id!r}{did_you_mean(id, near)}")
        return self.new(target, id=id)

    def stored(self) -> list[SessionInfo]:
        """What the stores of this kernel keep, the last used first; the user's own is read if it is there."""
        from nbsession.stores import default_is_there

        if default_is_there(self.defaults.store):
            self._kept()
        stores = {
            id(store): store
            for store in (*self._stores.values(), *(s.app.store for _, s in self))
            if store is not None
        }
        found = {info.id: info for store in stores.values() for info in store.sessions()}
        return sorted(found.values(), key=lambda info: info.updated, reverse=True)

    def bind(self, home: Home) -> None:
        """Give a home that has no loop yet the engine's."""
        if home.loop is None or home.loop.is_closed():
            home.bind(self.engine.loop, user_loop=None if self._blocked else self.user_loop)
            self._homes.add(home)

    @contextlib.contextmanager
    def blocking(self) -> Iterator[None]:
        """While the cell blocks the notebook's loop, run users' async tools on the engine: nothing else would."""
        self._blocked = True
        for home in list(self._homes):
            home.user_loop = None
        try:
            yield
        finally:
            self._blocked = False
            for home in list(self._homes):
                home.user_loop = self.user_loop

    def model(self, name: str | None) -> Any:
        """What a model's name on a line stands for: a variable that holds a model, else the model of that name.

        Raises ``ModelError`` for a name that stands for none.
        """
        from nbsession.models import ModelAdapter, resolve

        if name is None:
            return None
        value = self.namespace.get(name)
        return resolve(value if isinstance(value, ModelAdapter) else name)

    def close(self) -> None:
        """Close the sessions that were opened here; those the user opened stay open. Nothing is served any more."""
        if self.server is not None:
            self.server.close()
        for name, session in self:
            if name in self._targets:
                session.close()
        self._by_name.clear()
        self._targets.clear()
        self._current = None

    def names(self) -> list[str]:
        """What a session can be called: those opened by a command, and the user's variables."""
        from nbsession.session import Session

        self._forget_closed()
        return list(dict.fromkeys([*self._by_name, *self._variables(Session)]))

    def models(self) -> list[str]:
        """The user's variables that hold a model."""
        from nbsession.models import ModelAdapter

        return self._variables(ModelAdapter)

    def _variables(self, kind: Any) -> list[str]:
        named = [name for name, value in list(self.namespace.items()) if isinstance(value, kind)]
        # A class has a model's methods, too, and is none.
        return [n for n in named if not n.startswith("_") and not isinstance(self.namespace.get(n), type)]

    def targets(self) -> list[str]:
        """The user's names of what a session can be opened of."""
        from nbsession.app import App
        from nbsession.tree import Component

        return [
            name
            for name, value in list(self.namespace.items())
            if isinstance(value, App | Component) and not name.startswith("_") and not _ours(value)
        ]

    def _warm(self, session: Session) -> None:
        from nbsession.models import default_model

        warm.up_model(session.model if session.model is not None else default_model())

    def _find(self, target: str) -> App | Component:
        from nbsession.app import App
        from nbsession.tree import Component, Element

        value = self.namespace.get(target)
        if isinstance(value, App | Component):
            return value
        if value is None:
            called = target.partition("(")[0]
            if called != target and isinstance(self.namespace.get(called), Component):
                raise SessionError(
                    f"%session new takes a name, got {target!r}: %session new {called}; with other properties, "
                    f"name an app of it: app = App({target})"
                )
            near = did_you_mean(target, self.targets())
            raise SessionError(f"nothing is named {target!r}{near or self._suggest()}")
        if isinstance(value, Element):
            raise SessionError(
                f"{target} is an element; make an app of it, and name that: app = App({target})"
            )
        remedy = "mark the function with @component" if callable(value) else "name a component or an App"
        raise SessionError(f"{target} is a {type(value).__name__}, not a component or an App; {remedy}")

    def _app(self, found: App | Component, *, stored: bool) -> App:
        from nbsession.app import App

        app = found if isinstance(found, App) else App(found)
        if stored and app.store is None:
            app.store = self._kept()
        self.bind(app.home)
        return app

    def _kept(self) -> SessionStore:
        url = self.defaults.store
        if url not in self._stores:
            from nbsession.stores import default_store

            self._stores[url] = default_store(url)
        return self._stores[url]

    def _open_already(self, found: App | Component, id: str | None, target: str) -> Session | None:
        """The open session of that id, if it is of the same component; one of another is closed first."""
        if id is None:
            return None
        from nbsession.session import Session

        for name, session in self:
            if session.id != id or session.status == "closed" or not isinstance(session, Session):
                continue
            if self._targets.get(name) == target and not _is_app(found):
                return session
            if not _is_app(found):
                session.close()
        return None

    def _forget_closed(self) -> None:
        for name, session in list(self._by_name.items()):
            if session.status == "closed":
                del self._by_name[name]
                self._targets.pop(name, None)
                if self._current == name:
                    self._current = None

    def _suggest(self) -> str:
        targets = self.targets()
        if targets:
            return f" (here: {', '.join(targets[:6])})"
        return "; define a function and mark it with @component first"


def _is_app(found: App | Component) -> bool:
    from nbsession.app import App

    return isinstance(found, App)


def _ours(value: App | Component) -> bool:
    """Whether a component is one of the package's own, imported beside the user's."""
    module = getattr(value, "__module__", "") or ""
    return not _is_app(value) and module.split(".")[0] == "nbsession"
