"""The names that stand for models, and those that need nothing but a provider to be found.

Nothing of a provider is loaded before one of its models is asked for.
"""

from __future__ import annotations

import functools
import os

from nbsession.errors import ModelError, nearest
from nbsession.models.base import ModelAdapter
from nbsession.models.endpoint import LOCAL_PORTS

DEFAULT_ANTHROPIC_ID = "claude-sonnet-5-5"
"""The model that is used where a key is set and no model is named."""

FORMS = (
    "anthropic:<id>",
    "openai:<id>",
    *(f"{prefix}:<id>" for prefix in LOCAL_PORTS),
    "simulated",
    "recorded:<path>",
)
"""What ``resolve`` takes."""

PREFIXES = ("anthropic", "openai", *LOCAL_PORTS, "simulated", "recorded")


def named(model: str | ModelAdapter) -> ModelAdapter:
    """Return the model that a name stands for, as ``resolve`` does, but for ``"recorded:<path>"``.

    Raises ``ModelError`` for what is no name of a model, or no adapter.
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
        from nbsession.models.simulated.model import SimulatedModel

        return SimulatedModel()
    prefix, colon, identifier = name.partition(":")
    if not colon and name.startswith("claude-"):
        return _live("anthropic", name)
    if prefix in ("anthropic", "openai", *LOCAL_PORTS) and identifier:
        return _live(prefix, identifier)
    raise ModelError(_refusal(name, prefix, identifier.strip()), kind="request")


def default_name() -> str:
    """Return the name of the model to use where none is named; see ``default_model``."""
    if named := os.environ.get("NBSESSION_MODEL", "").strip():
        return named
    return (
        f"anthropic:{DEFAULT_ANTHROPIC_ID}"
        if os.environ.get("ANTHROPIC_API_KEY", "").strip()
        else "simulated"
    )


@functools.lru_cache(maxsize=32)
def _live(prefix: str, identifier: str) -> ModelAdapter:
    if prefix == "openai":
        from nbsession.models.openai.model import OpenAIModel

        return OpenAIModel(identifier)
    if prefix in LOCAL_PORTS:
        from nbsession.models.local_server import LocalModel

        return LocalModel(f"{prefix}:{identifier}", f"http://localhost:{LOCAL_PORTS[prefix]}")
    from nbsession.models.anthropic.model import AnthropicModel

    return AnthropicModel(identifier)


def _refusal(name: str, prefix: str, identifier: str) -> str:
    if prefix in PREFIXES:
        form = next(form for form in FORMS if form.startswith(prefix))
        return f"{name!r} is not a whole model name; write {form!r}"
    if not name:
        return f"a model's name is empty; there are {_listed()}"
    if name.startswith("gpt-"):
        return f"no model is named {name!r}; did you mean 'openai:{name}'?"
    # Of an id without its provider ("llama3") no provider is to be guessed.
    near = nearest(prefix, PREFIXES if prefix != name else ("simulated",))
    if near is None:
        return f"no model is named {name!r}; there are {_listed()}, or pass an adapter"
    form = next(form for form in FORMS if form.startswith(near))
    meant = f"{near}:{identifier}" if identifier and ":" in form else form
    return f"no model is named {name!r}; did you mean {meant!r}?"


def _listed() -> str:
    return ", ".join(repr(form) for form in FORMS)
