"""OpenAI's models, and all that speak its chat completions: the adapter, its request and its stream."""

from nbsession.models.openai.model import OpenAIModel

__all__ = ["OpenAIModel"]
