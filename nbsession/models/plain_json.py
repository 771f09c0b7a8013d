"""JSON data that every parser takes, and UTF-8 can hold."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def read_object(text: str) -> dict[str, Any] | None:
    """Read a JSON object, an empty one of blank text; ``None`` for anything else, and for numbers that are none."""
    try:
        data = json.loads(text, parse_constant=_refuse) if text.strip() else {}
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    # Only an escape can bring half a character in.
    return writable(data) if "\\u" in text else data


def writable(data: Any) -> Any:
    """Return JSON data without halves of characters, and with ``None`` for infinity and NaN."""
    if isinstance(data, str):
        return well_formed(data)
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, Mapping):
        return {writable(name): writable(value) for name, value in data.items()}
    return [writable(item) for item in data] if isinstance(data, (list, tuple)) else data


def well_formed(text: str) -> str:
    """Join the two halves of a character (surrogates), and replace a half that stands alone."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
