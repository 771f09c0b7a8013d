"""What opens the model's door never reaches the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nbsession import App, ModelError
from nbsession.models.anthropic.model import AnthropicModel
from nbsession.stores import SqlStore
from tests.support.fake_messages import FakeMessages, status, text, tool_use
from tests.support.notepad import Notepad
from tests.support.stored import contents

if TYPE_CHECKING:
    from pathlib import Path

KEY = "sk-ant-" + "n0t-a-real-key-" * 3
WORDS = "The quick brown fox"


def found(folder: Path, *secrets: str) -> list[str]:
    """Return which of these stand in a file of the folder, also half of one."""
    content = contents(folder / "sessions.db")
    assert WORDS in content, "what is kept can be found"
    raw = b"".join(path.read_bytes() for path in folder.iterdir())
    halves = {secret: secret[: len(secret) // 2] for secret in secrets}
    return [secret for secret, half in halves.items() if half in content or half.encode() in raw]


async def test_a_key_never_reaches_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    store = SqlStore(f"sqlite:///{tmp_path}/sessions.db")
    with FakeMessages() as server:
        server.will(
            tool_use("add_note", {"note": WORDS}), text("Noted."), status(401, "authentication_error")
        )
        model = AnthropicModel("claude-test", base_url=server.url, api_key=KEY)
        session = App(Notepad, model=model, store=store).session("s")
        assert (await session.send(WORDS)).text == "Noted."
        with pytest.raises(ModelError) as refused:
            await session.send("again")
        assert refused.value.kind == "authentication"
        assert any(KEY in value for request in server.requests for value in request.headers.values())
        # Before it is closed: the log beside the file is searched too.
        assert found(tmp_path, KEY) == []
        await session.aclose()
        await model.aclose()
    store.close()
    assert found(tmp_path, KEY) == []
