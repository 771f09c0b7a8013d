"""A folder to work in, beside one that nothing may reach, and the tools of the one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nbsession import System, Timeline, component
from nbsession.content import ToolCall
from nbsession.testing import render
from nbsession.tools import Outcome, ToolContext, run_tool
from nbsession.workdir import WorkDir

SECRET = "the secret of the other folder"


class Work:
    """A folder with a secret beside it, and the tools that a model has there."""

    def __init__(self, base: Path, **options: Any) -> None:
        self.path = base / "work"
        self.path.mkdir()
        self.outside = base / "outside"
        self.outside.mkdir()
        (self.outside / "secret.txt").write_text(SECRET)
        self.told: list[Any] = []
        self.tools = render(WorkDir(self.path, **options)).tools

    async def run(self, name: str, **input: Any) -> Outcome:
        context = ToolContext(None, "c1", name, emit=self.told.append)
        outcome = await run_tool(self.tools[name], ToolCall("c1", name, input), context)
        assert outcome.traceback == "", outcome.traceback  # whatever is refused is refused on purpose
        return outcome

    async def text(self, name: str, **input: Any) -> str:
        """What a call gives, which has to go well."""
        result = (await self.run(name, **input)).result
        assert not result.is_error, result.text
        return result.text

    async def fault(self, name: str, **input: Any) -> str:
        """What a call is refused with."""
        result = (await self.run(name, **input)).result
        assert result.is_error, result.text
        return result.text

    def write(self, path: str, content: str | bytes) -> Path:
        """Put a file there as somebody else does."""
        file = self.path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    @property
    def names(self) -> list[str]:
        """What is in the folder."""
        return sorted(path.name for path in self.path.iterdir())

    def untouched(self) -> bool:
        """Say whether the other folder is as it was."""
        files = [path.name for path in self.outside.rglob("*")]
        return files == ["secret.txt"] and (self.outside / "secret.txt").read_text() == SECRET


@component
def Coder(*, path: Path, **options: Any) -> Any:
    return [System("You are a coder."), WorkDir(path, **options), Timeline()]


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # it happens in another process, which sets no event
            await asyncio.sleep(0.01)
