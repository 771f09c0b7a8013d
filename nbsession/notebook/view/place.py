"""Where an output stands: it is replaced, and added to, also in a page that was loaded since it was made.

A front end matches an update with its output by a display id, which no notebook keeps: after a reload
there is nothing to match. So an output of this kernel carries a key of its own, by which the desk's
script finds it in the notebook.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbsession.content import new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from IPython.core.display_functions import DisplayHandle


WIDGET = "application/vnd.jupyter.widget-view+json"


class Place:
    """An output in the notebook. ``put`` brings what stands there to pages that were loaded since.

    It is given the key, the id of the widget that stood there until now (``""`` where none did), and the new bundle.
    """

    def __init__(self, handle: DisplayHandle) -> None:
        self.key = new_id("out")
        self.put: Callable[[str, str, Mapping[str, Any]], None] | None = None
        self._handle = handle
        self._bundle: Mapping[str, Any] = {}
        self._is_used_again = False
        self._more: list[Mapping[str, str]] = []

    def begin(self, bundle: Mapping[str, Any]) -> None:
        """Let something new stand there, without what was added to the one before."""
        self._more.clear()
        self._is_used_again = True
        self.update(bundle)

    def finish(self, bundle: Mapping[str, Any]) -> None:
        """Let what ran there stand in its last form; a page of before knows an output that was made once."""
        self._show(bundle, put=self._is_used_again)

    def update(self, bundle: Mapping[str, Any], *, raw: bool = True) -> None:
        """Replace what stands there; what was added stays below it."""
        self._show(bundle, raw=raw)

    def add(self, bundle: Mapping[str, str]) -> None:
        """Add something below what stands there, in each of its forms."""
        self._more.append(bundle)
        self._show(self._bundle)

    def _show(self, bundle: Mapping[str, Any], *, raw: bool = True, put: bool = True) -> None:
        was = self._bundle.get(WIDGET, {}).get("model_id", "")
        self._bundle = bundle
        shown = {
            mime: held + "".join(more.get(mime, "") for more in self._more) if isinstance(held, str) else held
            for mime, held in self._bundle.items()
        }
        self._handle.update(shown, raw=raw)  # type: ignore[no-untyped-call]  # as IPython has it
        if put and self.put is not None:
            self.put(self.key, was, shown)
