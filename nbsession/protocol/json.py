"""JSON text that every parser takes, in one line however its reader tells lines apart."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

_APART = re.compile("[\x0b\x0c\x1c-\x1e\x85\u2028\u2029\ud800-\udfff]")
"""What some readers take for the end of a line, and halves of characters, which UTF-8 cannot hold."""


def dumps(data: Any) -> str:
    """Write JSON data as one line of text.

    Infinity and NaN, which JSON does not have, become ``null``; what is no JSON data its own text.
    """
    try:
        text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=str)
    except ValueError:
        return dumps(_finite(data))
    return json.dumps(json.loads(text), separators=(",", ":")) if _APART.search(text) else text


def _finite(data: Any) -> Any:
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, Mapping):
        return {name: _finite(value) for name, value in data.items()}
    return [_finite(item) for item in data] if isinstance(data, (list, tuple)) else data
