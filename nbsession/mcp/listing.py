"""What a server lists, made fit to be kept and to be given to a model: untrusted text, bounded and without tricks."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypedDict

from nbsession.content import bounded, visible

if TYPE_CHECKING:
    from collections.abc import Container

MOST_LISTED = 2_000
"""Tools that are read of a server's list."""

MOST_CHARACTERS = 2_000_000
"""Characters of all descriptions and schemas that are read of a list, since it is kept with the session."""

MOST_PAGES = 200
"""Pages of a list that are asked for."""

MOST_DESCRIPTION = 8_000
"""Characters of a description."""

MOST_SCHEMA = 100_000
"""Characters of a tool's schema, as JSON."""

LONGEST_NAME = 64
"""Characters of a name that every provider takes."""

_INVALID = re.compile(r"[^a-zA-Z0-9_-]+")


class Listed(TypedDict):
    """A tool as a server lists it, as it is kept with the state. ``reads`` says that it changes nothing, by its own word."""

    name: str
    description: str
    schema: dict[str, Any]
    reads: bool


async def list_tools(client: Any) -> tuple[list[Listed], str]:
    """Return a server's tools, in its order, and what to tell of those that are too many or too large, ``""`` for nothing."""
    from mcp_types import PaginatedRequestParams

    found: dict[str, Listed] = {}
    large: list[str] = []
    surplus = size = 0
    cursor: str | None = None
    for _ in range(MOST_PAGES):
        page = await client.session.list_tools(
            params=None if cursor is None else PaginatedRequestParams(cursor=cursor)
        )
        for tool in page.tools:
            if tool.name in found:
                continue
            item = _listed(tool)
            characters = len(json.dumps(item["schema"]))
            size += characters + len(item["description"])
            if characters > MOST_SCHEMA:
                large.append(bounded(visible(tool.name), 100))
            elif len(found) >= MOST_LISTED or size > MOST_CHARACTERS:
                surplus += 1
            else:
                found[tool.name] = item
        cursor = page.next_cursor
        if cursor is None:
            break
    told = []
    if large:
        names = bounded(", ".join(map(repr, large)), 500)
        told.append(f"tools whose schema has more than {MOST_SCHEMA:,} characters are left out: {names}")
    if surplus or cursor is not None:
        told.append(
            f"it lists {surplus:,}{'' if cursor is None else ' or more'} tools after the {len(found):,} that are read"
        )
    return list(found.values()), "; ".join(told)


def _listed(tool: Any) -> Listed:
    annotations = tool.annotations
    return {
        "name": tool.name,
        "description": bounded(visible(tool.description or ""), MOST_DESCRIPTION),
        "schema": {"type": "object", "properties": {}, **_shown(tool.input_schema)},
        "reads": bool(annotations is not None and annotations.read_only_hint),
    }


def _shown(schema: Any) -> Any:
    """Return a schema whose words for readers are shown as they are, and bounded; values are left alone."""
    if isinstance(schema, list):
        return [_shown(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    shown = {}
    for word, value in schema.items():
        if word in ("description", "title", "$comment") and isinstance(value, str):
            value = bounded(visible(value), MOST_DESCRIPTION)
        elif word in ("properties", "patternProperties", "$defs", "definitions") and isinstance(
            value, Mapping
        ):
            value = {name: _shown(item) for name, item in value.items()}
        elif word not in ("default", "const", "enum", "examples"):
            value = _shown(value)
        shown[word] = value
    return shown


def digest_of(item: Mapping[str, Any]) -> str:
    """Return a short word for all that a model reads of a tool."""
    data = json.dumps([item["description"], item["schema"]], sort_keys=True)
    return hashlib.sha256(data.encode()).hexdigest()[:12]


def names_of(items: Iterable[Listed], prefix: str) -> list[tuple[str, str]]:
    """Return for each tool its name as providers take it, and the one it has where another tool has the first."""
    plain: dict[str, None] = {}
    for item in items:
        plain[_unlike(_valid(item["name"]), plain)] = None
    longer: dict[str, None] = {}
    for name in plain:
        longer[_unlike(_valid(f"{prefix}_{name}"), {*plain, *longer})] = None
    return list(zip(plain, longer, strict=True))


def _valid(name: str) -> str:
    """Return a name in letters that providers take, and no longer; a word of the whole marks one that was cut."""
    valid = _INVALID.sub("_", name) or "tool"
    return valid if len(valid) <= LONGEST_NAME else f"{valid[: LONGEST_NAME - 9]}_{_word(name)}"


def _unlike(name: str, known: Container[str]) -> str:
    number, made = 2, name
    while made in known:
        made, number = f"{name[: LONGEST_NAME - 4]}_{number}", number + 1
    return made


def _word(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]
