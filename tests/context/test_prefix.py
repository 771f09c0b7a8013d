"""Which part of a context ends what the provider may still have in its cache."""

from __future__ import annotations

import pytest

from nbsession.content import Message, Text, ToolSpec
from nbsession.context import CompiledContext, context_of


def context(
    *said: str, system: tuple[str, ...] = ("Be kind.", "Be brief."), tools: str = ""
) -> CompiledContext:
    turns = [Message("user" if n % 2 == 0 else "assistant", (Text(text),)) for n, text in enumerate(said)]
    return context_of(system, turns, [ToolSpec(name, "", {}) for name in tools])


@pytest.mark.parametrize(
    ("older", "newer", "path"),
    [
        (context("Hi"), context("Hi", "Hello", "Well?"), None),
        (context("Hi"), context("Hi"), None),
        (context("Hi"), context("Hi", system=("Be kind.", "Be terse.")), "system.1"),
        (context("Hi"), context("Hi", system=("Be kind.",)), "system.1"),
        (context("Hi", tools="a"), context("Hi", tools="ab"), "tools"),
        (context("Hi", tools="ab"), context("Hi", tools="a"), "tools"),
        (context("Hi", "Hello", "Well?"), context("Hi", "Good day", "Well?"), "message.1"),
        (context("Hi", "Hello"), context("Hi"), "message.1"),
    ],
)
def test_the_part_that_ends_the_common_front_is_named(
    older: CompiledContext, newer: CompiledContext, path: str | None
) -> None:
    broken_by = newer.diff(older).prefix_broken_by
    assert (broken_by.path if broken_by is not None else None) == path


def test_what_stands_before_it_is_what_is_kept() -> None:
    older, newer = context("Hi", "Hello", "Well?"), context("Hi", "Good day", "Well?")
    diff = newer.diff(older)
    assert diff.prefix_tokens_kept == sum(part.tokens for part in newer.parts[:3])
    assert str(diff).endswith("of the prefix are kept, up to assistant · message.1")


def test_a_context_compared_with_itself_breaks_nothing() -> None:
    same = context("Hi")
    assert same.diff(same).prefix_broken_by is None
