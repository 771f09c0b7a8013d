"""Previews: what would be, without a trace."""

from __future__ import annotations

from typing import Any

import pytest

from nbsession.errors import RenderError
from nbsession.tree import (
    Cell,
    Fiber,
    Root,
    component,
    create_context,
    current,
    use_cell,
    use_context,
    use_effect,
    use_memo,
    use_ref,
    use_state,
)
from tests.tree.reading import all_fibers, compiled, mounted, picture, texts

Level = create_context(0)


class Dial(Cell):
    """Reads the environment's number."""

    __slots__ = ("fiber", "log")

    def __init__(self, fiber: Fiber, log: list[str]) -> None:
        self.fiber = fiber
        self.log = log

    def unmount(self) -> None:
        self.log.append("unmounted")

    def clone(self, fiber: Fiber) -> Dial:
        return Dial(fiber, self.log)


def tree(log: list[str], setters: list[Any]) -> Any:
    @component
    def Part(name: str) -> Any:
        count, set_count = use_state(0)
        setters.append(set_count)
        box = use_ref([])
        memo = use_memo(lambda: current().root.environment, [current().root.environment])
        use_effect(lambda: log.append("effect"))
        use_cell("dial", lambda fiber: Dial(fiber, log))
        number = current().root.environment
        if current().previewing:
            set_count(99)
            box.current = ["written"]
        return [f"{name} {number} {memo} {count} {box.current}", Level(number, reader)]

    @component
    def Reader() -> Any:
        return f"level {use_context(Level)}"

    reader = Reader()
    return ["head", [Part(name="a"), Part(name="b")], "tail"]


def parts(root: Root) -> list[Fiber]:
    return [fiber for fiber in all_fibers(root.fiber) if fiber.type.name == "Part"]


def test_stale_fibers_and_what_they_touch_render_in_the_other_environment() -> None:
    log: list[str] = []
    setters: list[Any] = []
    root = mounted(tree(log, setters), environment=1)
    setters[0](5)
    root.flush()
    compiled(root.fiber)
    before = picture(root)
    first, second = parts(root)
    ghost = root.preview(2, [first])
    assert texts(ghost) == [
        "head",
        "a 2 2 5 ['written']",
        "level 2",
        "b 1 1 0 []",
        "level 1",
        "tail",
    ]
    assert picture(root) == before
    found = all_fibers(ghost)
    assert second in found
    assert first not in found
    assert ghost.root.environment == 2
    assert ghost.previewing
    assert not root.fiber.previewing
    setters[-1](7)
    assert picture(root) == before
    assert not root.dirty


def test_another_node_is_previewed_with_the_state_there_is() -> None:
    setters: list[Any] = []

    @component
    def Item(name: str) -> Any:
        count, set_count = use_state(0)
        setters.append(set_count)
        return f"{name}{count}"

    root = mounted([Item(name=name, key=name) for name in "abc"])
    setters[1](4)
    root.flush()
    before = picture(root)
    ghost = root.preview(None, node=[Item(name=name, key=name) for name in "cbx"])
    assert texts(ghost) == ["c0", "b4", "x0"]
    assert picture(root) == before


def test_an_error_in_a_preview_leaves_no_trace() -> None:
    @component
    def Part() -> Any:
        use_state(0)
        if current().previewing:
            raise ValueError("only here")
        return "x"

    root = mounted(["a", Part()])
    before = picture(root)
    with pytest.raises(RenderError, match=r"0/Part\.1 raised ValueError: only here"):
        root.preview(None, all_fibers(root.fiber))
    assert picture(root) == before
    root.flush()
    assert texts(root.fiber) == ["a", "x"]


def test_a_live_setter_called_while_a_preview_renders_does_nothing() -> None:
    setters: list[Any] = []

    @component
    def Outer() -> Any:
        value, set_value = use_state(0)
        setters.append(set_value)
        return [str(value), inner]

    @component
    def Inner() -> Any:
        if current().previewing:
            setters[0](9)
            setters[0].fiber.mark()
        return "inner"

    inner = Inner()
    root = mounted(Outer())
    root.preview(None, [all_fibers(root.fiber)[-1]])
    assert not root.dirty
    assert root.state() == {"Outer#0": 0}


def test_a_dirty_tree_has_no_preview() -> None:
    root = Root("x")
    with pytest.raises(RenderError, match=r"call flush\(\) before preview\(\)"):
        root.preview(None)


def test_outputs_of_what_a_preview_does_not_touch_are_kept() -> None:
    @component
    def Part(name: str) -> Any:
        return f"{name} {current().root.environment}"

    root = mounted([[Part(name="a")], [Part(name="b")]], environment=1)
    compiled(root.fiber)
    stale = next(fiber for fiber in all_fibers(root.fiber) if "b 1" in fiber.children)
    ghost = root.preview(2, [stale])
    outputs = [fiber.output is not None for fiber in all_fibers(ghost)]
    # Top, outer list, list of a, a; list of b, b.
    assert outputs == [False, False, True, True, False, False]


def test_a_stale_fiber_that_is_unmounted_is_passed_over() -> None:
    @component
    def Part() -> Any:
        return "x"

    root = mounted([Part()])
    stale = all_fibers(root.fiber)[-1]
    root.update([])
    root.flush()
    assert texts(root.preview(None, [stale])) == []
