"""An answer, read as the pydantic model that ``send(output=)`` asked for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from nbsession.content import Text
from nbsession.errors import ModelError, SessionError
from nbsession.tools.input_faults import explain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import BaseModel

    from nbsession.content import Block

# Models that are not held to a schema by their server like to wrap what they write.
_FENCED = re.compile(r"```(?:json)?\s*\n(.*?)\n?\s*```", re.DOTALL)
_SHOWN = 80


def check_output(output: Any) -> None:
    """Raise ``SessionError`` for what is no pydantic model."""
    if not isinstance(output, type) or not callable(getattr(output, "model_validate_json", None)):
        raise SessionError(
            f"output= takes a pydantic model class, got {output!r}; for a list of them, give a model that has the list"
        )


def read_output(output: type[BaseModel], content: Sequence[Block], model: str) -> BaseModel:
    """Read what ``model`` answered as ``output``; raise ``ModelError`` where it is something else.

    The last text counts where there are several, as around the steps of a provider's own
    tools. A fence around it is no fault.
    """
    from pydantic import ValidationError  # heavy, and here already where somebody made a model

    texts = [block.text for block in content if isinstance(block, Text) and block.text.strip()]
    for text in _readings(texts):
        try:
            return output.model_validate_json(text)
        except ValidationError as error:
            faults = error.errors(include_url=False, include_context=False)
            if faults[0]["type"] != "json_invalid":
                raise _failed(output, model, "; ".join(explain(faults))) from error
    said = texts[-1].strip() if texts else ""
    short = said if len(said) <= _SHOWN else said[: _SHOWN - 1] + "…"
    raise _failed(output, model, f"it is no JSON: {short!r}" if said else "it has no text")


def _readings(texts: Sequence[str]) -> Iterator[str]:
    """Give the ways to read the texts of an answer, the likeliest first."""
    if not texts:
        return
    yield "".join(texts)
    yield texts[-1]
    yield from reversed(_FENCED.findall(texts[-1]))


def _failed(output: type[BaseModel], model: str, faults: str) -> ModelError:
    return ModelError(
        f"{model} did not answer with a {output.__name__}: {faults}; the answer is kept, ask again, or ask another model",
        retryable=True,
        kind="other",
    )
