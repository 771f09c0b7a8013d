"""The program that looks for a regular expression, in a process of its own: only that can be stopped in the midst of one.

It is run by its path and imports the standard library alone. It opens no file: texts come on the standard input, each after
a line with its length in bytes, first the expression. For each there is a line of JSON: for the expression ``null``, or what is wrong with
it; for a text how many of its lines match, and the first of them with their numbers.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys

MOST_LINES = 200
"""Of one text that are given."""

WIDTH = 300
"""Characters that are given of a line, around what matches."""

_MEMORY = 2 * 1024**3


def main() -> None:
    """Answer until the input ends."""
    with contextlib.suppress(
        ImportError, OSError, ValueError
    ):  # where a system has no such limit, time is one
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[1]), int(sys.argv[1])))
    try:
        expression = re.compile(_next() or "")
    except (re.error, RecursionError, OverflowError, MemoryError) as error:
        _answer(str(error) or type(error).__name__)
        return
    _answer(None)
    while (text := _next()) is not None:
        try:
            _answer(_found(expression, text))
        except (MemoryError, RecursionError) as error:
            _answer(type(error).__name__)


def _found(expression: re.Pattern[str], text: str) -> tuple[int, list[tuple[int, str]]]:
    count, lines = 0, []
    for number, line in enumerate(text.split("\n"), 1):
        match = expression.search(line)
        if match is None:
            continue
        count += 1
        if count <= MOST_LINES:
            begin = max(0, min(match.start() - WIDTH // 3, len(line) - WIDTH))
            end = begin + WIDTH
            lines.append((number, f"{'…' if begin else ''}{line[begin:end]}{'…' if end < len(line) else ''}"))
    return count, lines


def _next() -> str | None:
    size = sys.stdin.buffer.readline()
    return sys.stdin.buffer.read(int(size)).decode("utf-8", "surrogatepass") if size else None


def _answer(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
