"""Nothing outside the folder is reached: by no path, no link, and no link that is put there at the wrong moment."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbsession import ToolError
from nbsession.workdir.folder import Folder
from tests.support.work import SECRET, Work

PATHS = ("../outside/secret.txt", "a/../../outside/secret.txt", "..", "a/..", "a/../a/b.txt")
OTHER_SPELLINGS = ("./a/b.txt", "a//b.txt", "a/./b.txt", "a/b.txt/", "", "./.")


class TestPaths:
    @pytest.mark.parametrize("path", PATHS)
    async def test_no_path_has_a_way_up_in_it(self, work: Work, path: str) -> None:
        work.write("a/b.txt", "b")
        assert "has '..' in it" in await work.fault("read_file", path=path)
        assert "has '..' in it" in await work.fault("write_file", path=path, content="x")
        assert "has '..' in it" in await work.fault("list_files", path=path)
        assert "has '..' in it" in await work.fault("grep", pattern="x", path=path)
        assert work.untouched()

    @pytest.mark.parametrize("path", OTHER_SPELLINGS)
    async def test_a_file_has_one_path_so_that_no_rule_is_passed_by_with_another(
        self, work: Work, path: str
    ) -> None:
        work.write("a/b.txt", "b")
        assert "one path here" in await work.fault("read_file", path=path)
        assert "one path here" in await work.fault("write_file", path=path, content="x")
        assert (work.path / "a/b.txt").read_text() == "b"

    async def test_an_absolute_path_is_refused_with_the_one_to_write(self, work: Work) -> None:
        inside, outside = str(work.write("a/b.txt", "b")), str(work.outside / "secret.txt")
        assert "write 'a/b.txt' for" in await work.fault("read_file", path=inside)
        assert "write '.' for" in await work.fault("list_files", path=str(work.path))
        assert "outside the working folder" in await work.fault("read_file", path=outside)
        assert "outside the working folder" in await work.fault("write_file", path=outside, content="x")
        assert "has '..' in it" in await work.fault("read_file", path=f"{work.path}/../outside/secret.txt")
        assert work.untouched()

    @pytest.mark.parametrize("path", ["a\0b", "a\ud800b", "x" * 300, "~/x", "a\nb"])
    async def test_what_can_be_no_path_is_said_on_one_line(self, work: Work, path: str) -> None:
        assert "\n" not in await work.fault("read_file", path=path)

    async def test_a_missing_file_is_answered_with_the_nearest_name(self, work: Work) -> None:
        work.write("src/main.py", "")
        assert await work.fault("read_file", path="src/mian.py") == (
            "'src/mian.py' does not exist; did you mean 'src/main.py'?"
        )
        assert (
            await work.fault("read_file", path="scr/main.py") == "'scr' does not exist; did you mean 'src'?"
        )
        assert "is a file, and not a folder" in await work.fault("read_file", path="src/main.py/x")

    async def test_a_working_folder_that_is_gone_is_said(self, work: Work) -> None:
        work.path.rmdir()
        assert "the working folder" in await work.fault("list_files")
        work.path.symlink_to(work.outside)
        assert "the working folder" in await work.fault("read_file", path="secret.txt")

    async def test_a_link_to_the_working_folder_is_followed_once(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "real" / "a.txt").write_text("a")
        (tmp_path / "link").symlink_to("real")
        assert Folder(tmp_path / "link").read(("a.txt",)) == b"a"


class TestLinks:
    async def test_a_link_is_followed_neither_in_the_middle_of_a_path_nor_at_its_end(
        self, work: Work
    ) -> None:
        (work.path / "door").symlink_to(work.outside)
        (work.path / "file.txt").symlink_to(work.outside / "secret.txt")
        (work.path / "new.txt").symlink_to(work.outside / "new.txt")
        for name, arguments in (
            ("read_file", {"path": "door/secret.txt"}),
            ("read_file", {"path": "file.txt"}),
            ("write_file", {"path": "door/new.txt", "content": "x"}),
            ("write_file", {"path": "door/new/er.txt", "content": "x"}),
            ("write_file", {"path": "file.txt", "content": "x"}),
            ("write_file", {"path": "new.txt", "content": "x"}),
            ("edit_file", {"path": "file.txt", "old_string": "secret", "new_string": "x"}),
            ("list_files", {"path": "door"}),
            ("glob", {"pattern": "**", "path": "door"}),
            ("grep", {"pattern": "secret", "path": "door"}),
            ("grep", {"pattern": "secret", "path": "file.txt"}),
        ):
            assert "is a symbolic link, and links are not followed; it leads to" in await work.fault(
                name, **arguments
            )
        assert work.untouched()

    async def test_searching_passes_links_by(self, work: Work) -> None:
        (work.path / "door").symlink_to(work.outside)
        (work.path / "file.txt").symlink_to(work.outside / "secret.txt")
        (work.path / "loop").symlink_to(".")
        assert "no file matches" in await work.text("glob", pattern="**/*.txt")
        assert "no line matches" in await work.text("grep", pattern="secret")
        assert "loop  (a symbolic link" in await work.text("list_files")

    async def test_a_link_within_the_folder_is_not_followed_either(self, work: Work) -> None:
        work.write("a.txt", "a")
        (work.path / "b.txt").symlink_to("a.txt")
        assert "it leads to 'a.txt'" in await work.fault("read_file", path="b.txt")


class TestSpecialFiles:
    async def test_pipes_sockets_and_devices_are_refused_and_not_waited_for(
        self, work: Work, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        os.mkfifo(work.path / "pipe")
        monkeypatch.chdir(work.path)
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("socket")
            for name, what in (("pipe", "a named pipe"), ("socket", "a socket")):
                assert what in await work.fault("read_file", path=name)
                assert what in await work.fault("write_file", path=name, content="x")
                assert what in await work.fault("edit_file", path=name, old_string="a", new_string="b")
                assert what in await work.fault("grep", pattern="a", path=name)
                assert what in await work.text("list_files")
        assert "no line matches" in await work.text("grep", pattern="a")

    def test_a_device_is_a_device(self) -> None:
        with pytest.raises(ToolError, match="'null' is a device"):
            Folder("/dev").read(("null",))

    async def test_a_file_that_becomes_a_pipe_between_look_and_opening_does_not_hang(
        self, work: Work, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = work.write("a.txt", "a")

        def become_a_pipe() -> None:
            file.unlink()
            os.mkfifo(file)

        after_look(monkeypatch, "a.txt", become_a_pipe)
        assert "a named pipe" in await work.fault("read_file", path="a.txt")


def after_look(monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[], None]) -> None:
    """Let something happen once, right after a name was looked at."""
    look = os.stat
    done: list[str] = []

    def looked(path: Any, **options: Any) -> os.stat_result:
        status = look(path, **options)
        if path == name and not done:
            done.append(name)
            act()
        return status

    monkeypatch.setattr(os, "stat", looked)
    monkeypatch.setattr(os, "supports_dir_fd", {*os.supports_dir_fd, looked})


class TestRaces:
    async def test_a_link_made_between_look_and_use_is_not_followed(
        self, work: Work, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = work.write("a.txt", "a")

        def become_a_link() -> None:
            file.unlink()
            file.symlink_to(work.outside / "secret.txt")

        after_look(monkeypatch, "a.txt", become_a_link)
        assert "symbolic link" in await work.fault("read_file", path="a.txt")

    async def test_a_link_made_while_a_file_is_written_is_replaced_or_refused_and_not_written_through(
        self, work: Work, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await work.text("write_file", path="a.txt", content="a")
        file, rename = work.path / "a.txt", os.rename

        def renamed(*names: Any, **options: Any) -> None:
            file.unlink()
            file.symlink_to(work.outside / "secret.txt")
            rename(*names, **options)

        monkeypatch.setattr(os, "rename", renamed)
        await work.text("write_file", path="a.txt", content="new")
        assert work.untouched()
        assert not file.is_symlink()
        assert file.read_text() == "new"

    @pytest.mark.parametrize("where", ["in the middle", "at the end"])
    async def test_a_path_that_is_swapped_for_a_link_all_the_time_leads_nowhere_else(
        self, work: Work, where: str
    ) -> None:
        """Hundreds of swaps beside hundreds of calls: each call gets the inner file, or is refused."""
        middle = where == "in the middle"
        path = "door/secret.txt" if middle else "door"
        swapping = Swapping(work, folder=middle)
        swapping.start()
        try:
            for turn in range(2_000):
                if turn >= 100 and swapping.swaps > 200:
                    break
                assert SECRET not in (await work.run("read_file", path=path)).result.text
                await work.run("write_file", path=path, content=f"inner {turn}")
                await work.run("edit_file", path=path, old_string="secret", new_string="x")
                await work.run("write_file", path=f"door/{turn}/new.txt", content="x")
                await work.run("list_files", path="door")
                if turn % 20 == 0:
                    assert SECRET not in (await work.run("grep", pattern="secret")).result.text
                assert work.untouched()
        finally:
            swapping.stop()
        assert swapping.swaps > 200


class Swapping(threading.Thread):
    """Makes ``door`` a folder (or a file) and a link to what is outside in turns, 100,000 times at most."""

    def __init__(self, work: Work, *, folder: bool) -> None:
        super().__init__()
        self.swaps = 0
        self._door = work.path / "door"
        self._folder = folder
        self._target = work.outside if folder else work.outside / "secret.txt"
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.is_set() and self.swaps < 100_000:
            for put in (self._put_link, self._put_own):
                with suppress(OSError):  # a call of the other thread was faster
                    self._clear()
                    put()
            self.swaps += 1

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def _clear(self) -> None:
        if self._door.is_dir() and not self._door.is_symlink():
            shutil.rmtree(self._door, ignore_errors=True)
        else:
            self._door.unlink(missing_ok=True)

    def _put_link(self) -> None:
        self._door.symlink_to(self._target)

    def _put_own(self) -> None:
        if self._folder:
            self._door.mkdir()
            (self._door / "secret.txt").write_text("inner")
        else:
            self._door.write_text("inner")


NAMES = st.sampled_from(
    ["..", ".", "", "a", "door", "file.txt", "secret.txt", "outside", "work", "~", "new", "/", "x\0", ".git"]
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(NAMES, max_size=6), st.booleans())
async def test_whatever_path_is_put_together_leads_nowhere_else(
    work: Work, names: list[str], rooted: bool
) -> None:
    door = work.path / "door"
    if not door.is_symlink():
        door.symlink_to(work.outside)
        (work.path / "file.txt").symlink_to(work.outside / "secret.txt")
        (work.path / "a").mkdir()
    path = ("/" if rooted else "") + "/".join(names)
    for name, arguments in (
        ("read_file", {}),
        ("write_file", {"content": "x"}),
        ("edit_file", {"old_string": "secret", "new_string": "x"}),
        ("list_files", {}),
        ("glob", {"pattern": "**"}),
        ("grep", {"pattern": "secret"}),
    ):
        found = (await work.run(name, path=path, **arguments)).result
        assert SECRET not in found.text
    assert work.untouched()
