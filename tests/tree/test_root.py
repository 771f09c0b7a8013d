"""The root: threads, kept state, new definitions, rest and end."""

from __future__ import annotations

import sys
import threading
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from nbsession.errors import RenderError
from nbsession.tree import GONE, Component, Root, component, use_effect, use_reducer, use_state
from tests.tree.reading import mounted, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

setters: dict[str, Any] = {}


@component
def Counter(name: str, start: Any = 0, persist: bool = True) -> Any:
    count, setters[name] = use_state(start, persist=persist)
    return f"{name}{count}"


def in_thread(call: Callable[[], object]) -> None:
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


def test_calls_from_another_thread_are_carried_in_order() -> None:
    carried: list[Callable[[], None]] = []
    root = mounted(Counter(name="a"), carry=carried.append)
    root.owner = threading.get_ident()

    def foreign() -> None:
        setters["a"](5)
        setters["a"](lambda n: n * 2)

    in_thread(foreign)
    assert root.state() == {"Counter#0": 0}
    assert len(carried) == 2
    for call in carried:
        call()
    assert shown(root) == "a10"


def test_a_call_by_the_owner_comes_after_those_that_wait() -> None:
    root = mounted(Counter(name="a"))
    root.owner = threading.get_ident()
    in_thread(lambda: setters["a"](5))
    assert root.dirty
    setters["a"](lambda n: n + 1)
    assert shown(root) == "a6"


def test_without_carry_calls_wait_for_the_next_flush() -> None:
    root = mounted(Counter(name="a"))
    root.owner = threading.get_ident()
    fiber = root.fiber.children[0]
    in_thread(lambda: setters["a"](5))
    in_thread(fiber.mark)
    assert shown(root) == "a5"


def test_without_an_owner_any_thread_sets_directly() -> None:
    root = mounted(Counter(name="a"))
    in_thread(lambda: setters["a"](5))
    assert root.state() == {"Counter#0": 5}


def test_many_threads_lose_no_call() -> None:
    root = mounted(Counter(name="a"))
    root.owner = threading.get_ident()
    setter = setters["a"]
    threads = [
        threading.Thread(target=lambda: [setter(lambda n: n + 1) for _ in range(200)]) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        root.flush()
    for thread in threads:
        thread.join()
    assert shown(root) == "a1000"


def test_on_dirty_is_called_once_until_the_next_flush() -> None:
    calls: list[bool] = []
    root = Root([Counter(name="a"), Counter(name="b")], on_dirty=lambda: calls.append(True))
    root.flush()
    assert calls == []
    setters["a"](1)
    setters["b"](1)
    assert calls == [True]
    root.flush()
    setters["b"](2)
    assert calls == [True, True]


def test_state_is_by_path_and_position_and_leaves_out_what_opts_out() -> None:
    root = mounted([Counter(name="a", key="k"), Counter(name="b"), Counter(name="c", persist=False)])
    setters["a"](3)
    root.flush()
    assert root.state() == {"0/Counter[k]#0": 3, "0/Counter.1#0": 0}


def test_changes_are_drained_once_and_say_what_is_gone() -> None:
    def tree(names: str) -> Any:
        return [Counter(name=name, key=name) for name in names]

    root = mounted(tree("ab"))
    assert dict(root.drain_changes()) == {"0/Counter[a]#0": 0, "0/Counter[b]#0": 0}
    assert root.drain_changes() == []
    setters["a"](1)
    setters["a"](2)
    root.update(tree("ca"))
    root.flush()
    assert dict(root.drain_changes()) == {
        "0/Counter[a]#0": 2,
        "0/Counter[b]#0": GONE,
        "0/Counter[c]#0": 0,
    }
    root.update(tree("a"))
    root.flush()
    root.update(tree("ac"))
    root.flush()
    assert root.drain_changes() == [("0/Counter[c]#0", 0)]
    assert repr(GONE) == "GONE"


def test_taking_the_tree_down_is_no_change_of_state() -> None:
    root = mounted(Counter(name="a"))
    root.drain_changes()
    setters["a"](1)
    root.unmount()
    assert root.drain_changes() == [("Counter#0", 1)]
    assert root.state() == {"Counter#0": 1}


def test_state_is_restored_where_a_hook_mounts_through_the_initial_value() -> None:
    asked: list[tuple[Any, Any]] = []

    def revive(raw: Any, initial: Any) -> Any:
        asked.append((raw, initial))
        return type(initial)(raw)

    @component
    def Sum() -> Any:
        total, _ = use_reducer(lambda old, n: old + n, 0)
        return f"sum{total}"

    kept = {"0/Counter.0#0": [1], "0/Sum.1#0": "7", "0/Gone.2#0": 1}
    root = mounted([Counter(name="a", start=lambda: ()), Sum()], restore=kept, revive=revive)
    assert shown(root) == "a(1,) sum7"
    assert asked == [([1], ()), ("7", 0)]
    assert root.unrestored == ["0/Gone.2#0"]


def test_restored_state_is_taken_once() -> None:
    root = mounted([Counter(name="a")], restore={"0/Counter.0#0": 9})
    assert shown(root) == "a9"
    root.update([])
    root.flush()
    assert root.drain_changes() == [("0/Counter.0#0", GONE)]
    root.update([Counter(name="a")])
    assert shown(root) == "a0"


@pytest.fixture
def module() -> Iterator[ModuleType]:
    made = ModuleType("a_notebook")
    sys.modules["a_notebook"] = made
    yield made
    del sys.modules["a_notebook"]


def define(module: ModuleType, body: str) -> Component:
    """Run a cell that defines the component ``Planner``."""
    source = f"@component\ndef Planner(**props):\n    {body}\n"
    names = module.__dict__
    names.update(component=component, use_state=use_state, use_effect=use_effect, log=names.get("log", []))
    exec(source, names)
    found = names["Planner"]
    assert isinstance(found, Component)
    return found


def test_a_component_defined_anew_is_swapped_and_keeps_its_state(module: ModuleType) -> None:
    planner = define(
        module, "n, module_set = use_state(1); globals()['set_n'] = module_set; return f'old {n}'"
    )
    root = mounted([planner(), "x"])
    module.set_n(5)
    assert shown(root) == "old 5 x"
    root.refresh()
    assert not root.dirty
    define(module, "n, _ = use_state(1); m, _ = use_state(2); return f'new {n} {m}'")
    root.refresh()
    assert shown(root) == "new 5 2 x"
    assert root.notes == []
    # An element of the old definition, held by someone, renders with the new one.
    root.update([planner(size=1), "x", planner(size=2)])
    assert shown(root) == "new 5 2 x new 1 2"


def test_other_hooks_in_a_new_definition_start_anew_and_that_is_said(module: ModuleType) -> None:
    planner = define(
        module,
        "use_effect(lambda: lambda: log.append('cleaned'), []); n, _ = use_state(1); return f'old {n}'",
    )
    root = mounted(planner())
    root.drain_changes()
    define(module, "n, _ = use_state(3); return f'new {n}'")
    root.refresh()
    assert shown(root) == "new 3"
    assert module.log == ["cleaned"]
    assert len(root.notes) == 1
    assert "Planner was defined anew with other hooks, so its state starts anew" in root.notes[0]
    assert dict(root.drain_changes()) == {"Planner#1": GONE, "Planner#0": 3}


def test_a_new_definition_that_raises_can_be_corrected(module: ModuleType) -> None:
    planner = define(module, "n, _ = use_state(1); return f'old {n}'")
    root = mounted(planner(), restore={"Planner#0": 4})
    define(module, "n, _ = use_state(1); return undefined")
    root.refresh()
    with pytest.raises(RenderError, match="Planner raised NameError"):
        root.flush()
    define(module, "n, _ = use_state(1); return f'fine {n}'")
    root.refresh()
    assert shown(root) == "fine 4"


def test_an_element_of_a_new_definition_matches_the_old_ones_fiber(module: ModuleType) -> None:
    old = define(module, "n, _ = use_state(1); return f'old {n}'")
    root = mounted(old(), restore={"Planner#0": 4})
    new = define(module, "n, _ = use_state(1); return f'new {n}'")
    root.update(new())
    assert shown(root) == "new 4"


def test_components_defined_in_functions_are_matched_by_identity() -> None:
    def make() -> Component:
        @component
        def Local() -> Any:
            return f"{use_state(object, persist=False)[0]}"

        return Local

    root = mounted(make()())
    first = shown(root)
    root.update(make()())
    assert shown(root) != first


def test_flush_inside_a_render_is_refused() -> None:
    @component
    def Eager() -> Any:
        root.flush()
        return ""

    root = Root(Eager())
    with pytest.raises(RenderError, match=r"flush\(\) was called while this very tree renders"):
        root.flush()


def test_a_clean_up_that_raises_does_not_keep_others_from_running() -> None:
    log: list[str] = []

    @component
    def Messy(name: str) -> Any:
        def clean() -> None:
            log.append(name)
            raise ValueError(name)

        use_effect(lambda: clean, [])
        return name

    root = mounted([Messy(name="a"), Messy(name="b")])
    with pytest.raises(
        RenderError, match=r"the clean-up of an effect of 0/Messy\.0 raised ValueError: a"
    ) as caught:
        root.unmount()
    assert log == ["a", "b"]
    assert "Messy.1" in caught.value.__notes__[0]
    root.unmount()
    root.flush()


def test_an_interrupted_render_is_taken_up_by_the_next_flush() -> None:
    interrupting = [True]

    @component
    def Long(name: str) -> Any:
        if interrupting and name == "b":
            raise KeyboardInterrupt
        return name

    root = Root([Long(name=name) for name in "abc"])
    with pytest.raises(KeyboardInterrupt):
        root.flush()
    interrupting.clear()
    assert shown(root) == "a b c"
