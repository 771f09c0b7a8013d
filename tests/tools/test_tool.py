"""Tools: what the model sees of a function, and what comes of a call."""

from __future__ import annotations

import asyncio
import contextvars
import enum
import functools
import json
import math
import threading
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import numpy as np
import pydantic
import pytest
from pydantic import Field

from nbsession.content import Image, Text, ToolCall
from nbsession.errors import CompileError, ToolError
from nbsession.tools import Outcome, Tool, ToolContext, needs_confirmation, run_tool, tool


class Unit(enum.Enum):
    metric = "metric"
    imperial = "imperial"


class Place(pydantic.BaseModel):
    """Somewhere."""

    town: str = Field(description="its name")
    country: str = "CH"


class Node(pydantic.BaseModel):
    label: str
    children: list[Node] = []


@tool
def search(query: str, limit: int = 5) -> str:
    """Find things.

    Args:
        query: What to look for.
    """
    return f"{query} × {limit}"


def context(name: str = "search") -> ToolContext:
    return ToolContext(None, "c1", name)


async def run(made: Tool, **arguments: Any) -> Outcome:
    return await run_tool(made, ToolCall("c1", made.name, arguments), context(made.name))


def properties(made: Tool) -> Mapping[str, Any]:
    found: Mapping[str, Any] = made.spec.input_schema["properties"]
    return found


class TestSpec:
    def test_name_description_and_schema_come_from_the_function(self) -> None:
        assert search.spec.to_dict() == {
            "name": "search",
            "description": "Find things.",
            "input_schema": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "query": {"type": "string", "description": "What to look for."},
                    "limit": {"type": "integer", "default": 5},
                },
                "required": ["query"],
            },
        }

    def test_a_tool_without_parameters_has_an_empty_object(self) -> None:
        @tool
        def now() -> str:
            return "now"

        assert now.spec.input_schema == {"type": "object", "properties": {}, "additionalProperties": False}

    def test_types_of_all_kinds_are_described(self) -> None:
        @tool
        def book(
            place: Place,
            unit: Unit = Unit.metric,
            size: Literal["s", "l"] = "s",
            tags: list[str] | None = None,
            nights: Annotated[int, Field(ge=1, description="how many")] = 1,
            budget: int | str = 3,
            note: str = None,  # type: ignore[assignment]  # noqa: RUF013  # a common shorthand
            anything: Any = 7,
        ) -> None: ...

        found = properties(book)
        assert found["place"] == {"$ref": "#/$defs/Place"}
        assert book.spec.input_schema["$defs"]["Place"] == {
            "type": "object",
            "description": "Somewhere.",
            "properties": {
                "town": {"type": "string", "description": "its name"},
                "country": {"type": "string", "default": "CH"},
            },
            "required": ["town"],
        }
        assert found["unit"] == {"$ref": "#/$defs/Unit", "default": "metric"}
        assert found["size"] == {"enum": ["s", "l"], "type": "string", "default": "s"}
        assert found["tags"]["anyOf"] == [{"items": {"type": "string"}, "type": "array"}, {"type": "null"}]
        assert found["nights"] == {"type": "integer", "minimum": 1, "default": 1, "description": "how many"}
        assert found["budget"]["anyOf"] == [{"type": "integer"}, {"type": "string"}]
        assert found["note"] == {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}
        assert found["anything"] == {"default": 7}
        json.dumps(book.spec.to_dict())

    def test_an_annotation_wins_over_the_docstring(self) -> None:
        @tool
        def look(at: Annotated[str, Field(description="from the annotation")], by: str) -> None:
            """Look.

            Args:
                at: from the docstring
                by: from the docstring
            """

        assert properties(look)["at"]["description"] == "from the annotation"
        assert properties(look)["by"]["description"] == "from the docstring"

    def test_a_parameter_may_have_any_name(self) -> None:
        @tool
        def odd(json: str, _x: int, copy: bool, model_config: str, schema: str = "s") -> str:
            return f"{json}{_x}{copy}{model_config}{schema}"

        assert list(properties(odd)) == ["json", "_x", "copy", "model_config", "schema"]
        given = {"json": "j", "_x": 1, "copy": True, "model_config": "m"}
        assert odd(**odd.validate(given)) == "j1Truems"

    def test_an_alias_is_the_name_the_model_uses(self) -> None:
        @tool
        def mail(from_: Annotated[str, Field(alias="from")]) -> str:
            return from_

        assert list(properties(mail)) == ["from"]
        assert mail.validate({"from": "me"}) == {"from_": "me"}

    def test_the_context_is_no_part_of_the_input(self) -> None:
        @tool
        def progress(context: ToolContext, steps: int) -> None: ...

        @tool
        def maybe(steps: int, context: ToolContext | None = None) -> None: ...

        assert list(properties(progress)) == list(properties(maybe)) == ["steps"]

    def test_a_default_that_is_no_json_is_left_out(self) -> None:
        missing = object()

        @tool
        def get(key: str, default: Any = missing) -> bool:
            return default is missing

        assert properties(get)["default"] == {}
        assert get(**get.validate({"key": "k"})) is True

    def test_a_self_referring_model_is_still_an_object(self) -> None:
        plant = Tool(name="plant", input=Node, handler=lambda tree: tree.children[0].label)
        assert plant.spec.input_schema["type"] == "object"
        assert "anyOf" not in plant.spec.input_schema
        assert plant(**plant.validate({"label": "a", "children": [{"label": "b"}]})) == "b"

    def test_names_local_to_a_component_body_are_found(self) -> None:
        def body() -> Tool:
            class Local(pydantic.BaseModel):
                size: int

            @tool
            def measure(thing: Local) -> int:
                return thing.size

            return measure

        first, second = body(), body()
        assert first(**first.validate({"thing": {"size": 3}})) == 3
        assert type(first.validate({"thing": {"size": 3}})["thing"]) is not type(
            second.validate({"thing": {"size": 3}})["thing"]
        )

    def test_a_context_imported_for_type_checkers_only_is_known_all_the_same(self) -> None:
        unseen = "def f(context: 'ToolContext', n: 'int') -> int:\n    return n\n"
        module: dict[str, Any] = {"__name__": "elsewhere"}
        exec(unseen, module)
        made = tool(module["f"])
        assert list(properties(made)) == ["n"]
        assert made.signature.context == "context"

    def test_a_class_defined_anew_is_seen_by_the_next_render(self) -> None:
        module: dict[str, Any] = {"__name__": "notebook", "tool": tool, "pydantic": pydantic}
        cell = "class Size(pydantic.BaseModel):\n    {}: int\n"
        exec(cell.format("cm"), module)
        exec("def body():\n    @tool\n    def f(size: 'Size') -> int: ...\n    return f\n", module)
        assert list(module["body"]().spec.input_schema["$defs"]["Size"]["properties"]) == ["cm"]
        exec(cell.format("inch"), module)
        assert list(module["body"]().spec.input_schema["$defs"]["Size"]["properties"]) == ["inch"]

    def test_a_spec_is_made_once_for_all_renders(self) -> None:
        def body(prefix: str) -> Tool:
            @tool
            def say(word: str, times: int = 1) -> str:
                """Say it."""
                return prefix + word * times

            return say

        first, second = body("a"), body("b")
        assert first.spec is second.spec
        assert (first("x"), second("x")) == ("ax", "bx")
        assert first != second

    def test_another_default_is_another_spec(self) -> None:
        def body(most: Any) -> Tool:
            @tool
            def take(count: int = most) -> None: ...

            return take

        defaults = [properties(body(most))["count"]["default"] for most in (1, 2, True, 1)]
        assert [repr(default) for default in defaults] == ["1", "2", "True", "1"]

    def test_defaults_without_plain_equality_do_no_harm(self) -> None:
        def body() -> Tool:
            @tool
            def fit(points: list[float] = np.zeros(2)) -> None: ...  # type: ignore[assignment]  # noqa: B008

            return fit

        assert body().spec.name == body().spec.name == "fit"

    def test_replace_gives_the_tool_another_name_and_leaves_it_alone(self) -> None:
        renamed = search.replace(name="find", description="Find it.")
        assert (renamed.spec.name, renamed.spec.description) == ("find", "Find it.")
        assert renamed.spec.input_schema is search.spec.input_schema
        assert (search.spec.name, search.spec.description) == ("search", "Find things.")
        assert renamed("a") == "a × 5"
        with pytest.raises(CompileError, match="letters, digits"):
            search.replace(name="find it")

    def test_options_are_kept(self) -> None:
        @tool(name="erase", description="Gone.", audience="user", aliases=("rm",), timeout=2, confirm=True)
        def delete(path: str) -> None: ...

        assert (delete.name, delete.spec.description, delete.audience) == ("erase", "Gone.", "user")
        assert (delete.aliases, delete.timeout, delete.confirm) == (("rm",), 2, True)
        assert (delete.parallel, delete.thread) == (False, True)

    def test_methods_partials_and_callables_can_be_tools(self) -> None:
        class Shop:
            def buy(self, item: str) -> str:
                """Buy."""
                return f"bought {item}"

            def __call__(self, item: str) -> str:
                return f"called {item}"

        bought = tool(Shop().buy)
        assert bought.spec.description == "Buy."
        assert bought(**bought.validate({"item": "tea"})) == "bought tea"
        called = tool(name="call")(Shop())
        assert called(**called.validate({"item": "tea"})) == "called tea"
        part = tool(name="part")(functools.partial(math.pow, 2.0))
        with pytest.raises(CompileError, match="by its position only"):
            _ = part.spec

    def test_a_wrapped_function_is_described_as_it_was_written(self) -> None:
        def loud(function: Any) -> Any:
            @functools.wraps(function)
            def wrapped(*args: Any, **kwargs: Any) -> str:
                return str(function(*args, **kwargs)).upper()

            return wrapped

        @tool
        @loud
        def greet(name):  # type: ignore[no-untyped-def]
            return f"hello {name}"

        @tool
        @loud
        def part(friend, until="soon"):  # type: ignore[no-untyped-def]
            return f"bye {friend}, {until}"

        kept = tool(functools.cache(search.handler))
        assert (list(properties(greet)), list(properties(part))) == (["name"], ["friend", "until"])
        assert part(**part.validate({"friend": "Ada"})) == "BYE ADA, SOON"
        assert kept.spec == search.spec


class TestRefusals:
    @pytest.mark.parametrize("name", ["", "two words", "a.b", "x" * 129, "naïve"])
    def test_a_name_that_models_do_not_take(self, name: str) -> None:
        with pytest.raises(CompileError, match="must be 1 to 128 letters, digits, '_' or '-'"):
            tool(name=name)(search.handler)

    def test_a_lambda_needs_a_name(self) -> None:
        with pytest.raises(CompileError, match="got '<lambda>'; pass another as name="):
            tool(lambda: None)

    def test_a_name_in_place_of_the_function(self) -> None:
        with pytest.raises(CompileError, match=r"'look_up' has no name .*; pass name=, as in @tool\(name="):
            tool("look_up")  # type: ignore[call-overload]

    def test_star_parameters(self) -> None:
        with pytest.raises(CompileError, match=r"tool 'f' takes \*rest and \*\*options \(.*f, line \d+\)"):

            @tool
            def f(a: int, *rest: int, **options: int) -> None: ...

    def test_positional_only_parameters(self) -> None:
        with pytest.raises(
            CompileError, match=r"tool 'f' has positional-only parameters .* take the '/' away"
        ):

            @tool
            def f(a: int, /) -> None: ...

    @pytest.mark.parametrize("function", [len, math.sqrt])
    def test_a_builtin_that_takes_positions_only(self, function: Any) -> None:
        with pytest.raises(
            CompileError,
            match=r"takes '\w+' by its position only \(.*\), and a model gives arguments by name; wrap",
        ):
            _ = tool(function).spec

    def test_a_method_without_its_object(self) -> None:
        def buy(self: Any, item: str) -> None: ...

        buy.__annotations__.clear()

        class Shop:
            get = tool(buy)

            def sell(self, item: str) -> None: ...

        for made in (tool(buy), Shop().get):  # no instance has it under the name that is known of it
            with pytest.raises(
                CompileError, match="define it in its class, under @tool, or take 'self' away"
            ):
                _ = made.spec
        with pytest.raises(CompileError, match=r"tool\(instance\.sell\)"):
            _ = tool(Shop.sell).spec

    def test_an_annotation_that_nobody_knows(self) -> None:
        @tool
        def f(a: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

        with pytest.raises(CompileError, match=r"tool 'f': the annotation 'Nowhere' of 'a' .* NameError"):
            _ = f.spec

    def test_a_type_that_no_json_gives(self) -> None:
        @tool
        def f(a: int, lock: threading.Thread) -> None: ...

        with pytest.raises(CompileError, match=r"tool 'f': the parameter 'lock' is of type .*Thread"):
            _ = f.spec

    def test_an_input_that_is_no_object(self) -> None:
        listed = Tool(name="f", input=pydantic.RootModel[list[int]], handler=lambda numbers: numbers)
        with pytest.raises(CompileError, match=r"its input must be an object, and .* is array"):
            _ = listed.spec

    def test_a_handler_that_does_not_take_its_model(self) -> None:
        with pytest.raises(CompileError, match="must take one parameter, the Place"):
            _ = Tool(name="f", input=Place, handler=lambda: None).spec

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            ({"audience": "all"}, "the audience 'all'"),
            ({"aliases": "rm"}, "needs a list of aliases"),
            ({"aliases": ["r m"]}, "letters, digits"),
            ({"timeout": 0}, "needs a timeout above 0 seconds, got 0"),
            ({"confirm": "yes"}, "needs True, False or a function as confirm"),
        ],
    )
    def test_options_that_make_no_sense(self, options: dict[str, Any], told: str) -> None:
        with pytest.raises(CompileError, match=told):
            tool(**options)(search.handler)


class TestValidate:
    def test_input_is_converted_and_defaults_are_left_to_the_function(self) -> None:
        assert search.validate({"query": "x"}) == {"query": "x"}
        assert search.validate({"query": "x", "limit": "7"}) == {"query": "x", "limit": 7}

    def test_every_fault_is_told_in_a_line(self) -> None:
        @tool
        def book(place: Place, nights: int, unit: Unit, budget: int | bool | None = None) -> None: ...

        with pytest.raises(ToolError) as told:
            book.validate({"plaice": 1, "place": {"town": 3}, "nights": "many", "budget": "low"})
        assert str(told.value).splitlines() == [
            "invalid input for book:",
            "- plaice: unknown parameter; did you mean 'place'?",
            "- place.town: expected a valid string; got 3",
            '- nights: expected a valid integer, unable to parse string as an integer; got "many"',
            "- unit: required, but not given",
            '- budget: expected a valid integer, unable to parse string as an integer, or expected a valid boolean, unable to interpret input; got "low"',
        ]

    def test_an_unknown_parameter_alone_is_refused(self) -> None:
        with pytest.raises(ToolError, match=r"- limt: unknown parameter; did you mean 'limit'?"):
            search.validate({"query": "x", "limt": 3})

    def test_an_input_that_is_no_object_is_refused(self) -> None:
        with pytest.raises(ToolError, match="expected an object, got str"):
            search.validate("x")  # type: ignore[arg-type]  # as broken JSON may give

    def test_a_long_value_is_shown_in_part(self) -> None:
        with pytest.raises(ToolError) as told:
            search.validate({"query": ["x" * 1000]})
        assert len(str(told.value)) < 200

    def test_the_long_form_takes_its_own_model(self) -> None:
        go = Tool(name="go", description="Go.", input=Place, handler=lambda place: f"in {place.town}")
        assert go.spec.description == "Go."
        assert go(**go.validate({"town": "Bern"})) == "in Bern"
        with pytest.raises(ToolError, match=r"- twon: unknown parameter; did you mean 'town'?"):
            go.validate({"twon": "Bern"})
        assert go.replace(description="").spec.description == ""
        assert Tool(name="go", input=Place, handler=search.handler).spec.description == "Somewhere."

    def test_a_schema_in_place_of_a_model_is_given_as_it_is_and_checks_the_input(self) -> None:
        schema = {
            "type": "object",
            "properties": {"town": {"type": "string", "x-own": 1}, "pattern": {"type": "integer"}},
            "required": ["town"],
            "additionalProperties": False,
        }
        go = Tool("go", "Go.", schema, handler=lambda given: f"in {given['town']}")
        assert go.spec.to_dict() == {"name": "go", "description": "Go.", "input_schema": schema}
        assert go(**go.validate({"town": "Bern", "pattern": 1})) == "in Bern"
        with pytest.raises(ToolError, match="invalid input for go:\n- town: is to be filled in"):
            go.validate({})
        with pytest.raises(ToolError, match="- twon: is to be left out"):
            go.validate({"town": "Bern", "twon": "Bern"})
        with pytest.raises(ToolError, match="expected an object, got list"):
            go.validate([])  # type: ignore[arg-type]  # as a model may give it

    def test_tools_of_many_schemas_may_share_a_handler(self) -> None:
        def told(given: dict[str, Any], context: ToolContext) -> str:
            return f"{context.name}: {given}"

        tools = [
            Tool(f"t{n}", "", {"type": "object", "required": [f"p{n}"]}, handler=told) for n in range(20)
        ]
        assert [made.spec.input_schema["required"] for made in tools] == [[f"p{n}"] for n in range(20)]
        assert tools[3].signature.context == "context"

    def test_a_schema_of_no_object_is_refused(self) -> None:
        with pytest.raises(
            CompileError, match="tool 'f': the schema of its input must be of type 'object', got 'array'"
        ):
            _ = Tool("f", "", {"type": "array"}, handler=lambda given: given).spec

    @pytest.mark.parametrize(
        "schema",
        [
            {"properties": {"a": {"$ref": "#"}}, "required": ["a"]},
            {"properties": {"a": {"pattern": "^(a+)+$"}}},
            {"properties": {"a": {"type": {"no": "type"}}}},
            {"properties": {"a": {"anyOf": 5}}},
            {"patternProperties": {"^a$": {"type": "integer"}}, "additionalProperties": False},
            {
                "additionalProperties": {"$ref": "#/$defs/x"},
                "$defs": {"x": {"allOf": [{"$ref": "#/$defs/x"}]}},
            },
        ],
    )
    def test_what_of_a_schema_may_take_for_ever_or_says_nothing_is_left_to_whoever_wrote_it(
        self, schema: dict[str, Any]
    ) -> None:
        given = {"a": "a" * 50 + "!"}
        go = Tool("go", "", {"type": "object", **schema}, handler=lambda given: given)
        assert go.validate(given) == {"given": given}

    def test_a_model_that_takes_anything_gets_it(self) -> None:
        class Open(pydantic.BaseModel, extra="allow"):
            a: int

        opened = Tool(name="f", input=Open, handler=lambda given: given.model_extra)
        assert opened(**opened.validate({"a": 1, "b": 2})) == {"b": 2}

    def test_a_field_as_default_gives_its_default(self) -> None:
        @tool
        def f(size: int = Field(3, ge=1)) -> int:
            return size

        assert f(**f.validate({})) == 3


class TestRun:
    async def test_a_call_gives_a_result_and_the_value(self) -> None:
        outcome = await run(search, query="x")
        assert outcome.value == "x × 5"
        assert outcome.result.content == (Text("x × 5"),)
        assert (outcome.result.call_id, outcome.result.name) == ("c1", "search")
        assert (outcome.result.is_error, outcome.result.status, outcome.traceback) == (False, "done", "")
        assert 0 < outcome.result.duration < 10

    async def test_calling_a_tool_calls_its_function(self) -> None:
        assert search("x", limit=1) == "x × 1"

    async def test_a_sync_tool_runs_in_a_thread_and_an_async_one_on_the_loop(self) -> None:
        @tool
        def there() -> int:
            return threading.get_ident()

        @tool(thread=False)
        def inline() -> int:
            return threading.get_ident()

        @tool
        async def here() -> int:
            return threading.get_ident()

        assert (await run(there)).value != threading.get_ident()
        assert (await run(inline)).value == threading.get_ident()
        assert (await run(here)).value == threading.get_ident()

    async def test_a_sync_function_may_return_an_awaitable(self) -> None:
        async def later() -> str:
            return "later"

        assert (await run(tool(name="f")(lambda: later()))).value == "later"  # noqa: PLW0108

    async def test_context_variables_reach_the_tool(self) -> None:
        who: contextvars.ContextVar[str] = contextvars.ContextVar("who")
        who.set("ada")

        @tool
        def sync() -> str:
            return who.get()

        @tool
        async def on_loop() -> str:
            return who.get()

        assert [(await run(sync)).value, (await run(on_loop)).value] == ["ada", "ada"]

    async def test_the_context_is_injected(self) -> None:
        told: list[Any] = []

        @tool
        def work(steps: int, context: ToolContext) -> str:
            for step in range(steps):
                context.emit(step)
            return f"{context.name} {context.call_id}"

        call = ToolCall("c9", "work", {"steps": 2})
        outcome = await run_tool(work, call, ToolContext(None, "c9", "work", emit=told.append))
        assert (outcome.value, told) == ("work c9", [0, 1])

    async def test_a_tool_without_a_session_cannot_spawn(self) -> None:
        @tool
        def work(context: ToolContext) -> None:
            context.spawn("x")

        outcome = await run(work)
        assert outcome.result.text == "work runs without a session, so it cannot spawn one"

    async def test_an_invalid_input_is_an_error_result(self) -> None:
        outcome = await run(search, limit="many")
        assert (outcome.result.is_error, outcome.result.status) == (True, "error")
        assert outcome.result.text.startswith("invalid input for search:\n- query: required")

    async def test_a_tool_error_is_for_the_model(self) -> None:
        @tool
        def f() -> None:
            raise ToolError("The shop is closed.")

        outcome = await run(f)
        assert (outcome.result.text, outcome.result.is_error, outcome.traceback) == (
            "The shop is closed.",
            True,
            "",
        )

    @pytest.mark.parametrize("thread", [True, False])
    async def test_any_other_error_is_a_line_for_the_model_and_a_traceback_for_the_user(
        self, thread: bool
    ) -> None:
        @tool(thread=thread)
        def f() -> None:
            raise ValueError("two\nlines")

        outcome = await run(f)
        assert (outcome.result.text, outcome.result.status) == ("ValueError: two lines", "error")
        lines = outcome.traceback.splitlines()
        assert lines[0] == "Traceback (most recent call last):"
        assert "test_tool.py" in lines[1]
        assert lines[-2:] == ["ValueError: two", "lines"]

    async def test_an_async_error_is_traced_from_the_tools_own_frame(self) -> None:
        @tool
        async def f() -> None:
            await asyncio.sleep(0)
            raise KeyError("gone")

        outcome = await run(f)
        assert outcome.result.text == "KeyError: 'gone'"
        assert "test_tool.py" in outcome.traceback.splitlines()[1]

    @pytest.mark.parametrize(
        ("error", "status", "text"),
        [
            (KeyboardInterrupt(), "interrupted", "KeyboardInterrupt"),
            (SystemExit(3), "error", "SystemExit: 3"),
            (StopIteration(), "error", "StopIteration"),
            (asyncio.CancelledError("own"), "error", "CancelledError: own"),
        ],
    )
    @pytest.mark.parametrize("thread", [True, False])
    async def test_what_would_end_a_loop_or_a_thread_is_an_error_result(
        self, error: BaseException, status: str, text: str, thread: bool
    ) -> None:
        @tool(thread=thread)
        def f() -> None:
            raise error

        outcome = await run(f)
        assert (outcome.result.status, outcome.result.text) == (status, text)

    async def test_an_async_tool_that_cancels_itself_has_failed(self) -> None:
        @tool
        async def f() -> None:
            raise asyncio.CancelledError

        assert (await run(f)).result.text == "CancelledError"

    async def test_a_result_that_cannot_be_shown_is_an_error_result(self) -> None:
        class Broken(pydantic.BaseModel):
            def model_dump(self, **options: Any) -> Any:
                raise ValueError("no")

            def __repr__(self) -> str:
                return "Broken()"

        @tool
        def f() -> Any:
            return Broken()

        outcome = await run(f)
        assert (outcome.result.is_error, outcome.result.text) == (True, "ValueError: no")

    async def test_pictures_come_as_pictures(self) -> None:
        @tool
        def draw() -> bytes:
            return b"GIF89a\x02\x00\x03\x00"

        (image,) = (await run(draw)).result.content
        assert isinstance(image, Image)
        assert (image.width, image.height) == (2, 3)

    async def test_a_late_async_tool_is_cancelled_and_told_as_late(self) -> None:
        cancelled = asyncio.Event()

        @tool(timeout=0.01)
        async def wait() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
                raise

        outcome = await run(wait)
        assert outcome.result.text == "wait took longer than 0.01 seconds and was given up"
        assert cancelled.is_set()

    async def test_a_late_thread_is_left_behind_and_its_result_dropped(self) -> None:
        release, ended = threading.Event(), threading.Event()

        @tool(timeout=0.01)
        def wait() -> str:
            release.wait(10)
            ended.set()
            return "too late"

        outcome = await run(wait)
        assert (outcome.result.is_error, outcome.value) == (True, None)
        release.set()
        assert await asyncio.to_thread(ended.wait, 10)

    async def test_a_thread_left_behind_tells_of_no_more_progress(self) -> None:
        release, ended = threading.Event(), threading.Event()
        told: list[str] = []

        @tool(timeout=0.01)
        def work(context: ToolContext) -> None:
            context.emit("before")
            release.wait(10)
            context.emit("after")
            ended.set()

        await run_tool(work, ToolCall("1", "work", {}), ToolContext(None, "1", "work", emit=told.append))
        release.set()
        assert await asyncio.to_thread(ended.wait, 10)
        assert told == ["before"]

    async def test_a_timeout_of_the_tools_own_is_an_ordinary_error(self) -> None:
        @tool(timeout=60)
        async def f() -> None:
            raise TimeoutError("the server is slow")

        assert (await run(f)).result.text == "TimeoutError: the server is slow"

    async def test_cancelling_leaves_a_blocked_thread_behind_at_once(self) -> None:
        started, release = threading.Event(), threading.Event()

        @tool
        def block() -> None:
            started.set()
            release.wait(10)

        task = asyncio.create_task(run(block))
        assert await asyncio.to_thread(started.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not release.is_set()
        release.set()

    async def test_many_blocked_threads_leave_room_for_more(self) -> None:
        release = threading.Event()

        @tool
        def block() -> None:
            release.wait(10)

        blocked = [asyncio.create_task(run(block)) for _ in range(50)]
        assert (await run(search, query="x")).value == "x × 5"
        release.set()
        assert all(outcome.result.status == "done" for outcome in await asyncio.gather(*blocked))


class TestUserLoop:
    @pytest.fixture
    def user_loop(self) -> Iterator[asyncio.AbstractEventLoop]:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        yield loop
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()

    async def test_an_async_tool_runs_on_the_users_loop(self, user_loop: asyncio.AbstractEventLoop) -> None:
        who: contextvars.ContextVar[str] = contextvars.ContextVar("who")
        who.set("ada")

        @tool
        async def where() -> tuple[bool, str]:
            return asyncio.get_running_loop() is user_loop, who.get()

        outcome = await run_tool(where, ToolCall("1", "where", {}), context(), user_loop=user_loop)
        assert outcome.value == (True, "ada")

    async def test_without_a_thread_it_stays_on_this_loop(self, user_loop: asyncio.AbstractEventLoop) -> None:
        @tool(thread=False)
        async def where() -> bool:
            return asyncio.get_running_loop() is user_loop

        outcome = await run_tool(where, ToolCall("1", "where", {}), context(), user_loop=user_loop)
        assert outcome.value is False

    async def test_cancelling_reaches_the_tool_there(self, user_loop: asyncio.AbstractEventLoop) -> None:
        started, cancelled = threading.Event(), threading.Event()

        @tool
        async def wait() -> None:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        call = ToolCall("1", "wait", {})
        task = asyncio.create_task(run_tool(wait, call, context(), user_loop=user_loop))
        assert await asyncio.to_thread(started.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(cancelled.wait, 10)

    async def test_a_timeout_reaches_it_too(self, user_loop: asyncio.AbstractEventLoop) -> None:
        @tool(timeout=0.01)
        async def wait() -> None:
            await asyncio.Event().wait()

        outcome = await run_tool(wait, ToolCall("1", "wait", {}), context(), user_loop=user_loop)
        assert outcome.result.text == "wait took longer than 0.01 seconds and was given up"

    @pytest.mark.parametrize(
        "error", [KeyboardInterrupt(), SystemExit(1), ValueError("x"), asyncio.CancelledError()]
    )
    async def test_no_error_of_a_tool_ends_that_loop(
        self, user_loop: asyncio.AbstractEventLoop, error: BaseException
    ) -> None:
        @tool
        async def f() -> None:
            raise error

        outcome = await run_tool(f, ToolCall("1", "f", {}), context(), user_loop=user_loop)
        assert outcome.result.text.startswith(type(error).__name__)
        again = await run_tool(f, ToolCall("2", "f", {}), context(), user_loop=user_loop)
        assert again.result.is_error

    async def test_a_loop_that_does_not_run_is_not_waited_for(self) -> None:
        @tool
        async def here() -> str:
            return "here"

        loop = asyncio.new_event_loop()
        try:
            outcome = await run_tool(here, ToolCall("1", "here", {}), context(), user_loop=loop)
        finally:
            loop.close()
        assert outcome.value == "here"


class TestConfirmation:
    async def ask(self, confirm: Any, **arguments: Any) -> str | None:
        @tool(confirm=confirm)
        def erase(path: str) -> None: ...

        return await needs_confirmation(erase, ToolCall("c1", "erase", arguments), context("erase"))

    async def test_a_call_is_asked_for_where_the_tool_says_so(self) -> None:
        assert await self.ask(False, path="a") is None
        assert await self.ask(True, path="a") == "Run erase(path='a')?"

    async def test_a_function_decides_by_the_input_and_may_word_the_question(self) -> None:
        def confirm(given: Mapping[str, Any], context: ToolContext) -> bool | str:
            return given["path"] != "tmp" and f"{context.name} {given['path']}?"

        assert await self.ask(confirm, path="tmp") is None
        assert await self.ask(confirm, path="home") == "erase home?"

    async def test_the_function_may_be_async(self) -> None:
        async def confirm(given: Mapping[str, Any], context: ToolContext) -> bool:
            return True

        assert await self.ask(confirm, path="a") == "Run erase(path='a')?"

    async def test_an_invalid_call_is_not_asked_for(self) -> None:
        assert await self.ask(True, paht="a") is None

    async def test_a_function_that_fails_asks(self) -> None:
        question = await self.ask(lambda given, _: given["nothing"], path="a")
        assert question == "Run erase(path='a')? (its confirm function raised KeyError: 'nothing')"
