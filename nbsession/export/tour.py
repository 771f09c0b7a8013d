"""A conversation as one page: a scrubber over its ticks, with context, tools and answer in step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession.content import visible
from nbsession.export.page import document, fragment, prose, source
from nbsession.export.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbsession.export.conversation import Conversation

SCRIPTS = ("shared.js", "tour.js")
SHEETS = ("export.css", "prose.css")


def tour(conversation: Conversation) -> str:
    """Return the page; it asks nobody for anything, and without scripts it reads as text."""
    data = conversation.to_dict()
    ticks = [
        {"turn": place, **tick, "answer": list(map(_laid_out, tick["answer"]))}
        for place, turn in enumerate(data["turns"])
        for tick in turn["ticks"]
    ]
    turns = [{"asked": turn["asked"], "knobs": turn["knobs"]} for turn in data["turns"]]
    shown = {**data, "ticks": ticks, "turns": turns}
    script = source(*SCRIPTS)
    body = fragment(
        "tour.html.j2",
        script,
        _visible(shown),
        SHEETS,
        session=conversation.session,
        notes=conversation.notes,
        text=Turns.text(conversation.turns),
    )
    return document(f"Session {conversation.session}", body, script, SHEETS)


def _laid_out(said: Mapping[str, str]) -> dict[str, str]:
    """Return what the model said as it is shown: an answer as HTML, its thinking as text."""
    return {"kind": "text", "html": prose(said["text"])} if said["kind"] == "text" else dict(said)


def _visible(value: Any) -> Any:
    """Spell out in all texts the characters that hide or reorder others."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {visible(name): _visible(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_visible(each) for each in value]
    return value
