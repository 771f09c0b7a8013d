from __future__ import annotations

from nbsession.content import Entry, Image, Text, ToolSpec
from nbsession.context import CompiledContext, Part, Withheld, entry_part
from nbsession.context.part import tool_part
from nbsession.notebook.view.cards import Row, card, changes
from nbsession.notebook.view.difference import compare
from nbsession.notebook.view.ledger import Ledger

LONG = "This prompt is long enough that nobody wants to read it twice in one notebook. " * 5
ADD_NOTE = ToolSpec(
    "add_note", "Keep a note.", {"type": "object", "properties": {"note": {"type": "string"}}}
)


def system(text: str, path: str = "App/System") -> Part:
    return Part("system", path, text)


def section(text: str, id_: str = "notes") -> Part:
    return Part("section", "App/Section", f"## Notes\n\n{text}", key=id_, title="Notes", body=text)


def said(number: int, text: str) -> Part:
    entry = Entry(f"e{number}", None, "user" if number % 2 == 0 else "assistant", (Text(text),))
    return entry_part(entry, "App/Timeline")


def compiled(
    *parts: Part, flow: tuple[Part, ...] = (), withheld: tuple[Withheld, ...] = ()
) -> CompiledContext:
    return CompiledContext(
        list(parts), list(flow), [tool_part(ADD_NOTE, "App")], specs=[ADD_NOTE], withheld=withheld
    )


def rows(
    context: CompiledContext, older: CompiledContext | None = None, ledger: Ledger | None = None
) -> list[Row]:
    return [
        row for group in card(context, older, ledger=ledger, tick=1, cell="a").groups for row in group.rows
    ]


def test_groups_stand_in_the_order_in_which_the_model_reads_them() -> None:
    flow = (said(0, "Hello"), said(1, "Hi"), section("It is Tuesday.", "today"))
    shown = card(
        compiled(system("Be brief."), section("- tea"), system("Be kind.", "App/System.2"), flow=flow)
    )
    assert [group.title for group in shown.groups] == [
        "System",
        "Sections",
        "System",
        "Tools",
        "Messages",
        "After the conversation",
    ]
    assert shown.tokens == sum(group.tokens for group in shown.groups)


def test_a_first_context_marks_nothing() -> None:
    shown = card(compiled(system("Be brief."), flow=(said(0, "Hello"),)))
    assert shown.summary == ""
    assert {row.change for group in shown.groups for row in group.rows} == {""}


def test_each_kind_of_change_is_marked_by_a_word_and_a_sign() -> None:
    older = compiled(system("You are friendly."), section("- tea"), section("gone", "old"))
    newer = compiled(system("You are terse."), section("- tea"), section("new", "fresh"))
    marks = {(row.title, row.change, row.mark) for row in rows(newer, older) if row.change}
    assert marks == {("system", "changed", "~"), ("Notes", "added", "+"), ("Notes", "removed", "−")}
    assert card(newer, older).summary == "+1 added · ~1 changed · −1 removed"


def test_a_moved_section_is_not_said_to_be_removed() -> None:
    one, two = section("- tea", "one"), section("- milk", "two")
    shown = rows(compiled(two, one), compiled(one, two))
    assert sorted(row.change for row in shown) == ["", "", "moved"]


def test_a_changed_part_shows_the_lines_that_changed_and_the_words_in_them() -> None:
    old, new = compiled(system("You are friendly.\nBe brief.")), compiled(system("You are terse.\nBe brief."))
    (changed,) = changes(new.diff(old))
    assert [(line.sign, line.text) for line in changed.lines] == [
        ("−", "You are friendly."),
        ("+", "You are terse."),
        (" ", "Be brief."),
    ]
    assert [piece.text for piece in changed.lines[1].pieces if piece.changed] == ["terse"]
    assert changed.delta == new.tokens - old.tokens


def test_a_text_that_stands_in_the_notebook_is_not_written_again() -> None:
    ledger = Ledger()
    context = compiled(system(LONG))
    assert rows(context, ledger=ledger)[0].text == LONG
    again = rows(context, context, ledger)[0]
    assert again.text is None
    assert again.note == "shown at tick 1"


def test_running_its_cell_again_writes_a_text_again() -> None:
    ledger = Ledger()
    rows(compiled(system(LONG)), ledger=ledger)
    ledger.forget("another cell")
    assert rows(compiled(system(LONG)), ledger=ledger)[0].text is None
    ledger.forget("a")
    assert rows(compiled(system(LONG)), ledger=ledger)[0].text == LONG


def test_earlier_messages_become_one_line() -> None:
    ledger = Ledger()
    flow = tuple(said(n, f"Message {n}") for n in range(38))
    before = compiled(system("Be brief."), flow=flow)
    rows(before, ledger=ledger)
    now = compiled(system("Be brief."), flow=(*flow, said(38, "And now?")))
    shown = next(
        group for group in card(now, before, ledger=ledger, tick=2).groups if group.title == "Messages"
    ).rows
    assert [row.title for row in shown] == ["38 earlier messages", "user"]
    assert shown[0].note == "unchanged since tick 1"
    assert shown[0].tokens == sum(part.tokens for part in flow)
    assert shown[1].change == "added"


def test_a_message_that_changed_breaks_the_run_of_earlier_ones() -> None:
    ledger = Ledger()
    flow = [said(n, f"Message {n}") for n in range(6)]
    before = compiled(flow=tuple(flow))
    rows(before, ledger=ledger)
    flow[2] = said(2, "Rewritten")
    shown = [row for row in rows(compiled(flow=tuple(flow)), before, ledger) if row.title != "add_note"]
    assert [row.title for row in shown] == ["2 earlier messages", "user", "3 earlier messages"]
    assert [line.text for line in shown[1].lines] == ["Message 2", "Rewritten"]


def test_what_was_withheld_is_listed_with_its_reason() -> None:
    shown = card(compiled(withheld=(Withheld("App/Section[private]", "user audience", "For you only", 3),)))
    (row,) = shown.withheld
    assert (row.title, row.note, row.text, row.tokens) == (
        "App/Section[private]",
        "user audience",
        "For you only",
        3,
    )


def test_what_a_timeline_left_out_is_counted_under_the_component_that_the_author_wrote() -> None:
    left_out = (
        Withheld("App/Timeline.4/Conversation.0", "policy", "6 entries, en_a to en_b", 72),
        Withheld("Timeline/Conversation.0", "compacted", "1 entry, en_c", 9),
        Withheld("App/Collapsed.2/Folded.0", "collapsed", "Be kind, and\nbe brief.", 5),
        Withheld("App/Conversation.0", "user audience", "An author's own", 5),
    )
    assert [(row.title, row.text, row.snippet) for row in card(compiled(withheld=left_out)).withheld] == [
        ("App/Timeline.4", "6 entries", "6 entries"),
        ("Timeline", "1 entry", "1 entry"),
        ("App/Collapsed.2", "Be kind, and\nbe brief.", "Be kind, and"),
        ("App/Conversation.0", "An author's own", "An author's own"),
    ]


def test_pictures_are_embedded_by_kind_and_never_by_address() -> None:
    blocks = (
        Image("image/png", b"\x89PNG"),
        Image("image/svg+xml", b"<svg onload=x>"),
        Image("image/png", url="https://evil.example/x.png"),
    )
    part = entry_part(Entry("e", None, "user", blocks), "App/Timeline")
    shown = [row for row in rows(compiled(flow=(part,))) if row.images]
    assert [image.split(",")[0] for image in shown[0].images] == ["data:image/png;base64"]


def test_a_tool_shows_its_description_and_its_schema() -> None:
    (row,) = rows(compiled())
    assert row.snippet == "Keep a note."
    assert row.text is not None
    assert '"note": {' in row.text


def test_a_card_names_the_part_that_ends_the_cached_front() -> None:
    older, newer = (compiled(system("Be kind."), section(told)) for told in ("milk", "bread"))
    assert card(newer, older).broken_by == "Notes · App/Section"
    assert card(newer, newer).broken_by == ""


def test_a_blank_line_is_no_context_of_a_difference() -> None:
    lines = compare("## Knobs\n\n- tone: friendly\n\nend", "## Knobs\n\n- tone: terse\n\nend")
    assert [line.sign for line in lines] == ["−", "+"]


def test_what_a_larger_part_took_along_says_behind_which_it_went() -> None:
    item = Withheld("App/Section[a]", "budget", "a", 1, 0, "App/Timeline.4/Conversation.0")
    (shown,) = card(compiled(withheld=(item,))).withheld
    assert shown.note == "budget, priority 0; nothing below App/Timeline.4 stays, which has no room"


def test_what_there_was_no_room_for_stands_with_its_priority_and_tokens() -> None:
    notes = section("- tea\n" * 40)
    older = compiled(system("Be brief."), notes)
    newer = compiled(
        system("Be brief."),
        withheld=(Withheld("App/Section[notes]", "budget", notes.text, notes.tokens, -1),),
    )
    shown = card(newer, older)
    assert [(row.title, row.note, row.tokens) for row in shown.withheld] == [
        ("App/Section[notes]", "budget, priority -1", notes.tokens)
    ]
    assert [row.note for row in rows(newer, older) if row.change == "removed"] == ["left for want of room"]
    assert [row.note for row in changes(newer.diff(older))] == ["left for want of room"]
    assert (
        shown.trade
        == f"≈{notes.tokens} tokens left for want of room, ≈{notes.tokens} tokens of the prefix broken"
    )
