"""The form by which a reader answers: native controls made from a JSON schema, of a tool's arguments or of an answer."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from nbsession.tools import faults_against

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nbsession.session import Session
    from nbsession.tools import Question

Kind: TypeAlias = Literal["text", "long", "number", "flag", "choice", "json"]

LONG = 60
"""Characters from which a text gets more than one line."""

MOST_PRESSES = 6
"""Values that get a button each; of more, one is chosen."""

_MISSING = object()


@dataclass(frozen=True, slots=True)
class Control:
    """One value: how it is asked for, and ``value`` as it stands there, in text.

    Without a ``name`` it is the whole answer. ``options`` are a choice's values, each as JSON. ``fault`` says why the value was not taken.
    """

    name: str
    kind: Kind
    value: str = ""
    required: bool = False
    options: tuple[str, ...] = ()
    min: float | None = None
    max: float | None = None
    whole: bool = False
    hint: str = ""
    fault: str = ""


class Press(NamedTuple):
    """A button that answers by itself, with a ``value`` in JSON."""

    label: str
    value: str


@dataclass(frozen=True, slots=True)
class Form:
    """How a question is answered: by a button, or by controls and ``submit``; ``fault`` says what is wrong with all of it.

    Of a confirmation the controls are the arguments to use instead, which may stay out of sight.
    """

    question: Question
    presses: tuple[Press, ...] = ()
    controls: tuple[Control, ...] = ()
    submit: str = "Answer"
    fault: str = ""

    @property
    def is_faulty(self) -> bool:
        """Whether something is wrong with what was answered."""
        return bool(self.fault) or any(control.fault for control in self.controls)

    def with_faults(self, faults: Mapping[str, str]) -> Form:
        """Return it with what is wrong at each control."""
        whole = any(not control.name for control in self.controls)
        fault = "" if whole else faults.get("", "")
        return replace(self, controls=with_faults(self.controls, faults), fault=fault)


ALLOW = (Press("Allow", "true"), Press("Deny", "false"))
ALWAYS = Press("Always", '"always"')


def form_of(question: Question) -> Form:
    """Make the form of a question from its schema."""
    if question.kind == "confirmation":
        controls = controls_of(_arguments_schema(question), question.call.input)
        presses = (*ALLOW, ALWAYS) if question.lasting else ALLOW
        return Form(question, presses, controls, "Allow with these")
    schema = {**_resolved(question.schema, question.schema), "$defs": question.schema.get("$defs")}
    if schema.get("type") == "boolean":
        return Form(question, (Press("Yes", "true"), Press("No", "false")))
    options = schema.get("enum") or ()
    if 0 < len(options) <= MOST_PRESSES:
        return Form(question, tuple(Press(str(option), _json(option)) for option in options))
    if schema.get("properties"):
        return Form(question, controls=controls_of(schema, {}))
    control = _control("", schema, _MISSING, True, schema)
    return Form(question, controls=(replace(control, kind="long") if control.kind == "text" else control,))


def answer_of(form: Form, message: Mapping[str, Any]) -> tuple[Any, Form]:
    """Return what a reader answers, and the form with what is wrong with that: ``press`` is JSON, else ``fields`` count."""
    pressed = message.get("press")
    if pressed is not None:
        known = any(press.value == pressed for press in form.presses)
        fault = "" if known else f"{pressed!r} is none of the answers to choose from"
        return (json.loads(pressed) if known else None), replace(form, fault=fault)
    form = replace(form, controls=filled(form.controls, message.get("fields") or {}))
    found, faults = read(form.controls)
    whole = len(form.controls) == 1 and not form.controls[0].name
    if whole and not faults and not found and not _takes_none(form.question.schema):
        faults = {"": "write an answer first"}
    value = found.get("") if whole else found
    return value, form.with_faults(faults or wrong_with(form.question, value))


def wrong_with(question: Question, value: Any) -> dict[str, str]:
    """Return what is wrong with an answer, one sentence by field; ``""`` is for what belongs to none."""
    faults: dict[str, str] = {}
    for fault in faults_against(question.schema, value):
        of_field = bool(fault.path) and isinstance(value, dict)
        faults.setdefault(str(fault.path[0]) if of_field else "", str(fault.within(of_field)))
    return faults


def written_answer(question: Question, text: str) -> Any:
    """Read an answer that was written on one line, as JSON or as it stands; ``ValueError`` with what is wrong with it."""
    meant = {"yes": True, "y": True, "no": False, "n": False}
    candidates: list[Any] = []
    try:
        candidates.append(json.loads(text))
    except ValueError:
        if text.strip().lower() in meant:
            candidates.append(meant[text.strip().lower()])
    candidates.append(text)
    faults = [(value, wrong_with(question, value)) for value in candidates]
    for value, wrong in faults:
        if not wrong:
            return value
    name, fault = next(iter(faults[0][1].items()))
    raise ValueError(f"{name}: {fault}" if name else fault)


def answered(question: Question, value: Any) -> str:
    """Write an answer in words."""
    if question.kind == "confirmation":
        words = {True: "allowed", False: "denied", "always": "allowed, always"}
        return words[value] if not isinstance(value, dict) else f"allowed with {_json(value)}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else _json(value)


def since(session: Session, question: Question) -> float:
    """Return when a question began to wait, in seconds since the epoch."""
    tick = session.ticks[question.tick]
    return tick.ended or tick.started


def takes(question: Question) -> str:
    """Say in words what may be answered: ``"yes or no"``, ``"now, later"``, ``"a number"``."""
    form = form_of(question)
    if question.kind == "confirmation":
        return f"yes, no{', always' if question.lasting else ''}, or other arguments as JSON"
    if form.presses:
        return ", ".join(
            press.label.lower() if press.value in ("true", "false") else press.label for press in form.presses
        )
    kind = form.controls[0].kind if len(form.controls) == 1 and not form.controls[0].name else "json"
    return {"long": "a text", "number": "a number", "choice": ", ".join(form.controls[0].options)}.get(
        kind, _shape(form)
    )


def _shape(form: Form) -> str:
    named = [control.name for control in form.controls if control.name]
    return f"JSON with {', '.join(named)}" if named else "JSON"


def controls_of(schema: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[Control, ...]:
    """Make a control for each value that a schema names, and for each that was given."""
    properties: Mapping[str, Any] = schema.get("properties") or {}
    required = schema.get("required") or ()
    names = [*properties, *(name for name in given if name not in properties)]
    return tuple(
        _control(name, properties.get(name) or {}, given.get(name, _MISSING), name in required, schema)
        for name in names
    )


def filled(controls: Iterable[Control], fields: Mapping[str, Any]) -> tuple[Control, ...]:
    """Return the controls with what the reader wrote in them."""
    return tuple(
        replace(control, value=_written(fields[control.name]), fault="")
        if control.name in fields
        else control
        for control in controls
    )


def read(controls: Iterable[Control]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the arguments that the controls stand for, and by name the faults of those that cannot be read.

    An optional one that is left empty is not given.
    """
    found: dict[str, Any] = {}
    faults: dict[str, str] = {}
    for control in controls:
        if not control.value and (control.kind != "text" or not control.required):
            continue
        if control.kind in ("text", "long"):
            found[control.name] = control.value
            continue
        try:
            found[control.name] = json.loads(control.value)
        except ValueError:
            what = "a number" if control.kind == "number" else "JSON"
            faults[control.name] = f"is to be {what}, got {control.value!r}"
    return found, faults


def faults_in(error: str) -> dict[str, str]:
    """Return the faults that a tool told of, by argument; ``""`` is for what belongs to none."""
    faults: dict[str, str] = {}
    for line in error.splitlines():
        place, separator, fault = line.removeprefix("- ").partition(": ")
        if line.startswith("- ") and separator:
            faults[place.partition(".")[0].partition("[")[0]] = fault
    return faults or {"": error}


def with_faults(controls: Iterable[Control], faults: Mapping[str, str]) -> tuple[Control, ...]:
    """Return the controls with what is wrong at each."""
    return tuple(replace(control, fault=faults.get(control.name, "")) for control in controls)


def _control(
    name: str, schema: Mapping[str, Any], given: Any, required: bool, root: Mapping[str, Any]
) -> Control:
    schema = _of_one_type(_resolved(schema, root), root)
    value = schema.get("default") if given is _MISSING else given
    kind = _kind(schema, value)
    written = "" if value is None else value if kind in ("text", "long") else _json(value)
    return Control(
        name,
        kind,
        str(written),
        required,
        options=tuple(_json(option) for option in schema.get("enum") or ()),
        min=schema.get("minimum"),
        max=schema.get("maximum"),
        whole=schema.get("type") == "integer",
        hint=str(schema.get("description") or ""),
    )


def _arguments_schema(question: Question) -> Mapping[str, Any]:
    """Return what the arguments of a call are to be like that waits to be allowed."""
    return {**question.schema["anyOf"][-1], "$defs": question.schema.get("$defs") or {}}


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Look through a reference to what stands at the top, and see a constant as the only choice."""
    name = str(schema.get("$ref") or "").removeprefix("#/$defs/")
    if found := (root.get("$defs") or {}).get(name):
        schema = {**found, **{word: value for word, value in schema.items() if word != "$ref"}}
    return {**schema, "enum": [schema["const"]]} if "const" in schema else schema


def _of_one_type(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Look through ``X | None``."""
    others = [one for one in schema.get("anyOf") or () if one.get("type") != "null"]
    return {**schema, **_resolved(others[0], root)} if len(others) == 1 else schema


def _takes_none(schema: Mapping[str, Any]) -> bool:
    return any(one.get("type") == "null" for one in (schema, *(schema.get("anyOf") or ())))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _kind(schema: Mapping[str, Any], value: Any) -> Kind:
    if schema.get("enum"):
        return "choice"
    match schema.get("type"):
        case "boolean":
            return "flag"
        case "integer" | "number":
            return "number"
        case "string" if value is None or isinstance(value, str):
            return "long" if value and (len(value) > LONG or "\n" in value) else "text"
    return "json"


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
