"""Types that no JSON gives, told to who wrote them."""

from __future__ import annotations

import dataclasses
import re
import typing
from typing import TYPE_CHECKING, Any

from nbsession.tools.hint import readable
from nbsession.tools.json_schema import generator

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    """Say why no JSON gives a type, or a field in it, and what to take instead; ``""`` where some does."""
    fault = _fault(hint)
    found = _faulty_field(hint, frozenset()) if fault else None
    return fault if found is None else f"{shown(hint)}, of which {found[0]} is of type {_fault(found[1])}"


def _faulty_field(hint: Any, known: frozenset[str]) -> tuple[str, Any] | None:
    """Return the innermost field that is to blame for the fault of a type, by its name, and that field's type."""
    for name, inner in _fields(hint):
        if name not in known and _fault(inner):
            return _faulty_field(inner, known | {name}) or (name, inner)
    return None


def _fields(hint: Any) -> Iterator[tuple[str, Any]]:
    """Give the fields of a type, and of the types that it is made of, as ``Order.lines``."""
    from typing_extensions import is_typeddict

    for part in typing.get_args(hint):
        yield from _fields(part)
    if not isinstance(hint, type):
        return
    has_fields = dataclasses.is_dataclass(hint) or hasattr(hint, "model_fields") or hasattr(hint, "_fields")
    if has_fields or is_typeddict(hint):
        try:
            found = typing.get_type_hints(hint, include_extras=True)
        except Exception:  # noqa: BLE001  # what cannot be read is told of the type itself
            return
        for name, inner in found.items():
            if typing.get_origin(inner) is not typing.ClassVar:
                yield f"{hint.__name__}.{name}", inner


def _fault(hint: Any) -> str:
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError
    from pydantic_core import PydanticSerializationError

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
    except PydanticSerializationError as error:
        return (
            f"{whole}, a value of which is no JSON ({_first_line(error)}); give it text or numbers as values"
        )
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
