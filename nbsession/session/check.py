"""What is doubtful about a session's context, found before anything is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from nbsession.components import Section, System
from nbsession.context import BUDGET, fragment_of
from nbsession.errors import NbsessionError, did_you_mean
from nbsession.timeline import upwards
from nbsession.tree import UNPACK, Component, Fiber
from nbsession.usage import calibrated

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nbsession.context import CompiledContext, Part
    from nbsession.models.base import ModelAdapter
    from nbsession.session.core import SessionCore
    from nbsession.tools import Tool

REPEATED = 40
"""Characters from which on a text that is sent twice is worth a word."""

NEAR = 0.8
"""The share of the model's window from which on a context is near it."""

AS_MEANT = (
    "user audience",
    "collapsed",
    "policy",
    "filtered",
    "compacted",
    "rewritten",
    "left out",
    "outdated",
)
"""Why things are withheld that somebody asked to withhold."""

Severity = Literal["error", "warning", "note"]


class Finding(NamedTuple):
    """Something doubtful: ``what`` in a word, and in ``message`` what it is and what to do about it.

    ``path`` is the component's, ``""`` for what concerns the whole. ``severity`` is ``"error"`` for what
    would be refused or cut, ``"warning"`` for what costs or misleads, ``"note"`` for what may be meant.
    """

    what: str
    message: str
    path: str = ""
    severity: Severity = "warning"

    def __str__(self) -> str:
        return f"{self.severity}: {self.message}"


class Findings(list[Finding]):
    """What was found, the gravest first; empty where nothing is doubtful. ``str()`` has a line for each."""

    def __str__(self) -> str:
        return "\n".join(map(str, self)) or "nothing doubtful was found"


def check_of(core: SessionCore) -> Findings:
    """Look for what is doubtful; see ``Session.check``."""
    try:
        core.render()
        found = list(_all(core))
    except NbsessionError as error:
        found = [Finding("fails", str(error), getattr(error, "path", ""), "error")]
    grave: Sequence[Severity] = ("error", "warning", "note")
    return Findings(sorted(dict.fromkeys(found), key=lambda finding: grave.index(finding.severity)))


def _all(core: SessionCore) -> Iterator[Finding]:
    top = core.mount.root.fiber
    if not fragment_of(top).timelines:
        yield Finding(
            "no-timeline",
            "the tree renders no Timeline(), so the model would not see a message; add Timeline() to it",
            severity="error",
        )
    compiled = core.mount.compile(
        tools=core.tools, sent=core.sent, choose=core.model_for(None), room=core.room, edits=core.edits
    )
    context = compiled.context
    yield from _never_sent(top, context)
    yield from _undescribed(context)
    yield from _not_unpacked(top, context)
    yield from _repeated(context)
    yield from _unread_knobs(core)
    yield from _rules_of_nothing(core, compiled.toolbox)
    yield from _restless(core)
    if compiled.model is not None:
        yield from _beyond(context, compiled.model)


def _never_sent(top: Fiber, context: CompiledContext) -> Iterator[Finding]:
    for item in context.withheld:
        if item.reason == BUDGET:
            remedy = "give the Fit more, or what is inside it less"
            said = f"there is no room for {item.path} (≈{item.tokens:,} tokens); {remedy}"
            yield Finding("no-room", said, item.path)
        elif item.reason not in AS_MEANT:
            yield Finding("not-as-it-is", f"{item.path} is not sent as it is: {item.reason}", item.path)
    for fiber in _fibers(top):
        inner = fragment_of(fiber)
        if inner.body or inner.tools or inner.models or inner.withheld or inner.timelines:
            continue
        if fiber.type in (Section, System):
            said = (
                f"{fiber.path} is empty, so nothing of it is sent; leave it out while there is nothing to say"
            )
            yield Finding("empty", said, fiber.path, "note")
        elif isinstance(fiber.type, Component) and not fiber.hooks and not fiber.children:
            said = f"{fiber.path} renders nothing and has no hook, so it does nothing"
            yield Finding("empty", said, fiber.path, "note")


def _undescribed(context: CompiledContext) -> Iterator[Finding]:
    places = {part.key: part.path for part in context.parts if part.kind == "tool"}
    for spec in context.tools:
        if spec.options is not None:
            continue
        path = places.get(spec.name, "")
        if not spec.description.strip():
            said = f"the tool {spec.name} has no description, and the model goes by that; write a docstring"
            yield Finding("undescribed-tool", said, path)
        properties = spec.input_schema.get("properties", {})
        bare = [name for name, schema in properties.items() if not schema.get("description")]
        if bare:
            said = (
                f"the tool {spec.name} does not say what {', '.join(bare)} {'is' if len(bare) == 1 else 'are'}; "
                "describe it under Args: in its docstring"
            )
            yield Finding("undescribed-parameter", said, path, "note")
        for name, schema in properties.items():
            if not schema.keys() - {"description", "title", "default"}:
                said = f"the tool {spec.name} takes anything as {name}; say its type, as in {name}: str"
                yield Finding("untyped-parameter", said, path, "note")


def _not_unpacked(top: Fiber, context: CompiledContext) -> Iterator[Finding]:
    """Name the parts that show a hook's setter: the pair was written where its value was meant."""
    setters = [repr(cell) for fiber in _fibers(top) for cell in fiber.hooks or () if callable(cell)]
    for part in context.parts:
        if any(setter in part.text for setter in setters):
            yield Finding("not-unpacked", f"{part.path} shows a hook's setter; {UNPACK}", part.path)


def _rules_of_nothing(core: SessionCore, toolbox: Mapping[str, Tool]) -> Iterator[Finding]:
    for rule in core.permissions.rules:
        severity: Severity = "note" if rule.action == "allow" else "warning"
        tools = [tool for name, tool in toolbox.items() if rule.concerns((name,), tool.known_as)]
        known = {name for tool in tools for name in tool.spec.input_schema.get("properties", {})}
        unknown = [
            name for name, _ in rule.arguments if not known.intersection((name, name.partition(".")[0]))
        ]
        if not tools:
            said = f"the rule {rule} is about no tool that is there now{did_you_mean(rule.tool, toolbox)}"
            yield Finding("rule-of-nothing", said, severity=severity)
        elif unknown:
            said = f"the rule {rule} matches no call: no such tool takes {', '.join(unknown)}{did_you_mean(unknown[0], known)}"
            yield Finding("rule-of-nothing", said, severity=severity)


def _repeated(context: CompiledContext) -> Iterator[Finding]:
    first: dict[str, Part] = {}
    for part in context.parts:
        text = part.body.strip()
        if part.kind in ("tool", "message") or len(text) < REPEATED:
            continue
        known = first.setdefault(text, part)
        if known is not part and known.identity != part.identity:
            said = f"{part.path} says the same as {known.path} (≈{part.tokens:,} tokens); say it once"
            yield Finding("sent-twice", said, part.path)


def _unread_knobs(core: SessionCore) -> Iterator[Finding]:
    for name, value in core.knobs.undeclared.items():
        said = (
            f"the knob {name!r} is set to {value!r}, and no mounted component reads it; "
            "session.knobs.reset() forgets it"
        )
        yield Finding("unread-knob", said, severity="note")


def _restless(core: SessionCore) -> Iterator[Finding]:
    """Render all components twice over copies, and name those whose text differs though nothing was set."""
    stale = [fiber for fiber in _fibers(core.mount.root.fiber) if isinstance(fiber.type, Component)]
    names = {fiber.path: fiber.type.name for fiber in stale}
    values = core.knobs.values()
    seen = [
        core.mount.preview(
            values,
            stale=again,
            tools=core.tools,
            sent=core.sent,
            choose=core.model_for(None),
            room=core.room,
            edits=core.edits,
        ).context
        for again in ((), stale, stale)
    ]
    front = {part.identity for context in seen for part in context.parts[: -len(context.flow) or None]}
    digests = [{part.identity: part for part in context.parts} for context in seen]
    for identity, part in {key: part for known in digests for key, part in known.items()}.items():
        if len({known[identity].digest if identity in known else "" for known in digests}) == 1:
            continue
        name = next(names[place] for place in upwards(part.path) if place in names)
        said = (
            f"{part.path} is another one each time {name} renders, though no state and no knob changed "
            "(a clock, a random number, or a value changed in place)"
        )
        if identity in front:
            after = sum(each.tokens for each in seen[0].parts) - _before(seen[0], identity)
            said += (
                f"; it stands before the conversation, so at such a tick ≈{after:,} tokens are read anew and not from "
                "the provider's cache; keep it with use_state or use_memo, or move it behind Timeline()"
            )
            yield Finding("restless-prefix", said, part.path)
        else:
            said += "; it is sent once more whenever it changed; keep it with use_state or use_memo"
            yield Finding("restless", said, part.path, "note")


def _before(context: CompiledContext, identity: tuple[str, str, str]) -> int:
    """Sum up the tokens that stand before a part in a request: tools, system, messages."""
    count = 0
    for part in sorted(context.parts, key=lambda part: part.kind != "tool"):
        if part.identity == identity:
            break
        count += part.tokens
    return count


def _beyond(context: CompiledContext, model: ModelAdapter) -> Iterator[Finding]:
    """Tell what the model does not take, or has hardly room for."""
    can = model.capabilities
    if context.tools and not can.tools:
        names = ", ".join(spec.name for spec in context.tools)
        said = (
            f"{model.name} takes no tools, and the tree has {names}; choose another model, or leave them out"
        )
        yield Finding("no-tools", said, severity="error")
        for item in context.withheld:
            if item.reason == "collapsed":
                said = f"{item.path} is collapsed, and {model.name} takes no tools, so it can never expand it"
                yield Finding("never-expanded", said, item.path)
    for part in context.parts:
        for kind, taken in (("images", can.images), ("documents", can.documents)):
            if kind in part.holds and not taken:
                said = f"{model.name} takes no {kind}, and {part.path} has some; choose another model, or leave them out"
                yield Finding(f"no-{kind}", said, part.path, "error")
    if can.window is None:
        return
    tokens = calibrated(model.name).apply(context.tokens)
    share = f"≈{tokens:,} of the {can.window:,} tokens that {model.name} takes"
    largest = max(context.parts, key=lambda part: part.tokens, default=None)
    most = f"; most of it is {_name(largest)} (≈{largest.tokens:,})" if largest is not None else ""
    if tokens > can.window:
        said = f"the context has {share}{most}; leave something out, or bound it with Fit()"
        yield Finding("over-window", said, "" if largest is None else largest.path, "error")
    elif tokens > NEAR * can.window:
        said = f"the context has {share}, and the answer has to fit beside it{most}; bound it with Fit()"
        yield Finding("near-window", said, "" if largest is None else largest.path)


def _name(part: Part) -> str:
    return f"the tool {part.title}" if part.kind == "tool" else part.path


def _fibers(top: Fiber) -> Iterator[Fiber]:
    """Give the fibers that are shown, parents first."""
    stack = [top]
    while stack:
        fiber = stack.pop()
        yield fiber
        stack.extend(child for child in reversed(fiber.children) if isinstance(child, Fiber))
