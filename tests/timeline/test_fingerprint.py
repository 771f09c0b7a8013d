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


DECORATORS = {
    "functools.wraps": "def decorated(f):\n"
    "    @functools.wraps(f)\n"
    "    def call(*given):\n        return f(*given)\n"
    "    return call",
    "a plain closure": "def decorated(f):\n    def call(x):\n        return f(x)\n    return call",
    "a closure over several": "def decorated(f):\n    steps = (len, f)\n    return lambda x: steps[1](x)",
    "a cache": "decorated = functools.lru_cache(8)",
    "an object": "class decorated:\n"
    "    def __init__(self, f):\n        self.f = f\n"
    "    def __call__(self, x):\n        return self.f(x)",
    "an object's method": "class Step:\n"
    "    def __init__(self, f):\n        self.f = f\n"
    "    def run(self, x):\n        return self.f(x)\n"
    "def decorated(f):\n    return Step(f).run",
    "a partial": "def call(f, x):\n    return f(x)\ndef decorated(f):\n    return functools.partial(call, f)",
    "a default": "def decorated(f):\n    def call(x, f=f):\n        return f(x)\n    return call",
    "two of them": "def once(f):\n    return lambda x: f(x)\n"
    "def decorated(f):\n    return functools.cache(once(functools.cache(once(f))))",
}


@pytest.mark.parametrize("decorator", DECORATORS)
def test_a_decorated_function_is_another_one_when_the_inner_one_is_edited(decorator: str) -> None:
    def decorated(count: int) -> str:
        source = f"{DECORATORS[decorator]}\n@decorated\ndef f(x):\n    return x[-{count}:]"
        return fingerprint(made(source, functools=functools))

    assert decorated(3) == decorated(3)
    assert decorated(3) != decorated(4)


def test_a_function_that_calls_itself_has_a_fingerprint() -> None:
    def around(step: int) -> Any:
        def f(x: list[int]) -> list[int]:
            return f(x[step:]) if len(x) > step else x

        return f

    assert fingerprint(around(1)) == fingerprint(around(1))
    assert fingerprint(around(1)) != fingerprint(around(2))


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
