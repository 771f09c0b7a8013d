"""What is matched with what, what renders again, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from nbsession.errors import RenderError
from nbsession.tree import Element, Fiber, Host, Root, component, use_effect, use_state
from tests.tree.reading import all_fibers, compiled, mounted, shown

Box = Host("Box", props=("note", "rows"))


class Leaf:
    """An opaque value whose equality must not be asked for."""

    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared")

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return "leaf"


class Probe:
    """A component that counts its renders and hands out its setter."""

    def __init__(self) -> None:
        self.renders = 0
        self.setters: dict[str, Any] = {}

        @component
        def Item(*children: Any, name: str = "", value: Any = None) -> Any:
            self.renders += 1
            count, self.setters[name] = use_state(0)
            return [f"{name}{count}", *children]

        self.Item = Item


def path_of(root: Root, text: str) -> str:
    return next(fiber.path for fiber in all_fibers(root.fiber) if text in fiber.children)


def test_nothing_renders_for_none_bools_and_empty_text() -> None:
    root = mounted([None, True, False, "", "a", 3, 1.5, ["b", (None, "c")]])
    assert shown(root) == "a 3 1.5 b c"


def test_a_condition_does_not_shift_the_state_of_later_siblings() -> None:
    probe = Probe()

    def tree(cond: bool) -> list[Any]:
        return [cond and probe.Item(name="first"), probe.Item(name="second")]

    root = mounted(tree(True))
    probe.setters["second"](7)
    for cond, text in [(True, "first0 second7"), (False, "second7"), (True, "first0 second7")]:
        root.update(tree(cond))
        assert shown(root) == text


def test_a_nested_list_that_grows_does_not_shift_later_siblings() -> None:
    probe = Probe()

    def tree(size: int) -> list[Any]:
        return [[probe.Item(name=f"n{i}") for i in range(size)], probe.Item(name="tail")]

    root = mounted(tree(1))
    probe.setters["tail"](7)
    root.update(tree(3))
    assert shown(root) == "n00 n10 n20 tail7"


def test_a_list_in_a_tuple_changed_in_place_is_seen() -> None:
    inner = ["a"]
    nodes = (inner,)

    @component
    def Holder(number: int) -> Any:
        return [str(number), nodes]

    root = mounted(Holder(number=1))
    inner.append("b")
    root.update(Holder(number=2))
    assert shown(root) == "2 a b"


def test_another_type_in_a_slot_starts_anew() -> None:
    probe, other = Probe(), Probe()
    root = mounted([probe.Item(name="x")])
    probe.setters["x"](5)
    root.update([other.Item(name="x")])
    assert shown(root) == "x0"


def test_moved_keyed_children_keep_state_and_fibers() -> None:
    probe = Probe()

    def tree(names: str) -> list[Element]:
        return [probe.Item(name=name, key=name) for name in names]

    root = mounted(tree("abc"))
    for number, name in enumerate("abc"):
        probe.setters[name](number)
    root.flush()
    fibers = set(all_fibers(root.fiber))
    renders = probe.renders
    root.update(tree("cab"))
    assert shown(root) == "c2 a0 b1"
    assert set(all_fibers(root.fiber)) == fibers
    assert probe.renders == renders


def test_paths_are_names_with_keys_or_positions() -> None:
    probe = Probe()
    item = probe.Item
    root = mounted(
        item(
            Box(item(name="a", key="x/y]%"), item(name="b")),
            [item(name="c")],
            name="top",
        )
    )
    assert path_of(root, "top0") == "Item"
    assert path_of(root, "a0") == "Item/Box.1/Item[x%2Fy%5D%25]"
    assert path_of(root, "b0") == "Item/Box.1/Item.1"
    assert path_of(root, "c0") == "Item/2/Item.0"
    assert root.fiber.path == ""


@pytest.mark.parametrize("value", [1, "a", None, (1, "b"), len, Probe, Element])
def test_equal_properties_render_nothing_again(value: Any) -> None:
    probe = Probe()
    root = mounted(probe.Item(name="x", value=value))
    root.update(probe.Item(name="x", value=value))
    root.flush()
    assert probe.renders == 1


def test_the_same_element_setter_or_function_as_a_property_renders_nothing_again() -> None:
    probe = Probe()
    child = probe.Item(name="child")
    root = mounted(probe.Item(child, name="x", value=print))
    setter = probe.setters["x"]
    for value, renders in [(print, 2), (setter, 3), (setter, 3)]:
        root.update(probe.Item(child, name="x", value=value))
        root.flush()
        assert probe.renders == renders


@pytest.mark.parametrize("value", [[1], {"a": 1}, {1}, object(), ([1],)])
def test_a_property_that_may_have_changed_in_place_renders_again(value: Any) -> None:
    probe = Probe()
    root = mounted(probe.Item(name="x", value=value))
    root.update(probe.Item(name="x", value=value))
    root.flush()
    assert probe.renders == 2


@pytest.mark.parametrize(("old", "new"), [(1, True), (0.0, -0.0), ((1,), (True,)), (1, 1.0)])
def test_properties_that_are_equal_but_read_differently_render_again(old: Any, new: Any) -> None:
    probe = Probe()
    root = mounted(probe.Item(name="x", value=old))
    root.update(probe.Item(name="x", value=new))
    root.flush()
    assert probe.renders == 2


def test_only_the_dirty_component_renders() -> None:
    probe = Probe()
    root = mounted([probe.Item(probe.Item(name="in", key="k"), name=f"n{i}") for i in range(10)])
    renders = probe.renders
    probe.setters["n5"](1)
    root.flush()
    assert probe.renders == renders + 1


def test_an_equal_render_keeps_every_output() -> None:
    leaf = Leaf()

    @component
    def Same() -> Any:
        _, touch = use_state(0)
        touches.append(touch)
        return ["text", leaf, Box("inner", note="n")]

    touches: list[Any] = []
    root = mounted(Same(), leaves=(Leaf,))
    text = compiled(root.fiber)
    touches[0](1)
    root.flush()
    assert all(fiber.output is not None for fiber in all_fibers(root.fiber))
    assert compiled(root.fiber) == text


def test_a_change_drops_outputs_up_to_the_root_and_no_others() -> None:
    probe = Probe()
    root = mounted([Box(probe.Item(name="a"), note="1"), Box(probe.Item(name="b"), note="2")])
    compiled(root.fiber)
    probe.setters["a"](1)
    root.flush()
    kept = {fiber.path for fiber in all_fibers(root.fiber) if fiber.output is not None}
    assert kept == {"0/Box.1", "0/Box.1/Item.0"}


@pytest.mark.parametrize("rows", [[1], "x"])
def test_a_hosts_changed_properties_drop_its_output(rows: Any) -> None:
    root = mounted(Box("x", rows=rows))
    compiled(root.fiber)
    if isinstance(rows, list):
        rows.append(2)
    root.update(Box("x", rows=rows))
    root.flush()
    changed = not isinstance(rows, str)
    assert (root.fiber.output is None) == changed


def test_a_marked_host_drops_its_output() -> None:
    root = mounted(Box("x", note="n"))
    compiled(root.fiber)
    box: Fiber = root.fiber.children[0]
    box.mark()
    root.flush()
    assert box.output is None
    assert root.fiber.output is None


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (
            (c for c in "ab"),
            r"0/Odd\[k\] returned a generator, which is no node; it can be read only once: collect it in a list",
        ),
        ({"a": 1}, r"0/Odd\[k\] returned a dict, which is no node; .*json.dumps"),
        ({1}, r"0/Odd\[k\] returned a set, .*sorted"),
        (object(), r"0/Odd\[k\] returned an object, which is no node; return text"),
        (Box, r"0/Odd\[k\] returned Box itself; call it for an element: Box\(\)"),
        (len, r"0/Odd\[k\] returned a builtin_function_or_method, .*@component"),
    ],
)
def test_what_is_no_node_is_refused_with_path_type_and_remedy(node: Any, message: str) -> None:
    @component
    def Odd() -> Any:
        return ["fine", node]

    with pytest.raises(RenderError, match=message) as caught:
        Root([Odd(key="k")]).flush()
    assert caught.value.path == "0/Odd[k]"


def test_a_coroutine_is_refused_and_closed() -> None:
    async def fetch() -> str:
        return "x"

    @component
    def Odd() -> Any:
        return fetch()

    with pytest.raises(RenderError, match=r"Odd returned a coroutine, .*use_data"):
        Root(Odd()).flush()


def test_a_component_that_is_not_called_is_refused() -> None:
    probe = Probe()
    with pytest.raises(RenderError, match=r"got Item itself; call it for an element: Item\(\)"):
        Root(Box(probe.Item)).flush()


def test_two_siblings_with_one_key_are_refused_with_both_elements() -> None:
    probe = Probe()
    twins = [probe.Item(name="a", key="k"), probe.Item(key="k")]
    for first in ([], [probe.Item(name="x")], [probe.Item(name="a", key="k")]):
        root = mounted(Box(*first))
        root.update(Box(*twins))
        with pytest.raises(
            RenderError, match=r"two children of Box have the key 'k': Item\(.*name=…\) and Item\("
        ) as caught:
            root.flush()
        assert caught.value.path == "Box"
        root.update(Box(probe.Item(name="ok")))
        assert shown(root) == "ok0"


def test_an_element_may_stand_in_several_places() -> None:
    probe = Probe()
    item = probe.Item(name="x")
    assert shown(mounted([item, item])) == "x0 x0"


def test_wrong_arguments_name_the_path() -> None:
    probe = Probe()
    with pytest.raises(
        RenderError, match=r"Item was called with other arguments than it takes: .*'colour'"
    ) as caught:
        Root(probe.Item(colour=1)).flush()
    assert caught.value.path == "Item"
    assert isinstance(caught.value.__cause__, TypeError)


def test_a_type_error_inside_a_body_is_told_as_such() -> None:
    @component
    def Odd() -> Any:
        return "a" + 1  # type: ignore[operator]

    with pytest.raises(RenderError, match="Odd raised TypeError: can only concatenate"):
        Root(Odd()).flush()


def test_a_hooks_pair_taken_for_its_value_is_told_how_to_unpack() -> None:
    @component
    def Compared() -> Any:
        count: Any = use_state(0)
        return "many" if count > 3 else "few"

    @component
    def Changed() -> Any:
        kept: Any = use_state([])
        kept.append("tea")

    @component
    def Shown() -> Any:
        return [use_state(0)]

    for odd in (Compared, Changed, Shown):
        with pytest.raises(RenderError, match=r"a value and its setter: value, set_value = use_…\(…\)"):
            Root(odd()).flush()


def test_an_error_leaves_the_tree_usable_and_is_tried_again() -> None:
    failing: list[int] = []
    probe = Probe()

    @component
    def Fragile(value: int) -> Any:
        count, _ = use_state(0)
        if failing:
            raise ValueError("broken")
        return f"value {value} {count}"

    def tree(value: int) -> Any:
        return [Fragile(value=value), probe.Item(name="x")]

    root = mounted(tree(1))
    failing.append(1)
    root.update(tree(2))
    with pytest.raises(RenderError, match=r"0/Fragile\.0 raised ValueError: broken") as caught:
        root.flush()
    assert caught.value.path == "0/Fragile.0"
    assert isinstance(caught.value.__cause__, ValueError)
    assert root.dirty
    with pytest.raises(RenderError):
        root.flush()
    failing.clear()
    assert shown(root) == "value 2 0 x0"


def test_a_first_mount_that_failed_can_be_flushed_again() -> None:
    failing = [1]
    log: list[str] = []

    @component
    def Fragile() -> Any:
        count, _ = use_state(5)
        use_effect(lambda: log.append("ran"), [])
        if failing:
            raise ValueError("broken")
        return f"fine {count}"

    root = Root(["head", Fragile()])
    with pytest.raises(RenderError):
        root.flush()
    failing.clear()
    assert shown(root) == "head fine 5"
    assert log == ["ran"]


def test_a_tree_that_never_settles_names_the_components() -> None:
    @component
    def Restless() -> Any:
        count, set_count = use_state(0)
        set_count(count + 1)
        return str(count)

    with pytest.raises(
        RenderError, match=r"did not settle in 25 rounds: state is set again and again by 0/Restless\[r\]"
    ):
        Root([Restless(key="r")]).flush()


def test_a_tree_that_settles_in_the_last_round_is_fine() -> None:
    @component
    def Slow() -> Any:
        count, set_count = use_state(0)
        if count < 24:
            set_count(count + 1)
        return str(count)

    assert shown(Root(Slow())) == "24"


def test_a_chain_of_ten_thousand_mounts_changes_previews_and_unmounts() -> None:
    probe = Probe()
    cleaned: list[int] = []

    @component
    def Link(left: int, word: str) -> Any:
        if left:
            return Link(left=left - 1, word=word)
        use_effect(lambda: lambda: cleaned.append(1), [])
        return [word, probe.Item(name="end")]

    root = mounted(Link(left=10_000, word="a"))
    assert shown(root) == "a end0"
    probe.setters["end"](1)
    assert shown(root) == "a end1"
    root.update(Link(left=10_000, word="b"))
    assert shown(root) == "b end1"
    compiled(root.preview(None, [all_fibers(root.fiber)[-1]]))
    root.unmount()
    assert cleaned == [1]


def test_keyed_elements_of_another_type_do_not_share_a_fiber() -> None:
    probe = Probe()
    root = mounted([probe.Item(name="a", key="k"), "x"])
    probe.setters["a"](1)
    root.update(["x", Box("b", key="k")])
    assert shown(root) == "x b"


def test_a_component_that_raises_is_named_with_the_line_of_its_own_code() -> None:
    def deeper() -> None:
        raise KeyError("price")

    @component
    def Broken() -> Any:
        deeper()
        return "never"

    line = Broken.function.__code__.co_firstlineno + 2
    with pytest.raises(RenderError, match=rf"Broken.0 raised KeyError: 'price' \(in line {line}\)$"):
        Root([Broken()]).flush()
