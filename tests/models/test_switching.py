"""A conversation goes on with another model: what survives, and what is left out with a note."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, Model, Session, System, Timeline, User, component, tool, use_knob, use_timeline
from nbsession.components import Image as ImageElement
from nbsession.content import Document, Image, Text, ToolCall
from nbsession.errors import ModelError
from nbsession.events import ContentBlockStart
from nbsession.models import AnthropicModel, Capabilities, OpenAIModel
from nbsession.models.local_server import LocalModel
from nbsession.stores import SqlStore
from nbsession.testing import EventRecorder, ScriptedModel, call
from tests.models.test_server_tools import searched
from tests.support import fake_chat, fake_messages, rules
from tests.support.fake_messages import FakeMessages, message, text_block, thinking_block, tool_block

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from nbsession.context import CompiledContext
    from nbsession.models import ModelAdapter
    from tests.support.fake_chat import FakeChat
    from tests.support.fake_messages import Reply

CAT = Image("image/png", b"\x89PNG\r\n\x1a\ncat", alt="a cat", width=64, height=64)
PAPER = Document("application/pdf", b"%PDF", title="Paper")


@pytest.fixture
def ollama_server() -> Iterator[FakeMessages]:
    with FakeMessages() as server:
        yield server


@pytest.fixture
async def ollama(ollama_server: FakeMessages) -> AsyncIterator[AnthropicModel]:
    model = AnthropicModel("tiny", base_url=ollama_server.url, prefix="ollama", caching=False, timeout=5)
    yield model
    await model.aclose()


@pytest.fixture
async def other(messages_server: FakeMessages) -> AsyncIterator[AnthropicModel]:
    """Another model of the provider of ``live``."""
    model = AnthropicModel("claude-test-2", base_url=messages_server.url, api_key="sk-secret-1234", timeout=5)
    yield model
    await model.aclose()


@tool
def add_note(note: str) -> str:
    """Keep a note."""
    return f"Noted: {note}"


def thinking_call(words: str, id: str = "call_1") -> Reply:
    """Answer with signed thinking and a tool call."""
    return message(
        thinking_block(words, f"signed-{words}"),
        tool_block("add_note", '{"note": "x"}', id),
        stop_reason="tool_use",
    )


def thinking_text(words: str) -> Reply:
    """Answer with signed thinking and text."""
    return message(thinking_block(words, f"signed-{words}"), text_block("Done."))


def by_turns(*models: ModelAdapter) -> Any:
    """Return a component whose tree takes one model after another, and the last one from then on."""

    @component
    def Switching() -> list[Any]:
        answers = sum(entry.role == "assistant" for entry in use_timeline())
        return [
            Model(models[min(answers, len(models) - 1)]),
            System("You keep notes."),
            add_note,
            Timeline(),
        ]

    return Switching


def reasons(context: CompiledContext) -> list[str]:
    return [item.reason for item in context.withheld]


def assert_forks_compile_to_what_was_sent(session: Session) -> None:
    for tick in session.ticks:
        assert session.fork(at=tick.number, before=True).compile().hash == tick.context.hash
        assert tick.context.tokens == sum(part.tokens for part in tick.context.parts)


async def test_the_tree_switches_the_provider_in_the_middle_of_a_tool_loop(
    messages_server: FakeMessages,
    chat_server: FakeChat,
    ollama_server: FakeMessages,
    live: AnthropicModel,
    chat: OpenAIModel,
    ollama: AnthropicModel,
) -> None:
    # Every server numbers its calls alike, as some do.
    messages_server.will(thinking_call("one"), thinking_call("four"), fake_messages.text("Done."))
    chat_server.will(fake_chat.tool_call("add_note", {"note": "y"}, "call_1"))
    ollama_server.will(message(tool_block("add_note", '{"note": "z"}', "call_1"), stop_reason="tool_use"))
    session = App(by_turns(live, chat, ollama, live), model="simulated").session()
    result = await session.send("Keep notes")
    assert (str(result.stop_reason), len(result.ticks), len(result.tool_calls)) == ("end_turn", 5, 4)
    assert len({run.id for run in result.tool_calls}) == 4
    for request in messages_server.requests:
        rules.messages_api_takes(request.body)
    rules.messages_api_takes(ollama_server.requests[0].body, own_steps=False)
    rules.chat_takes(chat_server.bodies()[0])
    assert rules.thoughts(ollama_server.requests[0].body) == []
    # Back at the model that made it, behind what it was made under.
    assert [rules.thoughts(request.body) for request in messages_server.requests] == [
        [],
        ["one"],
        ["one", "four"],
    ]
    made_by = "thinking made by another model (anthropic:claude-test-1)"
    assert [reasons(tick.context) for tick in session.ticks] == [[], [made_by], [made_by], [], []]
    assert_forks_compile_to_what_was_sent(session)
    session.close()


async def test_thinking_goes_back_to_the_model_that_made_it_and_to_no_other_of_its_provider(
    messages_server: FakeMessages, live: AnthropicModel, other: AnthropicModel
) -> None:
    messages_server.will(*[thinking_text(words) for words in ("one", "two", "three", "four")])
    session = App(by_turns(live, other, live, other), model="simulated").session()
    for _ in range(4):
        await session.send("Go on")
    assert [rules.thoughts(request.body) for request in messages_server.requests] == [
        [],
        [],
        ["one"],
        ["two"],
    ]
    first = "thinking made by another model (anthropic:claude-test-1)"
    second = "thinking made by another model (anthropic:claude-test-2)"
    assert [reasons(tick.context) for tick in session.ticks] == [[], [first], [second], [first, first]]
    assert_forks_compile_to_what_was_sent(session)
    session.close()


async def test_after_a_restart_the_conversation_goes_on_with_another_provider_and_back(
    messages_server: FakeMessages,
    chat_server: FakeChat,
    live: AnthropicModel,
    chat: OpenAIModel,
    tmp_path: Path,
) -> None:
    messages_server.will(thinking_call("one", "toolu_" + "x" * 50), thinking_text("three"))
    chat_server.will(fake_chat.tool_call("add_note", {"note": "y"}, "functions.add_note:0"))
    url = f"sqlite:///{tmp_path / 'sessions.db'}"
    root = by_turns(live, chat, live)

    async def goes_on(message: str | None) -> None:
        store = SqlStore(url)
        session = App(root, model="simulated", store=store).session("s")
        execution = session.send(message, max_ticks=1) if message else session.render()
        await execution
        assert session.verify() == []
        await session.aclose()
        store.close()

    await goes_on("Keep notes")
    await goes_on("Go on")
    await goes_on("Done?")
    rules.chat_takes(chat_server.bodies()[0])
    rules.messages_api_takes(messages_server.requests[-1].body)
    assert rules.thoughts(messages_server.requests[-1].body) == ["one"]
    store = SqlStore(url)
    session = App(root, model="simulated", store=store).session("s")
    assert len(session.ticks) == 3
    assert reasons(session.ticks[1].context) == ["thinking made by another model (anthropic:claude-test-1)"]
    assert_forks_compile_to_what_was_sent(session)
    await session.aclose()
    store.close()


async def test_steps_of_a_providers_tools_and_citations_are_told_in_words_elsewhere(
    messages_server: FakeMessages, chat_server: FakeChat, live: AnthropicModel, chat: OpenAIModel
) -> None:
    messages_server.will(searched())
    session = App(by_turns(live, chat, live), model="simulated").session()
    await session.send("When is high tide?")
    await session.send("Thanks")
    await session.send("Bye")
    there = chat_server.bodies()[0]
    rules.chat_takes(there)
    assert there["messages"][2]["content"].split("\n\n") == [
        "Let me see.",
        "web_search(query='tides')",
        "Tides · https://example.org/tides",
        "At noon.",
    ]
    assert reasons(session.ticks[1].context) == [
        "openai:gpt-test-1 takes no citations",
        "openai:gpt-test-1 has no tools of its provider; their steps are sent as text",
    ]
    back = messages_server.requests[-1].body["messages"][1]["content"]
    assert [block["type"] for block in back] == ["text", "server_tool_use", "web_search_tool_result", "text"]
    assert back[-1]["citations"]
    assert reasons(session.ticks[2].context) == []
    assert_forks_compile_to_what_was_sent(session)
    session.close()


class Bare(ScriptedModel):
    """A scripted model that takes no more than ``can``."""

    def __init__(self, can: Capabilities, *responses: Any) -> None:
        super().__init__(*responses)
        self.can = can

    @property
    def name(self) -> str:
        return "scripted:bare"

    @property
    def capabilities(self) -> Capabilities:
        return self.can


TEXT_ONLY = Capabilities(images=False, documents=False)


async def test_pictures_of_the_past_are_named_to_a_model_that_takes_none() -> None:
    seeing, bare = ScriptedModel("A cat.", "A cat, as I said."), Bare(TEXT_ONLY, "You showed a cat.")
    session = App(by_turns(seeing, bare, seeing), model="simulated").session()
    await session.send(["What is this?", CAT, PAPER])
    await session.send("What was it?")
    await session.send("And now?")
    context = session.ticks[1].context
    assert context.messages[0].text == "What is this?\n\n[image: a cat]\n\n[document: Paper]"
    assert [(item.reason, item.text) for item in context.withheld] == [
        ("scripted:bare takes no documents", "[document: Paper]"),
        ("scripted:bare takes no images", "[image: a cat]"),
    ]
    assert sum(item.tokens for item in context.withheld) > 0
    assert CAT in session.ticks[2].context.messages[0].content
    assert_forks_compile_to_what_was_sent(session)
    session.close()


async def test_a_picture_in_the_message_that_is_sent_is_an_error_with_its_remedy_once() -> None:
    session = App(by_turns(Bare(TEXT_ONLY, "So tell me.")), model="simulated").session()
    with pytest.raises(
        ModelError,
        match=r"^scripted:bare takes no images, and the context has \[image: a cat\]; choose another model",
    ):
        await session.send(["Look", CAT])
    assert session.ticks == []
    assert session.compile(["Look", CAT]).messages[0].content[-1] == CAT
    # The session is not stuck on it: what was not seen is named from then on.
    assert (await session.send("It was a cat")).text == "So tell me."
    assert reasons(session.ticks[0].context) == ["scripted:bare takes no images"]
    session.close()


async def test_a_picture_in_the_tree_is_an_error_at_every_tick() -> None:
    @component
    def Showing() -> list[Any]:
        return [User("This is it:", ImageElement(CAT)), Timeline()]

    session = App(Showing, model=Bare(TEXT_ONLY, "a", "b")).session()
    for _ in range(2):
        with pytest.raises(ModelError, match=r"takes no images, and the context has \[image: a cat\]"):
            await session.send("Look")
    session.close()


async def test_a_picture_that_a_tool_gives_to_a_model_that_takes_none_is_named_to_it() -> None:
    @tool
    def draw() -> Image:
        """Draw."""
        return CAT

    model = Bare(TEXT_ONLY, call("draw"), "I cannot see it.")

    @component
    def Painter() -> list[Any]:
        return [draw, Timeline()]

    session = App(Painter, model=model).session()
    assert (await session.send("Draw a cat")).text == "I cannot see it."
    [result] = model.contexts[1].messages[-1].content
    assert "[image: a cat]" in result.text  # type: ignore[union-attr]  # a tool's result
    assert reasons(model.contexts[1]) == ["scripted:bare takes no images"]
    assert CAT in session.timeline[2].content[0].content  # type: ignore[union-attr]
    session.close()


async def test_a_picture_a_seeing_model_began_with_is_named_to_the_one_that_goes_on() -> None:
    seeing, bare = ScriptedModel(call("add_note", note="cat")), Bare(TEXT_ONLY, "Noted.")
    session = App(by_turns(seeing, bare), model="simulated").session()
    assert (await session.send(["Note what this is", CAT])).text == "Noted."
    assert reasons(session.ticks[1].context) == ["scripted:bare takes no images"]
    assert_forks_compile_to_what_was_sent(session)
    session.close()


async def test_calls_of_the_past_are_told_in_words_to_a_model_without_tools() -> None:
    handy = True

    @component
    def Handy() -> list[Any]:
        use_timeline()
        return [handy and add_note, Timeline()]

    session = App(Handy, model=ScriptedModel(call("add_note", note="x"), "Done.")).session()
    await session.send("Keep a note")
    bare = Bare(Capabilities(tools=False), "You had me keep a note.")
    with pytest.raises(ModelError, match="scripted:bare takes no tools, and the context has add_note"):
        await session.send("What did I want?", model=bare)
    handy = False
    assert (await session.send("What was that?", model=bare)).text == "You had me keep a note."
    [context] = bare.contexts
    assert [message.text for message in context.messages[:3]] == [
        "Keep a note",
        "[called add_note(note='x')]",
        "[add_note gave: Noted: x]",
    ]
    assert set(reasons(context)) == {"scripted:bare takes no tools; calls and results are sent as text"}
    assert session.fork(at=-1, before=True).compile(model=bare).hash == context.hash
    session.close()


async def test_a_text_only_local_model_takes_over_end_to_end(
    messages_server: FakeMessages, ollama_server: FakeMessages, live: AnthropicModel
) -> None:
    local = LocalModel("ollama:tiny", ollama_server.url, TEXT_ONLY)
    session = App(by_turns(live, local), model="simulated").session()
    await session.send(["What is this?", CAT])
    await session.send("And?")
    rules.messages_api_takes(ollama_server.requests[0].body, own_steps=False)
    assert "[image: a cat]" in str(ollama_server.requests[0].body)
    assert "base64" not in str(ollama_server.requests[0].body)
    session.close()


async def test_a_local_model_that_is_only_named_is_asked_what_it_takes_before_the_context_is_compiled(
    ollama_server: FakeMessages, live: AnthropicModel
) -> None:
    ollama_server.pages["/api/show"] = lambda _: {"capabilities": ["completion", "tools"]}
    ollama_server.pages["/api/tags"] = {"models": [{"name": "tiny"}]}
    local = LocalModel("ollama:tiny", ollama_server.url)
    session = App(by_turns(live, local), model="simulated").session()
    await session.send(["What is this?", CAT])
    assert (await session.send("And?")).text
    sent = ollama_server.requests[-1].body
    assert "[image: a cat]" in str(sent)
    assert reasons(session.ticks[1].context) == ["ollama:tiny takes no images"]
    assert_forks_compile_to_what_was_sent(session)
    await local.aclose()
    session.close()


@pytest.mark.parametrize("ids", [["", ""], ["a", "a"], ["functions.x:0", "päng"], ["x" * 65, "x" * 65]])
async def test_calls_get_ids_that_are_plain_and_differ(ids: Sequence[str]) -> None:
    calls = [ToolCall(given, "add_note", {"note": given}) for given in ids]

    model = ScriptedModel(list(calls), list(calls), "Done.")
    session = App(by_turns(model), model=model).session()
    execution = session.send("Keep two notes, twice")
    result = await execution
    settled = [run.id for run in result.tool_calls]
    assert len(set(settled)) == 4
    assert all(rules.PLAIN.fullmatch(one) and len(one) <= 64 for one in settled)
    given = [
        block.call_id for entry in session.timeline for block in entry.content if hasattr(block, "call_id")
    ]
    assert given == settled
    begun = (await EventRecorder().record(execution)).of(ContentBlockStart)
    assert [event.id for event in begun if event.block == "tool_call"] == settled
    session.close()


async def test_a_preview_is_compiled_for_the_model_that_a_knob_would_choose() -> None:
    bare = Bare(TEXT_ONLY, "b")
    seeing = ScriptedModel("a")

    @component
    def Choosing() -> list[Any]:
        eyes, _ = use_knob("eyes", True)
        return [Model(seeing if eyes else bare), Timeline()]

    session = App(Choosing, model="simulated").session()
    await session.send(["Look", CAT])
    preview = session.preview(eyes=False)
    assert reasons(preview.context) == ["scripted:bare takes no images"]
    assert preview.diff
    assert not session.preview(eyes=True).diff
    assert Text("Look") in session.compile().messages[0].content
    session.close()
