"""The model that a context is compiled for, as far as the compile needs to know it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model takes.

    A context is compiled for it: old pictures and documents, tool calls and steps of
    a provider's own tools that it does not take are put into words, and said so.
    ``server_tools`` says that its provider runs tools itself, and takes their steps and
    citations back as they came; ``output`` that it can be held to a JSON schema. ``window`` is in tokens, ``None`` where it is not known.
    """

    tools: bool = True
    images: bool = True
    documents: bool = True
    server_tools: bool = False
    output: bool = True
    window: int | None = None


class Target(Protocol):
    """A model with a name and what it takes; every ``ModelAdapter`` is one."""

    @property
    def name(self) -> str:
        """What the user wrote to choose it."""

    @property
    def capabilities(self) -> Capabilities:
        """What it takes."""
