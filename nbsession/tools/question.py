"""What waits for a person: a question about one call, as it is kept and shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from nbsession.content import ToolCall
from nbsession.tools.permission import Rule

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Question:
    """A question that waits for an answer.

    ``kind`` is ``"pause"`` for what a tool asks, and ``"confirmation"`` where a call has to be allowed first:
    with ``True``, ``False``, the input to use instead, or ``"always"``. ``schema`` is the JSON schema of an answer,
    ``tick`` the number of the tick whose ``call`` waits; with ``again`` the tool is run once more when it is answered.
    ``rule`` is the rule that has it asked, ``None`` where the tool asks itself.
    """

    id: str
    text: str
    call: ToolCall
    kind: Literal["pause", "confirmation"]
    schema: Mapping[str, Any] = field(repr=False)
    tick: int = 0
    again: bool = False
    rule: Rule | None = None

    @property
    def lasting(self) -> bool:
        """Whether it may be answered with ``"always"``."""
        return self.kind == "confirmation" and ALWAYS in self.schema.get("anyOf", ())

    @property
    def asked_by(self) -> Rule | str:
        """The rule that has it asked, or the name of the tool that asks itself."""
        return self.rule or self.call.name

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON data."""
        return {
            "id": self.id,
            "text": self.text,
            "call": {"id": self.call.id, "name": self.call.name, "input": dict(self.call.input)},
            "kind": self.kind,
            "schema": dict(self.schema),
            "tick": self.tick,
            "again": self.again,
            "rule": None if self.rule is None else self.rule.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Question:
        """Read what ``to_dict`` gave."""
        call, rule = data["call"], data["rule"]
        return cls(
            **{
                **data,
                "call": ToolCall(call["id"], call["name"], call["input"]),
                "rule": None if rule is None else Rule.from_dict(rule),
            }
        )

    def __str__(self) -> str:
        return self.text


ALWAYS = {"const": "always"}


def confirmation_schema(input_schema: Mapping[str, Any], *, lasting: bool = True) -> dict[str, Any]:
    """Return the schema of an answer to whether a call may run, by the schema of the tool's input."""
    arguments = {word: value for word, value in input_schema.items() if word != "$defs"}
    schema: dict[str, Any] = {"anyOf": [{"type": "boolean"}, *([ALWAYS] if lasting else []), arguments]}
    return schema | {"$defs": input_schema["$defs"]} if "$defs" in input_schema else schema
