"""What a knob may be: its type, limits and words, checked once for every setter."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import Any, Literal, TypeAlias

from nbsession.errors import KnobError, nearest
from nbsession.tree import unchanged

Kind: TypeAlias = Literal["bool", "int", "float", "text", "choice"]

_NAME = re.compile(r"[^\s=,]+")


@dataclass(frozen=True, slots=True)
class KnobSpec:
    """A knob's type, limits and description; equal by value and type. Make one with ``KnobSpec.of``.

    ``options`` are the values of a choice, ``labels`` the words shown for them.
    ``max_length`` is in characters; ``pattern`` is a regular expression that has
    to match in full. Two ``validate`` functions are the same when they are the
    same code over the same objects.
    """

    name: str
    default: Any
    kind: Kind
    min: float | None = None
    max: float | None = None
    step: float | None = None
    options: tuple[Any, ...] = ()
    labels: tuple[str, ...] = ()
    max_length: int | None = None
    pattern: str | None = None
    validate: Callable[[Any], Any] | None = field(default=None, compare=False)
    description: str = ""
    group: str = ""
    momentary: bool = False
    _rule: Any = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        name: str,
        default: Any,
        *,
        min: float | None = None,
        max: float | None = None,
        step: float | None = None,
        options: Iterable[Any] | Mapping[str, Any] | None = None,
        max_length: int | None = None,
        pattern: str | None = None,
        validate: Callable[[Any], Any] | None = None,
        description: str = "",
        group: str = "",
        momentary: bool = False,
    ) -> KnobSpec:
        """Make a spec and check it.

        The type is the default's, or a choice where there are ``options`` (values,
        or label → value). Raises ``KnobError`` for constraints that make no sense
        for that type or that the default itself does not meet.
        """
        if not _NAME.fullmatch(name):
            raise KnobError(
                f"a knob's name must be text without blanks, '=' and ',', got {name!r}", knob=name
            )
        labels, values = _options(name, options)
        kind: Kind = "choice" if options is not None else _kind(name, default)
        _refuse_misfits(
            name,
            kind,
            {"min": min, "max": max, "step": step, "max_length": max_length, "pattern": pattern},
        )
        draft = cls(
            name,
            default,
            kind,
            _limit(name, kind, "min", min),
            _limit(name, kind, "max", max),
            _limit(name, kind, "step", step),
            values,
            labels,
            _length(name, max_length),
            _pattern(name, pattern),
            validate,
            description,
            group,
            bool(momentary),
            _rule(name, validate),
        )
        return draft._with_checked_default()

    def _with_checked_default(self) -> KnobSpec:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise self._error(f"has min {self.min} above max {self.max}; swap them")
        if self.step is not None and self.step <= 0:
            raise self._error(f"needs a step above 0, got {self.step}")
        try:
            default = self.check(self.default)
        except KnobError as error:
            raise KnobError(
                f"{error} (its default); change the default or the limit", knob=self.name
            ) from error
        if type(default) is type(self.default):
            return self
        changed = {item.name: getattr(self, item.name) for item in fields(self)}
        return KnobSpec(**{**changed, "default": default})

    def check(self, value: Any) -> Any:
        """Return ``value`` as the knob keeps it, or raise ``KnobError`` saying what it must be.

        ``5.0`` is 5 for a whole number, and a value within rounding error of a step
        is that step; nothing else is converted.
        """
        if self.kind == "choice":
            checked = self._choice(value)
        elif self.kind == "bool":
            if not isinstance(value, bool):
                raise self._must("be true or false", value)
            checked = value
        elif self.kind == "text":
            checked = self._text(value)
        else:
            checked = self._number(value)
        if self.validate is not None:
            self._ask(self.validate, checked)
        return checked

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of the value."""
        schema: dict[str, Any] = {}
        if self.kind == "choice":
            schema["enum"] = list(self.options)
        else:
            schema["type"] = {"bool": "boolean", "int": "integer", "float": "number", "text": "string"}[
                self.kind
            ]
        limits = {"minimum": self.min, "maximum": self.max, "maxLength": self.max_length}
        schema.update({word: limit for word, limit in limits.items() if limit is not None})
        if self.pattern is not None:
            schema["pattern"] = f"^(?:{self.pattern})$"
        # JSON schema counts multiples from 0, steps count from the minimum.
        if self.step is not None and self._on_step(0):
            schema["multipleOf"] = self.step
        if self.description:
            schema["description"] = self.description
        schema["default"] = self.default
        return schema

    def describe(self, value: Any = ...) -> str:
        """Say in one line what the knob is, what it may be and what it does, as the model reads it.

        Without a ``value`` the default stands for it.
        """
        shown = _json(self.default if value is ... else value)
        line = f"{self.name} = {shown} ({self._limits()})"
        return f"{line}: {self.description}" if self.description else line

    def differences(self, other: KnobSpec) -> list[str]:
        """Name the fields in which two specs differ."""
        names = [item.name for item in fields(self) if item.compare and item.name != "_rule"]
        differing = [name for name in names if not unchanged(getattr(self, name), getattr(other, name))]
        return differing if self._rule == other._rule else [*differing, "validate"]

    def __eq__(self, other: object) -> bool:
        # Compared by value alone, the options 1 and True would be the same.
        return isinstance(other, KnobSpec) and not self.differences(other)

    def __hash__(self) -> int:
        return hash((self.name, self.kind))

    def _limits(self) -> str:
        if self.kind == "choice":
            return "one of " + ", ".join(_json(option) for option in self.options)
        if self.kind == "bool":
            return "true or false"
        if self.kind == "text":
            words = ["text"]
            if self.max_length is not None:
                words.append(f"at most {self.max_length:,} characters")
            if self.pattern is not None:
                words.append(f"matching {self.pattern}")
            return ", ".join(words)
        words = ["whole number" if self.kind == "int" else "number"]
        if self.min is not None or self.max is not None:
            words[0] += " " + self._range()
        if self.step is not None:
            words.append(f"in steps of {self.step}")
        return ", ".join(words)

    def _range(self) -> str:
        if self.max is None:
            return f"from {self.min}"
        if self.min is None:
            return f"up to {self.max}"
        return f"from {self.min} to {self.max}"

    def _choice(self, value: Any) -> Any:
        for option in self.options:
            if equal(option, value):
                return option
        error = self._must("be one of " + ", ".join(repr(option) for option in self.options), value)
        texts = [option for option in self.options if isinstance(option, str)]
        near = nearest(value, texts) if isinstance(value, str) else None
        raise error if near is None else KnobError(f"{error}; did you mean {near!r}?", knob=self.name)

    def _text(self, value: Any) -> str:
        if not isinstance(value, str):
            raise self._must("be text", value)
        if self.max_length is not None and len(value) > self.max_length:
            raise self._error(f"must be at most {self.max_length:,} characters long, got {len(value):,}")
        if self.pattern is not None and not re.fullmatch(self.pattern, value):
            raise self._must(f"match {self.pattern!r} in full", value)
        return value

    def _number(self, value: Any) -> float:
        what = "be a whole number" if self.kind == "int" else "be a number"
        if not _is_number(value):
            raise self._must(what, value)
        if self.kind == "int" and value != int(value):
            raise self._must(what, value)
        number: float = int(value) if self.kind == "int" else float(value)
        if (self.min is not None and number < self.min) or (self.max is not None and number > self.max):
            if self.min is None:
                raise self._must(f"be at most {self.max}", value)
            if self.max is None:
                raise self._must(f"be at least {self.min}", value)
            raise self._must(f"be between {self.min} and {self.max}", value)
        if self.step is not None:
            return self._stepped(number)
        return number

    def _on_step(self, number: float) -> bool:
        assert self.step is not None
        steps = (number - (self.min or 0)) / self.step
        return abs(steps - round(steps)) <= 1e-9 * max(1.0, abs(steps))

    def _stepped(self, number: float) -> float:
        """Return the step that ``number`` is within rounding error of."""
        assert self.step is not None
        start = self.min or 0
        if not self._on_step(number):
            below = start + math.floor((number - start) / self.step) * self.step
            raise self._must(
                f"be a step of {self.step} from {start}", number, f"; {_clean(below, self)!r} is one"
            )
        return _clean(start + round((number - start) / self.step) * self.step, self)

    def _ask(self, validate: Callable[[Any], Any], value: Any) -> None:
        try:
            verdict = validate(value)
        except KnobError:
            raise
        except ValueError as error:
            raise self._error(f"refused {value!r}: {error}") from error
        except Exception as error:
            raise self._error(
                f"could not be checked: its validate raised {type(error).__name__}: {error}, given {value!r}"
            ) from error
        if isinstance(verdict, str) and verdict:
            raise self._error(f"refused {value!r}: {verdict}")
        if verdict is False:
            raise self._error(f"refused {value!r}")

    def _must(self, what: str, value: Any, hint: str = "") -> KnobError:
        shown = repr(value)
        return self._error(f"must {what}, got {shown if len(shown) <= 80 else shown[:79] + '…'}{hint}")

    def _error(self, complaint: str) -> KnobError:
        return KnobError(f"knob {self.name!r} {complaint}", knob=self.name)


def _kind(name: str, default: Any) -> Kind:
    if isinstance(default, bool):
        return "bool"
    if isinstance(default, Integral):
        return "int"
    if isinstance(default, Real):
        return "float"
    if isinstance(default, str):
        return "text"
    remedy = (
        "use text, a number or a bool, or give options="
        if default is None
        else "use text, a number or a bool"
    )
    raise KnobError(
        f"knob {name!r} cannot have {default!r} ({type(default).__name__}) as its default; {remedy}",
        knob=name,
    )


def _options(
    name: str, options: Iterable[Any] | Mapping[str, Any] | None
) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    if options is None:
        return (), ()
    if isinstance(options, (str, bytes)):
        raise KnobError(f"knob {name!r} needs a list of options, got {options!r}", knob=name)
    pairs = list(options.items()) if isinstance(options, Mapping) else [(str(item), item) for item in options]
    if not pairs:
        raise KnobError(f"knob {name!r} has no options; give at least one, or leave options= out", knob=name)
    for position, (label, value) in enumerate(pairs):
        if value is not None and not isinstance(value, (str, bool, int, float)):
            raise KnobError(
                f"knob {name!r} has the option {value!r} ({type(value).__name__}), which cannot be kept as JSON; "
                "use text, numbers or bools, with a dict of label → value for their words",
                knob=name,
            )
        if any(equal(value, other) for _, other in pairs[:position]):
            raise KnobError(f"knob {name!r} has the option {value!r} twice; take one away", knob=name)
        if not isinstance(label, str):
            raise KnobError(f"knob {name!r} has the label {label!r}; labels are text", knob=name)
    return tuple(label for label, _ in pairs), tuple(value for _, value in pairs)


_FITTING = {
    "min": ("int", "float"),
    "max": ("int", "float"),
    "step": ("int", "float"),
    "max_length": ("text",),
    "pattern": ("text",),
}


def _refuse_misfits(name: str, kind: Kind, given: Mapping[str, Any]) -> None:
    for word, value in given.items():
        if value is not None and kind not in _FITTING[word]:
            what = {"bool": "a bool", "choice": "a choice of options", "text": "text"}.get(kind, "a number")
            raise KnobError(f"knob {name!r} is {what} and has no {word}, got {word}={value!r}", knob=name)


def _limit(name: str, kind: Kind, word: str, value: Any) -> float | None:
    if value is None:
        return None
    if not _is_number(value):
        raise KnobError(f"knob {name!r} needs a number as {word}, got {value!r}", knob=name)
    if kind == "float":
        return float(value)
    if value != int(value):
        raise KnobError(
            f"knob {name!r} is a whole number and {word}={value!r} is not; "
            "write the default with a point (1.0) to make it any number",
            knob=name,
        )
    return int(value)


def _length(name: str, value: Any) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise KnobError(f"knob {name!r} needs a whole number above 0 as max_length, got {value!r}", knob=name)
    return value


def _pattern(name: str, pattern: Any) -> str | None:
    if pattern is None:
        return None
    text = getattr(pattern, "pattern", pattern)
    try:
        re.compile(text)
    except (re.error, TypeError) as error:
        raise KnobError(
            f"knob {name!r} has a pattern that is no regular expression, {text!r}: {error}", knob=name
        ) from error
    return str(text)


def _rule(name: str, validate: Any) -> Any:
    """Return what identifies a validate function: one defined in a component's body is a new object each time."""
    if validate is None:
        return None
    if not callable(validate):
        raise KnobError(f"knob {name!r} needs a function as validate, got {validate!r}", knob=name)
    code = getattr(validate, "__code__", None)
    if code is None or getattr(validate, "__self__", None) is not None:
        return validate
    try:
        captured = tuple(id(cell.cell_contents) for cell in validate.__closure__ or ())
    except ValueError:  # a name that the body has not bound yet
        return validate
    return (id(code), captured, validate.__defaults__)


def equal(one: Any, other: Any) -> bool:
    """Compare two option values: ``5.0`` is 5, but ``True`` is not 1."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)


def _clean(number: float, spec: KnobSpec) -> float:
    """Round away what adding steps in binary leaves behind, so that 0.1 + 0.2 is 0.3."""
    if isinstance(number, int):
        return number
    from decimal import Decimal

    digits = [-int(Decimal(repr(part)).as_tuple().exponent) for part in (spec.min or 0, spec.step or 0)]
    return round(number, max(0, *digits))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
