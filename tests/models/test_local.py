from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, Timeline, component, tool
from nbsession.content import Document, Image, Message, Text, ToolSpec
from nbsession.context import CompiledContext, context_of
from nbsession.errors import ModelError
from nbsession.models import Capabilities, LocalModel, ModelAdapter, local, names, resolve
from nbsession.models.endpoint import LOCAL_PORTS
from nbsession.usage import Usage, cost
from tests.support.fake_messages import FakeMessages, status, text

if TYPE_CHECKING:
    from collections.abc import Iterator

SHOWN: dict[str, dict[str, Any]] = {
    "qwen:8b": {
        "capabilities": ["completion", "tools", "vision"],
        "parameters": "num_ctx    32768\nstop   x",
    },
    "tiny": {"capabilities": ["completion"]},
    "old": {},
    "embedder": {"capabilities": ["embedding"]},
}


@pytest.fixture
def server() -> Iterator[FakeMessages]:
    with FakeMessages() as server:
        yield server


@pytest.fixture
def closed_port() -> Iterator[int]:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: refused
        yield held.getsockname()[1]


def ask(server: FakeMessages, prefix: str, closed_port: int) -> list[LocalModel]:
    """Find what one server offers, with all others shut."""
    shut = dict.fromkeys(LOCAL_PORTS, closed_port)
    return local(ports={**shut, prefix: port_of(server)})


def port_of(server: FakeMessages) -> int:
    return int(server.url.rpartition(":")[2])


def offers(models: list[LocalModel]) -> dict[str, Capabilities]:
    return {model.name: model.capabilities for model in models}


def context(*blocks: Any, tools: tuple[ToolSpec, ...] = ()) -> CompiledContext:
    return context_of([], [Message("user", blocks or (Text("Hi"),))], tools)


def test_ollama_says_what_each_of_its_models_takes(server: FakeMessages, closed_port: int) -> None:
    server.pages["/api/tags"] = {"models": [{"name": name} for name in SHOWN]}
    server.pages["/api/show"] = lambda body: SHOWN[body["model"]]
    models = ask(server, "ollama", closed_port)
    assert offers(models) == {
        "ollama:qwen:8b": Capabilities(documents=False, window=32768),
        "ollama:tiny": Capabilities(tools=False, images=False, documents=False),
        "ollama:old": Capabilities(documents=False),
    }
    assert repr(models[0]) == (
        f"<LocalModel ollama:qwen:8b at {server.url}, tools, images, window 32,768 tokens>"
    )


def test_a_server_of_llamacpp_says_what_it_was_started_with(server: FakeMessages, closed_port: int) -> None:
    server.pages["/v1/models"] = {"data": [{"id": "gemma", "owned_by": "llamacpp"}]}
    server.pages["/props"] = {
        "default_generation_settings": {"n_ctx": 8192},
        "modalities": {"vision": True, "audio": False},
        "chat_template_caps": {"supports_tools": False},
    }
    assert offers(ask(server, "llamacpp", closed_port)) == {
        "llamacpp:gemma": Capabilities(tools=False, documents=False, window=8192)
    }


def test_lm_studio_offers_what_is_there_to_talk_to(server: FakeMessages, closed_port: int) -> None:
    loaded = [{"id": "gpt-oss", "config": {"context_length": 4096}}]
    server.pages["/api/v1/models"] = {
        "models": [
            {
                "type": "llm",
                "key": "openai/gpt-oss",
                "loaded_instances": loaded,
                "max_context_length": 131072,
            },
            {"type": "llm", "key": "gemma", "loaded_instances": [], "capabilities": {"vision": True}},
            {"type": "embedding", "key": "nomic"},
        ]
    }
    assert offers(ask(server, "lmstudio", closed_port)) == {
        "lmstudio:openai/gpt-oss": Capabilities(images=False, documents=False, window=4096),
        "lmstudio:gemma": Capabilities(documents=False),
    }


def test_vllm_says_how_long_a_context_it_takes(server: FakeMessages, closed_port: int) -> None:
    server.pages["/v1/models"] = {"data": [{"id": "org/model", "owned_by": "vllm", "max_model_len": 2048}]}
    assert offers(ask(server, "vllm", closed_port)) == {
        "vllm:org/model": Capabilities(documents=False, window=2048)
    }


def test_nothing_answers_where_nothing_listens(closed_port: int) -> None:
    assert local(ports=dict.fromkeys(LOCAL_PORTS, closed_port)) == []


@pytest.mark.parametrize(
    "page",
    [
        {"data": [{"id": "m", "owned_by": "somebody"}]},
        {"data": None},
        {"models": "many"},
        {"models": [{"type": 1}]},
        ["a", "list"],
        "words",
    ],
)
@pytest.mark.parametrize("prefix", LOCAL_PORTS)
def test_something_else_at_the_port_is_no_model(
    server: FakeMessages, closed_port: int, prefix: str, page: Any
) -> None:
    server.pages.update(dict.fromkeys(("/v1/models", "/api/tags", "/api/v1/models"), page))
    assert ask(server, prefix, closed_port) == []


def test_a_server_that_is_silent_is_given_up(closed_port: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        shut = dict.fromkeys(LOCAL_PORTS, closed_port)
        assert local(ports={**shut, "vllm": silent.getsockname()[1]}, timeout=0.05) == []


def test_a_server_that_is_not_known_is_named() -> None:
    with pytest.raises(ValueError, match="no local server is named 'olama'; did you mean 'ollama'"):
        local(ports={"olama": 1})


@pytest.mark.parametrize("wrong", ["8081", "http://localhost:8081", 0, 65536, 80.5])
def test_what_is_no_port_is_refused_before_anything_is_asked(wrong: Any) -> None:
    with pytest.raises(
        ValueError, match="the port of 'llamacpp' must be a whole number from 1 to 65535, got "
    ):
        local(ports={"llamacpp": wrong})


@pytest.mark.parametrize("prefix", LOCAL_PORTS)
def test_each_kind_of_server_has_names_and_costs_nothing(prefix: str) -> None:
    model = resolve(f"{prefix}:org/model:8b")
    assert (model.name, model.source) == (f"{prefix}:org/model:8b", "live")
    assert cost(model.name, Usage(1000, 1000)) == 0.0


@component
def Notepad() -> list[Any]:
    return [add_note, Timeline()]


@tool
def add_note(note: str) -> str:
    """Keep a note."""
    return f"Noted: {note}"


async def test_a_model_that_was_listed_answers(server: FakeMessages) -> None:
    server.will(text("Here I am."))
    model = LocalModel("vllm:org/model", server.url, Capabilities(window=2048))
    assert isinstance(model, ModelAdapter)
    session = App(Notepad, model=model).session()
    result = await session.send("Hi")
    session.close()
    assert (result.text, result.source, result.cost) == ("Here I am.", "live", 0.0)
    [sent] = server.requests
    assert (sent.body["model"], sent.body["max_tokens"]) == ("org/model", 1024)
    assert "cache_control" not in str(sent.body)


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (
            context(tools=(ToolSpec("add_note", "", {}), ToolSpec("expand", "", {}))),
            "no tools, and the context has add_note, expand",
        ),
        (context(Image("image/png", b"x", alt="a cat")), r"no images, and the context has \[image: a cat\]"),
        (
            context(Document("application/pdf", b"x", title="Paper")),
            r"no documents, and the context has \[document: Paper\]",
        ),
    ],
)
async def test_what_a_model_does_not_take_is_said_before_anything_is_sent(
    server: FakeMessages, sent: CompiledContext, said: str
) -> None:
    bare = Capabilities(tools=False, images=False, documents=False)
    model = LocalModel("ollama:tiny", server.url, bare)
    with pytest.raises(ModelError, match=f"ollama:tiny takes {said}; choose another model"):
        async for _ in model.stream(sent):
            pass
    assert server.requests == []


@pytest.fixture
def ollama(server: FakeMessages, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeMessages]:
    """Ollama at the port where a name looks for it."""
    server.pages["/api/show"] = lambda body: SHOWN[body["model"]]
    monkeypatch.setitem(LOCAL_PORTS, "ollama", port_of(server))
    names._live.cache_clear()
    yield server
    names._live.cache_clear()


async def collected(model: ModelAdapter, sent: CompiledContext) -> list[Any]:
    return [event async for event in model.stream(sent)]


async def test_a_model_that_was_named_is_asked_about_when_it_is_first_used(ollama: FakeMessages) -> None:
    model = resolve("ollama:tiny")
    assert ollama.requests == []
    with pytest.raises(ModelError, match="ollama:tiny takes no tools, and the context has add_note; choose"):
        await collected(model, context(tools=(ToolSpec("add_note", "", {}),)))
    assert [request.path for request in ollama.requests] == ["/api/show"]


async def test_what_a_server_said_of_a_model_holds_until_it_fails(ollama: FakeMessages) -> None:
    model = resolve("ollama:qwen:8b")
    ollama.will(text("Here I am."), text("Still here."), status(400), text("Again."))
    for _ in range(2):
        await collected(model, context())
    assert model.capabilities == Capabilities(documents=False, window=32768)
    with pytest.raises(ModelError):
        await collected(model, context())
    await collected(model, context())
    asked = [request.path for request in ollama.requests]
    messages = "/v1/messages"
    assert asked[:3] == ["/api/show", messages, messages]
    assert asked[-2:] == ["/api/show", messages]
    assert ollama.requests[1].body["max_tokens"] == 16_384
    assert isinstance(model, LocalModel)
    await model.aclose()


async def test_a_server_that_does_not_say_what_its_model_takes_is_asked_to_answer(
    server: FakeMessages,
) -> None:
    server.will(text("Here I am."))
    model = LocalModel("vllm:org/model", server.url)
    assert str(await collected(model, context(Image("image/png", b"x")))).count("Here I am.") == 1
    assert model.capabilities == Capabilities(documents=False)
    await model.aclose()


async def test_a_server_of_llamacpp_has_one_model_whatever_it_is_called_by(server: FakeMessages) -> None:
    server.pages["/v1/models"] = {"data": [{"id": "gemma", "owned_by": "llamacpp"}]}
    server.pages["/props"] = {"default_generation_settings": {"n_ctx": 8192}}
    model = LocalModel("llamacpp:default", server.url)
    await collected(model, context())
    assert model.capabilities == Capabilities(images=False, documents=False, window=8192)
    await model.aclose()


async def test_a_model_that_is_not_there_is_named_with_what_to_do(
    ollama: FakeMessages, closed_port: int
) -> None:
    ollama.pages.clear()
    ollama.will(*[status(404, "not_found_error", "model 'nix' not found")] * 2)
    with pytest.raises(
        ModelError, match=r"ollama:nix is not known where it was asked for .*; check the model's id"
    ):
        await collected(resolve("ollama:nix"), context())
    gone = LocalModel("ollama:qwen", f"http://localhost:{closed_port}")
    with pytest.raises(
        ModelError, match=rf"could not be reached at localhost:{closed_port}; check that it runs"
    ):
        await collected(gone, context())
    await gone.aclose()
