"""The models: the contract, those that come with the package, and how a name finds one.

Nothing of a provider is loaded before one of its models is asked for.
"""

from __future__ import annotations

import functools
import importlib
import os
from typing import TYPE_CHECKING, Any

from nbsession.errors import ModelError, did_you_mean
from nbsession.models.base import Capabilities, ModelAdapter

if TYPE_CHECKING:
    from nbsession.models.anthropic import AnthropicModel
    from nbsession.models.loopback import LocalModel, local
    from nbsession.models.openai import OpenAIModel
    from nbsession.models.recorded import RecordedModel
    from nbsession.models.simulated import SimulatedModel

__all__ = [
    "AnthropicModel",
    "Capabilities",
    "LocalModel",
    "ModelAdapter",
    "OpenAIModel",
    "RecordedModel",
    "SimulatedModel",
    "default_model",
    "local",
    "resolve",
]

DEFAULT_ANTHROPIC_ID = "claude-sonnet-5-5"
"""The model that is used where a key is set and no model is named."""

LOCAL_PORTS = {"ollama": 11434, "llamacpp": 8080, "lmstudio": 1234, "vllm": 8000}
"""The ports on which servers of this machine listen by default; their names are prefixes of models."""

_HOMES = {
    "AnthropicModel": "nbsession.models.anthropic",
    "OpenAIModel": "nbsession.models.openai",
    "RecordedModel": "nbsession.models.recorded",
    "SimulatedModel": "nbsession.models.simulated",
    "LocalModel": "nbsession.models.loopback",
    "local": "nbsession.models.loopback",
}
FORMS = (
    "anthropic:<id>",
    "openai:<id>",
    *(f"{prefix}:<id>" for prefix in LOCAL_PORTS),
    "simulated",
    "recorded:<path>",
)
"""What ``resolve`` takes."""

_PREFIXES = ("anthropic", "openai", *LOCAL_PORTS, "simulated", "recorded")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def resolve(model: str | ModelAdapter) -> ModelAdapter:
    """Return the model that a name stands for; an adapter is returned as it is.

    Names are ``"anthropic:<id>"`` (a bare ``"claude-…"`` is short for it),
    ``"openai:<id>"``; ``"ollama:<id>"``, ``"llamacpp:<id>"``, ``"lmstudio:<id>"`` and
    ``"vllm:<id>"`` for a model that such a server on this machine offers at its usual
    port (``local()`` lists them), which is asked what the model takes when it is first used;
    ``"simulated"``; and ``"recorded:<path>"``, which
    replays a file of recordings. One name of a live model always gives the same
    adapter, so that its connections are used again. Nothing is loaded or sent yet: a
    missing key is found by the first request. Raises ``ModelError`` for any other
    name, and where a provider's package is not installed.
    """
    if not isinstance(model, str):
        if isinstance(model, ModelAdapter):
            return model
        raise ModelError(
            f"a model is a name ({_listed()}) or an adapter with stream(), got {type(model).__name__}: {model!r}",
            kind="request",
        )
    name = model.strip()
    if name == "simulated":
        from nbsession.models.simulated import SimulatedModel

        return SimulatedModel()
    prefix, colon, identifier = name.partition(":")
    if not colon and name.startswith("claude-"):
        return _live("anthropic", name)
    if prefix == "recorded" and identifier:
        return _recorded(identifier)
    if prefix in ("anthropic", "openai", *LOCAL_PORTS) and identifier:
        return _live(prefix, identifier)
    raise ModelError(_refusal(name, prefix), kind="request")


def default_model() -> ModelAdapter:
    """Return the model to use where none is named.

    That is ``$NBSESSION_MODEL``, else an Anthropic model if ``ANTHROPIC_API_KEY``
    is set, else ``"simulated"``; its ``name`` and ``source`` say which. Raises
    ``ModelError`` if the variable names no model.
    """
    if named := os.environ.get("NBSESSION_MODEL", "").strip():
        try:
            return resolve(named)
        except ModelError as error:
            raise ModelError(f"NBSESSION_MODEL: {error}", kind=error.kind) from error
    if os.environ.get("ANTHROPIC_API_KEY", "").strip():
        return resolve(f"anthropic:{DEFAULT_ANTHROPIC_ID}")
    return resolve("simulated")


@functools.lru_cache(maxsize=32)
def _live(prefix: str, identifier: str) -> ModelAdapter:
    if prefix == "openai":
        from nbsession.models.openai import OpenAIModel

        return OpenAIModel(identifier)
    if prefix in LOCAL_PORTS:
        from nbsession.models.loopback import LocalModel

        return LocalModel(f"{prefix}:{identifier}", f"http://localhost:{LOCAL_PORTS[prefix]}")
    from nbsession.models.anthropic import AnthropicModel

    return AnthropicModel(identifier)


@functools.lru_cache(maxsize=32)
def _recorded(path: str) -> ModelAdapter:
    from nbsession.models.recorded import RecordedModel

    return RecordedModel(path)


def _refusal(name: str, prefix: str) -> str:
    if prefix in _PREFIXES:
        form = next(form for form in FORMS if form.startswith(prefix))
        return f"{name!r} is not a whole model name; write {form!r}"
    if not name:
        return f"a model's name is empty; there are {_listed()}"
    if name.startswith("gpt-"):
        return f"no model is named {name!r}; did you mean 'openai:{name}'?"
    # Of an id without its provider ("llama3") no provider is to be guessed.
    guess = did_you_mean(prefix, _PREFIXES if prefix != name else ("simulated",))
    hint = guess if "did you mean" in guess else f"; there are {_listed()}, or pass an adapter"
    return f"no model is named {name!r}{hint}"


def _listed() -> str:
    return ", ".join(repr(form) for form in FORMS)
