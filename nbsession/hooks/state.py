"""Component state and knob values over time: what a session can be brought back to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession.errors import SessionError

if TYPE_CHECKING:
    from collections.abc import Iterable


class _Gone:
    __slots__ = ()

    def __repr__(self) -> str:
        return "GONE"


GONE: Any = _Gone()
"""Marks an address whose value went away."""


class StateLog:
    """Every change of kept state, in order; ``at(version)`` is the state after so many changes.

    Addresses are ``state:<path>#<hook>``, ``hook:<path>#<hook>`` (what kind of hook has that
    state), ``knob:<name>``, ``sent:<number>``, ``window``, ``edit:<part>``, ``without:<path>``, ``permissions``, ``gate:<name>``, ``due`` and, of budgets in the tree, ``fit:<place>``,
    ``factor:<model>`` and ``room:<model>``; values are JSON data.
    """

    __slots__ = ("_changes", "current")

    def __init__(self) -> None:
        self.current: dict[str, Any] = {}
        self._changes: list[tuple[str, Any]] = []

    @property
    def version(self) -> int:
        """How many changes there are so far."""
        return len(self._changes)

    def record(self, changes: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
        """Keep changes (encoded values, or ``GONE``); return those that changed something."""
        kept = []
        for address, value in changes:
            if value is GONE:
                if self.current.pop(address, GONE) is GONE:
                    continue
            else:
                if address in self.current and same_json(self.current[address], value):
                    continue
                self.current[address] = value
            kept.append((address, value))
        self._changes.extend(kept)
        return kept

    def prefix(self, version: int) -> StateLog:
        """Return a log of its own that begins with the first ``version`` changes."""
        copy = StateLog()
        copy._changes = self._changes[:version]
        copy.current = self.at(version)
        return copy

    @property
    def changes(self) -> list[tuple[str, Any]]:
        """Every change, in order: an address and a value or ``GONE``."""
        return list(self._changes)

    def at(self, version: int) -> dict[str, Any]:
        """Return the state as it was after ``version`` changes."""
        state: dict[str, Any] = {}
        for address, value in self._changes[:version]:
            if value is GONE:
                state.pop(address, None)
            else:
                state[address] = value
        return state


def same_json(one: Any, other: Any) -> bool:
    """Say whether two JSON values are the same, ``1`` and ``True`` and ``1.0`` kept apart."""
    return (
        type(one) is type(other)
        and bool(one == other)
        and (not isinstance(one, (list, dict)) or repr(one) == repr(other))
    )


def encode(value: Any, where: str) -> Any:
    """Return a copy of ``value`` as JSON data.

    JSON values and pydantic models (alone or inside lists and dicts) are taken;
    a tuple becomes a list. Anything else is a ``SessionError`` that names
    ``where`` and the remedy.
    """
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise _refused(where, value)
        return value
    if isinstance(value, (list, tuple)):
        return [encode(item, where) for item in value]
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise _refused(where, value)
        return {key: encode(item, where) for key, item in value.items()}
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(mode="json")
    raise _refused(where, value)


def hook_of(kind: str, initial: type) -> str:
    """Say in two words what a hook keeps: its kind, and what its initial value is; ``any`` where that is ``None``."""
    for types, name in _NAMES:
        if issubclass(initial, types):
            return f"{kind} {name}"
    return f"{kind} model"


_NAMES: tuple[tuple[tuple[type, ...], str], ...] = (
    ((type(None),), "any"),
    ((bool,), "bool"),
    ((int, float), "number"),
    ((str,), "text"),
    ((list, tuple), "list"),
    ((dict,), "dict"),
)


def check_hook(kept: str | None, hook: str) -> None:
    """Raise a ``ValueError`` where state of one hook (see ``hook_of``) is not for another; ``None`` is not known."""
    if kept is None or kept == hook:
        return
    (kind, initial), (kind_now, initial_now) = kept.split(), hook.split()
    if kind != kind_now:
        raise ValueError(f"it was kept by {_hook_name(kind)}, and {_hook_name(kind_now)} is there now")
    if "any" not in (initial, initial_now):
        raise ValueError(f"it began as a {initial}, and begins as a {initial_now} now")


def _hook_name(kind: str) -> str:
    return kind if kind.startswith("use_") else f"use_{kind}"


def revive(raw: Any, initial: Any) -> Any:
    """Read a kept value back, through the type of the hook's initial value.

    Raises a ``ValueError`` where that is a pydantic model and the value is none of it.
    """
    validate = getattr(type(initial), "model_validate", None)
    if callable(validate) and raw is not None:
        return validate(raw)
    if isinstance(initial, tuple) and isinstance(raw, list):
        return tuple(raw)
    return encode(raw, "kept state") if isinstance(raw, (list, dict)) else raw


def _refused(where: str, value: Any) -> SessionError:
    shown = repr(value)
    remedy = ", or use_state(..., persist=False) to leave it out" if where.startswith("state ") else ""
    return SessionError(
        f"{where} holds {shown[:80] + '…' if len(shown) > 80 else shown} ({type(value).__name__}), which cannot be kept "
        f"as JSON; use JSON values or a pydantic model{remedy}"
    )
