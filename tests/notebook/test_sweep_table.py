"""A sweep as it is laid out: rows, answers, sums, and what differs in the context."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from ipywidgets import Widget

from nbsession import (
    App,
    Knobs,
    Model,
    ModelError,
    Section,
    Session,
    System,
    Timeline,
    component,
    tool,
    use_knob,
)
from nbsession.knobs import KnobSpec
from nbsession.notebook.arguments import parse_command
from nbsession.notebook.sweep import table as sweep_table
from nbsession.notebook.sweep.differences import differences
from nbsession.notebook.sweep.pair import Pair
from nbsession.notebook.sweep.request import choices, read
from nbsession.notebook.sweep.view import SweepView
from nbsession.testing import ScriptedModel, call, pause

NASTY = "<script>alert(1)</script> ![x](http://evil.example/p.png) </details></td>"


@component
def Agent() -> Any:
    tone, _ = use_knob("tone", "friendly", options=["friendly", "terse", "formal", NASTY])
    depth, _ = use_knob("depth", 1, min=1, max=5)
    heat, _ = use_knob("heat", 0.0, min=0, max=1)
    use_knob("unused", False)
    return [
        Model("simulated", temperature=heat) if heat else None,
        System(f"You are {tone}.\nBe kind."),
        depth > 1 and Section(f"Go {depth} levels deep.", id="d", title="Depth"),
        depth > 1 and tone == "terse" and Section("Few words, deep thoughts.", id="both", title="Both"),
        Timeline(),
    ]


def session(*responses: Any, tools: Any = ()) -> Session:
    return App(Agent, model=ScriptedModel(*responses), tools=tools).session("s")


def html(sweep: Any) -> str:
    return sweep_table.bundle(sweep)["text/html"]


async def test_a_row_says_what_varied_and_what_came_of_it() -> None:
    @tool
    def look() -> str:
        """Look."""
        return "seen"

    sweep = await session("Hello.", [call("look")], "I saw.", tools=[look]).sweep(
        "Hi", tone=["friendly", "terse"], depth=[1], concurrency=1
    )
    grid = sweep_table.laid_out(sweep)
    assert grid.columns == ("tone",)
    assert grid.facts == ("2 rows", "depth = 1", "“Hi”")
    first, second = grid.lines
    assert (first.knobs, first.answer, first.calls) == (("friendly",), "Hello.", "")
    assert (second.knobs, second.answer, second.calls) == (("terse",), "I saw.", "look")
    assert second.tokens - first.tokens == second.delta < 0
    assert first.sources == (("simulated", "scripted", ""),)
    assert grid.total.startswith("3 model calls · ≈")
    assert grid.source == (("simulated", "scripted", ""),)
    assert "simulated: no language model" in html(sweep)


async def test_a_failed_row_shows_its_error_in_one_line_and_a_stopped_one_why() -> None:
    sweep = await session(ModelError("the line\nis dead"), *[[call("nothing")]] * 10).sweep(
        "Hi", tone=["friendly", "terse"], concurrency=1
    )
    first, second = sweep_table.laid_out(sweep).lines
    assert first.error == "ModelError: the line is dead"
    assert second.stopped.startswith("stopped: it reached the limit of 10 ticks")
    text = str(sweep_table.laid_out(sweep))
    assert "1 failed" in text
    assert "ModelError: the line is dead" in text


async def test_an_unknown_price_is_a_dash_and_never_nothing() -> None:
    class Unpriced(ScriptedModel):
        @property
        def name(self) -> str:
            return "somebody:unpriced"

    sweep = await App(Agent, model=Unpriced("a", "b")).session().sweep("Hi", tone=["friendly", "terse"])
    grid = sweep_table.laid_out(sweep)
    assert [line.cost for line in grid.lines] == [None, None]
    assert "cost –" in grid.total
    assert "$" not in html(sweep).partition("</style><div")[2]


async def test_what_users_and_models_wrote_is_never_live() -> None:
    said = f"{NASTY}\n\n" * 3
    sweep = await session(said, ModelError(NASTY)).sweep(NASTY, tone=["terse", NASTY], concurrency=1)
    shown = html(sweep)
    assert shown.count("&lt;script") >= 4
    for tag in ("<script", "<img", "src=", "</details></td> "):
        assert tag not in shown


async def test_answers_that_are_long_are_folded_and_cut_and_many_rows_stay_light() -> None:
    long = "**word** " * 2_000
    sweep = await session(*[long] * 200).sweep("Hi", repeat=200)
    shown = html(sweep)
    assert len(shown) < 250_000
    assert shown.count("<tr data") == 0
    assert shown.count("<details") == sweep_table.MOST_ROWS
    assert "150 more rows not shown" in shown
    assert "more characters: sweep[49].text" in shown
    assert "200 model calls" in shown
    one = await session(long).sweep("Hi", tone=["terse"])
    assert "<strong>word</strong>" in html(one)
    assert len(sweep_table.laid_out(one).lines[0].answer) == sweep_table.LONGEST


async def test_many_knobs_stand_together_in_one_column() -> None:
    @component
    def Many() -> Any:
        values = [use_knob(f"k{n}", 0)[0] for n in range(6)]
        return [System(str(values)), Timeline()]

    sweep = (
        App(Many, model=ScriptedModel())
        .session()
        .sweep("Hi", {f"k{n}": [0, 1] for n in range(6)}, context_only=True)
    )
    grid = sweep_table.laid_out(sweep)
    assert grid.columns == ("knobs",)
    assert grid.lines[1].knobs == ("k0 = 0, k1 = 0, k2 = 0, k3 = 0, k4 = 0, k5 = 1",)


async def test_each_difference_of_the_context_stands_once_with_the_values_it_comes_with() -> None:
    sweep = session().sweep(
        "Hi", tone=["friendly", "terse", "formal"], depth=[1, 3], heat=[0.0, 0.5], context_only=True
    )
    told = [(row.change, row.title, row.note) for row in differences(sweep).rows]
    assert sorted(told) == [
        ("added", "Both", "tone = terse, depth = 3"),
        ("added", "Depth", "depth = 3"),
        ("changed", "system", "tone = formal"),
        ("changed", "system", "tone = terse"),
        ("changed", "temperature", "heat = 0.5"),
    ]


async def test_what_several_knobs_make_of_a_part_together_is_counted() -> None:
    @component
    def Mixed() -> Any:
        one, _ = use_knob("one", 1)
        two, _ = use_knob("two", 1)
        return [System(f"{one} and {two}"), Knobs(), Timeline()]

    sweep = App(Mixed, model=ScriptedModel()).session().sweep("Hi", one=[1, 2], two=[1, 2], context_only=True)
    grid = sweep_table.laid_out(sweep)
    notes = [row.note for row in grid.differences.rows if row.title == "system"]
    assert notes == ["two = 2", "one = 2"]
    assert grid.differences.left == 2
    assert grid.more.startswith("… and 2 more")


async def test_of_a_prompt_of_many_pages_only_what_differs_is_shown() -> None:
    @component
    def Long() -> Any:
        tone, _ = use_knob("tone", "friendly", options=["friendly", "terse"])
        pages = "All of this is the same. " * 2_000
        more = Section(pages, id="more") if tone == "terse" else None
        return [System(f"{pages}You are {tone}. {pages}"), more, Timeline()]

    app = App(Long, model=ScriptedModel())
    sweep = app.session().sweep("Hi", tone=["friendly", "terse"], context_only=True)
    assert len(html(sweep)) < 20_000
    (system,) = [row for row in differences(sweep).rows if row.change == "changed"]
    assert [["".join(piece.text for piece in line.pieces if piece.changed) for line in system.lines]] == [
        ["friendly", "terse"]
    ]
    assert all(line.text.startswith("…") and line.text.endswith("…") for line in system.lines)
    assert "more characters)" in html(sweep)


async def test_knobs_that_change_nothing_in_the_context_are_named_as_such() -> None:
    sweep = session().sweep("Hi", unused=[False, True], context_only=True)
    assert sweep_table.laid_out(sweep).compared == (
        "The context is the same in all rows; these knobs change nothing in it"
    )


async def test_a_running_sweep_shows_how_far_it_is() -> None:
    held = pause()
    sweep = session("one", ["t", held], "three").sweep("Hi", repeat=3, concurrency=1)
    await held.reached
    view = SweepView(sweep)
    page = view.html()
    assert "1 of 3 answered, 1 under way" in page
    assert '<progress max=3 value=1 aria-label="rows answered">' in page
    assert "██████░░░░░░░░░░░░░░ 1 of 3 answered, 1 under way" in view.static()["text/plain"]
    assert "running…" in page
    assert "waiting" in page
    assert "data-do=stop" in page
    held.release()
    await sweep
    puts = {slot: value for _, slot, value in view.changes()}
    assert set(puts) == {"r1", "r2", "state", "total"}
    assert "three" in puts["r2"]
    assert "data-do=stop" not in view.static()["text/html"]
    assert "3 model calls" in view.static()["text/plain"]


async def test_plain_text_is_aligned() -> None:
    sweep = await session(*["ok"] * 4).sweep("Hi", tone=["friendly", "terse"], repeat=2)
    lines = str(sweep_table.laid_out(sweep)).splitlines()
    assert lines[1].split() == ["#", "tone", "run", "context", "in", "out", "cost", "time", "answer"]
    assert len({line.rindex("ok") for line in lines[2:6]}) == 1
    assert lines[6].startswith("simulated: scripted · 4 model calls")


async def test_where_rows_were_answered_by_different_sources_each_says_which() -> None:
    @component
    def Choosing() -> Any:
        model, _ = use_knob("model", "simulated", options=["simulated", "scripted"])
        return [Model("simulated") if model == "simulated" else None, System("Hi."), Timeline()]

    app = App(Choosing, model=ScriptedModel("ok"))
    sweep = app.session().sweep("Hello", model=["simulated", "scripted"], concurrency=1)
    view = SweepView(sweep)
    slots = [[slot for _, slot, _ in view.changes()] async for _ in sweep]
    assert slots == [["r0", "r1", "state", "total"], ["table", "state", "total"]]
    grid = sweep_table.laid_out(sweep)
    assert grid.sources
    assert not grid.source
    assert [line.sources[0][:2] for line in grid.lines] == [
        ("simulated", "simulated"),
        ("simulated", "scripted"),
    ]
    assert html(sweep).count("simulated: rules, no language model") == 1
    assert "simulated: scripted" in str(grid)


# What stands on the line

SPECS = {
    spec.name: spec
    for spec in (
        KnobSpec.of("tone", "friendly", options=["friendly", "terse", "very calm"]),
        KnobSpec.of("depth", 1, min=1, max=5),
        KnobSpec.of("heat", 0.5, min=0, max=1),
        KnobSpec.of("on", True),
        KnobSpec.of("text", "x"),
        KnobSpec.of("mixed", None, options=[None, 1, 0.5, True]),
        KnobSpec.of("level", 1, options={"low": 1, "high": 2}),
    )
}


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("tone=friendly,terse", {"tone": ["friendly", "terse"]}),
        ("tone='very calm',terse depth=1,3", {"tone": ["very calm", "terse"], "depth": [1, 3]}),
        ("depth=1, 3", {"depth": [1, 3]}),
        ("heat=0,.5,1", {"heat": [0.0, 0.5, 1.0]}),
        ("on=true,no", {"on": [True, False]}),
        ("""text="a, b",'c "d"',e,"" """, {"text": ["a, b", 'c "d"', "e", ""]}),
        ("mixed=null,0.50,true,1", {"mixed": [None, 0.5, True, 1]}),
        ("level=low,2", {"level": [1, 2]}),
        ("text=1", {"text": ["1"]}),
    ],
)
def test_values_are_read_by_the_knobs_own_spec(line: str, values: dict[str, Any]) -> None:
    found = read(parse_command(f"sweep {line}").words, SPECS)
    assert found == values
    assert [list(map(type, one)) for one in found.values()] == [
        list(map(type, one)) for one in values.values()
    ]


def test_what_a_knob_can_be_completed_with_can_be_read_again() -> None:
    for spec in SPECS.values():
        words = choices(spec)
        if words:
            line = parse_command(f"sweep {spec.name}={','.join(words)}")
            assert read(line.words, SPECS)[spec.name] == list(spec.options or (True, False))


async def test_a_cell_has_a_bar_as_wide_as_its_share_of_the_most() -> None:
    sweep = await session("word " * 40, "word " * 10).sweep("Hi", tone=["friendly", "terse"], concurrency=1)
    grid = sweep_table.laid_out(sweep)
    most = max(line.usage.output_tokens for line in grid.lines if line.usage is not None)
    assert grid.most.output == most
    widths = [grid.most.share("output", line.usage.output_tokens) for line in grid.lines if line.usage]
    assert widths[0] == 100
    assert widths[1] in range(20, 31)
    assert f'style="--w:{widths[1]}%"' in html(sweep)
    assert "--w" not in html(await session("one").sweep("Hi", tone=["terse"])).partition("</style><div")[2]


async def test_two_rows_that_are_chosen_are_compared_by_context_and_answer() -> None:
    sweep = await session("It is far.\nGo by train.", "It is near.\nGo by train.", "It is near.").sweep(
        "Hi", tone=["friendly", "terse"], depth=[1, 3], concurrency=1
    )
    pair = Pair(sweep)
    assert "Choose two rows" in pair.html
    assert pair.one.options[2] == ("2: tone = terse, depth = 1", 2)
    pair.other.value = 2
    seen = words(pair.html)
    assert "− You are friendly ." in seen
    assert "+ You are terse ." in seen
    pair.one.value = 1
    pair.other.value = 0
    seen = words(pair.html)
    assert "− It is near ." in seen
    assert "+ It is far ." in seen
    assert "Go 3 levels deep." in seen
    pair.one.value = 2
    pair.other.value = 1
    assert "differs" in words(pair.html)
    Widget.close_all()


async def test_rows_with_nasty_values_and_answers_are_compared_without_coming_alive() -> None:
    sweep = await session(NASTY, f"{NASTY}!").sweep(NASTY, tone=["terse", NASTY], concurrency=1)
    pair = Pair(sweep)
    pair.other.value = 1
    for tag in ("<script", "<img", "src=", "</details></td>"):
        assert tag not in pair.html
    Widget.close_all()


def words(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


async def test_repeated_combinations_have_a_verdict_below_and_single_ones_none() -> None:
    sweep = await session(*["ok"] * 4, *["a longer answer"] * 4).sweep(
        "Hi", tone=["friendly", "terse"], repeat=4, concurrency=1
    )
    shown = sweep_table.bundle(sweep)
    said = "Length of answers, tone='terse' against tone='friendly': a real difference (+13.0, 95% interval"
    assert said in shown["text/plain"]
    assert "a real difference (+13.0" in shown["text/html"]
    single = await session(*["ok"] * 2).sweep("Hi", tone=["friendly", "terse"])
    assert "Length of answers" not in sweep_table.bundle(single)["text/plain"]
