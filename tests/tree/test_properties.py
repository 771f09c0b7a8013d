"""Random trees under random edits, against a model of twenty lines."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nbsession.tree import (
    Element,
    ErrorBoundary,
    Fiber,
    Host,
    Root,
    component,
    create_context,
    current,
    use_context,
    use_memo,
    use_state,
)
from tests.tree.reading import all_fibers, compiled, mounted, picture, texts

Spec = tuple[Any, ...]
"""A node as data: ``(kind, key, value, children)``."""

Box = Host("Box", props=("note",))
Theme = create_context("plain", name="Theme")
setters: dict[str, Any] = {}


@component
def Row(*children: Any, value: int) -> Any:
    count, set_count = use_state(0)
    doubled = use_memo(lambda: value * 2, [value])
    if not current().previewing:
        setters[current().path] = set_count
    return [f"{doubled}:{count}", children, None, "."]


@component
def Reader(*children: Any, value: int) -> Any:
    use_state(value)
    return [f"{use_context(Theme)}", *children]


@component
def Bomb(value: int) -> Any:
    if value % 2:
        raise ValueError(str(value))
    return "calm"


# The same element at each render is not rendered again, and what reads a context inside still is.
STILL = Row(Reader(value=0, key="still"), value=7, key="still")


def build(spec: Spec) -> Any:
    kind, key, value, children = spec
    below = [build(child) for child in children]
    match kind:
        case "text":
            return f"t{value}"
        case "hole":
            return (None, False, "", True)[value % 4]
        case "list":
            return below if value % 2 else tuple(below)
        case "row":
            return Row(*below, value=value, key=key)
        case "box":
            return Box(*below, note=f"n{value}", key=key)
        case "theme":
            return Theme(f"theme{value}", *below, key=key)
        case "reader":
            return Reader(*below, value=1, key=key)
        case "boundary":
            return ErrorBoundary(*below, Bomb(value=value), fallback=lambda error: f"caught {error}", key=key)
        case _:
            return STILL


def model(spec: Spec, state: dict[str, int], path: str, index: int, theme: str, paths: set[str]) -> list[str]:
    """Return the text of a spec under a state by path, and collect the paths of rows."""
    kind, key, value, children = spec
    name = {
        "row": "Row",
        "box": "Box",
        "theme": "Theme",
        "reader": "Reader",
        "boundary": "ErrorBoundary",
    }.get(kind, "")
    here = (
        (f"{name}[{key}]" if key is not None else f"{name}.{index}" if path else name) if name else str(index)
    )
    here = f"{path}/{here}" if path else here

    def below(prefix: str, first: int = 0, theme: str = theme) -> list[str]:
        return [t for i, c in enumerate(children, first) for t in model(c, state, prefix, i, theme, paths)]

    match kind:
        case "text":
            return [f"t{value}"]
        case "hole":
            return []
        case "list" | "box":
            return below(here)
        case "row":
            paths.add(here)
            return [f"{value * 2}:{state.get(here, 0)}", *below(f"{here}/1"), "."]
        case "theme":
            return below(here, theme=f"theme{value}")
        case "reader":
            return [theme, *below(here, 1)]
        case "boundary":
            inside = below(f"{here}/0")
            return [f"caught {value}"] if value % 2 else [*inside, "calm"]
        case _:
            still = f"{path}/Row[still]" if path else "Row[still]"
            paths.add(still)
            return [f"14:{state.get(still, 0)}", theme, "."]


def expected(spec: Spec, state: dict[str, int]) -> tuple[list[str], set[str]]:
    paths: set[str] = set()
    return model(("list", None, 1, [spec]), state, "", 0, "plain", paths), paths


@st.composite
def children_of(draw: st.DrawFn, nodes: st.SearchStrategy[Spec]) -> list[Spec]:
    drawn = draw(st.lists(nodes, max_size=5))
    keys = draw(st.permutations([None, None, "a", "b", "c/]%", "d"]))
    still = draw(st.booleans())
    keyed = [
        (kind, key if kind in ("row", "box", "theme", "reader", "boundary") else None, value, below)
        for (kind, _, value, below), key in zip(drawn, keys, strict=False)
    ]
    if still:
        keyed.insert(draw(st.integers(0, len(keyed))), ("still", None, 0, []))
    return keyed


small = st.integers(0, 3)
leaf_specs: st.SearchStrategy[Spec] = st.builds(
    lambda kind, value: (kind, None, value, []), st.sampled_from(["text", "hole", "row", "reader"]), small
)


def branches(nodes: st.SearchStrategy[Spec]) -> st.SearchStrategy[Spec]:
    kinds = st.sampled_from(["list", "row", "row", "box", "theme", "reader", "boundary"])
    return st.builds(lambda kind, value, below: (kind, None, value, below), kinds, small, children_of(nodes))


specs = st.recursive(leaf_specs, branches, max_leaves=14)
trees = st.builds(lambda below: ("list", None, 1, below), children_of(specs))
bumps = st.lists(st.integers(0, 50), max_size=4)


Edit = tuple[str, int, int]
edits: st.SearchStrategy[list[Edit]] = st.lists(
    st.tuples(
        st.sampled_from(["value", "value", "remove", "reverse", "rotate", "insert"]),
        st.integers(0, 30),
        st.integers(0, 5),
    ),
    min_size=1,
    max_size=3,
)


def edited(spec: Spec, edit: Edit) -> Spec:
    """Return a spec with one of its nodes changed."""
    what, target, number = edit
    count = 0

    def visit(node: Spec) -> Spec:
        nonlocal count
        mine = count
        count += 1
        kind, key, value, below = node
        below = [visit(child) for child in below]
        if mine != target % size(spec):
            return kind, key, value, below
        match what:
            case "value":
                value = number % 4
            case "remove":
                below = below[:number] + below[number + 1 :]
            case "reverse":
                below = below[::-1]
            case "rotate":
                below = below[1:] + below[:1]
            case _ if kind not in ("text", "hole", "still"):
                new: Spec = ("hole" if number == 1 else "reader", None, number % 4, [])
                below = [*below[:number], new, *below[number:]]
        return kind, key, value, below

    return visit(spec)


def size(spec: Spec) -> int:
    return 1 + sum(size(child) for child in spec[3])


def bump(state: dict[str, int], paths: set[str], choice: int) -> None:
    if paths:
        path = sorted(paths)[choice % len(paths)]
        setters[path.replace("c/]%", "c%2F%5D%25")](lambda n: n + 1)
        state[path] = state.get(path, 0) + 1


def kept(state: dict[str, int], paths: set[str]) -> dict[str, int]:
    return {path: value for path, value in state.items() if path in paths}


@settings(max_examples=150, deadline=None)
@given(trees, st.lists(st.tuples(st.one_of(edits, trees), bumps), min_size=1, max_size=5))
def test_any_edit_leaves_what_a_fresh_mount_with_the_same_state_would_show(
    spec: Spec,
    steps: list[tuple[Any, list[int]]],
) -> None:
    setters.clear()
    root = mounted([build(spec)])
    state: dict[str, int] = {}
    drained: dict[str, Any] = {}
    for change, choices in steps:
        spec = next_spec(spec, change)
        root.update([build(spec)])
        root.flush()
        text, paths = expected(spec, state)
        state = kept(state, paths)
        assert texts(root.fiber) == text
        for choice in choices:
            bump(state, paths, choice)
        root.flush()
        text, paths = expected(spec, state)
        assert texts(root.fiber) == text
        check_against_fresh(root, spec)
        apply(drained, root.drain_changes())
        assert drained == root.state()
        assert_sound(root)


def next_spec(spec: Spec, change: Any) -> Spec:
    if not isinstance(change, list):
        return tuple(change)
    for edit in change:
        spec = edited(spec, edit)
    return spec


def check_against_fresh(root: Root, spec: Spec) -> None:
    live = dict(setters)
    fresh = mounted([build(spec)], restore=root.state())
    assert texts(fresh.fiber) == texts(root.fiber)
    assert fresh.state() == root.state()
    assert fresh.unrestored == []
    # Outputs that were kept are those that would be worked out anew.
    assert compiled(root.fiber) == compiled(fresh.fiber)
    setters.clear()
    setters.update(live)


def apply(state: dict[str, Any], changes: list[tuple[str, Any]]) -> None:
    for address, value in changes:
        if repr(value) == "GONE":
            state.pop(address, None)
        else:
            state[address] = value


def assert_sound(root: Root) -> None:
    fibers = all_fibers(root.fiber)
    paths = [fiber.path for fiber in fibers]
    assert len(set(paths)) == len(paths)
    for fiber in fibers:
        assert fiber.status == 0
        for index, child in enumerate(fiber.slots):
            if isinstance(child, Fiber):
                assert child.parent is fiber
                assert child.index == index
                assert child.depth == fiber.depth + 1


@settings(max_examples=150, deadline=None)
@given(trees, bumps, st.one_of(edits, trees), st.lists(st.integers(0, 50), max_size=3), st.booleans())
def test_a_preview_shows_what_the_change_would_and_leaves_no_trace(
    spec: Spec, choices: list[int], change: Any, stale: list[int], replace: bool
) -> None:
    setters.clear()
    other = next_spec(spec, change)
    root = mounted([build(spec)], environment="live")
    state: dict[str, int] = {}
    _, paths = expected(spec, state)
    for choice in choices:
        bump(state, paths, choice)
    root.flush()
    compiled(root.fiber)
    before = picture(root)
    fibers = all_fibers(root.fiber)
    chosen = [fibers[index % len(fibers)] for index in stale]
    if replace:
        ghost = root.preview("preview", chosen, node=[build(other)])
    else:
        ghost = root.preview("preview", chosen)
    _, kept_paths = expected(other, state)
    target = other if replace else spec
    text, _ = expected(target, kept(state, kept_paths) if replace else state)
    assert texts(ghost) == text
    assert picture(root) == before
    preview_compiled = compiled(ghost)
    if replace:
        root.update([build(other)])
        root.flush()
    assert compiled(root.fiber) == preview_compiled


@settings(max_examples=100, deadline=None)
@given(st.permutations(list(range(7))), st.permutations(list(range(9))), st.integers(0, 9))
def test_state_follows_keys_through_any_reorder(first: list[int], second: list[int], cut: int) -> None:
    cells: dict[int, Any] = {}

    @component
    def Item(number: int) -> Any:
        mark, set_mark = use_state(object, persist=False)
        cells[number] = mark, set_mark
        return f"{number}"

    def items(numbers: list[int]) -> list[Element]:
        return [Item(number=n, key=n) for n in numbers]

    root = mounted(items(first))
    before = dict(cells)
    root.update(items(second[:cut]))
    root.flush()
    assert texts(root.fiber) == [str(n) for n in second[:cut]]
    for number in set(first) & set(second[:cut]):
        assert cells[number][0] is before[number][0]
        assert cells[number][1] is before[number][1]
