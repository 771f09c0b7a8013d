"""The names that an author gave to hooks are read from the source."""

from __future__ import annotations

from typing import Any

import nbsession
from nbsession import component, use_knob, use_on_mount, use_reducer, use_session, use_timeline
from nbsession.tree import create_context, hook_names, use_context, use_effect, use_memo, use_ref, use_state

Theme = create_context("light")


def names(made: Any) -> tuple[str, ...]:
    return hook_names(made.function)


def use_counter(start: int = 0) -> tuple[int, Any]:
    count, set_count = use_state(start)
    use_effect(lambda: None, [count])
    return count, lambda: set_count(count + 1)


def use_cart() -> Any:
    items, _ = use_state(list[str])
    total: int = use_memo(lambda: len(items), [items])
    return items, total


@component
def Plain() -> Any:
    plan, _set_plan = use_state(list[str])
    theme = use_context(Theme)
    box = use_ref()
    use_effect(lambda: None)
    return plan, theme, box, (state := use_reducer(max, 0)), state


@component
def Composed() -> Any:
    use_session()
    entries = use_timeline()
    tone, _ = use_knob("tone", "friendly")
    count, more = use_counter()
    cart = use_cart()
    (a, _a), (b, _b) = use_state(1), nbsession.use_state(2)

    @use_on_mount
    def mounted() -> None: ...

    last = use_state(use_memo(lambda: 3, []))
    return entries, tone, count, more, cart, a, b, last, mounted


def test_a_hook_is_called_what_its_value_is_called() -> None:
    assert names(Plain) == ("plan", "theme", "box", "", "state")


def test_hooks_inside_ones_own_hooks_are_found_in_their_order() -> None:
    assert names(Composed) == (
        "entries", "tone", "count", "", "cart.items", "cart.total", "a", "b", "", "", "last",
    )  # fmt: skip


def test_hooks_in_a_loop_have_no_names() -> None:
    @component
    def Looped() -> Any:
        return [use_state(n)[0] for n in range(3)]

    assert names(Looped) == ()


def test_hooks_of_a_closure_are_found() -> None:
    def use_local() -> Any:
        inner, _ = use_state(0)
        return inner

    @component
    def Closed() -> Any:
        value = use_local()
        return f"{value}"

    assert names(Closed) == ("value",)


def test_without_a_source_there_are_no_names() -> None:
    space: dict[str, Any] = {"component": component, "use_state": use_state}
    exec("@component\ndef Made():\n    x, _ = use_state(0)\n    return str(x)", space)
    assert names(space["Made"]) == ()
