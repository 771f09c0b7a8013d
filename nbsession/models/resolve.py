"""What a name stands for: any model, recordings included, and the one where none is named."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nbsession.errors import ModelError
from nbsession.models.names import default_name, named

if TYPE_CHECKING:
    from nbsession.models.base import ModelAdapter


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
    if isinstance(model, str):
        prefix, _, path = model.strip().partition(":")
        if prefix == "recorded" and path:
            return _recorded(path)
    return named(model)


def default_model() -> ModelAdapter:
    """Return the model to use where none is named.

    That is ``$NBSESSION_MODEL``, else an Anthropic model if ``ANTHROPIC_API_KEY``
    is set, else ``"simulated"``; its ``name`` and ``source`` say which. Raises
    ``ModelError`` if the variable names no model.
    """
    name = default_name()
    try:
        return resolve(name)
    except ModelError as error:
        if name == os.environ.get("NBSESSION_MODEL", "").strip():
            raise ModelError(f"NBSESSION_MODEL: {error}", kind=error.kind) from error
        raise


def chooser(
    asked: ModelAdapter | None, own: Callable[[], ModelAdapter | None]
) -> Callable[[Any], ModelAdapter]:
    """Return how the model of a tick is chosen, given the tree's choice or ``None``.

    First ``asked``, then the tree's, then what ``own`` gives, then the environment's.
    """

    def choose(in_tree: Any) -> ModelAdapter:
        if asked is not None:
            return asked
        if in_tree is not None:
            return resolve(in_tree)
        model = own()
        return default_model() if model is None else model

    return choose


@functools.lru_cache(maxsize=32)
def _recorded(path: str) -> ModelAdapter:
    from nbsession.models.recorded import RecordedModel

    return RecordedModel(path)
