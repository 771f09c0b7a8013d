"""How the rules put things: the context in a few lines, a result, what would work here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbsession.models.simulated.words import clip, first_sentence, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbsession.content import ToolCall, ToolResult, ToolSpec
    from nbsession.models.simulated.reading import Reading

NATURE = "I am the simulated model: a handful of rules, no language model."


def arguments(given: Mapping[str, object]) -> str:
    """A call's arguments as part of a sentence."""
    shown = ", ".join(f"{name} = {_value(value)}" for name, value in given.items())
    return f" with {shown}" if shown else ""


def _value(value: object) -> str:
    return f"“{clip(value, 120)}”" if isinstance(value, str) else str(value)


def outcome(call: ToolCall | None, result: ToolResult) -> str:
    """What one tool call gave, in a sentence."""
    text = result.text.strip()
    ends = {
        "denied": "was not allowed",
        "interrupted": "was interrupted before it gave a result",
        "unknown": "had started and nobody knows how it ended",
    }
    name = f"`{result.name or (call.name if call else 'a tool')}`"
    if result.status in ends:
        return f"{name} {ends[result.status]}{f': {quoted(text)}' if text else '.'}"
    if result.is_error:
        return f"{name} failed: {quoted(text) if text else 'it gave no reason.'}"
    return f"{name} gave: {quoted(text)}" if text else f"{name} gave nothing."


def block(text: str) -> str:
    """A text as a block quotation, or, of one line, in quotation marks."""
    lines = clip(text.strip(), 2000).splitlines()
    return (
        "\n\n" + "\n".join(f"> {line}" for line in lines)
        if len(lines) > 1
        else f" “{lines[0] if lines else ''}”"
    )


def description(reading: Reading) -> tuple[str, str]:
    """The context in a few lines, and in one."""
    context = reading.context
    system = [part for part in reading.sources if part.kind == "system"]
    titles = ", ".join(f"“{part.title or part.kind}”" for part in reading.sections)
    knobs = ", ".join(f"{knob.name} = {knob.value}" for knob in reading.knobs.values())
    lines = [
        f"- **System prompt**: {len(system)} part{'s' if len(system) != 1 else ''}"
        + (f", beginning {quoted(clip(first_sentence(system[0].body), 160))}" if system else ""),
        f"- **Sections**: {titles or 'none'}",
        f"- **Tools**: {', '.join(f'`{spec.name}`' for spec in reading.tools) or 'none'}",
        f"- **Messages**: {len(reading.spoken)}",
    ]
    if knobs:
        lines.insert(3, f"- **Knobs**: {knobs}")
    head = f"This is my context, ≈{context.tokens:,} tokens. {NATURE}"
    short = (
        f"≈{context.tokens:,} tokens: {len(system)} system parts, {len(reading.sections)} sections, "
        f"{len(reading.tools)} tools, {len(reading.spoken)} messages."
    )
    return "\n".join([head, "", *lines]), short


def offers(reading: Reading) -> str:
    """What would work here, in a sentence."""
    can = [_tool_line(spec) for spec in reading.tools if spec.name != "set_knob"]
    if reading.tool("set_knob") and reading.knobs:
        can.append("set the knobs " + ", ".join(f"“{name}”" for name in reading.knobs))
    if reading.sections:
        can.append("quote from " + ", ".join(f"“{part.title or part.kind}”" for part in reading.sections))
    return f"Here I can: {'; '.join([*can, 'say what you told me earlier', 'describe my context'])}."


def _tool_line(spec: ToolSpec) -> str:
    what = first_sentence(spec.description).rstrip(".")
    return f"use `{spec.name}`" + (f" ({clip(what, 100)})" if what else "")
