"""The models: the contract, those that come with the package, and how a name finds one.

Nothing of a provider is loaded before one of its models is asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nbsession.context import Capabilities
from nbsession.models.base import ModelAdapter, request_for
from nbsession.models.resolve import default_model, resolve

if TYPE_CHECKING:
    from nbsession.models.anthropic.model import AnthropicModel
    from nbsession.models.local_server import LocalModel, local
    from nbsession.models.openai.model import OpenAIModel
    from nbsession.models.recorded import RecordedModel
    from nbsession.models.simulated.model import SimulatedModel

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
    "request_for",
    "resolve",
]

_HOMES = {
    "AnthropicModel": "nbsession.models.anthropic.model",
    "OpenAIModel": "nbsession.models.openai.model",
    "RecordedModel": "nbsession.models.recorded",
    "SimulatedModel": "nbsession.models.simulated.model",
    "LocalModel": "nbsession.models.local_server",
    "local": "nbsession.models.local_server",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
