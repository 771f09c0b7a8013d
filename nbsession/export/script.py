"""A conversation as Python: a script that replays it, a test that holds it to what it was, a notebook of its cells."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from nbsession.content import Text, visible
from nbsession.errors import SessionError
from nbsession.export.page import STATIC, sheet
from nbsession.export.program import Program
from nbsession.export.prose import inline
from nbsession.export.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jinja2 import Environment

    from nbsession.content import Entry
    from nbsession.export.conversation import Conversation, Turn


@dataclass(frozen=True, slots=True)
class Made:
    """What a session was made of: its root, properties and tools, and the name of its model."""

    root: Any
    props: Mapping[str, Any]
    tools: Sequence[Any]
    model: str
    max_ticks: int


@dataclass(frozen=True, slots=True)
class Sent:
    """What a message was sent with besides, as ``send(model=, tools=)`` has it; ``model`` is ``""`` where none was given."""

    model: str = ""
    tools: Sequence[Any] = ()


PROVIDERS = ("anthropic:", "openai:", "ollama:", "llamacpp:", "lmstudio:", "vllm:", "simulated")
"""What the names of models begin with that can be named anywhere."""


def replayed(conversation: Conversation) -> tuple[Turn, ...]:
    """Return the turns that can be had again: up to the first that cannot, for the others stand behind it."""
    turns = [turn for turn in conversation.turns if turn.ticks]
    for at, turn in enumerate(turns):
        if not turn.whole or not (turn.messages or turn.answered):
            return tuple(turns[:at])
    return tuple(turns)


def script(
    conversation: Conversation, made: Made, recording: str, sent: Mapping[str, Sent], *, test: bool
) -> str:
    """Return a script that replays a conversation from a recording beside it; or a test of it for pytest.

    ``sent`` says by execution what its message was sent with; of one that is not there that is not known any more.
    """
    program = Program()
    turns: list[dict[str, Any]] = []
    taken: list[Turn] = []
    lost: Sequence[str] = ()
    for turn in replayed(conversation):
        if turn.messages:
            given = _given(turn, sent.get(turn.ticks[0].execution), program)
            if lost := given.lost:
                break
            message = _message(turn.messages, program)
            turns.append({"knobs": repr(dict(turn.knobs)), "message": message, "given": given})
        taken.append(turn)
    if not turns:
        raise SessionError(
            f"session {conversation.session!r} cannot be said again: its first message was sent with tools={list(lost)}, "
            "which cannot be written down; export it as .html, .md or .json"
        )
    answers = _answers(taken)
    if answers:
        program.need("nbsession.events", "ConfirmationRequested")
        program.need("nbsession.events", "QuestionAsked")
    root, options, props = _call(program, made)
    program.need("nbsession", "App")
    program.need("nbsession.models", "RecordedModel")
    asked = sum(1 for turn in conversation.turns if turn.ticks)
    return (
        _environment()
        .get_template("script.py.j2")
        .render(
            session=_comment(conversation.session),
            program=program.text,
            turns=turns,
            answers=[(repr(call), _listed(given)) for call, given in answers.items()],
            left=asked - len(taken),
            lost=visible(str(list(lost))) if lost else "",
            recording=repr(recording),
            root=root,
            model=repr(made.model) if made.model else None,
            options=options,
            props=props,
            test=test,
            ticks=[
                {"hash": repr(tick.context.hash), "text": repr(tick.text)}
                for turn in taken
                for tick in turn.ticks
            ],
        )
    )


def notebook(conversation: Conversation, made: Made, sent: Mapping[str, Sent]) -> str:
    """Return a notebook of the messages as cells, each with what came of it as a finished output; ``sent`` as for a script."""
    program = Program()
    root, options, props = _call(program, made)
    program.need("nbsession", "App")
    chosen = f", model={made.model!r}" if made.model else ""
    opening = f"session = app.session({props})" if props else ""
    cells = [
        _cell("markdown", f"# Session {inline(conversation.session)}"),
        _cell("code", f"%load_ext nbsession\n\n{program.text}\n\n\napp = App({root}{chosen}{options})"),
        _cell("code", "\n".join(filter(None, [opening, "%session new app --as session"]))),
    ]
    turns = Turns()
    for turn in conversation.turns:
        if turn.knobs:
            cells.append(_cell("code", f"session.knobs.set_many({dict(turn.knobs)!r})"))
        if turn.messages or turn.ticks:
            given = sent.get(turn.ticks[0].execution) if turn.ticks else None
            cells.append(_cell("code", _asks(turn, given), _output(turn, turns)))
    numbered = [{"id": f"cell-{place}", **cell} for place, cell in enumerate(cells)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    whole = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "cells": numbered,
    }
    return json.dumps(whole, ensure_ascii=False, indent=1) + "\n"


def _asks(turn: Turn, sent: Sent | None) -> str:
    """Return the source of the cell that a turn came of."""
    if turn.messages:
        model = f" --model {sent.model}" if sent is not None and is_nameable(sent.model) else ""
        return f"%%session{model}{' --raw' if '{{' in turn.text else ''}\n{turn.text}"
    given = {asked.call: value for asked in turn.answered for value in asked.answers}
    if len(given) > 1:  # of which some may have been answered while the turn before ran
        return (
            f"answers = {given!r}\nwhile session.waiting:\n    waiting = session.waiting[0]\n"
            "    await session.answer(waiting.id, answers[str(waiting.call)])"
        )
    answers = [f"await session.answer(session.waiting[0].id, {value!r})" for value in given.values()]
    return "".join(answers) or "await session.render()"


def _listed(given: Sequence[Any]) -> str:
    return f"[{', '.join('...' if value is ... else repr(value) for value in given)}]"


def _answers(turns: Sequence[Turn]) -> dict[str, list[Any]]:
    """Return what was answered, by the calls as they were asked for: their ids are others when it is said again."""
    found: dict[str, list[Any]] = {}
    for turn in turns:
        for asked in turn.asked.values():
            found.setdefault(asked.call, []).extend(asked.answers or [...])
    return found


def _call(program: Program, made: Made) -> tuple[str, str, str]:
    """Return how the app and its session are made: the root, the app's further options, the session's."""
    root = program.expression(made.root)
    tools = f", tools=[{', '.join(map(program.expression, made.tools))}]" if made.tools else ""
    ticks = f", max_ticks={made.max_ticks}" if made.max_ticks != 10 else ""
    props = ", ".join(f"{name}={program.expression(value)}" for name, value in made.props.items())
    return root, tools + ticks, props


def is_nameable(model: str) -> bool:
    """Whether a model's name means the same model in another program."""
    return model.startswith(PROVIDERS)


class _Given(NamedTuple):
    """What a turn was sent with: an expression, a note on what cannot be repeated, and the tools that cannot be had."""

    options: str = "{}"
    note: str = ""
    lost: Sequence[str] = ()


def _given(turn: Turn, sent: Sent | None, program: Program) -> _Given:
    if sent is None:  # by a process that has ended
        parts = turn.ticks[0].context.parts
        return _Given(lost=[part.title for part in parts if part.kind == "tool" and part.path == "send"])
    options: list[str] = []
    written: list[str] = []
    lost: list[str] = []
    note = ""
    if is_nameable(sent.model):
        options.append(f'"model": {sent.model!r}')
    elif sent.model:
        note = visible(f"sent with model={sent.model!r}, which is no name that others know")
    for tool in sent.tools:
        name = program.expression(tool)
        (lost if name in program.missing else written).append(name)
        program.missing[:] = [each for each in program.missing if each != name]
    if written:
        options.append(f'"tools": [{", ".join(written)}]')
    return _Given(f"{{{', '.join(options)}}}", note, lost)


def _message(entries: Sequence[Entry], program: Program) -> str:
    if len(entries) == 1 and len(entries[0].content) == 1 and isinstance(entries[0].content[0], Text):
        return repr(entries[0].content[0].text)
    program.need("nbsession.content", "Entry")
    return f"[{', '.join(f'Entry.from_dict({entry.to_dict()!r})' for entry in entries)}]"


def _cell(kind: str, text: str, output: Mapping[str, Any] | None = None) -> dict[str, Any]:
    cell: dict[str, Any] = {"cell_type": kind, "metadata": {}, "source": _lines(text)}
    if kind == "code":
        cell |= {"execution_count": None, "outputs": [output] if output else []}
    return cell


def _lines(text: str) -> list[str]:
    """Return a cell's source as a notebook has it: line by line, hidden characters spelled out."""
    return visible(text).splitlines(keepends=True)


def _output(turn: Turn, turns: Turns) -> dict[str, Any]:
    said = [text for tick in turn.ticks if (text := tick.text)]
    said += [f"{asked.text} ({asked.end})" for asked in turn.asked.values()]
    data = {"text/html": f"{sheet()}{turns.output(turn)}", "text/plain": visible("\n\n".join(said))}
    return {"output_type": "display_data", "metadata": {}, "data": data}


def _comment(text: str) -> str:
    return ascii(text).replace('"', "'").replace("\\", "/")


@cache
def _environment() -> Environment:
    import jinja2

    # Python, and not HTML: every value comes as the literal that it is.
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(STATIC),
        autoescape=False,  # noqa: S701
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
