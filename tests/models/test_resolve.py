from __future__ import annotations

import typing

import pytest

import nbsession.models
from nbsession.errors import ModelError
from nbsession.models import (
    AnthropicModel,
    LocalModel,
    RecordedModel,
    SimulatedModel,
    default_model,
    resolve,
)
from nbsession.models.names import DEFAULT_ANTHROPIC_ID
from nbsession.usage import window_of


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("anthropic:claude-new-9", "anthropic:claude-new-9"),
        ("claude-new-9", "anthropic:claude-new-9"),
        (" anthropic:claude-new-9 ", "anthropic:claude-new-9"),
    ],
)
def test_a_name_finds_a_live_model(name: str, full: str) -> None:
    model = resolve(name)
    assert isinstance(model, AnthropicModel)
    assert (model.name, model.source) == (full, "live")


def test_a_name_finds_a_model_on_this_machine_and_asks_nobody() -> None:
    model = resolve("ollama:qwen3:8b")
    assert isinstance(model, LocalModel)
    assert (model.name, model.source) == ("ollama:qwen3:8b", "live")
    assert repr(model) == "<LocalModel ollama:qwen3:8b at http://localhost:11434, not asked yet>"


def test_a_live_model_is_one_adapter_however_often_it_is_named() -> None:
    assert resolve("claude-new-9") is resolve("anthropic:claude-new-9")


def test_a_file_of_recordings_is_found_by_its_path() -> None:
    model = resolve("recorded:tapes/first.jsonl")
    assert isinstance(model, RecordedModel)
    assert (model.name, model.source) == ("recorded:tapes/first.jsonl", "recorded")


def test_an_adapter_stands_for_itself() -> None:
    model = AnthropicModel("claude-new-9")
    assert resolve(model) is model


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("openai:", "is not a whole model name; write 'openai:<id>'"),
        ("recorded:", "write 'recorded:<path>'"),
        ("anthropic", "is not a whole model name; write 'anthropic:<id>'"),
        ("ollama:", "write 'ollama:<id>'"),
        ("antropic:claude-new-9", r"did you mean 'anthropic:claude-new-9'\?"),
        ("Openia:gpt-4", r"did you mean 'openai:gpt-4'\?"),
        ("olama:", r"did you mean 'ollama:<id>'\?"),
        ("recoded:a/b.jsonl", r"did you mean 'recorded:a/b.jsonl'\?"),
        ("simulatd:x", r"did you mean 'simulated'\?"),
        ("simulatd", r"did you mean 'simulated'"),
        ("llama3", "no model is named 'llama3'; there are 'anthropic:<id>'"),
        ("gpt-4", "no model is named 'gpt-4'; did you mean 'openai:gpt-4'"),
        (
            "wizard",
            "no model is named 'wizard'; there are 'anthropic:<id>', 'openai:<id>', 'ollama:<id>', 'llama",
        ),
        ("", "a model's name is empty"),
    ],
)
def test_a_name_of_no_model_says_which_there_are(name: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        resolve(name)


def test_what_is_neither_name_nor_adapter_is_refused() -> None:
    with pytest.raises(ModelError, match="got int: 3"):
        resolve(3)  # type: ignore[arg-type]  # on purpose


def test_simulated_is_found_and_is_the_default_without_a_key() -> None:
    assert isinstance(resolve("simulated"), SimulatedModel)
    assert (default_model().name, default_model().source) == ("simulated", "simulated")


def test_with_a_key_the_default_is_a_current_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-x")
    assert default_model().name == f"anthropic:{DEFAULT_ANTHROPIC_ID}"


def test_the_default_is_known_to_the_sdk_and_not_deprecated() -> None:
    from anthropic.resources.messages import messages
    from anthropic.types import Model

    known = typing.get_args(typing.get_args(Model)[0])
    assert DEFAULT_ANTHROPIC_ID in known
    assert DEFAULT_ANTHROPIC_ID not in vars(messages)["DEPRECATED_MODELS"]
    assert window_of(DEFAULT_ANTHROPIC_ID)


def test_the_environment_chooses_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-x")
    monkeypatch.setenv("NBSESSION_MODEL", "ollama:tiny")
    assert default_model().name == "ollama:tiny"


def test_a_wrong_choice_in_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBSESSION_MODEL", "gpt")
    with pytest.raises(ModelError, match="NBSESSION_MODEL: no model is named 'gpt'"):
        default_model()


def test_the_public_names_are_there_and_no_others() -> None:
    assert set(nbsession.models.__all__) <= set(dir(nbsession.models))
    assert nbsession.models.AnthropicModel is AnthropicModel
    with pytest.raises(AttributeError, match="no attribute 'GptModel'"):
        nbsession.models.GptModel  # noqa: B018  # looking is the test
