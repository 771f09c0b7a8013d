"""The simulated model reads the compiled context and nothing else, and invents nothing."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import date
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbsession import App, CompiledContext, Knobs, Section, System, Timeline, Tool, component, tool, use_knob
from nbsession.content import Image, Message, Text, Thinking, ToolCall, ToolResult, ToolSpec
from nbsession.context import CompiledContext as Context
from nbsession.context import Part, context_of, entry_part
from nbsession.errors import ModelError
from nbsession.events import ContentBlockStart, MessageDelta, TextDelta
from nbsession.models import SimulatedModel
from nbsession.models.simulated.model import answer_blocks
from nbsession.testing import EventRecorder


@tool
def add_note(note: str) -> str:
    """Keep a note for later."""
    return f"Noted: {note}"


@tool
def get_weather(city: str, unit: Literal["celsius", "fahrenheit"] = "celsius") -> str:
    """Look up the current weather for a city."""
    return f"{city}, {unit}"


@tool
def roll_dice(sides: int, count: int = 1) -> str:
    """Roll dice.

    Args:
        sides: Sides of each die.
        count: How many dice.
    """
    return f"{count} x {sides}"


@tool
def search(query: str, limit: int = 5) -> str:
    """Search the documentation."""
    return f"{query}, {limit}"


@tool
def add(a: float, b: float) -> float:
    """Add two numbers."""
    return a + b


@tool
def calculate(expression: str) -> str:
    """Calculate."""
    return expression


@tool
def send_email(to: str, subject: str, body: str) -> str:
    """Send an email."""
    return f"{to}, {subject}, {body}"


@tool
def book_train(origin: str, destination: str, day: date, first_class: bool = False) -> str:
    """Book a train ticket."""
    return f"{origin}, {destination}, {day}, {first_class}"


@tool
def toggle_light(room: Literal["kitchen", "bedroom"], on: bool) -> str:
    """Turn the light in a room on or off."""
    return f"{room}, {on}"


@tool
def add_items(items: list[str]) -> str:
    """Put items on the shopping list."""
    return ", ".join(items)


@tool
def list_notes() -> str:
    """List all notes."""
    return ""


TOOLS = [
    add_note,
    get_weather,
    roll_dice,
    search,
    add,
    calculate,
    send_email,
    book_train,
    toggle_light,
    add_items,
    list_notes,
]


def said(*texts: str) -> list[Message]:
    """Make a conversation, the user first."""
    return [Message("user" if n % 2 == 0 else "assistant", (Text(text),)) for n, text in enumerate(texts)]


def asking(
    *texts: str, system: str = "", tools: list[Tool] | None = None, sections: str = ""
) -> CompiledContext:
    """Make a context with a notepad section, whose last message asks."""
    parts = [Part("system", "Agent/System", system)] if system else []
    if sections:
        parts.append(Part("section", "Agent/Section", sections, key="notepad", title="Notepad"))
    flow = context_of([], said(*texts)).flow
    specs = [one.spec for one in tools or []]
    tool_parts = [Part("tool", "Agent", spec.description, key=spec.name, title=spec.name) for spec in specs]
    return Context(parts, flow, tool_parts, specs=specs)


def text_of(context: CompiledContext) -> str:
    return "".join(block.text for block in answer_blocks(context) if isinstance(block, Text))


def rule_of(context: CompiledContext) -> str:
    first = answer_blocks(context)[0]
    assert isinstance(first, Thinking)
    return first.text.removeprefix("rule ").partition(":")[0]


def calls_of(context: CompiledContext) -> list[tuple[str, dict[str, Any]]]:
    return [
        (block.name, dict(block.input)) for block in answer_blocks(context) if isinstance(block, ToolCall)
    ]


def call_for(sentence: str, *tools: Tool) -> list[tuple[str, dict[str, Any]]]:
    return calls_of(asking(sentence, tools=list(tools) or TOOLS))


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        (
            "Please add a note: the train to Vienna leaves at 9:40.",
            {"note": "the train to Vienna leaves at 9:40"},
        ),
        ("Remember that the key is under the mat.", {"note": "the key is under the mat"}),
        ("Note: buy milk", {"note": "buy milk"}),
        ('Could you add a note "call Anna; today", please?', {"note": "call Anna; today"}),
        ("What's the weather in Vienna?", {"city": "Vienna"}),
        ("weather in paris please", {"city": "paris"}),
        (
            "Is the weather in New York City nice in fahrenheit?",
            {"city": "New York City", "unit": "fahrenheit"},
        ),
        ("Roll a die with 20 sides", {"sides": 20}),
        ("roll two dice with 6 sides", {"sides": 6, "count": 2}),
        ("Search for cats and dogs", {"query": "cats and dogs"}),
        ('search the documentation for "render loop", limit 3', {"query": "render loop", "limit": 3}),
        ("What is 2 plus 3.5?", {"a": 2, "b": 3.5}),
        ("What is 2 * (3 + 4)?", {"expression": "2 * (3 + 4)"}),
        (
            'Send an email to ryan@example.com with subject "Hi" and body "How are you?"',
            {"to": "ryan@example.com", "subject": "Hi", "body": "How are you?"},
        ),
        (
            "Book a train from Graz to Vienna on 2026-12-01, first class",
            {"origin": "Graz", "destination": "Vienna", "day": "2026-12-01", "first_class": True},
        ),
        ("Turn the light in the bedroom off", {"room": "bedroom", "on": False}),
        ("Add eggs, milk and bread to the shopping list", {"items": ["eggs", "milk", "bread"]}),
        ("Show me my notes", {}),
    ],
)
def test_a_tool_is_picked_by_its_words_and_filled_from_the_users(
    sentence: str, expected: dict[str, Any]
) -> None:
    ((_, arguments),) = call_for(sentence)

    assert arguments == expected
    assert list(arguments) == list(expected)


@pytest.mark.parametrize(
    ("sentence", "missing"),
    [
        ("How is the weather?", ["city"]),
        ("Add a note.", ["note"]),
        ("Roll the dice!", ["sides"]),
        ("Book a train from Graz to Vienna tomorrow", ["day"]),
        ("Send an email to ryan@example.com", ["subject", "body"]),
    ],
)
def test_what_is_missing_for_a_tool_is_asked_for_by_name(sentence: str, missing: list[str]) -> None:
    context = asking(sentence, tools=TOOLS)

    assert calls_of(context) == []
    assert rule_of(context) == "ask-for-missing"
    assert ", ".join(f"`{name}`" for name in missing) in text_of(context)


def test_the_answer_to_what_was_missing_completes_the_call() -> None:
    question = text_of(asking("How is the weather?", tools=TOOLS))

    context = asking("How is the weather?", question, "Vienna, please.", tools=TOOLS)

    assert calls_of(context) == [("get_weather", {"city": "Vienna"})]


def test_several_sentences_make_several_calls_in_one_turn() -> None:
    context = asking("Add a note: milk. Add a note: eggs. And roll a die with 6 sides!", tools=TOOLS)

    assert calls_of(context) == [
        ("add_note", {"note": "milk"}),
        ("add_note", {"note": "eggs"}),
        ("roll_dice", {"sides": 6}),
    ]
    ids = [block.id for block in answer_blocks(context) if isinstance(block, ToolCall)]
    assert len(set(ids)) == 3


def test_one_sentence_with_two_wishes_makes_two_calls() -> None:
    assert call_for("What's the weather in Oslo and roll a die with 12 sides?") == [
        ("get_weather", {"city": "Oslo"}),
        ("roll_dice", {"sides": 12}),
    ]
    assert call_for("Add a note: buy milk and honey") == [("add_note", {"note": "buy milk and honey"})]


@pytest.mark.parametrize(
    "sentence",
    [
        "Don't add a note about this.",
        "Did you send an email?",
        "I like the weather.",
        "What does add_note do?",
        "Hi",
    ],
)
def test_no_tool_is_called_where_none_is_asked_for(sentence: str) -> None:
    assert call_for(sentence) == []


@component
def Agent() -> object:
    tone, _ = use_knob("tone", "friendly", options=["friendly", "terse"])
    verbosity, _ = use_knob("verbosity", 3, min=1, max=5, description="1: a few words, 5: at length")
    citations, _ = use_knob("citations", default=False)
    return [
        System(f"You are a {tone} assistant. Verbosity: {verbosity} of 5. Citations: {citations}."),
        add_note,
        Section("- The museum opens at ten.\n- Lunch is at noon.", id="plan", title="Plan"),
        Knobs(),
        Timeline(),
    ]


@pytest.mark.parametrize(
    ("sentence", "name", "value"),
    [
        ("Set the knob verbosity to 1.", "verbosity", 1),
        ("verbosity 5", "verbosity", 5),
        ("Please set tone to terse", "tone", "terse"),
        ("Be terse.", "tone", "terse"),
        ("Turn citations on", "citations", True),
        ("disable citations", "citations", False),
    ],
)
async def test_a_knob_that_is_listed_is_set(sentence: str, name: str, value: object) -> None:
    session = App(Agent, model=SimulatedModel(rate=0)).session()
    session.compile()
    session.knobs["citations"] = value is False

    result = await session.send(sentence)

    assert [(call.name, dict(call.input)) for call in result.tool_calls] == [
        ("set_knob", {"name": name, "value": value})
    ]
    assert session.knobs[name] == value
    assert result.source == "simulated"


async def test_a_question_about_a_knob_sets_nothing() -> None:
    result = await App(Agent, model=SimulatedModel(rate=0)).session().send("What is the verbosity?")

    assert not result.tool_calls
    assert "“verbosity” stands at 3" in result.text


async def test_a_conversation_remembers_quotes_and_reports() -> None:
    session = App(Agent, model=SimulatedModel(rate=0)).session()

    await session.send("My name is Ryan.")
    assert "Ryan" in (await session.send("What's my name?")).text
    assert "The museum opens at ten." in (await session.send("When does the museum open?")).text
    noted = await session.send("Add a note: bring the umbrella")
    assert "`add_note` gave: “Noted: bring the umbrella”" in noted.text


@pytest.mark.parametrize(
    ("told", "question", "answer"),
    [
        ("My name is Ryan.", "What's my name?", "Ryan."),
        ("Hello, I'm Ryan!", "Who am I?", "Ryan."),
        ("call me Ishmael", "Do you remember my name?", "Ishmael."),
        ("I live in Graz and I like skiing.", "Where do I live?", "In Graz."),
        ("I live in Graz and I like skiing.", "What do I like?", "Skiing."),
        ("My favourite colour is green.", "What is my favourite colour?", "Green."),
        ("My sister's birthday is on May 4.", "When is my sister's birthday?", "On May 4."),
        ("I am 42 years old.", "How old am I?", "42 years old."),
    ],
)
def test_what_the_user_told_is_remembered_and_quoted(told: str, question: str, answer: str) -> None:
    context = asking(told, "Understood.", question)

    assert rule_of(context) == "remember-fact"
    assert text_of(context).startswith(answer)
    assert "in message 1" in text_of(context)


def test_the_latest_fact_counts() -> None:
    assert "Anna" in text_of(asking("My name is Ryan.", "Hm.", "My name is Anna.", "Hm.", "What's my name?"))


def test_what_is_not_in_the_timeline_is_not_known() -> None:
    context = asking("Nice day.", "Yes.", "What's my name?")

    assert rule_of(context) == "unknown-fact"
    assert "nothing about that in my context" in text_of(context)


def test_first_and_last_messages_are_quoted() -> None:
    earlier = ("Good morning!", "Hello.", "Rain again.", "So it is.")

    assert "“Good morning!”" in text_of(asking(*earlier, "What did I say first?"))
    assert "“Rain again.”" in text_of(asking(*earlier, "What was my last message?"))
    assert "“So it is.”" in text_of(asking(*earlier, "What did you say last?"))


def test_the_best_line_of_a_section_is_quoted_with_its_title() -> None:
    notes = "- the train to Vienna leaves at 9:40\n- the train to Graz leaves at noon\n- bring the umbrella"
    context = asking("When does the train to Vienna leave?", system="You have a notepad.", sections=notes)

    assert text_of(context) == "From “Notepad”: “the train to Vienna leaves at 9:40”"


def test_a_section_that_is_asked_for_is_quoted_whole() -> None:
    for question in ("What is in my notepad?", "What notes are there?", "Show me the notepad section."):
        text = text_of(asking(question, system="You have a notepad.", sections="- milk\n- eggs"))
        assert text == "From “Notepad”:\n\n> - milk\n> - eggs", question


def test_a_line_of_the_system_prompt_is_quoted() -> None:
    text = text_of(asking("Who maintains the pump?", system="You help a plant. Olga maintains the pump."))

    assert text.startswith("From the system prompt: “")
    assert "Olga maintains the pump." in text


@pytest.mark.parametrize("question", ["What do you see?", "Describe your context", "what's in your context?"])
def test_the_context_is_described_when_asked_for(question: str) -> None:
    context = asking("Hi", "Hello", question, system="You help.", sections="- milk", tools=[add_note])

    text = text_of(context)
    assert rule_of(context) == "describe-context"
    for piece in (f"≈{context.tokens:,} tokens", "“You help.”", "“Notepad”", "`add_note`", "**Messages**: 3"):
        assert piece in text


def test_results_are_quoted_and_failures_said_plainly() -> None:
    call, other = ToolCall("1", "add_note", {"note": "milk"}), ToolCall("2", "search", {"query": "x"})
    messages = [
        *said("Add a note: milk, and search x"),
        Message("assistant", (call, other)),
        Message(
            "user",
            (
                ToolResult("1", "add_note", (Text("Noted."),)),
                ToolResult("2", "search", (Text("no index"),), is_error=True, status="error"),
            ),
        ),
    ]

    context = context_of([], messages, [add_note.spec, search.spec])

    assert text_of(context) == "`add_note` gave: “Noted.”\n\n`search` failed: “no index”"
    assert calls_of(context) == []


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("denied", "was not allowed"),
        ("interrupted", "was interrupted"),
        ("unknown", "nobody knows how it ended"),
    ],
)
def test_a_call_without_an_outcome_is_said_to_have_none(
    status: Literal["denied", "interrupted", "unknown"], words: str
) -> None:
    result = ToolResult("1", "search", (), is_error=True, status=status)

    assert words in text_of(context_of([], [*said("search x"), Message("user", (result,))]))


@pytest.mark.parametrize(
    "system",
    ["You are a terse assistant.", "Answer in one sentence.", "You help. Verbosity: 1 of 5.", "Be brief."],
)
def test_terse_where_the_context_says_so(system: str) -> None:
    assert text_of(asking("My name is Ryan.", "Hm.", "What's my name?", system=system)) == "Ryan."


def test_friendly_where_the_context_says_so() -> None:
    question = ("My name is Ryan.", "Hm.", "What's my name?")
    plain, friendly = text_of(asking(*question)), text_of(asking(*question, system="You are friendly."))

    assert friendly.endswith(plain)
    assert friendly != plain


def test_at_length_where_the_context_says_so() -> None:
    text = text_of(
        asking("My name is Ryan.", "Hm.", "What's my name?", system="You speak. Verbosity: 5 of 5.")
    )

    assert "by the rule “remember-fact”" in text


@pytest.mark.parametrize(
    "system", ["You are never terse.", "You help.", "Verbosity: 3 of 5.", "A terse cat sat."]
)
def test_plain_where_the_context_does_not_say_so(system: str) -> None:
    question = ("My name is Ryan.", "Hm.", "What's my name?")

    assert text_of(asking(*question, system=system)) == text_of(asking(*question))


def test_the_question_may_ask_for_one_sentence() -> None:
    assert text_of(asking("My name is Ryan.", "Hm.", "What's my name, in one word?")) != ""
    context = asking("In one sentence: what do you see?", system="You help.", sections="- milk")
    assert "\n" not in text_of(context)


def test_what_no_rule_fits_is_admitted_and_what_would_fit_is_offered() -> None:
    context = asking("What is the capital of France?", tools=[add_note])

    assert rule_of(context) == "no-rule-fits"
    assert "no language model" in text_of(context)
    assert "`add_note` (Keep a note for later)" in text_of(context)


@pytest.mark.parametrize(
    "greeting", ["Hi", "Hello!", "Good morning", "Hello! What can you do?", "Who are you?"]
)
def test_it_never_pretends_to_be_a_language_model(greeting: str) -> None:
    assert "no language model" in text_of(asking(greeting))


def test_every_answer_begins_with_the_rule_and_what_it_matched() -> None:
    first = answer_blocks(asking("My name is Ryan.", "Hm.", "What's my name?"))[0]

    assert first == Thinking("rule remember-fact: “My name is Ryan.” in message 1")


def test_without_a_user_message_it_describes_itself() -> None:
    assert "This is my context" in text_of(context_of())
    assert "This is my context" in text_of(context_of(["You help."], [Message("assistant", (Text("Hm."),))]))


async def test_words_stream_one_by_one_and_usage_is_an_estimate() -> None:
    context = asking("Hi", system="You help.")

    seen = await EventRecorder().record(SimulatedModel(rate=0).stream(context))

    text = text_of(context)
    assert len([delta for delta in seen.of(TextDelta) if delta.index == 1]) == len(text.split())
    assert seen.blocks == answer_blocks(context)
    usage = seen.of(MessageDelta)[0].usage
    assert usage.estimated
    assert usage.input_tokens == context.tokens
    assert usage.output_tokens > 0


async def test_one_context_always_gives_one_answer() -> None:
    first, second = [
        await EventRecorder().record(SimulatedModel(rate=0).stream(asking("Add a note: milk", tools=TOOLS)))
        for _ in range(2)
    ]

    assert first.events == second.events
    assert first.of(MessageDelta)[0].stop_reason == "tool_use"


async def test_cancelling_stops_at_once_at_any_pace() -> None:
    speaks = asyncio.Event()

    async def listen() -> None:
        async for event in SimulatedModel(rate=0.01).stream(asking("Hi")):
            if isinstance(event, ContentBlockStart) and event.block == "text":
                speaks.set()

    reading = asyncio.create_task(listen())
    await speaks.wait()

    started = time.monotonic()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading

    assert time.monotonic() - started < 1


def test_the_pace_is_humane_and_none_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    assert SimulatedModel().rate == 40
    monkeypatch.setenv("CI", "true")
    assert SimulatedModel().rate == 0
    monkeypatch.setenv("NBSESSION_SIMULATED_RATE", "12.5")
    assert SimulatedModel().rate == 12.5
    assert SimulatedModel(rate=3).rate == 3


def test_a_pace_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBSESSION_SIMULATED_RATE", "fast")

    with pytest.raises(ModelError, match=r"NBSESSION_SIMULATED_RATE must be a number.*'fast'"):
        SimulatedModel()


def test_a_picture_alone_is_no_question() -> None:
    context = context_of([], [Message("user", (Image("image/png", b"x", alt="a cat"),))])

    assert rule_of(context) == "no-rule-fits"


WORDS = st.sampled_from(
    [
        "add", "a", "note", "roll", "20", "dice", "search", "for", "Vienna", "in", "weather", "what", "is", "my", "name",
        "Ryan", "set", "to", "email", "x@y.org", "on", "off", "kitchen", "light", ":", ",", ".", "?", '"', "“q”", "\n",
        "2026-01-02", "from", "and", "remember", "that", "first", "terse", "<b>", "`", "(", "1e400", "9" * 30,
    ]
)  # fmt: skip
SENTENCES = st.one_of(st.text(max_size=60), st.lists(WORDS, max_size=14).map(" ".join))


@given(SENTENCES)
def test_arguments_are_made_of_the_users_words_only(sentence: str) -> None:
    for name, arguments in call_for(sentence):
        schema = next(one.spec for one in TOOLS if one.name == name).input_schema
        for key, value in arguments.items():
            options = schema["properties"][key].get("enum", ())
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, str) and item not in options:
                    assert item in sentence
                elif isinstance(item, (int, float)) and not isinstance(item, bool):
                    assert any(character.isnumeric() for character in sentence) or item in range(2, 11)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "properties", "required", "enum", "anyOf", "$ref", "items", "$defs", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
SPECS = st.builds(
    ToolSpec,
    st.sampled_from(["add_note", "x", "set_knob"]),
    st.text(max_size=20),
    st.dictionaries(st.text(max_size=3), JSON),
)
ODD_SPECS = st.builds(
    lambda properties: ToolSpec("add_note", "Keep a note.", {"properties": properties, "required": ["x"]}),
    st.dictionaries(st.sampled_from(["x", "note", ""]), JSON) | JSON,
)
BLOCKS = st.one_of(
    st.builds(Text, SENTENCES),
    st.builds(Thinking, st.text(max_size=5)),
    st.builds(Image, st.just("image/png"), st.just(b"")),
    st.builds(
        ToolCall,
        st.sampled_from("12"),
        st.just("add_note"),
        st.dictionaries(st.text(max_size=3), st.integers()),
    ),
    st.builds(
        lambda call_id, text: ToolResult(call_id, "", (Text(text),)),
        st.sampled_from("12"),
        st.text(max_size=9),
    ),
)
MESSAGES = st.builds(
    Message,
    st.sampled_from(["user", "assistant"]),
    st.lists(BLOCKS, max_size=3).map(tuple),
)


@given(
    st.lists(SENTENCES, max_size=2), st.lists(MESSAGES, max_size=5), st.lists(SPECS | ODD_SPECS, max_size=3)
)
def test_odd_contexts_get_an_answer_too(
    system: list[str], messages: list[Message], tools: list[ToolSpec]
) -> None:
    blocks = answer_blocks(context_of(system, messages, tools))

    assert isinstance(blocks[0], Thinking)
    assert len(blocks) > 1
    json.dumps([block.to_dict() for block in blocks])


def test_a_long_message_is_answered_soon() -> None:
    for text in (
        "a, " * 20_000,
        "!" * 60_000,
        "remember that " * 5_000,
        "Add a note: " + "x " * 30_000,
        "my " * 20_000,
    ):
        started = time.process_time()  # the machine may be busy with others
        answer_blocks(asking(text, tools=TOOLS, system=text[:5000]))
        assert time.process_time() - started < 5, text[:20]


async def test_the_trace_is_not_sent_again() -> None:
    session = App(Agent, model=SimulatedModel(rate=0)).session()
    await session.send("Hi")

    entry = session.timeline[-1]

    assert isinstance(entry.content[0], Thinking)
    assert not any(isinstance(block, Thinking) for block in entry_part(entry, "x").blocks)


@pytest.mark.parametrize(
    ("asked", "kind", "retryable"),
    [
        ("Simulate a rate limit", "rate_limit", True),
        ("Please fail with an overloaded server.", "overloaded", True),
        ("Hello! Now simulate a timeout.", "timeout", True),
        ("Simulate a server error", "server", True),
        ("simulate a wrong key", "authentication", False),
    ],
)
async def test_it_fails_when_it_is_asked_to(asked: str, kind: str, retryable: bool) -> None:
    for _ in range(2):
        with pytest.raises(ModelError) as caught:
            _ = [event async for event in SimulatedModel(rate=0).stream(asking(asked))]
        assert (caught.value.kind, caught.value.retryable) == (kind, retryable)
        assert "by the rule fail-on-demand: “" in str(caught.value)


async def test_it_breaks_off_in_mid_answer_and_the_session_goes_on() -> None:
    @component
    def Plain() -> list[Any]:
        return [Timeline(), add_note]

    session = App(Plain, model=SimulatedModel(rate=0)).session()
    with pytest.raises(ModelError, match="simulated broke off in mid-answer by the rule fail-on-demand"):
        await session.send("Simulate a cut connection")
    assert "breaks off in the mid" in str(session.timeline[-1])
    with pytest.raises(ModelError):
        await session.send("Simulate a rate limit")
    result = await session.send("Add a note: buy milk")
    assert [call.name for call in result.tool_calls] == ["add_note"]
    cut = await session.send("Simulate the token limit")
    assert (str(cut.stop_reason), cut.tool_calls) == ("max_tokens", [])
    refused = await session.send("Simulate a refusal.")
    assert (str(refused.stop_reason), refused.text) == ("refusal", "")
    assert refused.reason == "asked for: “Simulate a refusal.” in the question"
    await session.aclose()


@pytest.mark.parametrize(
    "asked",
    ["Did you simulate a rate limit?", "Simulate a dice roll", "What is a rate limit?", "My timeout is 3"],
)
def test_it_fails_only_when_it_is_asked_to(asked: str) -> None:
    assert "fail-on-demand" not in str(answer_blocks(asking(asked))[0])


def test_a_tool_that_simulates_is_called_and_nothing_fails() -> None:
    spec = ToolSpec("simulate_load", "Simulate load.", {"type": "object", "properties": {}})
    context = context_of([], [Message("user", (Text("Simulate a rate limit"),))], [spec])
    assert "fail-on-demand" not in str(answer_blocks(context)[0])
