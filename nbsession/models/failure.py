"""How the failures of a model behind HTTP are told: one sentence, what to do, and never a key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from nbsession.errors import ModelError

_RETRYABLE = ("rate_limit", "overloaded", "timeout", "server", "connection", "stream")
_STATUS_KINDS = {
    401: "authentication",
    402: "billing",
    403: "authentication",
    408: "timeout",
    409: "server",
    429: "rate_limit",
    504: "timeout",
    529: "overloaded",
}
_TOO_LARGE = ("too long", "too large", "context length", "context limit", "context size", "context window")
# What the providers say: tokens of the prompt, tokens that are taken, and those asked for the answer, which are not the prompt's.
_LENGTHS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"too long: (?P<counted>\d+) tokens > (?P<room>\d+)",
        r"context limit: (?P<counted>\d+) \+ (?P<answer>\d+) > (?P<room>\d+)",
        r"context length is (?P<room>\d+) tokens.*?\((?P<counted>\d+) in [^,)]*, (?P<answer>\d+) in [^)]*\)",
        r"context length is (?P<room>\d+) tokens(?:.*?(?P<counted>\d+) tokens)?",
        r"\((?P<counted>\d+) tokens\).*?context size \((?P<room>\d+) tokens\)",
    )
]
_MOST = 300
"""Characters of a server's own words that are told."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error that a server reported itself. ``status`` is 0 in mid-stream.

    ``kind`` is one of ``ModelError``, or ``"billing"``. ``words`` are the server's own,
    ``wait`` its ``retry-after``, ``variable`` the environment variable that holds the key.
    """

    model: str
    status: int
    kind: str
    words: str
    wait: str = ""
    variable: str = ""


class Reported(Exception):
    """A server said in mid-stream that it failed; ``body`` is what it said, in its own form."""

    def __init__(self, body: object) -> None:
        super().__init__()
        self.body = body


def failed(text: str, kind: str) -> ModelError:
    """Make the error; whether it may be retried follows from its kind."""
    return ModelError(text, retryable=kind in _RETRYABLE, kind=kind)


def kind_of(status: int) -> str:
    """Return what an HTTP status amounts to."""
    return _STATUS_KINDS.get(status) or ("server" if status >= 500 else "request")


def read_body(body: object) -> tuple[str, list[str]]:
    """Return what an error's body says, in words and in codes; servers have many forms of it."""
    inner = body.get("error", body) if isinstance(body, Mapping) else body
    if isinstance(inner, Mapping):
        said = [inner.get(name) for name in ("message", "detail", "error")]
        codes = [inner.get(name) for name in ("code", "type")]
        return next((words for words in said if isinstance(words, str)), ""), [
            code for code in codes if isinstance(code, str)
        ]
    # A page in HTML is of something between here and the server.
    return ("" if not isinstance(inner, str) or inner.lstrip().startswith("<") else inner), []


def without_key(text: str, key: str) -> str:
    """Return what another side says in one line, and no key in it."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return re.sub(r"\s+", " ", printable.replace(key, "[key]")).strip().rstrip(".")[:_MOST]


def refused(refusal: Refusal, key: str) -> ModelError:
    """Put what a server reported into one sentence that says what to do; ``key`` is never in it."""
    name, kind = refusal.model, refusal.kind
    words = without_key(refusal.words, key)
    said = (f" ({refusal.status})" if refusal.status else "") + (f": {words}" if words else "")
    if kind == "authentication":
        text = f"{name} refused the API key{said}; check {refusal.variable} or api_key="
    elif kind == "billing":
        return failed(
            f"{name} refused for want of credit{said}; add some, or choose another model", "request"
        )
    elif kind == "rate_limit":
        pause = f"{refusal.wait} s" if refusal.wait.isdigit() else "a minute"
        text = f"{name} is over its rate limit{said}; wait {pause}, then send again"
    elif kind == "overloaded":
        text = f"{name} is overloaded{said}; wait a moment, then send again, or choose another model"
    elif kind == "timeout":
        text = f"{name} took too long{said}; send again"
    elif refusal.status == 404:
        text = f"{name} is not known where it was asked for{said}; check the model's id and base_url="
    elif kind == "server":
        text = f"{name} failed on its side{said}; send again"
    elif any(sign in words.lower() for sign in _TOO_LARGE):
        return _too_long(
            f"the context is too large for {name}{said}; show less, such as Fit(Timeline())", words
        )
    elif "not support" in words.lower():
        text = f"{name} refused what it does not take{said}; leave it out, or choose another model"
    else:
        text = f"{name} refused the request{said}; look at the compiled context and the settings"
    error = failed(text, kind)
    error.retry_after = float(refusal.wait) if refusal.wait.isdigit() else None
    return error


def _too_long(text: str, words: str) -> ModelError:
    """Make the error of a request that was refused for its length, with the figures that the server gave."""
    figures: dict[str, int] = {}
    if found := next(filter(None, (pattern.search(words) for pattern in _LENGTHS)), None):
        figures = {name: int(digits) for name, digits in found.groupdict().items() if digits}
    room = figures["room"] - figures.get("answer", 0) if figures else None
    return ModelError(text, kind="request", too_long=True, counted=figures.get("counted"), room=room)
