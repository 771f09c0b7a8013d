"""An execution in Markdown and in plain text: the answer, and one line a tick."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbsession.content import visible
from nbsession.content.markdown import inert
from nbsession.notebook.view import templates
from nbsession.notebook.view.bounds import bounded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbsession.notebook.view.pieces import Call, TickRecord
    from nbsession.notebook.view.transcript import Transcript


def as_markdown(run: Transcript) -> str:
    """Return what the model said, as harmless Markdown, with a line for each tick."""
    blocks: list[str] = []
    for tick in _shown(run):
        if tick.text:
            blocks.append(inert(tick.text))
        blocks.extend(f"*{_escaped(text)}*" for text in (*tick.notes, _line(tick), *_asked(tick)))
    if run.error is not None:
        blocks.append(f"**Error:** {_escaped(run.error.message)}")
    if run.stopped:
        blocks.append(f"*{_escaped(run.stopped)}*")
    blocks.extend(f"*{_escaped(gate)}*" for gate in run.gates)
    return "\n\n".join(blocks)


PLAIN = 1000
"""Characters of an answer in the plain text of a saved output, which holds all of it in two other forms."""


QUESTION = 500
"""Characters of a question, and of the call that asks it, on a line."""


def as_text(run: Transcript, *, most: int | None = None) -> str:
    """Return what the model said, ``most`` characters of each answer, with a line for each tick."""
    blocks: list[str] = []
    for tick in _shown(run):
        if tick.text:
            blocks.append(_cut(visible(tick.text), most))
        blocks.extend(f"[{visible(text)}]" for text in (*tick.notes, _line(tick), *_asked(tick)))
    if run.error is not None:
        blocks.append(f"Error: {visible(run.error.message)}")
    if run.stopped:
        blocks.append(f"[{visible(run.stopped)}]")
    blocks.extend(f"[{visible(gate)}]" for gate in run.gates)
    return "\n\n".join(blocks)


def _shown(run: Transcript) -> list[TickRecord]:
    """Leave out a tick that failed before its context was compiled: there is nothing to say of it."""
    return [tick for tick in run.ticks if tick.card is not None or tick.pieces]


def _line(tick: TickRecord) -> str:
    words = [f"tick {tick.number}"]
    if tick.card is not None:
        words.append(f"{templates.tokens(tick.card.tokens)} in")
        words.extend(tick.card.inserted)
    if not tick.answered:
        words.append("no answer")
    elif tick.usage is not None:
        words.append(f"{templates.tokens(tick.usage.output_tokens, about=tick.usage.estimated)} out")
    if tick.source and tick.answered:
        words.append(tick.source if tick.model == tick.source else f"{tick.source}: {tick.model}")
    if tick.calls:
        words.append("called " + ", ".join(map(_called, tick.calls)))
    return " · ".join(words)


def _called(call: Call) -> str:
    return f"{call.name} ({call.decision})" if call.decision else call.name


def _asked(tick: TickRecord) -> Iterator[str]:
    """Say what is asked, and how it is answered."""
    for asked in filter(None, (call.asked for call in tick.calls)):
        end = asked.end or f"waits for an answer since {templates.minute(asked.since)}: {asked.command} VALUE"
        yield f"{bounded(asked.question.text, QUESTION)} · {bounded(asked.by, QUESTION)} {end}"


def _cut(text: str, most: int | None) -> str:
    if most is None or len(text) <= most:
        return text
    return f"{text[:most]}… ({len(text) - most:,} more characters in this output's other forms)"


def _escaped(text: str) -> str:
    """Escape what Markdown would take as markup."""
    return "".join(f"\\{char}" if char in "\\`*_{}[]<>#!|$" else char for char in visible(text))
