"""Components, hosts and elements, before anything is rendered."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from nbsession.errors import RenderError
from nbsession.tree import Component, Element, Host, component


@component
def Greeting(*children: Any, name: str) -> Any:
    """Greet someone."""
    return [f"Hello {name}", *children]


def test_calling_a_component_gives_an_element_and_renders_nothing() -> None:
    @component
    def Loud() -> Any:
        raise AssertionError("rendered")

    element = Loud("child", key=3, size=1)
    assert isinstance(element, Element)
    assert (element.type, element.children, element.props, element.key) == (
        Loud,
        ("child",),
        {"size": 1},
        "3",
    )


def test_a_component_keeps_its_functions_name_docstring_and_signature() -> None:
    assert isinstance(Greeting, Component)
    assert (Greeting.name, Greeting.__name__, Greeting.__doc__) == ("Greeting", "Greeting", "Greet someone.")
    assert Greeting.__qualname__ == "Greeting"
    assert Greeting.__module__ == __name__
    assert Greeting.__wrapped__ is Greeting.function
    assert "name" in inspect.signature(Greeting).parameters


async def _async() -> None: ...


def _generator() -> Any:
    yield "x"


class _Class: ...


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (_async, "_async is an async function; .* use_data"),
        (_generator, "_generator is a generator; .* list"),
        (_Class, "_Class is a class; write its body as a function"),
        (Greeting, "Greeting is a component already"),
        (3, "takes a function, got int"),
    ],
)
def test_what_cannot_be_a_component_is_refused_at_once(function: Any, message: str) -> None:
    with pytest.raises(RenderError, match=message):
        component(function)


def test_a_host_refuses_an_unknown_property_and_names_the_nearest() -> None:
    section = Host("Section", props=("title",), key_prop="id")
    with pytest.raises(RenderError, match="Section has no property 'titel'; did you mean 'title'"):
        section(titel="x")


def test_a_hosts_key_property_doubles_as_its_key() -> None:
    section = Host("Section", props=("title",), key_prop="id")
    assert section(id="notes").key == "notes"
    assert section(id="notes", key="other").key == "other"
    assert section(id="notes").props == {"id": "notes"}
    assert section(title="x").key is None
