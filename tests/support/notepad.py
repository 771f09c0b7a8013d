"""The agent that many tests talk to: a tool that keeps notes, and a knob."""

from __future__ import annotations

from typing import Any

from nbsession import Knobs, Section, System, Timeline, component, tool, use_knob, use_state


@component
def Notepad() -> Any:
    """A notepad with a tone."""
    tone, _ = use_knob("tone", "friendly", options=["friendly", "terse"])
    empty: list[str] = []
    notes, set_notes = use_state(empty)

    @tool
    def add_note(note: str) -> str:
        """Keep a note for later."""
        set_notes(lambda kept: [*kept, note])
        return "Noted."

    return [
        System(f"You are a {tone} assistant with a notepad."),
        add_note,
        notes and Section("\n".join(f"- {note}" for note in notes), id="notepad", title="Notepad"),
        Knobs(),
        Timeline(),
    ]
