"""Breakpoints: where an execution stops before the model is called, until somebody lets it go on."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from nbsession.content import ToolResult
from nbsession.errors import SessionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbsession.context import CompiledContext, Part


@dataclass(frozen=True, slots=True)
class Breakpoint:
    """What an execution stops at; of what is given, all has to hold.

    ``tool``: the model is about to read a new result of that tool. ``part``: a part entered or changed
    whose path, title, or the name of one of its components is that. Both are shell patterns. ``tokens``:
    the context has more than so many, estimated.
    """

    tool: str = ""
    part: str = ""
    tokens: int | None = None

    def __str__(self) -> str:
        said = [f"{name}={value}" for name, value in (("tool", self.tool), ("part", self.part)) if value]
        return " ".join([*said, *([] if self.tokens is None else [f"tokens>{self.tokens}"])])

    def why(self, context: CompiledContext, older: CompiledContext | None) -> str:
        """Say why it stops at a context that comes after another one; ``""`` where it does not."""
        reasons: list[str] = []
        new = new_parts(context, older)
        if self.tool:
            given = {name for part in new for name in _results(part) if fnmatchcase(name, self.tool)}
            reasons.append(f"{', '.join(sorted(given))} gave a result" if given else "")
        if self.part:
            met = next((part for part in new if is_called(part, self.part)), None)
            reasons.append("" if met is None else f"{met.path} is new or changed")
        if self.tokens is not None:
            over = context.tokens > self.tokens
            reasons.append(f"the context has ≈{context.tokens:,} tokens" if over else "")
        return "; ".join(reasons) if all(reasons) else ""


class Breakpoints:
    """A session's breakpoints, in the order they were set; not stored, and not a fork's.

    An execution that stops waits for ``execution.resume()`` or ``abort()``, as long as that takes.
    """

    def __init__(self) -> None:
        self._all: tuple[Breakpoint, ...] = ()

    def add(self, *, tool: str = "", part: str = "", tokens: int | None = None) -> Breakpoint:
        """Stop from now on before a model call to which all that is given applies; see ``Breakpoint``."""
        _check("tool", tool)
        _check("part", part)
        _check_tokens(tokens)
        if not (tool or part or tokens is not None):
            raise SessionError("a breakpoint needs tool=, part= or tokens=, such as add(tool='search')")
        made = Breakpoint(tool, part, tokens)
        if made not in self._all:
            self._all = (*self._all, made)
        return made

    def remove(self, breakpoint: Breakpoint) -> None:
        """Take one away; ``SessionError`` where it is not set."""
        if breakpoint not in self._all:
            raise SessionError(
                f"no breakpoint {breakpoint} is set; set are: {', '.join(map(str, self._all)) or 'none'}"
            )
        self._all = tuple(each for each in self._all if each != breakpoint)

    def clear(self) -> None:
        """Take all of them away; what stands at one goes on standing."""
        self._all = ()

    def __iter__(self) -> Iterator[Breakpoint]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def __repr__(self) -> str:
        return f"<Breakpoints {', '.join(map(str, self._all)) or 'none'}>"

    def met(self, context: CompiledContext, older: CompiledContext | None) -> Stopped | None:
        """Return what stops an execution that is about to send a context after another one."""
        for each in self._all:
            if why := each.why(context, older):
                return Stopped(each, why, context)
        return None


@dataclass(slots=True, eq=False)
class Stopped:
    """An execution that stands at a breakpoint: at which one, why, and with what it is about to send."""

    breakpoint: Breakpoint
    reason: str
    context: CompiledContext
    released: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def __str__(self) -> str:
        return f"stopped at the breakpoint {self.breakpoint}: {self.reason}"


def new_parts(context: CompiledContext, older: CompiledContext | None) -> list[Part]:
    """Return the parts that were not sent so in the older context."""
    if older is None:
        return list(context.parts)
    diff = context.diff(older)
    return [*diff.added, *(change.new for change in diff.changed)]


def _check(name: str, pattern: Any) -> None:
    if not isinstance(pattern, str):
        raise SessionError(f"a breakpoint's {name}= takes a name or shell pattern, got {pattern!r}")


def _check_tokens(tokens: Any) -> None:
    if tokens is not None and (isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 0):
        raise SessionError(f"a breakpoint's tokens= takes a whole number from 0, got {tokens!r}")


def _results(part: Part) -> Iterator[str]:
    return (block.name for block in part.blocks if isinstance(block, ToolResult))


def is_called(part: Part, pattern: str) -> bool:
    """Say whether a part's path, its title or the name of one of its components is the pattern, or as a shell has it."""
    segments = [segment.partition("[")[0].partition(".")[0] for segment in part.path.split("/")]
    names: list[Any] = [part.path, part.title, *segments]
    return any(name and (name == pattern or fnmatchcase(name, pattern)) for name in names)
