"""Cells and lines of ours that may take long, made a native ``await``, so that the kernel's loop goes on meanwhile."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from IPython.core.inputtransformer2 import (
    TokenTransformBase,
    assemble_continued_line,
    find_end_of_continued_line,
)

from nbsession.notebook import kernel

if TYPE_CHECKING:
    from types import FrameType

    from IPython.core.interactiveshell import InteractiveShell

MAGIC = "%%session"
SWEEP = "sweep"
ANSWER = "answer"
EXPERIMENT = "experiment"


class Rewriter:
    """An input transformer that makes a ``%%session`` cell a native ``await``.

    So the kernel's loop goes on while the cell runs. Where nothing can be
    awaited it becomes a call of the magic, as IPython itself would make it;
    unlike IPython, it allows comments before the magic.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell

    def __call__(self, lines: list[str]) -> list[str]:
        at = _magic_line(lines)
        if at is None:
            return lines
        line = lines[at].strip()[len(MAGIC) :].strip()
        body = "".join(lines[at + 1 :])
        if can_await(self._shell):
            return [f"await get_ipython().nbsession.send({line!r}, {body!r})\n"]
        return [f"get_ipython().run_cell_magic('session', {line!r}, {body!r})\n"]


class AwaitedLines:
    """A token transformer that makes a ``%session sweep``, ``answer`` or ``experiment`` line at the left edge a native ``await``.

    As ``Rewriter`` does, and for the same reason: it may take long. Elsewhere (in a
    loop or function, where nothing can be awaited) the line blocks.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell

    def find(self, tokens_by_line: list[list[Any]]) -> TokenTransformBase | None:
        """Find the first such line; IPython asks again after each that was replaced."""
        if not can_await(self._shell):
            return None
        for line in tokens_by_line:
            words = [token.string for token in line[:3]]
            if (
                words[:2] == ["%", "session"]
                and words[2:] in ([SWEEP], [ANSWER], [EXPERIMENT])
                and line[0].start[1] == 0
            ):
                return _Awaited(line[0].start)  # type: ignore[no-untyped-call]  # as IPython has it
        return None


class _Awaited(TokenTransformBase):
    priority = 5  # before IPython's own transformer of magics, which has 10

    def transform(self, lines: list[str]) -> list[str]:
        """Replace the line, and the lines that continue it."""
        last = find_end_of_continued_line(lines, self.start_line)
        line = assemble_continued_line(lines, (self.start_line, self.start_col), last)
        asked = line.strip()[len("%session") :].strip()
        awaited = f"await get_ipython().nbsession.{asked.split()[0]}({asked!r})\n"
        return [*lines[: self.start_line], awaited, *lines[last + 1 :]]


def can_await(shell: InteractiveShell) -> bool:
    """Whether a cell that is about to run may await: it is a kernel's, on asyncio, and no cell runs around it."""
    if kernel.of(shell) is None or not shell.autoawait:
        return False
    asyncio_runner, _ = shell.loop_runner_map["asyncio"]
    return shell.loop_runner is asyncio_runner and not _within_a_cell(shell)


def _within_a_cell(shell: InteractiveShell) -> bool:
    """Whether a running cell is on the stack: ``%%time``, ``%%capture`` and ``run_cell`` run cells within one."""
    running = type(shell).run_code.__code__
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code is running:
            return True
        frame = frame.f_back
    return False


def _magic_line(lines: list[str]) -> int | None:
    for at, line in enumerate(lines):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        return at if text.split(maxsplit=1)[0] == MAGIC else None
    return None
