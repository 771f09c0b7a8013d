from __future__ import annotations

from nbsession.timeline import Cause, net


def test_what_changed_at_several_ticks_goes_from_its_first_value_to_its_last_by_who_set_it_last() -> None:
    causes = [
        Cause("Agent", "state", "plan", "[]", "1 item", "the tool add in tick 0"),
        Cause("Agent", "knob", "tone", "'kind'", "'curt'", "the user"),
        Cause("Agent", "state", "plan", "1 item", "2 items", "the tool add in tick 2"),
    ]
    assert list(map(str, net(causes))) == [
        "`plan` went from [] to 2 items, set by the tool add in tick 2",
        "knob `tone` went from 'kind' to 'curt', set by the user",
    ]


def test_what_came_back_to_what_it_was_is_no_cause() -> None:
    causes = [
        Cause("Agent", "knob", "tone", "'kind'", "'curt'"),
        Cause("Agent", "timeline"),
        Cause("Agent", "knob", "tone", "'curt'", "'kind'"),
    ]
    assert net(causes) == (Cause("Agent", "timeline"),)
