"""An answer of a JSON schema: from the user's words where they say it, else the least that the schema takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from nbsession.content import ToolSpec
from nbsession.models.simulated.arguments import fill, value_for
from nbsession.models.simulated.parameters import DEEPEST, parameters
from nbsession.models.simulated.reading import Reading, Reply

MOST = 1_000
"""Values that are made for one answer, and characters of a text: a schema may ask for any number of them."""

_OF_FORMAT = {
    "date": "1970-01-01",
    "date-time": "1970-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "PT0S",
    "uuid": "00000000-0000-0000-0000-000000000000",
    "email": "nobody@example.com",
    "uri": "http://localhost/",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
}


def filled(reading: Reading, schema: Mapping[str, Any]) -> Reply:
    """Answer with an object of ``schema``: values from the tools' results, or else from what was asked."""
    said = "\n".join([result.text for _, result in reading.outcomes]) or reading.question
    spec = ToolSpec(str(schema.get("title", "answer")), str(schema.get("description", "")), schema)
    fields, definitions = schema.get("properties", {}), schema.get("$defs", {})
    found = dict(fill(spec, said).input)
    for parameter in parameters(spec):
        if parameter.required and parameter.name not in found:
            value = value_for(parameter, said)
            if value is not None:
                found[parameter.name] = value
    for name in [name for name in found if _is_tuple(fields[name], definitions)]:
        del found[name]
    made = [name for name in schema.get("required", ()) if name not in found]
    least = _Least(definitions)
    for name in made:
        found[name] = least.of(fields[name])
    ordered = {name: found[name] for name in fields if name in found}
    text = json.dumps(ordered, ensure_ascii=False)
    why = f"an answer of the schema {spec.name} is asked for"
    if made:
        why = f"{why}; nothing is said of {', '.join(made)}"
    return Reply("fill-schema", why, text, text, opening="")


def _is_tuple(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> bool:
    """Say whether a list has a type for each place, which words don't tell."""
    inner = definitions.get(schema.get("$ref", "").rpartition("/")[2], schema)
    return "prefixItems" in inner


class _Least:
    """Makes the least values that schemas take, as far as their words are known here."""

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions
        self._left = MOST

    def of(self, schema: Mapping[str, Any], depth: int = 0) -> Any:
        """Return the least value of a schema, ``None`` once they are too many or too deep."""
        self._left -= 1
        if depth > DEEPEST or self._left < 0:
            return None
        if reference := schema.get("$ref"):
            return self.of(self._definitions.get(reference.rpartition("/")[2], {}), depth + 1)
        if "const" in schema:
            return schema["const"]
        if options := schema.get("enum"):
            return options[0]
        forms = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
        if forms:
            return None if {"type": "null"} in forms else self.of(forms[0], depth + 1)
        return self._of_type(schema, depth)

    def _of_type(self, schema: Mapping[str, Any], depth: int) -> Any:
        kind = schema.get("type")
        if kind == "object":
            fields = schema.get("properties", {})
            return {name: self.of(fields.get(name, {}), depth + 1) for name in schema.get("required", ())}
        if kind == "array":
            items = list(schema.get("prefixItems", ()))
            items += [schema.get("items", {})] * (min(schema.get("minItems", 0), MOST) - len(items))
            return [self.of(item, depth + 1) for item in items]
        if kind in ("integer", "number"):
            least = max(0, schema.get("minimum", 0), schema.get("exclusiveMinimum", -1) + 1)
            return min(least, schema.get("maximum", least), schema.get("exclusiveMaximum", least + 1) - 1)
        if kind == "string":
            return _OF_FORMAT.get(schema.get("format", ""), "-" * min(schema.get("minLength", 0), MOST))
        return False if kind == "boolean" else None
