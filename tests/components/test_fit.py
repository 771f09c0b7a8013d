"""``Fit`` and what goes first in it: ``Priority``, ``First``, ``Whole``, ``Cut``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nbsession import (
    CompileError,
    Cut,
    First,
    Fit,
    Priority,
    RenderError,
    Section,
    System,
    User,
    Whole,
    component,
    tool,
)
from nbsession.testing import render

if TYPE_CHECKING:
    from nbsession import CompiledContext


NO_NUMBER: Any = "many"
HEADS: Any = "heads"


def words(tokens: int, letter: str = "x") -> str:
    """Return a text of so many estimated tokens, in lines of ten."""
    return "\n".join([letter * 39] * (tokens // 10)) + "\n"


def doc(name: str, tokens: int = 100) -> Any:
    return Section(words(tokens, name), id=name)


def shown(context: CompiledContext) -> str:
    """Return the first letters of the parts that are sent."""
    return "".join(part.text[0] for part in context.parts if part.kind != "tool")


def left(context: CompiledContext) -> list[tuple[str, float | None, int]]:
    return [(item.path, item.priority, item.tokens) for item in context.withheld if item.reason == "budget"]


def test_what_has_the_lowest_priority_goes_first() -> None:
    context = render(
        Fit(Priority(1, doc("a")), Priority(-1, doc("b")), Priority(2, doc("c")), max_tokens=200)
    ).context
    assert shown(context) == "ac"
    assert left(context) == [("Fit/Priority.1/Section[b]", -1, 100)]
    assert context.tokens == 200


def test_where_all_fits_nothing_goes_and_nothing_is_withheld() -> None:
    context = render(Fit(Priority(1, doc("a")), Priority(-1, doc("b")), max_tokens=200)).context
    assert shown(context) == "ab"
    assert not context.withheld


def test_among_equals_the_earlier_goes_first() -> None:
    assert shown(render(Fit(Priority(1, doc("a"), doc("b"), doc("c")), max_tokens=250)).context) == "bc"


def test_priorities_inside_one_another_add_up() -> None:
    tree = Fit(Priority(1, doc("a"), Priority(-2, doc("b"))), Priority(0, doc("c")), max_tokens=200)
    assert shown(render(tree).context) == "ac"


def test_nothing_of_lower_priority_stays_where_something_higher_went() -> None:
    tree = Fit(Priority(2, doc("a")), Priority(1, doc("b", 300)), Priority(0, doc("c")), max_tokens=300)
    assert shown(render(tree).context) == "a"


def test_what_would_have_room_and_went_says_behind_what() -> None:
    tree = Fit(Priority(2, doc("a")), Priority(1, doc("b", 300)), Priority(0, doc("c")), max_tokens=300)
    large, small = render(tree).context.withheld
    assert (large.behind, small.behind) == ("", "Fit/Priority.1/Section[b]")
    assert str(small) == (
        "Fit/Priority.2/Section[c]: budget (priority 0, ≈100 tokens; "
        "nothing below Fit/Priority.1/Section[b] stays, which has no room)"
    )


def test_what_has_no_room_of_its_own_is_behind_nothing() -> None:
    tree = Fit(Priority(2, doc("a")), Priority(1, doc("b")), Priority(0, doc("c")), max_tokens=199)
    assert [item.behind for item in render(tree).context.withheld] == ["", ""]


def test_a_whole_that_took_others_along_is_named_by_its_own_place() -> None:
    tree = Fit(Priority(1, Whole(doc("a"), doc("b"))), Priority(0, doc("c")), max_tokens=150)
    large, small = render(tree).context.withheld
    assert small.behind == large.path == "Fit/Priority.0/Whole.0"


def test_what_has_no_priority_stays() -> None:
    tree = Fit(System(words(100, "s")), Priority(9, doc("a")), doc("b"), max_tokens=200)
    assert shown(render(tree).context) == "sb"


def test_without_a_fit_around_them_priorities_change_nothing() -> None:
    tree = [Priority(-5, doc("a")), Whole(doc("b")), First(doc("c"), "d"), Cut(doc("e"))]
    assert shown(render(tree).context) == "abce"


def test_without_a_known_window_a_fit_without_a_limit_keeps_everything() -> None:
    assert shown(render(Fit(Priority(-5, doc("a", 100_000)))).context) == "a"


def test_first_takes_the_first_alternative_that_there_is_room_for() -> None:
    def chosen(room: int) -> str:
        ways = First(doc("f", 300), doc("s", 100), words(10, "t"))
        return shown(render(Fit(Priority(1, doc("a")), Priority(0, ways), max_tokens=room)).context)

    assert [chosen(room) for room in (400, 399, 200, 199, 110, 109)] == ["af", "as", "as", "at", "at", "a"]


def test_first_leaves_to_lower_priorities_what_it_does_not_take() -> None:
    tree = Fit(Priority(2, First(doc("f", 300), doc("s", 100))), Priority(1, doc("a")), max_tokens=250)
    context = render(tree).context
    assert shown(context) == "sa"
    assert left(context) == [("Fit/Priority.0/First.0", 2, 200)]


def test_alternatives_may_have_one_id_and_several_parts() -> None:
    tree = Fit(
        First([Section(words(200), id="a"), doc("b")], Section("short", id="a"), None, ""), max_tokens=100
    )
    assert render(tree).context.system.text == "short"


def test_whole_goes_in_one_piece() -> None:
    def kept(room: int) -> str:
        return shown(render(Fit(Whole(doc("a"), doc("b")), Priority(1, doc("c")), max_tokens=room)).context)

    assert [kept(300), kept(299)] == ["abc", "c"]


def test_what_a_whole_held_is_withheld_as_one() -> None:
    context = render(Fit(Whole(doc("a"), doc("b")), max_tokens=150)).context
    assert left(context) == [("Fit/Whole.0", 0, 200)]


@pytest.mark.parametrize(
    ("keep", "lines"),
    [("head", ["0", "1", "2", "…"]), ("tail", ["…", "7", "8", "9"]), ("both", ["0", "1", "…", "9"])],
)
def test_a_cut_ends_at_a_line_and_says_how_much_is_missing(keep: Any, lines: list[str]) -> None:
    log = "".join(f"{n}{'.' * 38}\n" for n in range(10))
    context = render(Fit(Cut(log, keep=keep), max_tokens=45)).context
    text = context.system.text
    assert [line.strip("[")[0] if line[0] != "[" else "…" for line in text.splitlines()] == lines
    assert "[… 7 lines left out, ≈70 tokens]" in text
    assert context.tokens <= 45
    assert context.withheld[0].text.count("\n") == 7


def test_a_cut_of_all_that_fits_is_the_text_itself() -> None:
    context = render(Fit(Cut(words(100)), max_tokens=100)).context
    assert context.system.text == words(100)
    assert not context.withheld


def test_a_section_that_is_cut_keeps_its_heading() -> None:
    tree = Fit(Cut(Section(words(100), title="Log", id="log"), keep="tail"), max_tokens=50)
    part = render(tree).context.system[0]
    assert part.text.startswith("## Log\n\n[… ")
    assert (part.title, part.key, part.body) == ("Log", "log", part.text.removeprefix("## Log\n\n"))


def test_a_message_of_the_tree_may_be_cut() -> None:
    context = render(Fit(Cut(User(words(100))), max_tokens=50)).context
    assert context.messages[0].text.endswith("tokens]")
    assert context.tokens <= 50


def test_a_cut_without_room_for_a_line_goes() -> None:
    context = render(Fit(System("stay"), Cut(words(100)), max_tokens=12)).context
    assert context.system.text == "stay"
    assert left(context) == [("Fit/Cut.1", 0, 100)]


def test_a_fit_inside_another_has_its_own_budget_and_counts_for_the_outer_one() -> None:
    inner = Fit(Priority(1, doc("a"), doc("b"), doc("c")), max_tokens=200)

    def kept(room: int) -> str:
        return shown(render(Fit(Priority(0, doc("d")), inner, max_tokens=room)).context)

    assert [kept(room) for room in (400, 300, 299, 199)] == ["dbc", "dbc", "bc", "c"]


def test_two_fits_beside_one_another_do_not_share() -> None:
    tree = [Fit(Priority(1, doc("a"), doc("b")), max_tokens=100), Fit(Priority(1, doc("c")), max_tokens=100)]
    assert shown(render(tree).context) == "bc"


def test_a_tool_inside_counts_and_is_always_sent() -> None:
    @tool
    def search(query: str) -> str:
        """Search."""
        return query

    cost = render(search).context.tokens
    context = render(
        Fit(Priority(-1, search, doc("a")), Priority(1, doc("b")), max_tokens=100 + cost)
    ).context
    assert [spec.name for spec in context.tools] == ["search"]
    assert shown(context) == "b"


def test_what_has_to_stay_and_is_too_much_is_named_with_what_to_do() -> None:
    tree = Fit(System(words(300)), Priority(1, doc("a")), doc("b", 200), max_tokens=400)
    with pytest.raises(CompileError) as caught:
        _ = render(tree).context
    said = str(caught.value)
    assert said.startswith("the Fit at Fit has room for ≈400 tokens, and what has to stay there takes ≈500: ")
    assert "system · Fit/System.0 (≈300 tokens), b · Fit/Section[b] (≈200 tokens)" in said
    assert "Priority(...)" in said
    assert caught.value.path == "Fit"


def test_moving_the_limit_moves_what_stays_and_nothing_else() -> None:
    @component
    def Documents() -> Any:
        return [Priority(n, doc(name)) for n, name in enumerate("abcdef")]

    tree = render(Fit(Documents(), max_tokens=300))
    assert shown(tree.context) == "def"
    assert shown(tree.rerender(Fit(Documents(), max_tokens=500)).context) == "bcdef"


def test_equal_trees_make_equal_contexts() -> None:
    def made() -> CompiledContext:
        return render(Fit(Priority(1, doc("a"), doc("b")), Cut(words(100)), max_tokens=250)).context

    assert made().hash == made().hash


INSIDE: dict[str, Any] = {
    "Fit": lambda: Fit("text", max_tokens=9),
    "Priority": lambda: Priority(1, "text"),
    "First": lambda: First("text", "less"),
    "Cut": lambda: Cut("text"),
    "Whole": lambda: Whole("text"),
}


@pytest.mark.parametrize("name", INSIDE)
@pytest.mark.parametrize("host", [Whole, First, Cut])
@pytest.mark.parametrize("around", [lambda node: node, Fit])
def test_a_rule_inside_of_another_has_its_effect_or_is_refused_with_its_place_and_a_remedy(
    name: str, host: Any, around: Any
) -> None:
    tree = render(around(host([INSIDE[name](), "beside"])))
    if name == "Whole" and host is not Cut:
        assert tree.context.system.text == "text\n\nbeside"
        return
    with pytest.raises(
        CompileError, match=rf"a {name} stands inside the {host.__name__} at .*; put (it|the \w+) "
    ) as caught:
        _ = tree.context
    assert host.__name__ in caught.value.path


@component
def Bounded() -> Any:
    return Fit("text", max_tokens=9)


def test_a_budget_inside_of_an_alternative_is_refused_wherever_its_component_stands() -> None:
    with pytest.raises(CompileError, match="put the Fit around the Whole, or beside it") as caught:
        _ = render(Fit(First("long", Whole(Section("x"), Whole(Bounded()))), max_tokens=10)).context
    assert caught.value.path.endswith("Bounded.0/Fit.0")


@pytest.mark.parametrize("host", [System, User, Section])
def test_a_budget_inside_of_one_text_is_refused_with_its_place(host: Any) -> None:
    with pytest.raises(
        CompileError, match=r"a Cut stands inside \w+, which is one text; put the Cut around the"
    ):
        _ = render(host(Cut("text"))).context


@pytest.mark.parametrize("host", [System, User, Section])
def test_a_priority_inside_of_one_text_is_refused_with_its_place(host: Any) -> None:
    with pytest.raises(CompileError, match=r"a Priority stands inside \w+.*; put the Priority around the"):
        _ = render(host(Priority(1, "text"))).context


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Fit(max_tokens=0), "max_tokens"),
        (lambda: Fit(max_tokens=NO_NUMBER), "max_tokens"),
        (lambda: Fit(reserve=-1), "reserve"),
        (lambda: Priority(NO_NUMBER), "1,000,000,000 before its children, got 'many'"),
        (lambda: Priority(float("nan"), "text"), "got nan"),
        (lambda: Priority(10**400, "text"), "from -1,000,000,000 to 1,000,000,000 .* got 10000"),
        (lambda: Priority(10**5000, "text"), "got a whole number of 16,610 bits"),
        (lambda: Priority(-1e308, "text"), r"got -1e\+308"),
        (lambda: Cut("text", keep=HEADS), "did you mean 'head'"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Any, said: str) -> None:
    with pytest.raises(RenderError, match=said):
        make()
