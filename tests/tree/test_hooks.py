"""The hooks, each by what a component sees."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import pytest

from nbsession.errors import HookError, RenderError
from nbsession.tree import (
    Cell,
    Fiber,
    Root,
    State,
    component,
    current,
    use_callback,
    use_cell,
    use_effect,
    use_memo,
    use_reducer,
    use_ref,
    use_state,
)
from tests.tree.reading import mounted, shown


def counting(initial: Any) -> tuple[Root, State, list[Any]]:
    """Mount a component with one state; return its root, setter and the values it has rendered."""
    seen: list[Any] = []
    cells: list[State] = []

    @component
    def Counter() -> Any:
        value, set_value = use_state(initial)
        seen.append(value)
        cells.append(set_value)
        return str(value)

    root = mounted(Counter())
    return root, cells[0], seen


def test_a_setter_takes_a_value_or_a_function_of_the_present_one() -> None:
    root, set_value, _ = counting(1)
    set_value(5)
    assert shown(root) == "5"
    set_value(lambda n: n + 1)
    set_value(lambda n: n * 2)
    assert shown(root) == "12"


def test_a_setter_is_the_same_object_at_each_render() -> None:
    cells = set()

    @component
    def Counter(step: int) -> Any:
        cells.add(use_state(0)[1])
        return str(step)

    root = mounted(Counter(step=1))
    root.update(Counter(step=2))
    assert shown(root) == "2"
    assert len(cells) == 1


def test_several_sets_render_once() -> None:
    root, set_value, seen = counting(0)
    for number in range(5):
        set_value(number)
    root.flush()
    assert seen == [0, 4]


@pytest.mark.parametrize("value", [1, "a", 1.5, None, True, b"x", (1, ("a", None)), frozenset({1, 2})])
def test_setting_an_equal_atom_renders_nothing(value: Any) -> None:
    root, set_value, seen = counting(value)
    set_value(value)
    assert not root.dirty
    root.flush()
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("old", "new"), [(1, True), (1, 1.0), (0.0, -0.0), ((1,), (True,)), (frozenset({1}), frozenset({True}))]
)
def test_values_that_are_equal_but_read_differently_are_different(old: Any, new: Any) -> None:
    root, set_value, _ = counting(old)
    set_value(new)
    assert shown(root) == str(new)


def test_a_list_changed_in_place_and_set_again_is_rendered() -> None:
    root, set_value, _ = counting([1])

    def grow(items: list[int]) -> list[int]:
        items.append(2)
        return items

    set_value(grow)
    assert shown(root) == "[1, 2]"


@pytest.mark.parametrize(
    ("initial", "change", "remedy"),
    [
        (["b", "a"], lambda items: items.append("c"), r"[*kept, item]"),
        (["b", "a"], lambda items: items.sort(), r"[*kept, item]"),
        (["b"] * 5_000, lambda items: items.extend("c"), r"[*kept, item]"),
        ({"a": 1}, lambda items: items.update(b=2), "{**kept, key: value}"),
        ({"a": 1}, lambda items: items.update(a=2), "{**kept, key: value}"),
        ({"a"}, lambda items: items.add("b"), "{*kept, item}"),
    ],
)
def test_what_a_method_that_changes_in_place_returned_does_not_take_the_value_away(
    initial: Any, change: Any, remedy: str
) -> None:
    given: tuple[Any, ...] = (
        change,
        lambda _: change,
    )  # what it returned, and a function of the present value
    for how in given:
        start = type(initial)(initial)
        root, set_value, _ = counting(start)
        with pytest.raises(HookError, match="it was set to None") as raised:
            set_value(how(start))
        assert f"set_value(lambda kept: {remedy})" in str(raised.value)
        assert raised.value.path == "Counter"
        assert set_value.value is start
        set_value(type(initial)())
        set_value(None)
        assert shown(root) == "None"


@pytest.mark.parametrize("value", [[1], {"a": [1]}, {1}, [[1]], list(range(5_000)), None, "text", (1, 2)])
def test_a_plain_reset_to_none_is_none(value: Any) -> None:
    root, set_value, _ = counting(value)
    set_value(None)
    assert shown(root) == "None"
    set_value(value)
    set_value(lambda _: None)
    assert shown(root) == "None"


def test_a_list_that_was_changed_in_place_and_set_again_may_be_reset() -> None:
    items = [1]
    root, set_value, _ = counting(items)
    items.append(2)
    set_value(items)
    set_value(None)
    assert shown(root) == "None"


def test_what_append_returned_is_refused_in_the_thread_that_sets_it() -> None:
    root, set_value, seen = counting([])
    root.owner = threading.get_ident()
    raised: list[str] = []

    def work() -> None:
        try:
            set_value(seen[-1].append("a note"))
        except HookError as error:
            raised.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert "the list was changed in place, as append" in raised[0]
    assert not root.dirty


def test_a_reducer_that_changes_its_state_in_place_and_returns_nothing_is_told_so() -> None:
    dispatchers: list[Any] = []

    @component
    def Basket() -> Any:
        items, dispatch = use_reducer(lambda items, item: items.append(item), [])
        dispatchers.append(dispatch)
        return str(items)

    mounted(Basket())
    with pytest.raises(HookError, match=r"its reducer returned None.*such as return \[\*kept, item\]"):
        dispatchers[0]("apple")


def test_an_initial_value_may_be_a_function_called_once() -> None:
    calls: list[int] = []

    def first() -> int:
        calls.append(1)
        return 7

    root, set_value, _ = counting(first)
    set_value(8)
    assert shown(root) == "8"
    assert len(calls) == 1


def test_a_reducer_takes_actions_and_is_the_latest_renders() -> None:
    dispatchers: list[Any] = []

    def add(factor: int, old: int, n: int) -> int:
        return old + factor * n

    @component
    def Sum(factor: int) -> Any:
        total, dispatch = use_reducer(partial(add, factor), 0)
        dispatchers.append(dispatch)
        return str(total)

    root = mounted(Sum(factor=1))
    dispatchers[0](2)
    assert shown(root) == "2"
    root.update(Sum(factor=10))
    root.flush()
    dispatchers[0](2)
    assert shown(root) == "22"


def test_state_set_in_a_body_is_rendered_in_the_same_flush() -> None:
    @component
    def Clamped(value: int) -> Any:
        kept, keep = use_state(value)
        if kept > 3:
            keep(3)
        return str(kept)

    assert shown(Root(Clamped(value=9))) == "3"


def test_memo_and_callback_are_kept_while_their_dependencies_are_the_same() -> None:
    seen: list[tuple[object, object]] = []

    @component
    def Memory(number: int, other: int) -> Any:
        made = use_memo(object, [number])
        function = use_callback(lambda: number, [number])
        seen.append((made, function))
        return str(other)

    root = mounted(Memory(number=1, other=1))
    for number, other in [(1, 2), (2, 2)]:
        root.update(Memory(number=number, other=other))
        root.flush()
    assert seen[0] == seen[1]
    assert seen[1][0] is not seen[2][0]
    assert seen[1][1] is not seen[2][1]


def test_memo_without_dependencies_is_worked_out_each_time() -> None:
    seen: list[object] = []

    @component
    def Memory(number: int) -> Any:
        seen.append(use_memo(object, None))
        return str(number)

    root = mounted(Memory(number=1))
    root.update(Memory(number=2))
    root.flush()
    assert seen[0] is not seen[1]


def test_dependencies_are_compared_with_a_copy_of_the_list() -> None:
    deps = [1]
    seen: list[object] = []

    @component
    def Memory(number: int) -> Any:
        seen.append(use_memo(object, deps))
        return str(number)

    root = mounted(Memory(number=1))
    deps[0] = 2
    root.update(Memory(number=2))
    root.flush()
    assert seen[0] is not seen[1]


def test_a_ref_is_the_same_box_and_writing_renders_nothing() -> None:
    boxes = []

    @component
    def Box(number: int) -> Any:
        box = use_ref(0)
        box.current += 1
        boxes.append(box)
        return str(box.current)

    root = mounted(Box(number=1))
    boxes[0].current = 40
    assert not root.dirty
    root.update(Box(number=2))
    assert shown(root) == "41"
    assert boxes[0] is boxes[1]


def recorder() -> tuple[list[str], Any]:
    log: list[str] = []

    def effect(name: str) -> Any:
        def run() -> Any:
            log.append(f"+{name}")
            return lambda: log.append(f"-{name}")

        return run

    return log, effect


def test_effects_run_children_first_and_clean_up_on_change_and_unmount() -> None:
    log, effect = recorder()

    @component
    def Child(name: str) -> Any:
        use_effect(effect(name), [name])
        return name

    @component
    def Parent(names: str) -> Any:
        use_effect(effect("parent"), [])
        return [Child(name=name, key=index) for index, name in enumerate(names)]

    root = mounted(Parent(names="ab"))
    assert log == ["+a", "+b", "+parent"]
    log.clear()
    root.update(Parent(names="ac"))
    root.flush()
    assert log == ["-b", "+c"]
    log.clear()
    root.update(Parent(names="a"))
    root.flush()
    assert log == ["-c"]
    log.clear()
    root.unmount()
    assert log == ["-a", "-parent"]


def test_an_effect_without_dependencies_runs_after_each_render() -> None:
    log, effect = recorder()

    @component
    def Watcher(number: int) -> Any:
        use_effect(effect("w"))
        return str(number)

    root = mounted(Watcher(number=1))
    root.update(Watcher(number=2))
    root.flush()
    root.flush()
    assert log == ["+w", "-w", "+w"]


def test_state_set_in_an_effect_is_rendered_in_the_same_flush() -> None:
    @component
    def Loader() -> Any:
        text, set_text = use_state("loading")
        use_effect(lambda: set_text("ready"), [])
        return text

    assert shown(Root(Loader())) == "ready"


def test_effects_wait_for_flush_when_only_rendered() -> None:
    log, effect = recorder()

    @component
    def Watcher() -> Any:
        use_effect(effect("w"), [])
        return "w"

    root = Root(Watcher())
    root.render()
    assert log == []
    root.flush()
    assert log == ["+w"]


def test_an_effect_that_raises_names_its_path_and_is_tried_again() -> None:
    failing = [True]
    log: list[str] = []

    @component
    def Fragile() -> Any:
        def run() -> None:
            if failing:
                raise ValueError("no disk")
            log.append("ran")

        use_effect(run, [])
        use_effect(lambda: log.append("other"), [])
        return "x"

    root = Root(Fragile())
    with pytest.raises(RenderError, match="an effect of Fragile raised ValueError: no disk") as caught:
        root.flush()
    assert caught.value.path == "Fragile"
    assert isinstance(caught.value.__cause__, ValueError)
    assert log == ["other"]
    failing.clear()
    root.flush()
    assert log == ["other", "ran"]


def test_an_async_effect_is_refused_with_what_to_use() -> None:
    @component
    def Late() -> Any:
        async def load() -> None: ...

        use_effect(load, [])
        return ""

    with pytest.raises(HookError, match=r"async function 'load'; use use_data .* or use_on_mount"):
        Root(Late()).flush()


def test_an_effect_that_returns_no_function_is_refused() -> None:
    @component
    def Odd() -> Any:
        use_effect(lambda: 3, [])
        return ""

    with pytest.raises(RenderError, match="returned int; an effect returns None or its clean-up"):
        Root(Odd()).flush()


def test_a_hook_outside_a_component_is_refused() -> None:
    with pytest.raises(HookError, match="use_state was called outside a component"):
        use_state(0)
    with pytest.raises(HookError, match="use_memo was called outside"):
        use_memo(lambda: 0, [])
    with pytest.raises(HookError, match="outside a component"):
        current()


def test_a_hook_in_an_effect_is_outside_a_component() -> None:
    @component
    def Odd() -> Any:
        use_effect(lambda: use_state(0), [])
        return ""

    with pytest.raises(RenderError, match="use_state was called outside a component"):
        Root(Odd()).flush()


@pytest.mark.parametrize(("first", "then"), [(2, 3), (3, 2), (1, 0), (0, 1)])
def test_another_number_of_hooks_names_both_numbers(first: int, then: int) -> None:
    @component
    def Planner(count: int) -> Any:
        for _ in range(count):
            use_state(0)
        return f"{count} hooks"

    root = mounted(Planner(count=first))
    root.update(Planner(count=then))
    with pytest.raises(
        HookError, match=f"Planner called {then} hooks? this time and {first} last time; a hook may"
    ) as caught:
        root.flush()
    assert caught.value.path == "Planner"
    root.update(Planner(count=first))
    assert shown(root) == f"{first} hooks"


def test_another_kind_of_hook_names_both_and_the_position() -> None:
    @component
    def Planner(odd: bool) -> Any:
        use_state(0)
        if odd:
            use_ref(0)
        else:
            use_memo(lambda: 0, [])
        return "x"

    root = mounted(Planner(odd=False))
    root.update(Planner(odd=True))
    with pytest.raises(HookError, match="Planner called use_ref as hook 2, where use_memo stood last time"):
        root.flush()


class Noted(Cell):
    """A cell that says when it goes."""

    __slots__ = ("fiber", "log")

    def __init__(self, fiber: Fiber, log: list[str]) -> None:
        self.fiber = fiber
        self.log = log

    def unmount(self) -> None:
        self.log.append(f"-{self.fiber.key}")

    def clone(self, fiber: Fiber) -> Noted:
        return Noted(fiber, [])


def test_cells_of_a_kind_are_listed_children_first_and_in_tree_order() -> None:
    log: list[str] = []

    @component
    def Node(*children: Any) -> Any:
        use_cell("noted", lambda fiber: Noted(fiber, log))
        return children

    def tree(*order: str) -> Any:
        return Node(*[Node(Node(key=f"{name}1"), key=name) for name in order], key="top")

    def keys(root: Root) -> list[str | None]:
        return [cell.fiber.key for cell in root.cells("noted")]

    root = mounted(tree("a", "b", "c"))
    assert keys(root) == ["a1", "a", "b1", "b", "c1", "c", "top"]
    root.update(tree("c", "a"))
    root.flush()
    assert keys(root) == ["c1", "c", "a1", "a", "top"]
    assert log == ["-b1", "-b"]
    assert root.cells("other") == []
    root.unmount()
    assert keys(root) == []
    assert log == ["-b1", "-b", "-c1", "-c", "-a1", "-a", "-top"]


def test_a_cell_is_made_once_and_reaches_the_environment() -> None:
    seen: list[Noted] = []

    @component
    def Node(number: int) -> Any:
        cell = use_cell("noted", lambda fiber: Noted(fiber, []))
        seen.append(cell)
        return f"{current().root.environment}{number}"

    root = mounted(Node(number=1), environment="env")
    root.update(Node(number=2))
    assert shown(root) == "env2"
    assert seen[0] is seen[1]
    assert seen[0].kind == "noted"


def test_a_setter_after_unmount_is_an_error_with_path_and_hook_or_a_note_from_another_thread() -> None:
    cells: list[State] = []

    @component
    def Child() -> Any:
        cells.append(use_state(0)[1])
        return "x"

    root = mounted([Child(key="c")])
    root.update(None)
    root.flush()
    with pytest.raises(
        HookError, match=r"0/Child\[c\] was unmounted before its hook 1 \(use_state\) was set"
    ):
        cells[0](1)
    root.owner = threading.get_ident()
    for value in (1, 2):
        late = threading.Thread(target=cells[0], args=(value,))
        late.start()
        late.join()
    root.flush()
    assert not root.dirty
    assert len(root.notes) == 1
    assert "clean-up of an effect" in root.notes[0]


def test_two_threads_may_render_two_trees_at_once() -> None:
    inside, go = threading.Event(), threading.Event()

    @component
    def Slow() -> Any:
        inside.set()
        assert go.wait(10)
        return use_state("slow")[0]

    slow = Root(Slow())
    thread = threading.Thread(target=slow.flush)
    thread.start()
    assert inside.wait(10)
    _, _, seen = counting(3)
    go.set()
    thread.join()
    assert seen == [3]
    assert shown(slow) == "slow"
