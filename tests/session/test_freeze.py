"""Freezing knobs: every context beforehand, as plain data."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import (
    App,
    Fit,
    KnobError,
    Knobs,
    Priority,
    Section,
    SessionError,
    System,
    Timeline,
    component,
    use_knob,
)
from nbsession.export import panel_part
from nbsession.session import freeze
from nbsession.testing import ScriptedModel

if TYPE_CHECKING:
    from pathlib import Path

    from nbsession import Session


@component
def Guide() -> Any:
    tone, _ = use_knob("tone", "friendly", options={"warm": "friendly", "short": "terse"})
    depth, _ = use_knob("depth", 2, min=1, max=5)
    cite, _ = use_knob("cite", False)
    use_knob("name", "Ann")
    return [
        System(f"You are {tone}."),
        Section("\n".join(f"- rule {n}" for n in range(depth)), id="rules"),
        cite and Section("Cite.", id="cite"),
        Timeline(),
    ]


@pytest.fixture
def session() -> Session:
    made = App(Guide, model=ScriptedModel("Hello.")).session("guide")
    made.run("Hi")
    return made


def test_each_combination_has_the_context_that_a_preview_gives(session: Session) -> None:
    frozen = session.freeze(tone=["terse", "friendly"], depth=range(1, 6))
    assert len(frozen.combinations) == 10
    for combination in frozen.combinations:
        tone, depth = combination.values
        preview = session.preview(tone=tone, depth=depth)
        places = [at for first, last in combination.parts for at in range(first, last + 1)]
        texts = [frozen.texts[frozen.parts[at]["text"]] for at in places]
        assert texts == [part.text for part in preview.context.parts]
        assert combination.tokens == preview.context.tokens
        assert combination.kept == preview.diff.prefix_tokens_kept
        assert bool(combination.broken_by) == (preview.diff.prefix_broken_by is not None)
    assert frozen.at() == frozen.at(tone="friendly", depth=2)
    assert frozen.at(depth=4).values == ("friendly", 4)
    assert "- rule 3" in frozen.text(frozen.at(depth=4))


def test_what_a_budget_has_no_room_for_is_told_with_priority_and_tokens() -> None:
    @component
    def Roomy() -> Any:
        room, _ = use_knob("room", 300, options=[300, 60])
        return Fit(
            System("Be brief."),
            Priority(-2, Section("Prefer trains. " * 20, id="rules")),
            Timeline(),
            max_tokens=room,
        )

    made = App(Roomy, model=ScriptedModel("Hello.")).session()
    made.run("Hi")
    frozen = made.freeze()
    assert frozen.at(room=300).withheld == ()
    (item,) = frozen.at(room=60).withheld
    assert (item["path"].endswith("Section[rules]"), item["priority"]) == (True, -2)
    assert item["tokens"] == next(part["tokens"] for part in frozen.parts if part["path"] == item["path"])
    assert f"── withheld for want of room: {item['path']} (priority -2, ≈{item['tokens']} tokens)" in (
        frozen.text(frozen.at(room=60))
    )
    made.knobs["room"] = 60
    assert f"Withheld for want of room: {item['path']} (priority -2" in panel_part(made.freeze().to_dict())


@pytest.mark.parametrize("pair", [(1, True), (0, False), (True, 1), (False, 0)])
def test_a_number_and_a_truth_value_are_two_choices(pair: tuple[Any, Any]) -> None:
    @component
    def Mixed() -> Any:
        value, _ = use_knob("value", pair[0], options={"one": pair[0], "other": pair[1]})
        return [System(f"It is {value!r}."), Timeline()]

    made = App(Mixed, model=ScriptedModel("Hello.", "Again.")).session()
    made.run("Hi")
    frozen = made.freeze()
    for value in pair:
        assert f"It is {value!r}." in frozen.text(frozen.at(value=value))
    assert [list(knob.labels) for knob in frozen.knobs] == [["one", "other"]]
    changed = made.preview(value=pair[1]).knobs
    assert list(map(repr, changed["value"])) == list(map(repr, pair))
    made.knobs["value"] = pair[1]
    assert frozen.current == 0
    assert made.freeze().current == 1
    made.run("Now?")
    assert [cause.name for cause in made.ticks[1].causes if cause.kind == "knob"] == ["value"]


def test_nothing_changes_and_nothing_is_sent(session: Session) -> None:
    before = session.compile()
    session.freeze()
    assert session.compile() == before
    assert session.knobs.values() == {"tone": "friendly", "depth": 2, "cite": False, "name": "Ann"}
    assert len(session.ticks) == 1


def test_without_values_it_takes_choices_switches_and_bounded_numbers(session: Session) -> None:
    knobs = session.freeze().knobs
    assert [(knob.name, knob.values) for knob in knobs] == [
        ("tone", ("friendly", "terse")),
        ("depth", (1, 2, 3, 4, 5)),
        ("cite", (False, True)),
    ]
    assert knobs[0].labels == ("warm", "short")


def test_the_values_as_last_sent_are_compared_with_even_where_they_are_not_frozen(session: Session) -> None:
    session.knobs["depth"] = 5
    frozen = session.freeze(depth=[4, 5])
    assert frozen.sent.values == (2,)
    assert frozen.sent.tokens == session.preview(depth=2).context.tokens
    assert frozen.current == 1
    assert frozen.at().broken_by


def test_each_text_is_kept_once_and_all_of_it_is_json(session: Session) -> None:
    frozen = session.freeze()
    texts = list(frozen.texts.values())
    assert len(texts) == len(set(texts))
    assert len(texts) == 2 + 5 + 1 + 2  # tones, depths, the citation, two messages
    assert json.loads(json.dumps(frozen.to_dict()))["texts"] == frozen.texts


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"ton": ["terse"]}, "no knob is named 'ton'; did you mean 'tone'"),
        ({"tone": "terse"}, "give the values of knob 'tone' as a list, got 'terse'"),
        ({"depth": 3}, "give the values of knob 'depth' as a list, got 3"),
        ({"depth": []}, "give the values of knob 'depth' as a list"),
        ({"depth": [2, 2.0]}, "knob 'depth' has the value 2 twice"),
        ({"depth": [9]}, "knob 'depth' must be between 1 and 5, got 9"),
    ],
)
def test_values_that_do_not_fit_are_refused(session: Session, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(KnobError, match=message):
        session.freeze(asked)


def test_too_many_combinations_say_how_many_and_what_to_leave_out() -> None:
    @component
    def Many() -> Any:
        for name in "abc":
            use_knob(name, 1, min=1, max=11 if name == "b" else 10)
        return Timeline()

    session = App(Many).session()
    with pytest.raises(
        SessionError, match=r"1,100 combinations \(a 10 × b 11 × c 10\), and at most 1,000.*leave out b"
    ):
        session.freeze()
    assert len(session.freeze(a=range(1, 11), c=range(1, 11)).combinations) == 100


def test_too_many_bytes_say_after_how_many_and_what_to_leave_out(monkeypatch: pytest.MonkeyPatch) -> None:
    @component
    def Big() -> Any:
        size, _ = use_knob("size", 1, min=1, max=9)
        return [System(f"{size}" * 1_000), Timeline()]

    monkeypatch.setattr(freeze, "MOST_BYTES", 5_000)
    with pytest.raises(
        SessionError, match=r"over 5,000 bytes: it has 5,\d+ after 5 of 9 combinations; leave out size"
    ):
        App(Big).session().freeze()


def test_a_session_without_knobs_to_count_says_what_to_do() -> None:
    @component
    def Plain() -> Any:
        use_knob("name", "Ann")
        return [Knobs(), Timeline()]

    with pytest.raises(SessionError, match="no knob here has values that can be counted; name some"):
        App(Plain).session().freeze()


def test_saving_writes_over_nothing_and_needs_a_folder_and_an_ending(
    session: Session, tmp_path: Path
) -> None:
    frozen = session.freeze(depth=[1, 2])
    page = tmp_path / "panel.html"
    page.write_text("mine")
    with pytest.raises(SessionError, match=r"panel.html' is there already; give another name, or force=True"):
        frozen.save(page)
    with pytest.raises(SessionError, match="there is no folder"):
        frozen.save(tmp_path / "none" / "panel.html")
    with pytest.raises(SessionError, match=r"ends with '.txt'.*one of .html, .mjs"):
        frozen.save(tmp_path / "panel.txt")
    assert page.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["panel.html"]
    frozen.save(page, force=True)
    assert "default-src &#39;none&#39;; script-src &#39;sha256-" in page.read_text()


def test_a_page_and_a_module_name_nothing_outside(session: Session, tmp_path: Path) -> None:
    frozen = session.freeze()
    for name in ("panel.html", "panel.mjs"):
        frozen.save(tmp_path / name)
        text = (tmp_path / name).read_text("utf-8")
        assert "http" not in text.replace('http-equiv="Content-Security-Policy"', "")
        assert "import " not in text.replace("important", "")
        assert "eval(" not in text
    assert "export default" in (tmp_path / "panel.mjs").read_text("utf-8")
