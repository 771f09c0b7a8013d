"""Every error nbsession raises, as one tree.

    NbsessionError
    ├── RenderError            a component raised, or returned what cannot be rendered
    │   └── HookError          a hook was called where, or in an order, it may not be
    ├── CompileError           the rendered tree has no valid compiled context
    ├── KnobError              a knob's value or spec is refused      (also ValueError)
    ├── ToolError              a tool fails on purpose; its text goes to the model
    ├── ModelError             the model call failed; see ``retryable``
    │   ├── MissingKeyError    a live model was named and no key is set
    │   └── RecordingMissError no recording answers this context      (also LookupError)
    ├── BudgetError            the next model call would pass the budget
    ├── SessionError           the session cannot do this now
    │   ├── SessionBusyError   another process holds the session
    │   ├── SessionClosedError the session was closed, or deleted
    │   └── SessionNotFoundError                                      (also LookupError)
    ├── ScoreError             a score is none, or no finite number       (also ValueError)
    └── StoreError             a record could not be kept or read

Developers see them raised; ``ToolError`` is for the model; a notebook shows
each in one line. Every error says what happened, to which thing, with which
value, and what to do next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class NbsessionError(Exception):
    """The root of every error of this package."""


class RenderError(NbsessionError):
    """A component could not be rendered.

    ``path`` is the component's path from the root; the error that it raised,
    if it raised one, is ``__cause__``.
    """

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class HookError(RenderError):
    """A hook was called outside a component, not in the order of the last render, or its setter with what cannot be meant."""


class CompileError(NbsessionError):
    """The rendered tree does not make a valid compiled context.

    ``path`` names the component at fault, where there is one.
    """

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class KnobError(NbsessionError, ValueError):
    """A knob's value or specification was refused. ``knob`` is its name."""

    def __init__(self, message: str, *, knob: str = "") -> None:
        super().__init__(message)
        self.knob = knob


class ToolError(NbsessionError):
    """Raised inside a tool to fail on purpose; the text is the result the model reads.

    One that a call by hand raises because the tool failed by accident has the ``traceback`` of that.
    """

    def __init__(self, message: str = "", *, traceback: str = "") -> None:
        super().__init__(message)
        self.traceback = traceback


class ModelError(NbsessionError):
    """A model call failed.

    ``retryable`` says whether the same request may succeed later; ``kind`` is a
    short word for what failed: ``"authentication"``, ``"rate_limit"``,
    ``"overloaded"``, ``"connection"``, ``"timeout"``, ``"request"``,
    ``"server"``, ``"stream"`` or ``"other"``. ``too_long`` says that the request was refused for
    its length: ``counted`` are its tokens as the provider counted them, ``room`` those that it takes, ``None``
    where it did not say. ``retry_after`` are the seconds after which it wants to be asked again, if it named any.
    """

    def __init__(
        self,
        message: str,
        *,
        retryable: bool = False,
        kind: str = "other",
        too_long: bool = False,
        counted: int | None = None,
        room: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.kind = kind
        self.too_long = too_long
        self.counted = counted
        self.room = room
        self.retry_after = retry_after


class MissingKeyError(ModelError):
    """A live model was asked for and no key is set."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retryable=False, kind="authentication")


class RecordingMissError(ModelError, LookupError):
    """No recording answers this compiled context."""


class BudgetError(NbsessionError):
    """The next model call would pass the budget."""


class SessionError(NbsessionError):
    """The session cannot do what was asked now, or was asked for something malformed."""


class SessionBusyError(SessionError):
    """Another process holds the session's lease."""


class SessionClosedError(SessionError):
    """The session was closed, and ``app.session(id)`` opens it again; or it was deleted from its store."""


class SessionNotFoundError(SessionError, LookupError):
    """No session of that id exists."""


class ScoreError(NbsessionError, ValueError):
    """A score was refused: it is no finite number, or its scorer cannot be used so."""


class StoreError(NbsessionError):
    """A record could not be kept or read. ``location`` is the store's path or URL."""

    def __init__(self, message: str, *, location: str = "") -> None:
        super().__init__(message)
        self.location = location


_MOST_NAMES = 12


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest known name, or list the known ones, 12 at most."""
    names = list(known)
    if (near := nearest(name, names)) is not None:
        return f"; did you mean {near!r}?"
    if names:
        more = ", …" if len(names) > _MOST_NAMES else ""
        return "; known: " + ", ".join(repr(n) for n in names[:_MOST_NAMES]) + more
    return ""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that was probably meant, or ``None``.

    That is the only one that ``name`` is the beginning of; else the one with the fewest
    slips of the keyboard between, at most one for every three letters. Dashes in
    front and upper or lower case make no difference.
    """
    names = [(known_name, _letters(known_name)) for known_name in known]
    asked, near = _letters(name), []
    begun = [known_name for known_name, letters in names if len(asked) > 2 and letters.startswith(asked)]
    if len(begun) == 1:
        return begun[0]
    for known_name, letters in names:
        most = max(len(asked), len(letters)) // 3
        if abs(len(asked) - len(letters)) <= most and (slips := _slips(asked, letters)) <= most:
            near.append((slips, known_name))
    return min(near, key=lambda found: found[0])[1] if near else None


def _letters(name: str) -> str:
    return name.lstrip("-").casefold()


def _slips(a: str, b: str) -> int:
    """Count the letters missing, added, mistaken or swapped with their neighbour: optimal string alignment."""
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        row = [i]
        for j, other in enumerate(b, 1):
            count = min(last[j] + 1, row[-1] + 1, last[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == b[j - 2] and a[i - 2] == other:
                count = min(count, before[j - 2] + 1)
            row.append(count)
        before, last = last, row
    return last[-1]
