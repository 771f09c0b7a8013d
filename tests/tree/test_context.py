"""Contexts."""

from __future__ import annotations

from typing import Any

import pytest

from nbsession.errors import HookError, RenderError
from nbsession.tree import Root, component, create_context, use_context, use_state
from tests.tree.reading import mounted, shown

Theme = create_context("plain", name="Theme")


def reading(log: list[str]) -> Any:
    @component
    def Reader(name: str = "") -> Any:
        value = use_context(Theme)
        log.append(f"{name}{value}")
        return f"{name}{value}"

    return Reader


def test_the_nearest_provider_counts_and_else_the_default() -> None:
    reader = reading([])
    root = mounted([reader(), Theme("dark", reader(), Theme("light", reader()), reader())])
    assert shown(root) == "plain dark light dark"


def test_a_changed_value_renders_exactly_the_readers_even_below_what_is_not_rendered() -> None:
    log: list[str] = []
    reader = reading(log)
    renders: list[int] = []

    @component
    def Still() -> Any:
        renders.append(1)
        return [reader(name="a"), "x"]

    still = Still()
    root = mounted(Theme("dark", still))
    root.update(Theme("light", still))
    assert shown(root) == "alight x"
    assert log == ["adark", "alight"]
    assert renders == [1]
    root.update(Theme("light", still))
    root.flush()
    assert len(log) == 2


def test_a_value_that_is_derived_level_by_level_settles_in_one_round() -> None:
    number = create_context(0)

    @component
    def Level(left: int) -> Any:
        value = use_context(number)
        return number(value + 1, Level(left=left - 1)) if left else f"{value}"

    level = Level(left=60)
    root = mounted(number(0, level))
    assert shown(root) == "60"
    root.update(number(100, level))
    assert shown(root) == "160"


def test_a_reader_that_goes_with_the_change_is_not_rendered_before() -> None:
    items: Any = create_context({"a": 1})

    @component
    def Item(name: str) -> Any:
        return f"{name}{use_context(items)[name]}"

    @component
    def Items() -> Any:
        return [Item(name=name, key=name) for name in use_context(items)]

    inside = Items()
    root = mounted(items({"a": 1, "b": 2}, inside))
    root.update(items({"b": 3}, inside))
    assert shown(root) == "b3"


def test_an_unmounted_reader_is_forgotten() -> None:
    log: list[str] = []
    reader = reading(log)
    root = mounted(Theme("a", reader()))
    root.update(Theme("b"))
    root.flush()
    root.update(Theme("c"))
    root.flush()
    assert log == ["a"]


def test_a_context_defined_anew_is_read_in_the_same_place() -> None:
    contexts = [create_context("old")]

    @component
    def reader(number: int) -> Any:
        kept, _ = use_state(7)
        return f"{use_context(contexts[0])} {kept} {number}"

    root = mounted(reader(number=1))
    contexts[0] = create_context("new")
    root.update(reader(number=2))
    assert shown(root) == "new 7 2"


def test_misuse_is_told() -> None:
    with pytest.raises(HookError, match="use_context was called outside"):
        use_context(Theme)

    @component
    def Odd() -> Any:
        return use_context("Theme")  # type: ignore[arg-type]

    with pytest.raises(RenderError, match="Odd: use_context takes what create_context returned, got str"):
        Root(Odd()).flush()
