"""What one fiber compiles to, before it has its place in the compiled context.

Fragments are kept on their fibers, so that a change costs its path to the
root, not the tree. A component's fragment is its children's, joined; a host
(``System``, ``Section``, …) folds it into parts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from nbsession.content import Entry, Text
from nbsession.context.box import BodyItem, Box, Ranks, is_message, not_plain
from nbsession.context.chunk import Chunk, FlowItem
from nbsession.context.part import Part, entry_part, tool_part
from nbsession.errors import CompileError, SessionError
from nbsession.tools import Tool
from nbsession.tree import Fiber, Host

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nbsession.content import Block, ToolSpec
    from nbsession.context.target import Target
    from nbsession.context.withheld import Withheld

LEAVES: tuple[type, ...] = (Tool, Entry, Chunk, Text)
"""The opaque values that a node may be, besides text and elements."""


PLACES = 32
"""Places at which one tool's parts are remembered."""

MEDIA = "media"
"""The title of a part that is a picture or document, which a message takes in."""


class ToolUse:
    """A tool and the place it stands at; ``part`` is what the model sees of it.

    One that is ``deferred`` it sees only when it has searched for it.
    """

    __slots__ = ("deferred", "path", "tool")

    def __init__(self, tool: Tool, path: str, *, deferred: bool = False) -> None:
        self.tool = tool
        self.path = path
        self.deferred = deferred

    @property
    def spec(self) -> ToolSpec:
        """The tool as it is named to the model here."""
        return replace(self.tool.spec, deferred=True) if self.deferred else self.tool.spec

    @property
    def part(self) -> Part:
        """The part of the context that stands for the tool; it lasts as long as the tool does."""
        known = self.tool.parts
        part: Part | None = known.get(self.path)
        if part is None:
            if len(known) >= PLACES:
                known.clear()
            part = known[self.path] = tool_part(self.spec, self.path)
        return part


def tools_given(tools: Any, to: str) -> tuple[ToolUse, ...]:
    """Return what a caller gave as ``tools=``; ``SessionError`` where one of them is no tool."""
    if isinstance(tools, Tool) or callable(tools):
        raise SessionError(f"{to}(tools=) takes a list of tools, got {tools!r}; write tools=[…]")
    for given in tools:
        if not isinstance(given, Tool):
            advice = (
                "mark the function with @tool"
                if callable(given)
                else "a tool is a function marked with @tool"
            )
            raise SessionError(
                f"{to}(tools=) takes tools, got {type(given).__name__}: {given!r:.80}; {advice}"
            )
    return tuple(ToolUse(given, to) for given in tools)


class ModelChoice(NamedTuple):
    """A ``Model`` element: the model it names (or ``None``), and settings."""

    model: str | Target | None
    settings: Mapping[str, Any]
    path: str


class Name(NamedTuple):
    """A name that may stand in a tree only once: ``what`` it names, and where it was given."""

    what: str
    name: str
    path: str


class Fragment:
    """Parts in tree order, and what stands beside them.

    ``first`` and ``last`` are the positions in ``body`` of the first and the last
    message-like item, -1 where there is none; ``timelines`` are the paths of the
    timelines inside, ``names`` the ids of sections and the names of what is collapsed.
    ``ranks`` are the priorities of what is in the body, ``None`` where there is neither a priority nor a box.
    """

    __slots__ = (
        "body", "first", "last", "models", "names", "ranks", "timelines", "tokens", "tools", "withheld",
    )  # fmt: skip

    def __init__(
        self,
        body: tuple[BodyItem, ...] = (),
        *,
        tools: tuple[ToolUse, ...] = (),
        models: tuple[ModelChoice, ...] = (),
        withheld: tuple[Withheld, ...] = (),
        timelines: tuple[str, ...] = (),
        names: tuple[Name, ...] = (),
        tokens: int | None = None,
        first: int | None = None,
        last: int | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        self.body = body
        self.tools = tools
        self.models = models
        self.withheld = withheld
        self.timelines = timelines
        self.names = names
        self.tokens = sum([item.tokens for item in body]) if tokens is None else tokens
        self.first, self.last = messages_in(body) if first is None or last is None else (first, last)
        self.ranks = ranks

    def folded(self, body: tuple[BodyItem, ...], *, withheld: tuple[Withheld, ...] = ()) -> Fragment:
        """Return a fragment of another body with the tools, models and notes of this one."""
        same = body is self.body
        return Fragment(
            body,
            tools=self.tools,
            models=self.models,
            withheld=(*self.withheld, *withheld) if withheld else self.withheld,
            timelines=self.timelines,
            names=self.names,
            tokens=self.tokens if same else None,
            first=self.first if same else None,
            last=self.last if same else None,
            ranks=self.ranks if same else None,
        )

    def holding(self, body: tuple[BodyItem, ...]) -> Fragment:
        """Return this fragment with another body, of as many items."""
        made = self.ranked(0)
        made.ranks = self.ranks
        made.body, made.tokens = body, sum([item.tokens for item in body])
        return made

    def ranked(self, number: float) -> Fragment:
        """Return this fragment with a priority added to all that is in it."""
        made = Fragment.__new__(Fragment)
        made.body, made.tokens, made.first, made.last = self.body, self.tokens, self.first, self.last
        made.tools, made.models, made.withheld = self.tools, self.models, self.withheld
        made.timelines, made.names = self.timelines, self.names
        if self.ranks is None:
            made.ranks = (number,) * len(self.body)
        else:
            made.ranks = tuple([number if rank is None else rank + number for rank in self.ranks])
        return made

    def followed_by(self, other: Fragment) -> Fragment:
        """Return this fragment with another one after it that holds no messages."""
        made = self.folded((*self.body, *other.body))
        made.tools = (*self.tools, *other.tools)
        made.first, made.last = self.first, self.last
        made.ranks = None if self.ranks is None else (*self.ranks, *(None for _ in other.body))
        return made

    def put_in(self, box: Box) -> Fragment:
        """Return a fragment that holds all of this one in a box."""
        place = 0 if box.speaks else -1
        return Fragment(
            (box,),
            tools=self.tools,
            models=self.models,
            withheld=self.withheld,
            timelines=self.timelines,
            names=self.names,
            tokens=box.tokens,
            first=place,
            last=place,
            ranks=(None,),
        )


NOTHING = Fragment((), tokens=0, first=-1, last=-1)


class Foldable(Host):
    """A host that folds its children's fragment into its own."""

    def fold(self, fiber: Fiber, inner: Fragment) -> Fragment:
        """Return what the element compiles to; ``inner`` is what its children compile to."""
        return inner


def fragment_of(root: Fiber) -> Fragment:
    """Return the fragment of a fiber, working out only what was invalidated.

    A work stack instead of recursion: trees may be deeper than Python's stack.
    """
    stack = [root]
    while stack:
        fiber = stack[-1]
        if fiber.output is None:
            waiting = [child for child in fiber.children if type(child) is Fiber and child.output is None]
            if waiting:
                stack.extend(waiting)
                continue
            inner = gather(fiber)
            host = fiber.type
            fiber.output = host.fold(fiber, inner) if isinstance(host, Foldable) else inner
        stack.pop()
    result: Fragment = root.output
    return result


def gather(fiber: Fiber) -> Fragment:
    """Join what a fiber's children compile to."""
    children = fiber.children
    if len(children) == 1 and type(children[0]) is Fiber:
        only: Fragment = children[0].output
        return only
    if not children:
        return NOTHING
    body: list[BodyItem] = []
    tools: list[ToolUse] = []
    models: list[ModelChoice] = []
    withheld: list[Withheld] = []
    timelines: list[str] = []
    names: list[Name] = []
    tokens, first, last, ranked = 0, -1, -1, False
    for position, child in enumerate(children):
        if type(child) is Fiber:
            inner: Fragment = child.output
            if inner.last >= 0:
                first = first if first >= 0 else len(body) + inner.first
                last = len(body) + inner.last
            tokens += inner.tokens
            body.extend(inner.body)
            if inner.ranks is not None:
                ranked = True
            if inner.tools:
                tools.extend(inner.tools)
            models.extend(inner.models)
            if inner.withheld:
                withheld.extend(inner.withheld)
            if inner.timelines:
                timelines.extend(inner.timelines)
            if inner.names:
                names.extend(inner.names)
        elif type(child) is Tool:
            tools.append(ToolUse(child, fiber.path))
        else:
            item = leaf(fiber, child, position)
            if not isinstance(item, Part) or item.kind == "message":
                first = first if first >= 0 else len(body)
                last = len(body)
            tokens += item.tokens
            body.append(item)
    return Fragment(
        tuple(body),
        tools=tuple(tools),
        models=tuple(models),
        withheld=tuple(withheld),
        timelines=tuple(timelines),
        names=tuple(names),
        tokens=tokens,
        first=first,
        last=last,
        ranks=_ranks_of(children) if ranked else None,
    )


def _ranks_of(children: Iterable[Any]) -> Ranks:
    """Join the priorities of what children compile to."""
    ranks: list[float | None] = []
    for child in children:
        if type(child) is Fiber:
            inner: Fragment = child.output
            ranks.extend((None,) * len(inner.body) if inner.ranks is None else inner.ranks)
        elif type(child) is not Tool:
            ranks.append(None)
    return tuple(ranks)


def leaf(fiber: Fiber, child: object, position: int) -> FlowItem:
    """Return what a child that is no fiber and no tool compiles to."""
    if isinstance(child, str):
        return Part("text", fiber.path, child, key=str(position) if position else "")
    if isinstance(child, Chunk):
        return child
    if isinstance(child, Entry):
        return entry_part(child, fiber.path)
    if isinstance(child, Text):
        return Part("text", fiber.path, child.text, key=str(position))
    raise CompileError(
        f"{fiber.path} holds a {type(child).__name__}, which has no text form", path=fiber.path
    )


def join_texts(parts: Iterable[Part]) -> str:
    """Join texts: plain lines by a newline, formatted blocks and sections by a blank line."""
    joined: list[str] = []
    plain_before = False
    for part in parts:
        if not part.text:
            continue
        plain = part.kind == "text"
        if joined:
            joined.append("\n" if plain and plain_before else "\n\n")
        joined.append(part.text)
        plain_before = plain
    return "".join(joined)


def texts_only(fiber: Fiber, inner: Fragment) -> list[Part]:
    """Return the parts of a fragment that may hold text only; a message, picture or box among them is an error."""
    if inner.ranks is not None:
        box = next((item for item in inner.body if isinstance(item, Box)), None)
        name = "Priority" if box is None else box.kind.title()
        raise CompileError(
            f"a {name} stands inside {fiber.path}, which is one text; put the {name} around the {fiber.type.name}",
            path=fiber.path,
        )
    if inner.last >= 0:
        name, found = fiber.type.name, inner.body[inner.first]
        if isinstance(found, Part) and found.title == MEDIA:
            what, remedy = "a picture or document", "put it in a message, or beside"
        else:
            what, remedy = "a message", "put it beside"
        raise CompileError(f"{what} stands inside {fiber.path}; {remedy} the {name}", path=fiber.path)
    return [item for item in inner.body if isinstance(item, Part)]


def mode_of(fiber: Fiber) -> Literal["markdown", "xml"]:
    """Say how formatting at a fiber compiles: by the nearest ``Markdown`` or ``XML`` above it."""
    at: Fiber | None = fiber
    while at is not None:
        name = getattr(at.type, "mode", None)
        if name is not None:
            mode: Literal["markdown", "xml"] = name
            return mode
        at = at.parent
    return "markdown"


def blocks_of(part: Part) -> tuple[Block, ...]:
    """Return what a part contributes to a message."""
    return part.blocks or ((Text(part.text),) if part.text.strip() else ())


def messages_in(body: Sequence[BodyItem]) -> tuple[int, int]:
    """Return the positions of the first and the last message-like item, -1 where there is none."""
    if not body:
        return -1, -1
    places = [place for place in not_plain(body) if is_message(body[place])]
    return (places[0], places[-1]) if places else (-1, -1)
