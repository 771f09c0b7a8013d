"""Completion on the magics' lines: commands, options, and the names they take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession.errors import NbsessionError
from nbsession.models.names import FORMS
from nbsession.notebook import answering, forms
from nbsession.notebook.experiment import request as experiments
from nbsession.notebook.sweep.request import choices
from nbsession.notebook.view.form import form_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from IPython.core.completer import CompletionContext

    from nbsession.notebook.forms import Command
    from nbsession.notebook.sessions import Sessions


def complete(sessions: Sessions, line: str) -> list[str] | None:
    """What the last word of a line may become; ``None`` where the line is not a magic of ours.

    ``line`` ends where the cursor stands.
    """
    words = line.split()
    if not words or words[0] not in ("%session", "%%session", "session"):
        return None
    begun = "" if line[-1:].isspace() else words[-1]
    before = words[1:] if not begun else words[1:-1]
    if line.strip() == words[0] and begun:
        return None  # the magic's own name is IPython's to complete
    return [name for name in _candidates(sessions, words[0], before, begun) if name.startswith(begun)]


def matcher(sessions: Sessions) -> Callable[[CompletionContext], Any]:
    """The same as a matcher of IPython's completer; on our lines no other has a say."""
    from IPython.core.completer import SimpleCompletion, context_matcher

    def nbsession(context: CompletionContext) -> Any:
        # Read from the full text: IPython's token ends at a dash or a colon.
        line = context.full_text.split("\n")[context.cursor_line][: context.cursor_position]
        in_body = context.cursor_line > 0 and not line.lstrip().startswith("%session")
        found = None if in_body else complete(sessions, line.lstrip())
        if found is None:
            return {"completions": [], "suppress": False}
        begun = "" if line[-1:].isspace() else line.split()[-1]
        return {
            "completions": [SimpleCompletion(name, type="magic") for name in found],
            "matched_fragment": begun,
            "suppress": True,
        }

    found: Callable[[CompletionContext], Any] = context_matcher(identifier="nbsession")(nbsession)
    return found


def _candidates(sessions: Sessions, magic: str, before: list[str], begun: str) -> list[str]:
    if magic == "%%session":
        return _within(sessions, forms.CELL, before)
    if not before:
        return list(forms.COMMANDS)
    command = forms.COMMANDS.get(before[0])
    if command is None:
        return []
    if command.name == "break":
        return _conditions(sessions, before[1:], begun)
    if command.name == "answer":
        return _answers(sessions, before[1:])
    if (
        command.name == "experiment"
        and (stated := _of_an_experiment(sessions, before[1:], begun)) is not None
    ):
        return stated
    found = _within(sessions, command, before[1:])
    return [*_knobs(sessions, before[1:], begun), *found] if "KNOB=A,B…" in command.words else found


def _within(sessions: Sessions, command: Command, before: list[str]) -> list[str]:
    waiting = next((o for o in command.options if before and o.name == before[-1]), None)
    if waiting is not None and waiting.name == "--without":
        return _places(sessions)
    values = _values(sessions, waiting.metavar) if waiting is not None else []
    if waiting is not None and waiting.metavar and not waiting.optional:
        return values
    options = [option.name for option in command.options if option.name not in before]
    words = [word for word in before if not word.startswith("-")]
    kind = command.words[len(words)] if len(words) < len(command.words) else ""
    return [*values, *_values(sessions, kind), *options]


def _values(sessions: Sessions, kind: str) -> list[str]:
    if kind == "MODEL":
        return [*sessions.models(), *(form.partition("<")[0] for form in FORMS), *_known_models()]
    if kind == "COMPONENT":
        return sessions.targets()
    if kind == "NAME":
        return sessions.names()
    if kind == "COMMAND":
        return list(forms.COMMANDS)
    if kind == "ID":
        return [info.id for info in sessions.stored()]
    if kind == "TICK":
        return _ticks(sessions)
    if kind == "HOW":
        return list(forms.DISPLAYS)
    return []


def _of_an_experiment(sessions: Sessions, before: list[str], begun: str) -> list[str] | None:
    """What its cases, scorers and models may be; ``None`` where something else is to be completed."""
    if before[-1:] == ["--score"]:
        return _listed(experiments.scorers(sessions.namespace), begun)
    if before[-1:] == ["--models"]:
        return _listed(_values(sessions, "MODEL"), begun)
    if before:
        return None
    return [*experiments.cases(sessions.namespace), *experiments.files(begun)]


def _listed(names: list[str], begun: str) -> list[str]:
    """What the last name of ``a,b`` may be, beside those that stand there."""
    there = begun.split(",")[:-1]
    stem = ",".join([*there, ""])
    return [f"{stem}{name}" for name in names if name not in there]


def _known_models() -> list[str]:
    """Models of the price list, under their providers' names."""
    from nbsession.usage import priced_models

    return [f"{'anthropic' if name.startswith('claude-') else 'openai'}:{name}" for name in priced_models()]


def _ticks(sessions: Sessions) -> list[str]:
    try:
        return [str(tick.number) for tick in sessions.current.ticks]
    except NbsessionError:  # no session yet
        return []


def _places(sessions: Sessions) -> list[str]:
    """Return the paths of the components that may be left out: each but the root."""
    try:
        return [place.path for place in sessions.current.outline().places if place.depth]
    except NbsessionError:  # no session yet, or it cannot be rendered here
        return []


def _answers(sessions: Sessions, before: list[str]) -> list[str]:
    """What waits here, by its ids, and then what it may be answered with where that is a choice."""
    try:
        questions = [question for _, question in answering.waiting(sessions)]
    except NbsessionError:  # no session yet
        return []
    if before[-1:] == ["--as"]:
        return []
    named = [question for question in questions if question.id in before]
    if before and not named:
        return ["--as"]
    values = [
        press.value.strip('"') for question in named or questions for press in form_of(question).presses
    ]
    ids = [] if named else [question.id for question in questions]
    return [*ids, *(values if named or len(questions) == 1 else []), "--as"]


def _conditions(sessions: Sessions, before: list[str], begun: str) -> list[str]:
    """What a breakpoint may stop at: the tools and the parts of what would be sent now, by their names."""
    name, equals, _ = begun.partition("=")
    if not equals:
        given = {word.partition("=")[0].partition(">")[0] for word in before}
        words = {"on": "on", "tool": "tool=", "part": "part=", "tokens": "tokens>", "--clear": "--clear"}
        return [word for known, word in words.items() if known not in given]
    try:
        context = sessions.current.compile()
    except NbsessionError:  # no session yet, or it cannot be rendered
        return []
    tools = [spec.name for spec in context.tools]
    parts = [part.title or part.path for part in context.parts if part.kind != "tool"]
    found = dict.fromkeys({"tool": tools, "part": parts}.get(name, []))
    return [f"{name}={word}" for word in found if not any(char.isspace() for char in word)]


def _knobs(sessions: Sessions, before: list[str], begun: str) -> list[str]:
    """What a knob that is to be swept may be called, and which values it may have beside those that stand there."""
    try:
        specs = sessions.current.knobs.specs()
    except NbsessionError:  # no session yet, or it cannot be rendered
        return []
    name, equals, values = begun.partition("=")
    if not equals:
        named = {word.partition("=")[0] for word in before}
        return [f"{known}=" for known in specs if known not in named]
    if name not in specs:
        return []
    return [f"{name}={value}" for value in _listed(choices(specs[name]), values)]
