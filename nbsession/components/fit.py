"""``Fit``, ``Priority``, ``First``, ``Whole``, ``Cut``: a budget of tokens, and what goes first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession.content import Text
from nbsession.context import Box, Chunk, Foldable, Fragment, Keep, Part, is_message, leaf, unboxed
from nbsession.errors import CompileError, RenderError, did_you_mean
from nbsession.tools import Tool
from nbsession.tree import Fiber

if TYPE_CHECKING:
    from nbsession.context import FlowItem
    from nbsession.tree import Element

KEEPS: tuple[Keep, ...] = ("head", "tail", "both")

MOST = 1_000_000_000
"""The bound of a priority, both ways: sums of those inside one another stay exact."""

REMEDIES = {
    "fit": "put the Fit around the {0}, or beside it",
    "priority": "put the Priority around the {0}",
    "first": "put it beside the {0}, or in its place: each alternative goes or stays as a whole",
    "whole": "put it beside the {0}",
    "cut": "put it beside the {0}, or in its place: where there is room a Cut is the full text",
}
"""What to do about a rule that stands inside of another, the ``{0}``."""

DIGITS_TOO_MANY = 10_000
"""Bits from which on Python refuses to write a whole number out, and nobody could read it."""


class _Fit(Foldable):
    def fold(self, fiber: Fiber, inner: Fragment) -> Fragment:
        props = fiber.element.props
        return inner.put_in(
            Box(
                "fit",
                fiber.path,
                inner.body,
                inner.tokens,
                speaks=inner.last >= 0,
                ranks=inner.ranks or (None,) * len(inner.body),
                limit=props["max_tokens"],
                reserve=props["reserve"],
                tools=inner.tools,
            )
        )


class _Priority(Foldable):
    def fold(self, fiber: Fiber, inner: Fragment) -> Fragment:
        return inner.ranked(fiber.element.props["number"]) if inner.body else inner


class _Whole(Foldable):
    def fold(self, fiber: Fiber, inner: Fragment) -> Fragment:
        _refuse_rules(fiber, inner)
        if not inner.body:
            return inner
        return inner.put_in(Box("whole", fiber.path, inner.body, inner.tokens, speaks=inner.last >= 0))


class _First(Foldable):
    def fold(self, fiber: Fiber, inner: Fragment) -> Fragment:
        _refuse_rules(fiber, inner)
        ways = tuple([way for way in map(_body_of, _children(fiber)) if way.body])
        if not ways:
            return inner
        for way in ways:
            if any(_is_entry(item) for item in unboxed(way.body)):
                raise CompileError(
                    f"a timeline stands inside {fiber.path}; it gives up its oldest exchanges by itself: "
                    "put it beside the First",
                    path=fiber.path,
                )
        boxes = tuple([Box("whole", fiber.path, way.body, way.tokens, speaks=way.last >= 0) for way in ways])
        made = inner.put_in(Box("first", fiber.path, boxes, ways[0].tokens, speaks=ways[0].last >= 0))
        # Alternatives may go by one name: only one of them is sent.
        made.names = tuple({name[:2]: name for name in reversed(inner.names)}.values())[::-1]
        made.tools = tuple({use.tool.name: use for use in reversed(inner.tools)}.values())[::-1]
        return made


class _Cut(Foldable):
    def fold(self, fiber: Fiber, inner: Fragment) -> Fragment:
        _refuse_rules(fiber, inner)
        if not inner.body:
            return inner
        for item in unboxed(inner.body):
            if is_message(item) and not _is_one_text(item):
                raise CompileError(
                    f"a message of the timeline, a picture or a document stands inside {fiber.path}; "
                    "only text can be shortened: put it beside the Cut",
                    path=fiber.path,
                )
        keep = fiber.element.props["keep"]
        return inner.put_in(
            Box("cut", fiber.path, inner.body, inner.tokens, speaks=inner.last >= 0, keep=keep)
        )


def _refuse_rules(fiber: Fiber, inner: Fragment) -> None:
    """Refuse what would have no effect where all goes, stays or is cut by the rule of ``fiber``."""
    host = fiber.type.name
    for item, rank in zip(inner.body, inner.ranks or (), strict=False):
        box = item if isinstance(item, Box) and (item.kind != "whole" or host == "Cut") else None
        if box is None and rank is None:
            continue
        kind = "priority" if box is None else box.kind
        raise CompileError(
            f"a {kind.title()} stands inside the {host} at {fiber.path}, where it would have no effect; "
            f"{REMEDIES[kind].format(host)}",
            path=item.path,
        )


def _children(fiber: Fiber) -> list[Any]:
    return [
        (fiber, child, place) for place, child in enumerate(fiber.children) if not isinstance(child, Tool)
    ]


def _body_of(child: tuple[Fiber, Any, int]) -> Fragment:
    fiber, node, place = child
    if isinstance(node, Fiber):
        fragment: Fragment = node.output
        return fragment
    return Fragment((leaf(fiber, node, place),))


def _is_entry(item: FlowItem) -> bool:
    return isinstance(item, Chunk) or (item.kind == "message" and bool(item.key))


def _shown(number: object) -> str:
    if isinstance(number, int) and number.bit_length() > DIGITS_TOO_MANY:
        return f"a whole number of {number.bit_length():,} bits"
    return f"{number!r:.80}"


def _is_one_text(item: FlowItem) -> bool:
    return (
        isinstance(item, Part) and not item.key and len(item.blocks) == 1 and isinstance(item.blocks[0], Text)
    )


_fit = _Fit("Fit", props=("max_tokens", "reserve"))
_priority = _Priority("Priority", props=("number",))
_cut = _Cut("Cut", props=("keep",))


def Fit(
    *children: object, max_tokens: int | None = None, reserve: int = 0, key: str | int | None = None
) -> Element:
    """Keep what is inside within a budget of tokens: what has the lowest priority goes first.

    ::

        Fit(
            System("You answer from the documents."),
            Priority(-1, [Section(text, id=name) for name, text in documents]),
            Timeline(),
            reserve=4_000,
        )

    ``max_tokens`` bounds what is inside, its tools included; without it, the whole request is kept
    within the model's window less ``reserve`` tokens for the answer (where the window is not known,
    nothing goes). Tokens are estimated, and corrected for a model that has answered
    often enough to be calibrated.

    Only what stands in a ``Priority``, ``First``, ``Whole`` or ``Cut`` may go, and the conversation: a ``Timeline()``
    gives up its oldest exchanges (from one message of the user's to the next), and then the oldest steps
    of the one under way, a tool call always with its results. The last message stays. Among equals goes first
    what is not in the provider's cache, then the earlier. Where a conversation has to give something up, an eighth of the
    budget is left free, and what went stays away until the budget is another, or there
    is room for all of it or for an eighth of the budget. What is not sent is listed in ``context.withheld`` as
    ``"budget"``; a tool is always sent.

    Within an execution, what stood behind the conversation stays where it was sent, and what is said anew follows: all
    of it counts. Where there is no room, what was said earlier and is not said any more goes first, all of it
    (as ``"outdated"``), and what the budget leaves out or shortens goes from where it was sent.

    One part that is too large takes with it what has a lower priority, even what would have room (``behind`` says so
    in ``withheld``): else a larger budget could drop what a smaller one kept. Put it into a ``Cut`` or a ``First``, or give it
    a lower priority. That a larger budget keeps what a smaller one kept holds for contexts without a past: where
    a budget changes, it is filled by priority again, so that what was left out and has a higher priority may take the place of what
    came since.

    A ``Fit`` inside another has a budget of its own and counts for the outer one. Raises ``CompileError`` where
    what has to stay is too much, naming the largest parts.
    """
    for name, value, least in (("max_tokens", max_tokens, 1), ("reserve", reserve, 0)):
        if value is not None and (type(value) is not int or value < least):
            raise RenderError(f"Fit({name}=) takes a whole number of tokens from {least} on, got {value!r}")
    return _fit(*children, key=key, max_tokens=max_tokens, reserve=reserve)


def Priority(number: float, *children: object, key: str | int | None = None) -> Element:
    """Say how long the children stay in a ``Fit``: ``Priority(n, *children)``; the higher, the longer.

    ``number`` is from -1,000,000,000 to 1,000,000,000, else it is a ``RenderError``.
    Where one part goes, all in the ``Fit`` that has a lower priority goes too, however small it is.
    Each part inside may go by itself (see ``Whole``). Priorities inside one another add up; a timeline, and what
    is only in a ``First``, ``Whole`` or ``Cut``, has 0. Outside a ``Fit`` it changes nothing. Give siblings that come and go a ``key``.
    """
    if type(number) not in (int, float) or not -MOST <= number <= MOST:
        raise RenderError(
            f"Priority() takes a number from -{MOST:,} to {MOST:,} before its children, got {_shown(number)}"
        )
    return _priority(*children, key=key, number=number)


_first = _First("First")


def First(*alternatives: object, key: str | int | None = None) -> Element:
    """The first alternative that there is room for: ``First(full, summary, title)``.

    It is chosen after everything of higher priority had its place in the ``Fit`` around it; where not even the
    last one has room, nothing of it is sent. An alternative is a node (several in a list) and stands or goes
    as a whole. Outside a ``Fit`` it is the first. Raises ``CompileError`` where a timeline, ``Fit``, ``Priority``,
    ``First`` or ``Cut`` stands inside.
    """
    return _first(*alternatives, key=key)


_whole = _Whole("Whole")


def Whole(*children: object, key: str | int | None = None) -> Element:
    """All of it or nothing: ``Whole(*children)`` goes from a ``Fit`` in one piece.

    Raises ``CompileError`` where a ``Fit``, ``Priority``, ``First`` or ``Cut`` stands inside: it would have no effect.
    """
    return _whole(*children, key=key)


def Cut(*children: object, keep: Keep = "head", key: str | int | None = None) -> Element:
    """Text that may be shortened, at line ends: ``Cut(Section(log, title="Log"), keep="tail")``.

    ``keep`` says what stays: the ``"head"``, the ``"tail"`` or ``"both"``. In place of the rest stands how many lines
    and tokens are missing; a section's heading stays. Each part inside is shortened by itself, as
    little as need be; where there is no room for a line it goes. Raises ``CompileError`` where a message of the
    timeline, a picture, or a ``Fit``, ``Priority``, ``First``, ``Whole`` or ``Cut`` stands inside.
    """
    if keep not in KEEPS:
        raise RenderError(f"Cut(keep=) got {keep!r}{did_you_mean(str(keep), KEEPS)}")
    return _cut(*children, key=key, keep=keep)
