"""What an answer is to be, as ``send(output=)`` asks for it: a type, its JSON schema, and the reading of an answer."""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from nbsession.content import Text
from nbsession.errors import ModelError, SessionError
from nbsession.tools.hint import readable
from nbsession.tools.input_faults import explain
from nbsession.tools.json_schema import generator, object_schema, tidy
from nbsession.tools.schema_form import form_fault
from nbsession.tools.type_faults import fault_of, short_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import TypeAdapter

    from nbsession.content import Block

# Models that are not held to a schema by their server like to wrap what they write.
_FENCED = re.compile(r"```(?:json)?\s*\n(.*?)\n?\s*```", re.DOTALL)
_SHOWN = 80

FIELD = "value"
"""The field that holds an answer whose type is no object, since providers take schemas of objects only."""


class Output:
    """A type that an answer is read as. Raises ``SessionError`` for one that no JSON gives.

    In place of a type it may be the JSON schema of an object: the model is told of it, and any object is read. One
    that is no JSON schema, however deep the fault is in it, is refused.

    ``name`` is the type's; ``schema`` the JSON schema for the model, an object:
    of a pydantic model its own, of another object its fields, of anything else one
    with the field ``value``.
    """

    __slots__ = ("_bare", "_wrapped", "name", "schema")

    _bare: TypeAdapter[Any]
    _wrapped: TypeAdapter[Any] | None
    schema: Mapping[str, Any]

    def __init__(self, given: Any) -> None:
        from pydantic import (  # heavy, and here already as a rule
            BaseModel,
            RootModel,
            TypeAdapter,
            create_model,
        )

        if isinstance(given, Mapping):
            if fault := form_fault(given) or _object_fault(given):
                raise SessionError(
                    f"output= takes a type, or the JSON schema of an object ({{'type': 'object', …}}); {fault}"
                )
            self.name, self.schema = str(given.get("title") or "JSON object"), given
            self._bare, self._wrapped = TypeAdapter(dict[str, Any]), None
            return
        if fault := _fault_of(given):
            raise SessionError(f"output= takes a type that JSON can give, got {fault}")
        self.name = short_name(given)
        self._bare = TypeAdapter(readable(given))
        self._wrapped = None
        if isinstance(given, type) and issubclass(given, BaseModel) and not issubclass(given, RootModel):
            self.schema = given.model_json_schema(schema_generator=generator())
            return
        schema = object_schema(tidy(self._bare.json_schema(schema_generator=generator())))
        if schema.get("type") != "object":
            wrapper = create_model("Answer", **{FIELD: (readable(given), ...)})  # type: ignore[call-overload]
            self._wrapped = TypeAdapter(wrapper)
            schema = tidy(self._wrapped.json_schema(schema_generator=generator()))
        self.schema = {"title": self.name, **schema}

    def __repr__(self) -> str:
        return f"Output({self.name})"

    def read(self, content: Sequence[Block], model: str) -> Any:
        """Read what ``model`` answered; raise ``ModelError`` where it is something else.

        The last text counts where there are several, as around the steps of a provider's own
        tools. A fence around it is no fault, nor is a value without the field around it.
        """
        from pydantic import ValidationError

        texts = [block.text for block in content if isinstance(block, Text) and block.text.strip()]
        for text in _readings(texts):
            try:
                return self._read(text)
            except ValidationError as error:
                faults = error.errors(include_url=False, include_context=False)
                if faults[0]["type"] != "json_invalid":
                    raise self._failed(model, "; ".join(explain(faults))) from error
        said = texts[-1].strip() if texts else ""
        short = said if len(said) <= _SHOWN else said[: _SHOWN - 1] + "…"
        raise self._failed(model, f"it is no JSON: {short!r}" if said else "it has no text")

    def _read(self, text: str) -> Any:
        from pydantic import ValidationError

        if self._wrapped is None or not _has_field(text):
            return self._bare.validate_json(text)
        try:
            return getattr(self._wrapped.validate_json(text), FIELD)
        except ValidationError:
            with suppress(ValidationError):  # the field may be its own, as of one that may be left out
                return self._bare.validate_json(text)
            raise

    def _failed(self, model: str, faults: str) -> ModelError:
        return ModelError(
            f"{model} did not answer with a {self.name}: {faults}; the answer is kept, ask again, or ask another model",
            retryable=True,
            kind="other",
        )


def _fault_of(given: Any) -> str:
    from pydantic import BaseModel

    if isinstance(given, str):
        return repr(given)
    if inspect.isroutine(given) or isinstance(given, functools.partial):  # pydantic would call it
        return f"{given!r}, which is no type; give the type of what you want"
    if given is BaseModel:
        return "BaseModel itself, which has no fields; give a class of yours that is made from it"
    return fault_of(given)


def _object_fault(schema: Mapping[str, Any]) -> str:
    """Say why a schema is not that of an object with the fields that it requires."""
    if schema.get("type") != "object":
        return f"got {dict(schema)!r:.{_SHOWN}}"
    gone = [name for name in schema.get("required", ()) if name not in schema.get("properties", {})]
    return f"it requires {gone[0]!r:.{_SHOWN}}, which its properties do not have" if gone else ""


def _has_field(text: str) -> bool:
    try:
        data = json.loads(text)
    except ValueError:
        return False
    return isinstance(data, dict) and FIELD in data


def _readings(texts: Sequence[str]) -> Iterator[str]:
    """Give the ways to read the texts of an answer, the likeliest first."""
    if not texts:
        return
    yield "".join(texts)
    yield texts[-1]
    yield from reversed(_FENCED.findall(texts[-1]))
