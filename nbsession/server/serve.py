"""A server that runs: where its loop is, how it begins and how it ends.

The sessions of an app change on one event loop only, their home. So does everything here: the server is
run *on the home loop of the apps it serves*, wherever that is. A handler then is one more task beside the
sessions: it reads and sends without carrying anything from thread to thread, and it cannot
wait for a loop that waits for it.

- In a notebook the extension has given every app the engine's loop, on a thread of its own. The server is
  a task there; the cell goes on at once. Users' async tools run on the kernel's loop as ever, so that
  sessions whose functions were defined in cells answer from afar as they do in a cell.
- In a program with a running loop the server is a task on it, and that loop becomes the home.
- In a program without one, ``serve`` runs a loop until it is interrupted; or, in the background, on a thread of its own,
  and ``session.run()`` and all else are carried there, as to any home loop.

Apps whose homes are several loops cannot be served together. The address is bound before ``serve`` returns:
requests that come meanwhile wait in the socket's queue, so that a cell that blocks its own loop may use the address at once.

It ends in order: streams end, and their readers come back to whoever serves then; what runs gets some
seconds, and is stopped, and stored, after that; the sessions that were opened for requests are closed, so that
another process may hold them.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import os
import socket
import threading
from typing import TYPE_CHECKING, Any, Self

from nbsession.errors import SessionError
from nbsession.server.application import application
from nbsession.server.greeting import GIVEN, greeting
from nbsession.server.users import new_token
from nbsession.server.uvicorn import Uvicorn
from nbsession.session import Home

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nbsession.server.gateway import Gateway
    from nbsession.server.limits import Limits
    from nbsession.server.served import App
    from nbsession.stores.base import SessionStore

PORT = 2323
GRACE = 10.0
"""Seconds that what runs gets when the server is closed."""


class Server:
    """A server that runs, or ran: at ``url``, with ``token`` (``None`` where none is asked for, or users have theirs)."""

    def __init__(
        self, app: Any, listening: socket.socket, *, host: str, token: str | None, grace: float
    ) -> None:
        port = listening.getsockname()[1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self.token = token
        self.greeting = ""
        self._app = app
        self._listening = listening
        self._grace = grace
        self._ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._begun: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked_to_end = False
        self._uvicorn: Uvicorn | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def gateway(self) -> Gateway:
        """The sessions that it serves."""
        gateway: Gateway = self._app.state.service.gateway
        return gateway

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return self._ended.done()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it and wait until it has ended; on its own loop, ``await server.aclose()`` instead."""
        self._ask_to_end()
        if self._loop is not None and self._loop is not _running():
            with contextlib.suppress(concurrent.futures.CancelledError):
                self._ended.exception(self._grace + 30)

    async def aclose(self) -> None:
        """Close it, and wait until it has ended."""
        self._ask_to_end()
        await asyncio.wait({asyncio.wrap_future(self._ended)})

    def __repr__(self) -> str:
        return f"<Server {self.url}{', closed' if self.closed else ''}>"

    def _ask_to_end(self) -> None:
        self._asked_to_end = True
        if self._uvicorn is not None:
            self._uvicorn.should_exit = True

    # Running it

    async def run(self, *, signals: bool = False) -> None:
        """Serve on the running loop until it is closed."""
        self._loop = asyncio.get_running_loop()
        try:
            self._app.state.service.begin()
            self._uvicorn = Uvicorn(self._app, self.gateway, grace=self._grace, signals=signals)
            if self._asked_to_end:  # before there was what could be told
                self._uvicorn.should_exit = True
            self._begun.set_result(None)
            await self._uvicorn.serve(sockets=[self._listening])
        except BaseException as error:
            if not self._begun.done():
                self._begun.set_exception(error)
            raise
        finally:
            self._listening.close()
            try:
                await self.gateway.close()
            finally:
                self._ended.set_result(None)

    def begin_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Serve on a loop that runs, here or in another thread; returns when it has begun, unless it is here."""
        if loop is _running():
            self._task = loop.create_task(self.run())
            return
        asyncio.run_coroutine_threadsafe(self.run(), loop)
        self._begun.result()

    def begin_thread(self) -> None:
        """Serve on a thread with a loop of its own, until it is closed or the program ends."""

        def running() -> None:
            with contextlib.suppress(Exception):  # told by what waits for the beginning
                asyncio.run(self.run())

        thread = threading.Thread(target=running, name="nbsession-server", daemon=True)
        thread.start()
        self._begun.result()
        atexit.register(self.close)
        self._ended.add_done_callback(lambda _: atexit.unregister(self.close))

    def block(self) -> None:
        """Serve in this thread until it is interrupted."""
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(self.run(signals=True))

    @property
    def ended(self) -> concurrent.futures.Future[None]:
        """Done when it has ended."""
        return self._ended


def serve(
    apps: App | Mapping[str, App],
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    token: str | bool = True,
    tokens: Mapping[str, str] | None = None,
    store: SessionStore | None = None,
    work_root: str | os.PathLike[str] | None = None,
    hosts: Sequence[str] = (),
    origins: Sequence[str] = (),
    limits: Limits | None = None,
    grace: float = GRACE,
    background: bool | None = None,
    say: Callable[[str], object] | None = print,
) -> Server:
    """Serve apps over HTTP; see ``App.serve`` and ``application`` for what the options mean."""
    if token is False and tokens is None and host not in ("127.0.0.1", "::1", "localhost"):
        raise SessionError(
            f"without a token a server is for this machine only, not for {host!r}; leave host= out"
        )
    made = new_token() if token is True else None if token is False else token
    own = None if tokens is not None else made
    app = application(
        apps,
        store=store,
        tokens=tokens if tokens is not None else own,
        work_root=work_root,
        hosts=(*hosts, host if ":" not in host else f"[{host}]"),
        origins=origins,
        limits=limits,
    )
    server = Server(app, _listen(host, port), host=host, token=own, grace=grace)
    shown = own if token is True else None if token is False and tokens is None else GIVEN
    server.greeting = greeting(server.gateway, server.url, shown, work_root)
    if say is not None:
        say(server.greeting)
    try:
        _begin(server, background)
    except BaseException:
        server._listening.close()
        raise
    return server


def _begin(server: Server, background: bool | None) -> None:
    loop = _home_of(server)
    if loop is not None:
        if background is False:
            raise SessionError(
                "a loop runs already, on which the server has to be: it cannot block as well; leave background= out"
            )
        server.begin_on(loop)
    elif background:
        server.begin_thread()
    else:
        server.block()


def _home_of(server: Server) -> asyncio.AbstractEventLoop | None:
    """Return the loop on which the apps' sessions live, or are to live; ``None`` where there is none yet."""
    homes = [served.app.home for served in server.gateway.served.values()]
    unbound = all(home.loop is None or home.loop.is_closed() for home in homes)
    if unbound and Home.default is None and _running() is None:
        return None
    loops = {home.settle(server.ended) for home in homes if not (home.loop is None or home.loop.is_closed())}
    if not loops:
        loops = {homes[0].settle(server.ended)}
    if len(loops) > 1:
        raise SessionError("the apps' sessions live on several event loops; serve them apart")
    return loops.pop()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named, or asyncio takes what is accepted for no TCP, and each answer's second packet waits for an acknowledgement.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(2048)
    except OSError as error:
        listening.close()
        raise SessionError(
            f"nothing can be served at {host}, port {port}: {error.strerror or error}; "
            "choose another port=, or 0 for any that is free"
        ) from error
    listening.setblocking(False)
    return listening


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
