from __future__ import annotations

from typing import Any

from nbsession import tool
from nbsession.notebook.view.form import (
    Control,
    controls_of,
    faults_in,
    filled,
    read,
    with_faults,
)


@tool
def order(
    what: str,
    count: int = 1,
    price: float | None = None,
    gift: bool = False,
    tags: list[str] | None = None,
    note: str = "",
) -> str:
    """Order something."""
    return "ordered"


SIZED = {
    "properties": {
        "size": {"enum": ["small", "large"]},
        "count": {"type": "integer", "minimum": 1, "maximum": 9},
    },
    "required": ["size"],
}


def controls(**given: Any) -> dict[str, Control]:
    return {control.name: control for control in controls_of(order.spec.input_schema, given)}


def test_each_argument_gets_the_control_of_its_type_with_its_value_or_default() -> None:
    made = controls(what="tea", tags=["hot"])
    assert {name: (one.kind, one.value) for name, one in made.items()} == {
        "what": ("text", "tea"),
        "count": ("number", "1"),
        "price": ("number", ""),
        "gift": ("flag", "false"),
        "tags": ("json", '["hot"]'),
        "note": ("text", ""),
    }
    assert made["what"].required
    assert made["count"].whole
    size, count = controls_of(SIZED, {"size": "large"})
    assert (size.kind, size.options, size.value) == ("choice", ('"small"', '"large"'), '"large"')
    assert (count.min, count.max) == (1, 9)


def test_a_long_text_gets_more_than_one_line_and_an_unknown_argument_is_shown_too() -> None:
    assert controls(what="tea\nand cake")["what"].kind == "long"
    assert controls(what="tea", surprise={"a": 1})["surprise"].value == '{"a": 1}'


def test_what_is_left_as_it_was_reads_as_it_was_given() -> None:
    given = {"what": "tea", "count": 2, "price": 1.5, "gift": True, "tags": ["hot"]}
    found, faults = read(controls(**given).values())
    assert (found, faults) == (given, {})
    assert order.validate(found)


def test_what_the_reader_writes_is_read_by_type_and_what_is_left_empty_is_not_given() -> None:
    made = filled(controls(what="tea").values(), {"what": "", "count": "3", "gift": True, "tags": "[1]"})
    found, faults = read(made)
    assert found == {"what": "", "count": 3, "gift": True, "tags": [1]}
    assert faults == {}


def test_what_cannot_be_read_or_is_not_taken_is_told_at_its_field() -> None:
    _, faults = read(filled(controls(what="tea").values(), {"count": "many", "tags": "[hot"}))
    assert faults == {"count": "is to be a number, got 'many'", "tags": "is to be JSON, got '[hot'"}
    told = faults_in("invalid input for order:\n- count: valid integer; got 1.5\n- tags[0]: text; got 1")
    assert told == {"count": "valid integer; got 1.5", "tags": "text; got 1"}
    shown = {one.name: one.fault for one in with_faults(controls(what="tea").values(), told)}
    assert shown["count"] == "valid integer; got 1.5"
    assert shown["what"] == ""
    assert faults_in("it rains") == {"": "it rains"}
