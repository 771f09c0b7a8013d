"""An app: a root component with its model, store and limits; it opens sessions."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from nbsession.content import new_id
from nbsession.context import tools_given
from nbsession.errors import (
    RenderError,
    SessionClosedError,
    SessionError,
    SessionNotFoundError,
    did_you_mean,
)
from nbsession.hooks import encode
from nbsession.record import read_past, uncollected
from nbsession.session import Home, Session, checked_ticks
from nbsession.stores.base import lacking
from nbsession.stores.place import REDIS_SCHEMES
from nbsession.timeline import Branch, Policies
from nbsession.tools import rules_given
from nbsession.tree import Component, Element
from nbsession.usage import Budget

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from nbsession.server import Limits, Server
    from nbsession.session import Execution, Observer
    from nbsession.stores.base import SessionInfo, SessionStore
    from nbsession.tools import Rule, Tool


_NEAR = 200  # stored sessions among which one is looked for that was probably meant


class App:
    """A root component (or element), and what its sessions share.

    ``model`` is a name or an adapter; without one it is ``$NBSESSION_MODEL``,
    Anthropic's if a key is set, else the simulated model. ``store`` keeps the
    sessions; without one they live in memory. ``max_ticks`` bounds an execution's
    ticks, ``budget`` (US dollars, or ``{"tokens": n}``) a session's cost. ``policies``
    (functions of the entries, or of them and the session, sync or async) decide what
    ``Timeline()`` shows; what one costs by ``session.spawn`` is the session's. ``permissions`` are rules over tool
    calls, made by ``allow``, ``ask`` and ``deny``, of which the last that matches decides.

    The attribute ``observe``, where it is set, is called at each session's birth with its id and its root's
    name, and gives what is told of its events as they happen; ``nbsession.traces`` sets it.
    """

    def __init__(
        self,
        root: Component | Element,
        *,
        model: Any = None,
        store: SessionStore | None = None,
        tools: Sequence[Tool] = (),
        max_ticks: int = 10,
        budget: Any = None,
        policies: Sequence[Any] = (),
        permissions: Sequence[Rule] = (),
    ) -> None:
        if not isinstance(root, (Component, Element)):
            raise RenderError(
                f"App() takes a component or an element, got {type(root).__name__}: {root!r}; "
                "mark the function with @component"
            )
        if store is not None:
            _check_store(store)
        if callable(policies):
            raise SessionError(f"policies= takes a list, got {policies!r}; write policies=[…]")
        self.root = root
        self.model = self._resolved(model)
        self.store = store
        self.tool_uses = tools_given(tools, "App")
        self.tools = tuple(tools)
        self.max_ticks = checked_ticks(max_ticks)
        self.budget = Budget.of(budget)
        self.policies = Policies(policies).functions
        self.permissions = rules_given(permissions, "App(permissions=)")
        self.observe: Callable[[str, str], Observer] | None = None
        self.home = Home()
        self._sessions: dict[str, Session] = {}

    if not TYPE_CHECKING:  # or a type checker would take every name

        def __getattr__(self, name: str) -> Any:
            if not name.startswith("_") and hasattr(Session, name):
                raise AttributeError(
                    f"an app has no {name!r}: that is its sessions'; open one: app.session().{name}"
                )
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def session(
        self,
        id: str | None = None,
        *,
        tools: Sequence[Tool] = (),
        metadata: Mapping[str, Any] | None = None,
        **props: Any,
    ) -> Session:
        """Open a session; the same id gives the same session, from memory or from the store.

        Opening only reads, also while another process has the session: that is told by
        ``SessionBusyError`` where something is to be written. A session that another
        process has gone on with meanwhile is read from the store anew.
        Without an id it is a new one. ``tools`` are added to the app's, ``props`` go to
        the root component.
        """
        return self.home.call(lambda: self._session(id, tools, metadata, props))

    @uncollected()
    def _session(
        self,
        id: str | None,
        tools: Sequence[Tool],
        metadata: Mapping[str, Any] | None,
        props: Mapping[str, Any],
    ) -> Session:
        if id is not None and (type(id) is not str or not id.strip()):
            raise SessionError(f"a session's id is a non-empty string, got {id!r}")
        open_one = self._sessions.get(id) if id is not None else None
        if open_one is not None and open_one.status == "closed":
            raise SessionClosedError(f"session {id!r} is being closed; await session.aclose() first")
        if open_one is not None and not open_one.superseded:
            return open_one
        past = read_past(self.store, id) if self.store is not None and id is not None else None
        return self.adopt(
            Session(
                self,
                id or new_id("se"),
                tools=tools_given(tools, "session"),
                metadata=encode(metadata or {}, "session(metadata=)"),
                props=props,
                past=past,
            )
        )

    def knows(self, id: str) -> bool:
        """Say whether a session of that id is open here or kept in the store."""
        return id in self._sessions or (self.store is not None and self.store.revision(id) > 0)

    def serve(
        self,
        port: int = 2323,
        *,
        host: str = "127.0.0.1",
        token: str | bool = True,
        tokens: Mapping[str, str] | None = None,
        name: str = "default",
        also: Mapping[str, App] | None = None,
        work_root: str | os.PathLike[str] | None = None,
        hosts: Sequence[str] = (),
        origins: Sequence[str] = (),
        limits: Limits | None = None,
        background: bool | None = None,
        say: Callable[[str], object] | None = print,
    ) -> Server:
        """Serve this app's sessions over HTTP, and ``also`` other apps by their names.

        In a notebook, and where a loop runs, it returns at once: the server's ``url`` and ``token`` are there,
        and ``close()`` (or ``await aclose()``) ends it. Else it blocks until it is interrupted, or with ``background=True``
        runs on a thread of its own. Port 0 is any that is free. It is for this machine only unless another
        ``host`` is named. Everything but ``/health`` needs the token, which is made anew each time and told by ``say``, once;
        ``token`` may also be one of your own, or False for none; ``tokens`` are several users' names by their
        tokens, whose sessions are apart. ``work_root``, ``hosts``, ``origins`` and ``limits`` are as in
        ``nbsession.server.application``. Raises ``SessionError`` where the port is taken.
        """
        try:
            from nbsession.server import serve
        except ImportError as error:
            raise SessionError(
                f'to serve, install what it takes: pip install "nbsession[server]" ({error})'
            ) from error
        return serve(
            {name: self, **(also or {})},
            host=host,
            port=port,
            token=token,
            tokens=tokens,
            work_root=work_root,
            hosts=hosts,
            origins=origins,
            limits=limits,
            background=background,
            say=say,
        )

    @property
    def opened(self) -> Mapping[str, Session]:
        """The sessions that are open here, by id."""
        return dict(self._sessions)

    def like(self, root: Component | Element, *, model: Any = None, store: SessionStore | None = None) -> App:
        """Return an app with another root, and perhaps another model or store, that is like this one otherwise."""
        like = App(
            root,
            model=self.model if model is None else model,
            store=store,
            tools=self.tools,
            max_ticks=self.max_ticks,
            budget=self.budget,
            policies=self.policies,
            permissions=self.permissions,
        )
        like.observe = self.observe
        return like

    def branches(self, session: Session) -> Iterator[Branch]:
        """Give the sessions of a session's family that are open here or kept, as its history needs them."""
        opened = {**self._sessions, session.id: session}
        kept = {info.id: info for info in self.sessions()}
        parents = {info.id: info.parent for info in kept.values()}
        parents |= {branch.id: branch.parent for branch in opened.values()}
        top = _topmost(session.id, parents)
        # Strangers are not read: a store may keep thousands of them.
        for family in [known for known in parents if _topmost(known, parents) == top]:
            used = kept[family].updated if family in kept else None
            if family in opened:
                branch = opened[family]
                if used is None and branch.ticks:
                    used = branch.ticks[-1].ended or branch.ticks[-1].started
                yield Branch(family, branch.parent, branch.forked, len(branch.ticks), used)
                continue
            past = read_past(self.store, family) if self.store is not None else None
            if past is not None:
                yield Branch(family, past.parent, past.fork_point, len(past.ticks), used)

    def sessions(
        self, *, after: tuple[float, str] | None = None, limit: int | None = None
    ) -> list[SessionInfo]:
        """List the sessions that the store keeps, the last updated first.

        At most ``limit`` of them, those that follow ``after``, the ``place`` of the last of a page before.
        """
        return self.store.sessions(after=after, limit=limit) if self.store is not None else []

    def delete(self, *ids: str) -> None:
        """Delete sessions for good, all of them or none, from the store and from here; one that is open is closed first.

        Their texts go with them, as far as no other session has them; sessions that they
        spawned stay. ``SessionError`` refuses one that runs, or is the past of forks that stay,
        ``SessionBusyError`` one that another process holds, ``SessionNotFoundError`` an id that is not there:
        then nothing is deleted, and what was closed can be opened again. On the loop of the
        sessions themselves, which cannot wait here, an open one is refused: ``await session.aclose()`` first.
        """
        if missing := [each for each in ids if not self.knows(each)]:
            known = [*self._sessions, *(info.id for info in self.sessions(limit=_NEAR))]
            raise SessionNotFoundError(
                f"there is no session {missing[0]!r}{did_you_mean(missing[0], known)}; nothing was deleted"
            )
        opened = [self._sessions[each] for each in dict.fromkeys(ids) if each in self._sessions]
        for session in opened:
            if session.status == "running":
                raise SessionError(
                    f"session {session.id!r} is running: wait for it or abort it, and delete it then; nothing was deleted"
                )
            if self.home.here:
                raise SessionError(
                    f"session {session.id!r} is open on this loop: await session.aclose(), and delete it then; nothing "
                    "was deleted"
                )
        for session in opened:
            session.close()
        if self.store is not None and (kept := [each for each in ids if self.store.revision(each)]):
            self.store.delete(kept)

    def element(self, props: Mapping[str, Any]) -> Element:
        """Return the root element with these props."""
        if isinstance(self.root, Element):
            if props:
                raise SessionError(
                    f"props {sorted(props)} are given, but App() was given an element, not a component"
                )
            return self.root
        return self.root(**props)

    def root_of(self, element: Any) -> Element:
        """Return what a spawned session mounts: an element, or a component called without anything."""
        if isinstance(element, Component):
            return element()
        if isinstance(element, Element):
            return element
        raise RenderError(
            f"spawn() takes a component or an element, got {type(element).__name__}: {element!r}"
        )

    def adopt(self, session: Session) -> Session:
        """Make a session findable by its id."""
        self._sessions[session.id] = session
        return session

    def forget(self, session: Session) -> None:
        """Let go of a session that was closed."""
        if self._sessions.get(session.id) is session:
            del self._sessions[session.id]

    def _resolved(self, model: Any) -> Any:
        if model is None:
            return None
        from nbsession.models import resolve

        return resolve(model)

    def __repr__(self) -> str:
        name = self.root.name if isinstance(self.root, Component) else repr(self.root)
        return f"<App {name}, {len(self._sessions)} sessions>"


def _check_store(store: Any) -> None:
    if isinstance(store, (str, os.PathLike)):
        scheme = str(store).partition("://")[0]
        wanted = f'RedisStore("{scheme}://…")' if scheme in REDIS_SCHEMES else 'SqlStore("sqlite:///…")'
        shown = f"{scheme}://…" if "@" in str(store) else str(store)  # it may hold a password
        raise SessionError(f"store= takes a store, got {shown!r}; use nbsession.stores.{wanted}")
    if isinstance(store, type):
        raise SessionError(f"store= takes a store, got the class {store.__name__}; write {store.__name__}(…)")
    if missing := lacking(store):
        raise SessionError(
            f"store= takes a nbsession.stores.SessionStore, and {type(store).__name__} has no "
            f"{', '.join(missing)}; nbsession.testing.store_contract checks a store"
        )


def _topmost(session: str, parents: Mapping[str, str | None]) -> str:
    """Go up from a session to the first of its family that is known."""
    top = session
    while (parent := parents[top]) is not None and parent in parents:
        top = parent
    return top


def run(element_or_app: App | Component | Element, message: Any, *, model: Any = None) -> Execution:
    """Send one message, once: no identity, and nothing is stored."""
    if isinstance(element_or_app, App):
        app = element_or_app.like(element_or_app.root, model=model)
    else:
        app = App(element_or_app, model=model)
    return app.session().send(message)
