"""What a docstring says of a function and of its parameters: Google, NumPy and Sphinx style."""

from __future__ import annotations

import inspect
import re
from typing import NamedTuple

_GOOGLE = re.compile(
    r"(Args|Arguments|Parameters|Params|Keyword Args|Keyword Arguments|Other Parameters):\s*$"
)
_GOOGLE_ENTRY = re.compile(r"\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)")
_NUMPY = ("Parameters", "Other Parameters")
_NUMPY_ENTRY = re.compile(r"\*{0,2}(\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?::.*)?$")
_SPHINX = re.compile(r":(?:param|parameter|arg|argument|key|keyword)\s+(?:[^:]*\s)?\*{0,2}(\w+)\s*:\s*(.*)")
_SPHINX_TYPE = re.compile(r":(?:type\s+\w+|rtype)\s*:")


class Docstring(NamedTuple):
    """A docstring without its parameter sections, and what those say, by parameter."""

    description: str
    parameters: dict[str, str]


def parse(text: str | None) -> Docstring:
    """Take a docstring apart. Sections that don't describe parameters stay in the description."""
    lines = inspect.cleandoc(text).splitlines() if text else []
    kept: list[str] = []
    parameters: dict[str, str] = {}
    at = 0
    while at < len(lines):
        line = lines[at]
        following = lines[at + 1] if at + 1 < len(lines) else ""
        if _GOOGLE.match(line):
            at = _google(lines, at + 1, parameters)
        elif line in _NUMPY and re.fullmatch(r"-{3,}\s*", following):
            at = _numpy(lines, at + 2, parameters)
        elif field := _SPHINX.match(line):
            at, more = _indented(lines, at + 1)
            parameters[field[1]] = _joined([field[2], *more])
        elif _SPHINX_TYPE.match(line):
            at, _ = _indented(lines, at + 1)
        else:
            kept.append(line.rstrip())
            at += 1
    description = re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()
    return Docstring(description, parameters)


def _google(lines: list[str], at: int, parameters: dict[str, str]) -> int:
    """Read the indented entries of a section, from line ``at``; return where it ends."""
    at, body = _indented(lines, at)
    margin = min((_indent(line) for line in body if line.strip()), default=0)
    name = ""
    for line in body:
        entry = _GOOGLE_ENTRY.match(line.strip()) if _indent(line) == margin else None
        if entry:
            name = entry[1]
            parameters[name] = entry[2].strip()
        elif name:
            parameters[name] = _joined([parameters[name], line])
    return at


def _numpy(lines: list[str], at: int, parameters: dict[str, str]) -> int:
    """Read entries at the margin with indented texts, up to the next underlined title."""
    while at < len(lines):
        line = lines[at]
        if at + 1 < len(lines) and re.fullmatch(r"-{3,}\s*", lines[at + 1]):
            break
        entry = _NUMPY_ENTRY.match(line)
        if entry:
            at, body = _indented(lines, at + 1)
            for name in entry[1].split(","):
                parameters[name.strip(" *")] = _joined(body)
        elif line.strip():
            break
        else:
            at += 1
    return at


def _indented(lines: list[str], at: int) -> tuple[int, list[str]]:
    """Return the lines from ``at`` that are indented or blank, and where they end."""
    start = at
    while at < len(lines) and (not lines[at].strip() or _indent(lines[at])):
        at += 1
    return at, lines[start:at]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _joined(lines: list[str]) -> str:
    return " ".join(stripped for line in lines if (stripped := line.strip()))
