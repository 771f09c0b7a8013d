"""Long texts of rows: kept once, by what they are, however many rows have them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DIGEST = 32
"""Hexadecimal digits of a text's SHA-256 by which it is kept: half of them, as no two texts meet by chance."""

LONG = 1_000
"""Characters from which on a text in an entry is kept by its digest."""


def put(text: str, texts: dict[str, str]) -> str:
    """Add a text to those that are to be kept, and return its digest."""
    digest = digest_of(text)[:DIGEST]
    texts[digest] = text
    return digest


def digest_of(text: str) -> str:
    """Return the SHA-256 of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def lifted(data: Any, texts: dict[str, str]) -> tuple[Any, list[list[Any]]]:
    """Return JSON data with digests in place of its long texts, and the paths to these."""
    paths: list[list[Any]] = []
    return _lifted(data, texts, [], paths), paths


def _lifted(data: Any, texts: dict[str, str], here: list[Any], paths: list[list[Any]]) -> Any:
    if isinstance(data, str) and len(data) >= LONG:
        paths.append(here)
        return put(data, texts)
    if isinstance(data, list):
        return [_lifted(item, texts, [*here, place], paths) for place, item in enumerate(data)]
    if isinstance(data, dict):
        return {name: _lifted(item, texts, [*here, name], paths) for name, item in data.items()}
    return data


def wanted(data: Any, paths: list[list[Any]]) -> Iterator[str]:
    """Give the digests that stand at these paths of JSON data."""
    for *way, last in paths:
        yield _follow(data, way)[last]


def lower(data: Any, paths: list[list[Any]], texts: Mapping[str, str]) -> None:
    """Put the long texts back, in the data itself."""
    for *way, last in paths:
        place = _follow(data, way)
        place[last] = texts[place[last]]


def _follow(data: Any, way: list[Any]) -> Any:
    for step in way:
        data = data[step]
    return data
