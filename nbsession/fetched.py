"""Fetched data as kept state: what it was fetched for, and how pydantic models come back."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from nbsession.errors import SessionError
from nbsession.state import encode


def comparable(deps: tuple[Any, ...]) -> Any:
    """Return dependencies as JSON data, so that they compare the same after a restart.

    Those that are no JSON data stay as they are, and are other ones after a restart.
    """
    try:
        return encode(deps, "deps")
    except SessionError:
        return deps


def keep_data(key: str, deps: Any, data: Any) -> dict[str, Any]:
    """Return what is kept of fetched data, as JSON data."""
    many = isinstance(data, list)
    types = {type(item) for item in (data if many else (data,))}
    model = types.pop() if len(types) == 1 else None
    kept = {"key": key, "deps": deps if isinstance(deps, list) else None, "data": encode(data, key)}
    if model is not None and hasattr(model, "model_validate"):
        kept["model"] = f"{model.__module__}:{model.__qualname__}"
    return kept


def readable(kept: Mapping[str, Any]) -> bool:
    """Say whether kept data can be read back: the class of a model has to be there, outside any function."""
    return "model" not in kept or _class_of(kept["model"]) is not None


def read_data(kept: Mapping[str, Any]) -> Any:
    """Read kept data back."""
    data = kept["data"]
    model = _class_of(kept["model"]) if "model" in kept else None
    if model is None:
        return data
    return (
        [model.model_validate(item) for item in data]
        if isinstance(data, list)
        else model.model_validate(data)
    )


def _class_of(path: str) -> Any:
    module, _, name = path.partition(":")
    found: Any = sys.modules.get(module)
    for step in name.split("."):
        found = getattr(found, step, None)
    return found if hasattr(found, "model_validate") else None
