"""Where the tokens went, as a thin stacked bar: what stands in a context, what of it is new, what may be cached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbsession.context import CompiledContext, ContextDiff, Part

Name: TypeAlias = Literal["tools", "system", "sections", "messages", "answer"]

NAMES: tuple[Name, ...] = ("tools", "system", "sections", "messages")
"""In the order of a request."""


@dataclass(frozen=True, slots=True)
class Segment:
    """So many tokens of one kind, ``new`` of them since the tick before."""

    name: Name
    tokens: int
    new: int = 0


@dataclass(frozen=True, slots=True)
class Strip:
    """A context as segments, in the order of the request; ``kept`` tokens at its front are as they were.

    ``kept`` is ``None`` where there was no context before.
    """

    segments: tuple[Segment, ...]
    kept: int | None = None

    @property
    def tokens(self) -> int:
        """All of it."""
        return sum(segment.tokens for segment in self.segments)

    def with_answer(self, tokens: int) -> Strip:
        """Return the same with an answer of so many tokens behind it."""
        return Strip((*self.segments, Segment("answer", tokens, tokens)), self.kept) if tokens else self

    @property
    def words(self) -> str:
        """The same in words: ``"tools ≈340, system ≈20, messages ≈1,600 (≈210 new)"``."""
        said = ", ".join(
            f"{segment.name} ≈{segment.tokens:,}"
            + (f" (≈{segment.new:,} new)" if segment.new and segment.name != "answer" else "")
            for segment in self.segments
        )
        return said if self.kept is None else f"{said}; the first ≈{self.kept:,} are as before"

    def pieces(self, scale: int) -> Iterator[tuple[str, float]]:
        """Give what is drawn, of a bar that is ``scale`` tokens long: classes, and a width in per cent."""
        for segment in self.segments:
            old = segment.tokens - segment.new
            for tokens, kind in ((old, ""), (segment.new, " new")):
                if tokens > 0:
                    yield f"{segment.name[:2]}{kind}", round(100 * tokens / max(scale, 1), 1)

    def notch(self, scale: int) -> float | None:
        """Return where the cacheable prefix ends, in per cent of a bar that is ``scale`` tokens long."""
        return round(100 * self.kept / max(scale, 1), 1) if self.kept else None


def strip_of(context: CompiledContext, diff: ContextDiff | None) -> Strip:
    """Measure a context, beside the one before where there is a difference."""
    tokens = dict.fromkeys(NAMES, 0)
    new = dict.fromkeys(NAMES, 0)
    fresh = set() if diff is None else {part.identity for part in (*diff.added, *_newer(diff))}
    for part in context.parts:
        name = _name(part)
        tokens[name] += part.tokens
        if fresh and part.identity in fresh:
            new[name] += part.tokens
    segments = tuple(Segment(name, count, new[name]) for name, count in tokens.items() if count)
    return Strip(segments, None if diff is None else diff.prefix_tokens_kept)


def _newer(diff: ContextDiff) -> Iterator[Part]:
    return (change.new for change in diff.changed)


def _name(part: Part) -> Name:
    if part.kind == "tool":
        return "tools"
    if part.kind == "message":
        return "messages"
    return "system" if part.kind == "system" else "sections"
