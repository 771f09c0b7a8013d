"""Types that no JSON gives, told to who wrote them."""

from __future__ import annotations

import re
from typing import Any

from nbsession.tools.hint import readable
from nbsession.tools.json_schema import generator

_REMEDIES = (
    (r"numpy\.ndarray", "take list[float], and make the array of it"),
    (r"numpy\..+", "take int, float, bool or str"),
    (r"pandas\.(.+\.)?DataFrame", "take list[dict[str, Any]], and make the frame of it"),
    (r"pandas\.(.+\.)?(Timestamp|Timedelta)", "take datetime.datetime or datetime.timedelta"),
    (r"pandas\..+", "take a list, and make it of that"),
    (
        r"(typing\.|collections\.abc\.)?Callable\b.*|type(\[.*)?",
        "take a name, as Literal['a', 'b'], and look up what it stands for",
    ),
    (r"bytearray|memoryview", "take bytes"),
    (r"range|slice", "take its start and stop, as two int"),
    (r"(typing|collections\.abc)\.(Iterator|Generator|Container|Sized|Reversible)\b.*", "take a list"),
)
_ANY = "take text, numbers, lists, dicts, enums, dataclasses, TypedDicts or pydantic models"


def fault_of(hint: Any) -> str:
    """Say why no JSON gives a type, and what to take instead; ``""`` where some does."""
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError

    whole = shown(hint)
    try:
        TypeAdapter(readable(hint)).json_schema(schema_generator=generator())
    except PydanticInvalidForJsonSchema:
        return f"{whole}, which no JSON can give; {_remedy(whole)}"
    except PydanticUserError as error:
        if error.code == "typed-dict-version":
            return f"{whole}, which holds a typing.TypedDict; import TypedDict from typing_extensions, as pydantic asks on Python 3.11"
        found = re.search(r"schema for (.+?)\. Set", error.message)
        culprit = whole if found is None else _bare(found[1])
        if found is None:
            return f"{whole}, of which pydantic says: {_first_line(error)}"
        told = "which no JSON can give" if culprit == whole else f"and no JSON can give {culprit}"
        return f"{whole}, {told}; {_remedy(culprit)}"
    except Exception as error:  # noqa: BLE001  # whatever the author's own hooks raise is what is told
        return f"{whole}, of which pydantic says: {_first_line(error)}"
    return ""


def shown(hint: Any) -> str:
    """Return a type as text, with the modules of its names."""
    return _bare(repr(hint))


def short_name(hint: Any) -> str:
    """Return a type as its author may have written it, as ``list[Order]``."""
    # Names lose their modules, and what stands in quotes stays.
    return re.sub(r"('[^']*')|(?:\w+\.|<locals>\.)+(?=\w)", lambda match: match[1] or "", shown(hint))


def _bare(text: str) -> str:
    return re.sub(r"<(?:class|enum) '([^']+)'>", r"\1", text)


def _remedy(culprit: str) -> str:
    return next((remedy for pattern, remedy in _REMEDIES if re.fullmatch(pattern, culprit)), _ANY)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
