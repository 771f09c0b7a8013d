"""The values that controls stand at, between the thread that hears the page and the loop that takes them up."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from nbsession.tree import unchanged

if TYPE_CHECKING:
    from collections.abc import Mapping


class Wanted:
    """What the user wants and nobody took up yet, the latest value of each knob; for any thread.

    It knows where each control stands, so that a control that is moved from here
    is not heard as a wish.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stands: dict[str, Any] = {}
        self._wanted: dict[str, Any] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._wanted

    def note(self, name: str, value: Any) -> bool:
        """Take note that a control was moved; say whether that is the first wish that waits."""
        with self._lock:
            if unchanged(value, self._wanted.get(name, self._stands.get(name))):
                return False
            self._wanted[name] = value
            return len(self._wanted) == 1

    def take(self) -> Mapping[str, Any]:
        """Return what is wanted; from now on that is where the controls stand."""
        with self._lock:
            wanted, self._wanted = self._wanted, {}
            self._stands.update(wanted)
        return wanted

    def stand(self, name: str, value: Any) -> bool:
        """Let a control stand at a value, unless another one is wanted; say whether it has to move."""
        with self._lock:
            if name in self._wanted or (name in self._stands and unchanged(self._stands[name], value)):
                return False
            self._stands[name] = value
            return True
