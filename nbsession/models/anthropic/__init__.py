"""Anthropic's models: the adapter, its request, its stream, and the tools that run on its servers."""

from nbsession.models.anthropic.model import AnthropicModel

__all__ = ["AnthropicModel"]
