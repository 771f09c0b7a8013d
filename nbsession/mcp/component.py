"""``MCP``: the tools of a Model Context Protocol server."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nbsession.errors import RenderError, ToolError
from nbsession.hooks import use_data, use_on_mount, use_on_tick_start, use_on_unmount
from nbsession.mcp.answer import content_of, text_of
from nbsession.mcp.choice import Choice
from nbsession.mcp.link import link_of
from nbsession.mcp.listing import digest_of, names_of
from nbsession.mcp.server import Server, ServerError
from nbsession.tools import Tool, ToolContext
from nbsession.tree import component, current, use_effect, use_memo, use_ref, use_state

if TYPE_CHECKING:
    from nbsession.mcp.choice import Asking
    from nbsession.mcp.link import Link
    from nbsession.mcp.listing import Listed

CALL = 300.0
"""Seconds that a call may take."""


@component
def MCP(
    name: str,
    *,
    command: str | Sequence[str] | None = None,
    url: str | None = None,
    env: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    only: Collection[str] | None = None,
    confirm: Asking = False,
) -> Any:
    """Give the model the tools of an MCP server: ``MCP("time", command=["uvx", "mcp-server-time"])``, ``MCP("docs", url="https://…/mcp")``.

    ``command``, a list or a line, is started, with the few names of the environment that the SDK takes for safe (PATH,
    HOME, …) and ``env``; ``url`` is reached over streamable HTTP, with ``headers``. ``only`` are the names, or shell
    patterns, of the tools that the model gets; ``confirm`` asks before each call (``True``), before calls to tools of
    these names or patterns, or where a function of input and ``ToolContext`` says so. Both go by the server's own names.

    A session that knows no tools yet starts the server for its first message, before the model is called; ``compile()``
    and previews start nothing, and say that the tools are pending. They are kept with the state: a session that is opened
    again, or a fork, has them at once, and starts a server of its own with its first message. It ends with the component
    and the session, and with this process, as far as what it starts stays in its process group (on Windows, its job).
    One that dies is started again, five times at most, which ``session.notes`` tells. Tools that the server adds or
    takes away are there, or gone, at the next tick.

    Names are made to fit providers. Where another tool of the tree, the app or another server has the same, the server's
    is called ``<name>_<tool>``. A permission rule goes by the name that the model sees: what is never to be called,
    leave out by ``only``. What a server says is not trusted: a description is bounded to 8,000 characters, with hidden
    characters spelled out; the model is given 500 tools at most; where a tool that was called describes itself otherwise
    later, a note says so.

    A call takes 300 seconds at most; the server is told where it is aborted, and its progress is the tool's. Raises
    ``RenderError`` where no tools are known and the server does not start: one sentence, with the command and the end of
    what it wrote. Where tools are known, that is the error of a call. A name in ``only`` or ``confirm`` that no tool has
    is a note; with one in ``confirm``, all tools of the server ask.
    """
    if type(name) is not str or not name:
        raise RenderError(f"MCP takes a name for the server, got {name!r}")
    choice = Choice(name, only, confirm)
    server, listed = _use_server(name, link_of(name, command, url, env, headers))
    remember = _use_notes(name, listed, choice)
    asking = confirm if callable(confirm) else repr(confirm)
    return use_memo(
        lambda: _tools(name, server, listed or [], remember, choice), [listed, server, repr(only), asking]
    )


def _use_server(name: str, link: Link) -> tuple[Server, list[Listed] | None]:
    """Return the server, which runs while the component is mounted, and its tools as far as they are known."""
    fiber = current()
    server = use_memo(lambda: Server(name, link, fiber.root.note), [name, repr(link)])
    running = use_ref()
    version, set_version = use_state(0)

    async def run(other: Server | None) -> None:
        before, running.current = running.current, other
        if before is not None and before is not other:
            await before.stop()

    async def fetch() -> list[Listed]:
        await run(server)
        try:
            return await server.listed()
        except ServerError as error:
            raise RenderError(f"{error}; the next message tries again", path=fiber.path) from error

    listed: list[Listed] | None = use_data(f"the tools of {name}", fetch, [link.mark, version])

    @use_on_mount
    async def start() -> None:
        if listed is None:
            return  # they are fetched, which starts it
        await run(server)
        try:
            await server.listed()
        except ServerError as error:
            fiber.root.note(f"{error}; its tools are those of before")

    @use_on_tick_start
    async def look() -> None:
        try:
            found = await server.listed() if server.runs else listed
        except ServerError as error:
            if not error.told:
                fiber.root.note(str(error))
        else:
            if found != listed:
                set_version(version + 1)

    @use_on_unmount
    async def stop() -> None:
        await run(None)

    return server, listed


def _use_notes(name: str, listed: Sequence[Listed] | None, choice: Choice) -> Callable[[Listed], None]:
    """Tell of words that no tool has, and of tools that changed since they were called, as what is returned remembers."""
    root = current().root
    called: dict[str, str]
    called, set_called = use_state({})

    def remember(item: Listed) -> None:
        word = {item["name"]: digest_of(item)}
        set_called(lambda known: known if known.items() >= word.items() else {**known, **word})

    def tell() -> None:
        changed = [
            item["name"] for item in listed or () if called.get(item["name"], now := digest_of(item)) != now
        ]
        for text in choice.notes(listed) if listed is not None else ():
            root.note(f"MCP server {name!r} {text}")
        for tool in changed:
            root.note(
                f"MCP server {name!r} describes its tool {tool!r} otherwise than when it was called: "
                "read it before you allow another call"
            )

    use_effect(tell, [listed, repr(choice)])
    return remember


def _tools(
    name: str, server: Server, listed: Sequence[Listed], remember: Callable[[Listed], None], choice: Choice
) -> list[Tool]:
    tools = []
    taken = choice.of(listed)
    for item, (plain, longer) in zip(taken, names_of(taken, name), strict=True):
        made = Tool(
            plain,
            item["description"],
            item["schema"],
            handler=_handler(server, item, remember),
            timeout=CALL,
            thread=False,  # the server lives there, too
            confirm=choice.confirm(item["name"], listed),
            parallel=item["reads"],
        )
        made.qualify(longer)
        tools.append(made)
    return tools


def _handler(server: Server, item: Listed, remember: Callable[[Listed], None]) -> Callable[..., Any]:
    async def call(input: dict[str, Any], context: ToolContext) -> Any:
        remember(item)
        result = await server.call(item["name"], input, context)
        if result.is_error:
            raise ToolError(text_of(result) or "the server says that it failed, and not why")
        return content_of(result)

    return call
