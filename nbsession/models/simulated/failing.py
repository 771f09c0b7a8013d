"""Failures on demand, for lessons on what a session does when its model fails."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nbsession.models.simulated.reading import Failure

if TYPE_CHECKING:
    from nbsession.models.simulated.reading import Reading

_ASKED = re.compile(
    r"^\W*(?:please\s+|now\s+|then\s+)?(simulate|fake|pretend|fail (?:with|by|because of))\s+(.+)",
    re.IGNORECASE,
)


_FAILURES = (
    (r"rate[- ]?limit", Failure("rate_limit")),
    (r"overload", Failure("overloaded")),
    (r"time-?\s?out", Failure("timeout")),
    (r"server (?:error|failure)|internal error", Failure("server")),
    (r"(?:wrong|bad|missing) (?:api )?key", Failure("authentication", retryable=False)),
    (
        r"(?:cut|lost|broken|dropped) (?:connection|off)|break(?:ing)? off|connection",
        Failure("connection", midway=True),
    ),
    (r"refus(?:al|e|ing)", Failure(stop="refusal")),
    (r"max_tokens|(?:token|length|output) limit|limit of tokens", Failure(stop="max_tokens")),
)


def asked_failure(reading: Reading) -> Failure | None:
    """Return the failure that a sentence of the question asks for by name."""
    for sentence in reading.sentences:
        match = _ASKED.match(sentence)
        if match is None or any(match[1].lower() in spec.name.lower() for spec in reading.tools):
            continue
        for pattern, failure in _FAILURES:
            if re.search(rf"\b(?:{pattern})", match[2], re.IGNORECASE):
                return failure._replace(words=sentence.strip())
    return None
