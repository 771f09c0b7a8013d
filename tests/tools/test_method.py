"""``@tool`` in a class: methods that are tools of their instances."""

from __future__ import annotations

import abc
import dataclasses
import functools
import gc
import types
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, Timeline, component, use_effect, use_state
from nbsession.errors import CompileError, RenderError
from nbsession.testing import ScriptedModel, call, render
from nbsession.tools import Tool, ToolContext, tool

if TYPE_CHECKING:
    from collections.abc import Callable


class Shop:
    def __init__(self, town: str) -> None:
        self.town = town
        self.sold: list[str] = []

    @tool
    def buy(self, item: str, count: int = 1) -> str:
        """Buy something.

        Args:
            item: What to buy.
        """
        self.sold.append(item)
        return f"{count} {item} in {self.town}"

    @tool(name="look_around", confirm=True)
    async def look(self, context: ToolContext) -> str:
        return f"{context.name} in {self.town}"

    @tool
    @classmethod
    def chain(cls, town: str) -> str:
        return f"{cls.__name__} {town}"

    @tool
    @staticmethod
    def hours(day: str) -> str:
        return f"closed on {day}"

    @staticmethod
    @tool
    def price(item: str) -> str:
        return f"{item}: 3"


class Bakery(Shop):
    @tool
    def buy(self, item: str, count: int = 1) -> str:
        """Buy something baked."""
        return f"fresh: {super().buy(item, count)}"


def test_a_method_is_a_tool_of_the_instance_with_its_state() -> None:
    bern, rome = Shop("Bern"), Shop("Rome")
    assert bern.buy.spec.to_dict() == {
        "name": "buy",
        "description": "Buy something.",
        "input_schema": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "item": {"type": "string", "description": "What to buy."},
                "count": {"type": "integer", "default": 1},
            },
            "required": ["item"],
        },
    }
    assert (bern.buy("tea"), rome.buy(item="tea", count=2)) == ("1 tea in Bern", "2 tea in Rome")
    assert bern.sold == rome.sold == ["tea"]
    assert bern.buy.spec is rome.buy.spec
    assert (bern.look.name, bern.look.confirm) == ("look_around", True)


def test_it_is_the_same_tool_each_time_and_another_ones_is_another() -> None:
    bern, rome = Shop("Bern"), Shop("Rome")
    assert bern.buy is bern.buy
    assert bern.buy is not rome.buy
    assert len({bern.buy, bern.buy, rome.buy}) == 2
    assert Shop.chain is Shop.chain
    assert Shop.chain is not Bakery.chain


def test_an_instance_lives_no_longer_for_its_tools() -> None:
    shop = Shop("Bern")
    held = weakref.ref(shop)
    assert shop.buy("tea")
    del shop
    gc.collect()
    assert held() is None


def test_instances_without_room_hash_or_plain_equality_have_tools_too() -> None:
    @dataclasses.dataclass
    class Till:
        __slots__ = ("total",)
        total: int

        @tool
        def add(self, amount: int) -> int:
            self.total += amount
            return self.total

    one, other = Till(0), Till(0)
    assert one == other
    assert one.add is not other.add
    assert (one.add(3), other.add(4)) == (3, 4)


def test_class_and_static_methods_are_tools_of_the_class_too() -> None:
    assert (Shop.chain("Bern"), Bakery("x").chain("Bern")) == ("Shop Bern", "Bakery Bern")
    assert list(Bakery.chain.spec.input_schema["properties"]) == ["town"]
    for hours in (Shop.hours, Shop("Bern").hours):
        assert (hours("Sunday"), list(hours.spec.input_schema["properties"])) == ("closed on Sunday", ["day"])
    for price in (Shop.price, Shop("Bern").price):
        assert (price("tea"), list(price.spec.input_schema["properties"])) == ("tea: 3", ["item"])


def test_a_subclass_has_its_own_and_may_call_that_of_its_parent() -> None:
    bakery = Bakery("Bern")
    assert bakery.buy.spec.description == "Buy something baked."
    assert bakery.buy("bread") == "fresh: 1 bread in Bern"
    assert bakery.look.spec.name == "look_around"


class Trade(abc.ABC):
    @tool
    @abc.abstractmethod
    def buy(self, item: str) -> str: ...

    @abc.abstractmethod
    @tool
    def sell(self, item: str) -> str:
        """Sell something."""
        return f"sold {item}"

    @tool
    @classmethod
    @abc.abstractmethod
    def chain(cls) -> str: ...


class Stall(Trade):
    @tool
    def buy(self, item: str) -> str:
        return f"bought {item}"

    @tool
    def sell(self, item: str) -> str:
        return f"{super().sell(item)} today"

    @tool
    @classmethod
    def chain(cls) -> str:
        return cls.__name__


def test_an_abstract_method_that_is_a_tool_stays_abstract_until_it_is_written() -> None:
    assert Trade.__abstractmethods__ == {"buy", "sell", "chain"}
    with pytest.raises(TypeError, match="abstract"):
        Trade()  # type: ignore[abstract]  # as it is to be refused
    stall = Stall()
    assert (stall.buy("tea"), stall.sell("tea"), stall.chain()) == ("bought tea", "sold tea today", "Stall")
    assert list(stall.sell.spec.input_schema["properties"]) == ["item"]


def test_a_method_may_be_wrapped_before_it_is_a_tool() -> None:
    def loud(function: Callable[..., str]) -> Callable[..., str]:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> str:
            return function(*args, **kwargs).upper()

        return wrapped

    class Choir:
        song = "la"

        @tool
        @loud
        def sing(self, times: int = 1) -> str:
            """Sing."""
            return self.song * times

    sing = Choir().sing
    assert (sing(**sing.validate({"times": "2"})), sing.spec.description) == ("LALA", "Sing.")
    assert list(sing.spec.input_schema["properties"]) == ["times"]


def test_a_tool_from_elsewhere_in_a_class_stays_as_it_is() -> None:
    @tool
    def search(query: str) -> str:
        return query

    @dataclasses.dataclass
    class Agent:
        first: Tool
        find = search
        ask = Tool("ask", handler=lambda question: question)
        second: Tool = search

    agent = Agent(search)
    assert agent.find is agent.first is agent.second is Agent.find is search
    assert agent.ask("why?") == "why?"


def test_a_renamed_method_is_that_of_its_instance() -> None:
    shop = Shop("Bern")
    renamed = shop.buy.replace(name="get")
    assert (renamed.spec.name, renamed("tea")) == ("get", "1 tea in Bern")
    assert (shop.buy.spec.name, renamed.spec.input_schema) == ("buy", shop.buy.spec.input_schema)


def test_read_from_the_class_it_is_a_function_and_no_models_tool() -> None:
    assert Shop.buy(Shop("Bern"), "tea") == "1 tea in Bern"
    told = (
        r"tool 'buy' is a method that was read from the class Shop; read it from an instance: Shop\(…\)\.buy"
    )
    with pytest.raises(CompileError, match=told):
        _ = Shop.buy.spec

    class Market:
        def outer(self, item: str) -> str:
            return item

        get = tool(outer)

    with pytest.raises(CompileError, match=r"read it from an instance: Market\(…\)\.get$"):
        _ = Market.get.spec
    with pytest.raises(CompileError, match=r"tool 'get' is a method that was read from the class Shop"):
        _ = Shop.buy.replace(name="get").spec

    @component
    def Root() -> Any:
        return [Shop.buy, Timeline()]

    with pytest.raises(CompileError, match=told):
        _ = render(Root()).context


def test_a_class_method_around_what_is_no_function_is_told_how_to_write_it() -> None:
    @component
    def Root() -> Any:
        return types.MethodType(functools.partial(str), Shop)  # as @classmethod gives, since Python 3.13

    with pytest.raises(
        RenderError, match="a class method around a partial: write its decorator above @class"
    ):
        render(Root())


async def test_a_tree_holds_it_across_renders_and_calls_it_with_its_state() -> None:
    shop, effects = Shop("Bern"), []

    @component
    def Agent() -> Any:
        count, set_count = use_state(0)
        use_effect(lambda: effects.append(count), [shop.buy])

        @tool
        def more() -> str:
            set_count(lambda old: old + 1)
            return "more"

        return [shop.buy, more, f"rendered with {count}", Timeline()]

    model = ScriptedModel([call("buy", item="tea"), call("more")], [call("buy", item="milk")], "done")
    session = App(Agent, model=model).session()
    result = await session.send("Buy")
    assert [run.result.text for run in result.tool_calls if run.result] == [
        "1 tea in Bern",
        "more",
        "1 milk in Bern",
    ]
    assert (shop.sold, effects) == (["tea", "milk"], [0])
    assert model.contexts[0].tools[0] is model.contexts[2].tools[0]
