"""What many messages would be sent as, one after another, in a tree that is mounted once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession.content import drafts_of

if TYPE_CHECKING:
    from nbsession.context import CompiledContext
    from nbsession.session import Session

_MOST = 100
"""Messages that one fork is asked for: each stays in its record."""


class Probe:
    """Compiles a session with one message after another, each as if it were the next; the session stays as it is.

    Only what shows the conversation renders again for each: that takes a fraction of a fork and its tree.
    """

    def __init__(self, session: Session, model: Any) -> None:
        self._session = session
        self._model = model
        self._fork: Session | None = None
        self._left = 0

    def compile(self, message: Any) -> CompiledContext:
        """Compile what would be sent; call it on the home loop."""
        if self._fork is None or not self._left:
            self._fork, self._left = self._session.branch(), _MOST
        fork, core = self._fork, self._fork._core
        self._fork = None  # one that fails in the middle is not used again
        head = core.record.head
        core.take(drafts_of(message))
        core.render()
        context = core.look(self._model, head)
        core.move_head(head)
        self._fork, self._left = fork, self._left - 1
        return context
