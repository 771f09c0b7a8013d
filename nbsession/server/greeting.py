"""What a server says when it begins: where it is, which model answers, and three lines to paste."""

from __future__ import annotations

import json
import secrets
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbsession.errors import ModelError
from nbsession.models.resolve import default_model

if TYPE_CHECKING:
    import os

    from nbsession.server.gateway import Gateway


GIVEN = "$NBSESSION_TOKEN"
"""What stands for a token that was not made here: it is not shown."""


def greeting(gateway: Gateway, url: str, token: str | None, work_root: str | os.PathLike[str] | None) -> str:
    """Return it. ``token`` is one that was made for this, which is not shown again, or ``GIVEN``, or ``None`` for none."""
    lines = _served(gateway, url)
    if token is not None and token != GIVEN:
        lines.append(f"Everything but /health needs this token, which is not shown again: {token}")
    return "\n".join([*lines, "", *examples(url, token, work_root)])


def examples(url: str, token: str | None, work_root: str | os.PathLike[str] | None) -> list[str]:
    """Return the three lines: make a session, send it a message and wait, send one and follow it."""
    session, folder = f"first-{secrets.token_hex(3)}", str(Path(work_root or "").resolve())
    return [
        _curl(f"{url}/sessions", token, {"id": session, "work_dir": folder}),
        _curl(f"{url}/sessions/{session}/message", token, {"message": "What files are here?"}),
        _curl(f"{url}/sessions/{session}/message/stream", token, {"message": "Sum it up."}, "-N "),
    ]


def _curl(url: str, token: str | None, body: dict[str, Any], options: str = "") -> str:
    authorization = "" if token is None else f'-H "Authorization: Bearer {token}" '
    data = shlex.quote(json.dumps(body, ensure_ascii=False))
    return f'curl {options}-X POST {url} {authorization}-H "Content-Type: application/json" -d {data}'


def _served(gateway: Gateway, url: str) -> list[str]:
    names = ", ".join(f"{served.name} ({served.component})" for served in gateway.served.values())
    lines = [f"nbsession serves {names} at {url}"]
    if any(_simulated(served.app.model) for served in gateway.served.values()):
        lines.append(
            "The model is simulated: rules answer, no language model (set ANTHROPIC_API_KEY or NBSESSION_MODEL for one)"
        )
    return lines


def _simulated(model: Any) -> bool:
    try:
        return getattr(default_model() if model is None else model, "source", "") == "simulated"
    except ModelError:
        return False
