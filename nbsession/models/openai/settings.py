"""What both of OpenAI's APIs make of a tree's settings."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from nbsession.errors import ModelError, did_you_mean
from nbsession.models.media import base64_of
from nbsession.models.openai.strict_schema import strict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LONGEST_ID = 40


def given_settings(
    settings: Mapping[str, Any], known: Sequence[str], model: str, *, elsewhere: str = ""
) -> dict[str, Any]:
    """Return the settings that have a value; ``ModelError`` for one that is not ``known`` or makes no sense.

    ``elsewhere`` says where a setting that is not known here might be.
    """
    for name, value in settings.items():
        if name not in known:
            raise ModelError(
                f"{model} has no setting {name!r}, got {value!r}{did_you_mean(name, known)}{elsewhere}",
                kind="request",
            )
        if name == "max_tokens" and value is not None and (type(value) is not int or value < 1):
            raise ModelError(
                f"max_tokens for {model} must be a positive whole number, got {value!r}", kind="request"
            )
    return {name: value for name, value in settings.items() if value is not None}


def schema_of(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of an answer under its name, strict where it has a strict form."""
    exact = strict(schema)
    return {"name": "output", "schema": schema if exact is None else exact, "strict": exact is not None}


def data_url(media_type: str, data: bytes) -> str:
    """Write bytes as a URL."""
    return f"data:{media_type};base64,{base64_of(data)}"


def file_name(title: str) -> str:
    """Return the name under which a PDF is sent."""
    name = title or "document"
    return name if name.endswith(".pdf") else f"{name}.pdf"


def call_id(identifier: str) -> str:
    """Return a call's id as it may be sent: those of other providers may be longer than these APIs take."""
    if len(identifier) <= _LONGEST_ID:
        return identifier
    return "call_" + hashlib.sha256(identifier.encode()).hexdigest()[:32]
