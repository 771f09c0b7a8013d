"""Fingerprints: the same source is the same function, in every process; an edited one is another."""

from __future__ import annotations

import functools
import subprocess
import sys
from typing import Any

import pytest

from nbsession.timeline.fingerprint import fingerprint


def made(source: str, **around: Any) -> Any:
    scope: dict[str, Any] = dict(around)
    exec(source, scope)
    return scope["f"]


SOURCE = "def f(x, count={count}):\n    return [item for item in x if item not in {{'a', 'b', 'c'}}][-count:]"


def test_the_same_source_has_one_fingerprint_in_every_process() -> None:
    source = SOURCE.format(count=3)
    program = f"from nbsession.timeline.fingerprint import fingerprint\n{source}\nprint(fingerprint(f))"
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert printed == {fingerprint(made(source))}


@pytest.mark.parametrize(
    "other",
    [
        SOURCE.format(count=4),
        "def f(x):\n    return x[-3:]",
        "def f(x):\n    return x[-4:]",
        "def f(x):\n    return [y for y in x if y > 2]",
        "def f(x):\n    return [y for y in x if y > 3]",
        "def f(x):\n    return x.upper()",
        "def f(x):\n    return x.lower()",
        "def f(x, *, end='.'):\n    return x.lower()",
        "def f(x, *, end='!'):\n    return x.lower()",
    ],
)
def test_other_code_or_other_defaults_are_another_function(other: str) -> None:
    functions = {fingerprint(made(source)) for source in (SOURCE.format(count=3), other)}
    assert len(functions) == 2


def test_what_a_function_was_made_with_counts_and_what_it_counts_does_not() -> None:
    def cut(limit: int, box: list[int]) -> Any:
        calls = 0

        def f(x: list[int]) -> list[int]:
            nonlocal calls
            calls += 1
            return x[:limit]

        return f

    one, two = cut(1, []), cut(1, [])
    two([1])
    assert fingerprint(one) == fingerprint(two)
    assert fingerprint(cut(2, [])) != fingerprint(one)


def test_partials_methods_and_callable_objects_have_fingerprints() -> None:
    class Cut:
        def __call__(self, x: list[int]) -> list[int]:
            return x[:1]

        def tail(self, x: list[int]) -> list[int]:
            return x[1:]

    def take(x: list[int], count: int) -> list[int]:
        return x[:count]

    functions = [Cut(), Cut().tail, functools.partial(take, count=1), functools.partial(take, count=2), len]
    assert len({fingerprint(function) for function in functions}) == len(functions)
    assert fingerprint(Cut()) == fingerprint(Cut())
