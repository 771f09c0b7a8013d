"""Error boundaries."""

from __future__ import annotations

from typing import Any

import pytest

from nbsession.errors import RenderError
from nbsession.tree import (
    Cell,
    ErrorBoundary,
    Fiber,
    Root,
    component,
    current,
    use_cell,
    use_effect,
    use_state,
)
from tests.tree.reading import all_fibers, compiled, mounted, picture, shown


class Fragile:
    """A component that raises while its state is odd."""

    def __init__(self) -> None:
        self.setter: Any = None
        self.log: list[str] = []

        @component
        def Part(start: int = 0) -> Any:
            value, self.setter = use_state(start)
            if value % 2:
                raise ValueError(f"odd {value}")
            return f"even {value}"

        self.Part = Part


def caught(error: Exception) -> str:
    return f"caught {type(error).__name__} {error}"


def test_a_fallback_stands_in_for_the_children_that_raised() -> None:
    part = Fragile()
    root = mounted(["head", ErrorBoundary("a", part.Part(start=1), "b", fallback=caught), "tail"])
    assert shown(root) == "head caught ValueError odd 1 tail"


def test_a_fallback_may_be_a_plain_node() -> None:
    part = Fragile()
    assert shown(mounted(ErrorBoundary(part.Part(start=1), fallback=["sorry", None]))) == "sorry"
    assert shown(mounted(ErrorBoundary(part.Part(start=1), fallback=None))) == ""


def test_the_failing_component_marked_again_is_tried_again_with_its_state() -> None:
    part = Fragile()
    root = mounted(ErrorBoundary(part.Part(), "b", fallback=caught))
    assert compiled(root.fiber) == "((((even 0)b)))"
    for value, text in [(1, "caught ValueError odd 1"), (3, "caught ValueError odd 3"), (4, "even 4 b")]:
        part.setter(value)
        assert shown(root) == text
        assert compiled(root.fiber).replace("(", "").replace(")", "") == text.replace("4 b", "4b")


def test_a_changed_element_tries_the_children_again() -> None:
    failing = [True]

    @component
    def Part() -> Any:
        if failing:
            raise ValueError("x")
        return "fine"

    child = Part()
    root = mounted(ErrorBoundary(child, fallback=caught))
    failing.clear()
    assert shown(root) == "caught ValueError x"
    root.update(ErrorBoundary(child, fallback=lambda _: "other"))
    assert shown(root) == "fine"


def test_a_failing_component_that_goes_lets_the_others_show() -> None:
    part = Fragile()

    root = mounted(ErrorBoundary(part.Part(start=1), "rest", fallback=caught))
    root.update(ErrorBoundary(None, "rest", fallback=caught))
    assert shown(root) == "rest"


def test_an_error_in_the_fallback_is_for_the_next_boundary() -> None:
    part, inner = Fragile(), Fragile()
    root = mounted(
        ErrorBoundary(
            ErrorBoundary(part.Part(start=1), fallback=lambda _: inner.Part(start=3)), fallback=caught
        )
    )
    assert shown(root) == "caught ValueError odd 3"
    inner.setter(4)
    assert shown(root) == "even 4"
    part.setter(2)
    assert shown(root) == "even 2"


def test_a_fallback_function_that_raises_is_for_the_next_boundary() -> None:
    part = Fragile()
    inner = ErrorBoundary(part.Part(start=1), fallback=lambda _: 1 / 0)
    root = mounted(ErrorBoundary(inner, fallback=caught))
    assert shown(root) == "caught ZeroDivisionError division by zero"
    part.setter(2)
    assert shown(root) == "even 2"
    with pytest.raises(RenderError, match="ErrorBoundary raised ZeroDivisionError"):
        Root(inner).flush()


def test_what_is_hidden_runs_no_effects_and_lists_no_cells_until_it_shows() -> None:
    part = Fragile()
    log: list[str] = []

    class Mark(Cell):
        __slots__ = ()

        def clone(self, fiber: Fiber) -> Mark:
            return Mark()

    @component
    def Sibling() -> Any:
        use_cell("mark", lambda _: Mark())
        use_effect(lambda: log.append("ran"), [])
        return "sibling"

    root = mounted(ErrorBoundary(part.Part(start=1), Sibling(), fallback=caught))
    assert (log, root.cells("mark")) == ([], [])
    part.setter(2)
    assert shown(root) == "even 2 sibling"
    assert log == ["ran"]
    assert len(root.cells("mark")) == 1


def test_a_preview_may_fail_or_recover_without_a_trace() -> None:
    limit = {"live": 1, "preview": 9}

    @component
    def Part() -> Any:

        if limit[current().root.environment] > 5:
            raise ValueError("too much")
        return "fine"

    root = mounted(ErrorBoundary(Part(), fallback=caught), environment="live")
    part = all_fibers(root.fiber)[-1]
    compiled(root.fiber)
    before = picture(root)
    assert compiled(root.preview("preview", [part])).strip("()") == "caught ValueError too much"
    assert picture(root) == before
    limit.update(live=9, preview=1)
    part.mark()
    assert shown(root) == "caught ValueError too much"
    before = picture(root)
    assert compiled(root.preview("preview", [part])).strip("()") == "fine"
    assert picture(root) == before


def test_a_fallback_has_to_be_given() -> None:
    with pytest.raises(RenderError, match="ErrorBoundary needs fallback="):
        ErrorBoundary("x")
