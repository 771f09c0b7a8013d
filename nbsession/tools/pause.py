"""A tool that waits for a person: what it asks, and what may be answered."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nbsession.content import bounded
from nbsession.errors import SessionError
from nbsession.tools.hint import readable
from nbsession.tools.json_schema import generator, tidy
from nbsession.tools.schema_faults import faults_against
from nbsession.tools.type_faults import fault_of

if TYPE_CHECKING:
    from collections.abc import Mapping


class Pause(Exception):  # it is no error: the tool waits
    """Raised in a tool to ask somebody ``question``; the execution ends as *paused*, for minutes or for days.

    ``answer`` is what may be answered: a type as ``send(output=)`` takes one. The answer is the call's result, and
    the tool is not run again; with ``again=True`` it is run once more, and finds the answer, as JSON data, in
    ``ToolContext.answer``. Raises ``SessionError`` for a type that no JSON gives.
    """

    def __init__(self, question: str, *, answer: Any = str, again: bool = False) -> None:
        super().__init__(question)
        if not question.strip():
            raise SessionError("Pause(question) takes the text to ask, got none")
        if fault := fault_of(answer):
            raise SessionError(f"Pause(answer=) takes a type that JSON can give, got {fault}")
        self.question = question
        self.again = again
        self._answer = answer

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of an answer."""
        from pydantic import TypeAdapter  # heavy, and here already as a rule

        adapter: TypeAdapter[Any] = TypeAdapter(readable(self._answer))
        schema: dict[str, Any] = tidy(adapter.json_schema(schema_generator=generator()))
        return schema


def checked_answer(value: Any, schema: Mapping[str, Any], question: str) -> Any:
    """Return an answer as JSON data; ``SessionError``, with each fault, where the schema does not take it."""
    from pydantic_core import to_jsonable_python

    try:
        data = to_jsonable_python(value)
        json.dumps(data, allow_nan=False, ensure_ascii=False).encode()
        faults = faults_against(schema, data)
    except (ValueError, RecursionError):
        raise SessionError(
            f"{question!r} cannot be answered with {bounded(repr(value), 80)}: give JSON data, or an instance of the "
            "type that was asked for"
        ) from None
    if faults:
        raise SessionError(f"{question!r} is not answered: {'; '.join(map(str, faults[:5]))}")
    return data
