"""The gateway: which sessions there are, whose they are, and which of them are open.

It serves several apps, and any number of sessions of each. Where there is a store, a session is
opened when it is asked for and closed again when it rests, or when too many are open, the one that
was used longest ago first; never one that runs or that somebody reads. What was opened by others,
as in a notebook, is served as it is, and left open.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from nbsession import threads
from nbsession.content import new_id
from nbsession.errors import NbsessionError, SessionClosedError, SessionError, SessionNotFoundError
from nbsession.server.fault import LOG, Refusal, not_found
from nbsession.server.note import KEY, Note
from nbsession.server.served import Served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from nbsession.protocol import Fork, NewSession
    from nbsession.server.folder import Folders
    from nbsession.server.limits import Limits
    from nbsession.server.served import App
    from nbsession.server.users import Users
    from nbsession.session import Session
    from nbsession.stores.base import Notifier, SessionInfo, SessionStore


CLOSING = "the server was closed"
PATIENCE = 5.0
"""Seconds that what was stopped gets to wind up."""


class Gateway:
    """The sessions of some apps, for whoever asks. All of it is used on the apps' home loop."""

    def __init__(self, apps: Mapping[str, App], *, users: Users, folders: Folders, limits: Limits) -> None:
        self.served = {name: Served(name, app) for name, app in apps.items()}
        self.limits = limits
        self.closing = False
        self.streams: set[asyncio.Timeout] = set()
        self.tasks: set[asyncio.Task[Any]] = set()
        self._users = users
        self._folders = folders
        self._store = _one_store(apps)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._mine: OrderedDict[str, float] = OrderedDict()
        self._in_use: Counter[str] = Counter()
        self._followed: Counter[str] = Counter()
        self._being_closed: dict[str, asyncio.Task[None]] = {}

    # Its life

    @property
    def keeps(self) -> bool:
        """Whether there is a store."""
        return self._store is not None

    @property
    def notifier(self) -> Notifier | None:
        """What tells of changes by other processes, if anything does."""
        return None if self._store is None else self._store.notifier

    def bind(self) -> bool:
        """Make the running loop the home of all apps, and say whether it was not before.

        Raises ``SessionError`` where the sessions of one live on another.
        """
        running = asyncio.get_running_loop()
        if self._loop is running:
            return False
        for served in self.served.values():
            if served.app.home.settle() is not running:
                raise SessionError(
                    f"the sessions of {served.name!r} live on another event loop; use app.serve(), which serves there"
                )
        self._loop = running
        return True

    def start(self, work: Any) -> asyncio.Task[Any]:
        """Let work go on beside the requests, until the server closes."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def end_streams(self) -> None:
        """End the streams, whose readers go on elsewhere, or here after a restart."""
        self.closing = True
        for stream in list(self.streams):
            stream.reschedule(asyncio.get_running_loop().time())

    async def close(self) -> None:
        """Close the sessions that were opened here: what runs is stopped, and all is stored."""
        self.end_streams()
        for task in list(self.tasks):
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks)
        for name in list(self._mine):
            if (session := self._opened(name)) is not None:
                await self._close(session)

    async def drain(self, seconds: float) -> None:
        """End the streams, let nothing begin any more, give what runs so many seconds, and stop it after that."""
        self.end_streams()
        sessions = [session for name in self._mine if (session := self._opened(name)) is not None]
        for session in sessions:
            session.withdraw(CLOSING)
        running = {session.current for session in sessions if session.current is not None}
        if not running:
            return
        ends = [asyncio.ensure_future(execution.settled()) for execution in running]
        await asyncio.wait(ends, timeout=seconds)
        for execution in running:
            execution.abort(CLOSING)
        await asyncio.wait(ends, timeout=PATIENCE)

    # Finding

    def pick(self, agent_id: str | None, component: str | None) -> Served:
        """Return the app of a name, or of a root component's name; without either, the first."""
        if agent_id is not None:
            if (found := self.served.get(agent_id)) is None:
                raise not_found(f"there is no app {agent_id!r}; GET /agents lists them")
            return found
        if component is not None:
            for served in self.served.values():
                if served.component == component:
                    return served
            raise not_found(f"no app has the root component {component!r}; GET /agents lists them")
        return next(iter(self.served.values()))

    def served_of(self, session: Session) -> Served:
        """Return what a session is one of."""
        app: object = session.app
        return next(served for served in self.served.values() if app in served.apps)

    @asynccontextmanager
    async def using(self, user: str, id: str, *, follow: bool = False) -> AsyncIterator[Session]:
        """Give a session of a user, opened if need be, which stays open meanwhile.

        With ``follow`` it is read anew when another process writes it. Raises
        ``SessionNotFoundError`` where there is none, or it is another user's.
        """
        counts = [self._in_use, self._followed] if follow else [self._in_use]
        for count in counts:
            count[id] += 1
        try:
            yield await self._session(user, id)
        finally:
            for count in counts:
                count[id] -= 1
                if not count[id]:
                    del count[id]

    @property
    def followed(self) -> set[str]:
        """The ids of the sessions that somebody follows."""
        return set(self._followed)

    async def refresh(self, id: str) -> None:
        """Close a session that another process has written; who uses it opens it anew."""
        session = self._opened(id)
        if session is not None and await self._is_outdated(session):
            await self._close(session)

    async def _session(self, user: str, id: str) -> Session:
        if (task := self._being_closed.get(id)) is not None:
            await asyncio.wait({task})
        session = self._opened(id)
        if session is not None and self._in_use[id] == 1 and await self._is_outdated(session):
            await self._close(session)
            session = None
        if session is None or session.status == "closed":
            async with self._lock(id):  # not while it is deleted
                session = await self._open(id)
        if not self.visible(Note.of(session.metadata), user):
            raise _unknown(id)
        if id in self._mine:
            self._mine[id] = time.monotonic()
            self._mine.move_to_end(id)
        return session

    async def _is_outdated(self, session: Session) -> bool:
        if session.held:  # as a session in use is: no other process can have written it
            return False
        outdated: bool = await self._beside(lambda: session.outdated)
        return outdated

    def _opened(self, id: str) -> Session | None:
        for served in self.served.values():
            for app in served.apps:
                if (session := app.opened.get(id)) is not None:
                    return session
        return None

    async def _open(self, id: str) -> Session:
        if "\0" in id:  # which no store takes
            raise _unknown(id)
        metadata = await self._beside(lambda: self._kept(id))
        note = Note.of(metadata)
        served = self.served.get(note.app) if note.app else next(iter(self.served.values()))
        if served is None:
            raise Refusal(
                409, "app", f"the session belongs to the app {note.app!r}, which is not served here"
            )
        if note.work_dir is not None and not self._folders.hold(note.work_dir):
            raise Refusal(403, "work_dir", "the session's folder lies where this server lets none lie")
        try:
            session = served.open(id, note.work_dir)
        except SessionClosedError:
            raise _unknown(id) from None
        self._mine[id] = time.monotonic()
        return session

    def _kept(self, id: str) -> Mapping[str, Any]:
        """Return the metadata of a session that the store keeps."""
        metadata = None
        for _, row in self._store.rows(id, kinds=["session"]) if self._store is not None else ():
            metadata = row.data.get("metadata") or {}
        if metadata is None:
            raise _unknown(id)
        return metadata

    def visible(self, note: Note, user: str) -> bool:
        """Say whether a session is a user's to see."""
        return not self._users.several or note.user == user

    async def infos(
        self, after: tuple[float, str] | None = None, limit: int | None = None
    ) -> list[SessionInfo]:
        """Return what the store says of its sessions, the last used first: all, or a page of them."""
        store = self._store
        if store is None:
            return []
        found: list[SessionInfo] = await self._beside(lambda: store.sessions(after=after, limit=limit))
        return found

    def opened(self) -> dict[str, Session]:
        """Return the sessions that are open, by id."""
        return {
            name: session
            for served in self.served.values()
            for app in served.apps
            for name, session in app.opened.items()
        }

    # Making and ending

    async def create(self, user: str, body: NewSession) -> Session:
        """Make a session, and store that there is one."""
        served = self.pick(body.agent_id, body.component)
        if KEY in body.metadata:
            raise Refusal(422, "invalid", f"the name {KEY!r} in metadata is the server's own")
        work_dir = self._folders.check(body.work_dir)
        self._make_room(served)
        note = Note(app=served.name, user=user, work_dir=work_dir, created=time.time())
        async with self._new(served, body.id) as name:
            return await self.adopt(served.open(name, work_dir, note.within(body.metadata)))

    async def fork(self, session: Session, body: Fork) -> Session:
        """Fork a session, and store that there is a fork; the runs that wait are not the fork's."""
        served = self.served_of(session)
        self._make_room(served)
        async with self._new(served, body.id) as name:
            forked = session.fork(body.at, before=body.before, id=name)
            note = Note.of(session.metadata).but(created=time.time(), runs={})
            return await self.adopt(forked, note.within(session.metadata))

    @asynccontextmanager
    async def _new(self, served: Served, id: str | None) -> AsyncIterator[str]:
        """Give the id of a session that is to be made, which nobody else makes meanwhile; refuse one that is there."""
        name = id or new_id("se")
        async with self._lock(name):
            if id is not None and (
                self._opened(name) is not None or await self._beside(lambda: served.app.knows(name))
            ):
                raise Refusal(409, "exists", f"there is a session {name!r} already; choose another id")
            yield name

    async def adopt(self, session: Session, metadata: Mapping[str, Any] | None = None) -> Session:
        """Take care of a new session from now on, and store that there is one; where that fails, there is none."""
        self._mine[session.id] = time.monotonic()
        try:
            await session.keep(metadata)
        except NbsessionError:
            await self._give_up(session)
            raise
        return session

    async def note(
        self, session: Session, change: Callable[[Note], Note], own: Mapping[str, Any] | None = None
    ) -> None:
        """Store another note with a session, and perhaps other metadata of the user's own.

        ``change`` is called when no other change is under way, and may refuse.
        """
        async with self._lock(session.id):
            note = change(Note.of(session.metadata))
            await session.keep(note.within(session.metadata if own is None else own))

    async def delete(self, session: Session, check: Callable[[], None]) -> None:
        """Stop a session and delete it for good, from the store, too; ``SessionError`` for one that is the past of forks.

        ``check`` is called when nobody else changes it, and may refuse.
        """
        store, kept = self._store, [session.id]
        async with self._lock(session.id):
            check()
            await self._give_up(session)
            if store is not None and session.app.store is not None:
                await self._beside(lambda: store.delete(kept))

    async def _give_up(self, session: Session) -> None:
        """Close a session also where not all of it can be stored."""
        await self._close(session)
        if session.status != "closed":
            await self._close(session)

    def _lock(self, id: str) -> asyncio.Lock:
        """Return what is held while a session is made, opened, noted or deleted."""
        return self._locks.setdefault(id, asyncio.Lock())

    def _make_room(self, served: Served) -> None:
        if served.app.store is None and len(served.app.opened) >= self.limits.sessions:
            raise Refusal(
                429,
                "too_many",
                f"{self.limits.sessions} sessions are open, and no store keeps them; delete some",
                headers={"retry-after": "60"},
            )

    # Rest

    async def tend(self) -> None:
        """Close what rested long enough, and what is too much."""
        now, surplus = time.monotonic(), len(self._mine) - self.limits.sessions
        for name, used in list(self._mine.items()):
            session = self._opened(name)
            if session is None:
                del self._mine[name]
                surplus -= 1
            elif (surplus > 0 or now - used > self.limits.rest) and self._rests(session):
                await self._close(session)
                surplus -= 1

    def _rests(self, session: Session) -> bool:
        return session.app.store is not None and session.status == "idle" and not self._in_use[session.id]

    async def _close(self, session: Session) -> None:
        """Close a session; who asks for it meanwhile waits, and opens it anew."""
        name = session.id
        if (task := self._being_closed.get(name)) is None:
            task = self._being_closed[name] = asyncio.get_running_loop().create_task(session.aclose())
        try:
            await asyncio.wait({task})
        finally:
            self._being_closed.pop(name, None)
        if (error := task.exception()) is not None:
            LOG.warning("session %s stays open: %s", name, error)
        else:
            self._mine.pop(name, None)

    async def _beside(self, work: Callable[[], Any]) -> Any:
        """Ask the store, in a thread where that may take long."""
        blocking = self._store is not None and self._store.blocking
        return await threads.beside(work) if blocking else work()


def _unknown(id: str) -> SessionNotFoundError:
    return SessionNotFoundError(f"there is no session {id[:64]!r}")


def _one_store(apps: Mapping[str, App]) -> SessionStore | None:
    if not apps:
        raise SessionError("nothing is to be served; give an app")
    stores = {id(app.store): app.store for app in apps.values() if app.store is not None}
    if len(stores) > 1:
        raise SessionError(
            f"the apps {sorted(apps)} keep their sessions in {len(stores)} stores, and a server has one; serve them apart"
        )
    return next(iter(stores.values()), None)
