"""What an edit would send, before there is a fork that could send it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession.session.edit import changes_of
from nbsession.session.fork import tick_at

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nbsession.context import CompiledContext
    from nbsession.session.core import SessionCore


def rehearsed(
    fork: Callable[..., Any], core: SessionCore, tick: Any, texts: Mapping[Any, str], knobs: Mapping[str, Any]
) -> CompiledContext:
    """Compile what an edit of a tick would send, in a copy, as ``fork`` makes one, that nothing keeps."""
    at = tick_at(core, getattr(tick, "number", tick))
    copy = fork(at.number, True, None, stored=False)
    copy._core.edit(changes_of(at.context, texts) if texts else [])
    copy.knobs.set_many(knobs)
    compiled: CompiledContext = copy.compile()
    return compiled
