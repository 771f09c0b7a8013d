"""Reading, writing, editing and listing files."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbsession import RenderError
from nbsession.content import Document, Image
from nbsession.workdir.folder import Folder
from nbsession.workdir.text import Text

if TYPE_CHECKING:
    from tests.support.work import Work

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360000002000001e221bc330000000049454e44ae426082"
)


class TestRead:
    async def test_lines_come_with_their_numbers(self, work: Work) -> None:
        work.write("a.txt", "one\ntwo\n\nfour")
        assert (
            await work.text("read_file", path="a.txt") == "     1\tone\n     2\ttwo\n     3\t\n     4\tfour"
        )

    async def test_a_part_says_where_to_go_on(self, work: Work) -> None:
        work.write("a.txt", "".join(f"line {number}\n" for number in range(1, 101)))
        assert await work.text("read_file", path="a.txt", offset=10, limit=2) == (
            "    10\tline 10\n    11\tline 11\n(lines 10 to 11 of 100; go on with offset=12)"
        )
        assert "go on" not in await work.text("read_file", path="a.txt", offset=99)
        assert "has 100 lines, so there is no line 101" in await work.fault(
            "read_file", path="a.txt", offset=101
        )
        assert "count from 1" in await work.fault("read_file", path="a.txt", offset=0)

    async def test_much_text_is_given_by_whole_lines_that_go_on_without_a_gap(self, work: Work) -> None:
        lines = [f"{number} " + "x" * (number % 700) for number in range(1, 3000)]
        work.write("a.txt", "\n".join(lines))
        read: list[str] = []
        while len(read) < len(lines):
            text = await work.text("read_file", path="a.txt", offset=len(read) + 1)
            assert len(text) < 25_000
            rows = [row for row in text.split("\n") if not row.startswith("(")]
            read += [row.split("\t", 1)[1] for row in rows]
        assert read == lines

    async def test_a_line_without_an_end_is_cut_and_says_so(self, work: Work) -> None:
        work.write("a.txt", "x" * 100_000 + "\nlast")
        text = await work.text("read_file", path="a.txt")
        assert "… [98,000 more characters in this line]\n     2\tlast" in text

    async def test_an_empty_file_says_so(self, work: Work) -> None:
        work.write("a.txt", "")
        assert await work.text("read_file", path="a.txt") == "('a.txt' is empty)"

    async def test_a_picture_and_a_pdf_are_given_as_what_they_show(self, work: Work) -> None:
        work.write("a.dat", PIXEL)
        work.write("b.pdf", b"%PDF-1.7\n%\xff\xff")
        (picture,) = (await work.run("read_file", path="a.dat")).result.content
        assert isinstance(picture, Image)
        assert (picture.data, picture.alt) == (PIXEL, "a.dat")
        (document,) = (await work.run("read_file", path="b.pdf")).result.content
        assert isinstance(document, Document)
        work.write("c.py", 'if data.startswith(b"%PDF-"):\n    pass\n')
        assert "     1\tif data" in await work.text("read_file", path="c.py")

    async def test_a_binary_file_is_said_to_be_one(self, work: Work) -> None:
        work.write("a.bin", b"\x7fELF\x02\x01\0\0" + bytes(range(256)))
        assert await work.text("read_file", path="a.bin") == (
            "('a.bin' is a binary file of 264 bytes, which begins with 7f 45 4c 46 02 01 00 00 00 01 02 03 04 05 06 07)"
        )

    async def test_a_file_that_is_too_large_is_not_read(
        self, work: Work, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with work.write("a.txt", "").open("wb") as file:
            file.truncate(1 << 40)
        assert "more than 20,971,520 bytes" in await work.fault("read_file", path="a.txt")

    @pytest.mark.parametrize(
        ("data", "text", "encoding"),
        [
            ("naïve – ✓".encode(), "naïve – ✓", "utf-8"),
            ("naïve".encode("utf-8-sig"), "naïve", "utf-8"),
            ("naïve ✓".encode("utf-16"), "naïve ✓", "utf-16-le"),
            (b"\xfe\xff" + "naïve ✓".encode("utf-16-be"), "naïve ✓", "utf-16-be"),
            ("naïve – “so”".encode("cp1252"), "naïve – “so”", "cp1252"),
            (b"\x81\x8d", "\x81\x8d", "latin-1"),
        ],
    )
    async def test_an_encoding_is_found_and_kept(
        self, work: Work, data: bytes, text: str, encoding: str
    ) -> None:
        file = work.write("a.txt", data)
        shown = await work.text("read_file", path="a.txt")
        assert shown.split("\n")[0] == f"     1\t{text}"
        assert ("(read as" in shown) == (encoding != "utf-8")
        await work.text("edit_file", path="a.txt", old_string=text, new_string=f"{text}!")
        assert file.read_bytes() == data + "!".encode(encoding)


class TestWrite:
    async def test_a_new_file_is_made_with_the_folders_above_it(self, work: Work) -> None:
        assert (
            await work.text("write_file", path="a/b/c.txt", content="x\ny\n")
            == "Created 'a/b/c.txt', 2 lines."
        )
        assert (work.path / "a/b/c.txt").read_text() == "x\ny\n"
        assert [path.name for path in (work.path / "a/b").iterdir()] == ["c.txt"]

    async def test_a_file_that_was_not_read_is_not_overwritten(self, work: Work) -> None:
        file = work.write("a.txt", "precious")
        assert "was not read; nothing was written" in await work.fault(
            "write_file", path="a.txt", content="x"
        )
        assert file.read_text() == "precious"
        await work.text("read_file", path="a.txt")
        assert await work.text("write_file", path="a.txt", content="x") == "Replaced 'a.txt', 1 line."
        assert file.read_text() == "x"
        await work.text("write_file", path="a.txt", content="what it wrote itself it knows")

    async def test_one_that_changed_since_is_not_overwritten_either(self, work: Work) -> None:
        file = work.write("a.txt", "old")
        await work.text("read_file", path="a.txt")
        file.write_text("new")
        assert "another by now" in await work.fault("write_file", path="a.txt", content="x")
        assert file.read_text() == "new"

    async def test_one_that_changes_in_the_midst_of_it_is_not_overwritten(
        self, work: Work, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = work.write("a.txt", "old")
        await work.text("read_file", path="a.txt")
        sync = os.fsync

        def synced(fd: int) -> None:
            sync(fd)
            file.write_text("theirs")

        monkeypatch.setattr(os, "fsync", synced)
        assert "changed by somebody else" in await work.fault("write_file", path="a.txt", content="x")
        assert file.read_text() == "theirs"
        assert work.names == ["a.txt"]

    async def test_the_permission_bits_stay_but_those_that_lend_rights(self, work: Work) -> None:
        file = work.write("a.sh", "old")
        file.chmod(0o4751)
        await work.text("edit_file", path="a.sh", old_string="old", new_string="new")
        assert stat.S_IMODE(file.stat().st_mode) == 0o751

    async def test_a_read_only_file_stays_as_it_is(self, work: Work) -> None:
        file = work.write("a.txt", "old")
        file.chmod(0o444)
        assert "read-only" in await work.fault("edit_file", path="a.txt", old_string="old", new_string="new")
        assert file.read_text() == "old"
        assert work.names == ["a.txt"]

    async def test_who_reads_meanwhile_gets_the_old_or_the_new_text_whole(self, work: Work) -> None:
        file = work.write("a.txt", "0" * 100_000)
        texts: set[str] = set()
        stop = threading.Event()

        def watch() -> None:
            while not stop.is_set():
                text = file.read_text()
                texts.add(f"{text[:1]}{len(text)}{len(set(text))}")

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            await work.text("read_file", path="a.txt")
            for turn in range(50):
                await work.text("write_file", path="a.txt", content=str(turn % 10) * 100_000)
        finally:
            stop.set()
            watching.join()
        assert all(text.endswith("1000001") for text in texts), texts

    async def test_nothing_is_written_where_git_runs_what_it_finds(self, work: Work) -> None:
        (work.path / "sub").mkdir()
        for path in (".git/hooks/pre-commit", ".GIT/config", "sub/.git", "sub/.Git/config"):
            assert "git's own" in await work.fault("write_file", path=path, content="x")
        assert [path.name for path in work.path.rglob("*")] == ["sub"]
        await work.text("write_file", path=".gitignore", content="x")

    async def test_text_that_utf8_cannot_hold_is_refused(self, work: Work) -> None:
        assert r"'\ud800'" in await work.fault("write_file", path="a.txt", content="a\ud800b")
        assert work.names == []

    async def test_a_disk_that_refuses_leaves_what_was_there(
        self, work: Work, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(fd: int) -> None:
            raise OSError(28, "No space left on device")

        file = work.write("a.txt", "old")
        monkeypatch.setattr(os, "fsync", full)
        assert await work.fault("edit_file", path="a.txt", old_string="old", new_string="new") == (
            "'a.txt' cannot be written: No space left on device"
        )
        assert work.names == ["a.txt"]
        assert file.read_text() == "old"


class TestEdit:
    async def test_what_is_there_once_is_replaced_and_shown(self, work: Work) -> None:
        file = work.write("a.py", "".join(f"line {number}\n" for number in range(1, 21)))
        assert await work.text(
            "edit_file", path="a.py", old_string="line 10\n", new_string="ten\nand a half\n"
        ) == (
            "Replaced it in 1 place of 'a.py'; the first is now:\n"
            "     7\tline 7\n     8\tline 8\n     9\tline 9\n    10\tten\n    11\tand a half\n"
            "    12\tline 11\n    13\tline 12\n    14\tline 13"
        )
        assert "line 9\nten\nand a half\nline 11\n" in file.read_text()

    async def test_what_is_there_more_often_is_not_guessed_at(self, work: Work) -> None:
        file = work.write("a.py", "x = 1\ny = 2\nx = 1\nx = 1\n")
        assert await work.fault("edit_file", path="a.py", old_string="x = 1", new_string="x = 2") == (
            "old_string was found 3 times, at lines 1, 3, 4; nothing was changed. "
            "Give more of the text around the one that is meant, or replace_all=true"
        )
        assert "in 3 places" in await work.text(
            "edit_file", path="a.py", old_string="x = 1", new_string="x = 2", replace_all=True
        )
        assert file.read_text() == "x = 2\ny = 2\nx = 2\nx = 2\n"

    async def test_what_is_not_there_is_answered_with_what_is_like_it(self, work: Work) -> None:
        work.write("a.py", "def f(a):\n    if a:\n        return 1\n    return 2\n")
        for old, hint in (
            (
                "if a:\n    return 1",
                "with other blanks or line breaks:\n     2\t    if a:\n     3\t        return 1",
            ),
            (
                "return 22",
                "The likest place is:\n     2\t    if a:\n     3\t        return 1\n     4\t    return 2",
            ),
            ("     4\t    return 2", "It begins its lines with the numbers that read_file shows"),
            ("import numpy", "Nothing in the file is like it; read the file again"),
        ):
            fault = await work.fault("edit_file", path="a.py", old_string=old, new_string="x")
            assert fault.startswith("old_string was not found; nothing was changed. ")
            assert hint in fault

    async def test_an_edit_that_says_nothing_is_refused(self, work: Work) -> None:
        work.write("a.py", "x")
        assert "empty" in await work.fault("edit_file", path="a.py", old_string="", new_string="x")
        assert "the same" in await work.fault("edit_file", path="a.py", old_string="x", new_string="x")
        work.write("a.bin", b"x\0")
        assert "binary" in await work.fault("edit_file", path="a.bin", old_string="x", new_string="y")
        assert "does not exist" in await work.fault("edit_file", path="b", old_string="x", new_string="y")

    async def test_a_file_that_changed_since_it_was_read_is_read_again_first(self, work: Work) -> None:
        file = work.write("a.py", "x = 1\n")
        await work.text("read_file", path="a.py")
        file.write_text("x = 1\ny = 1\n")
        fault = await work.fault("edit_file", path="a.py", old_string="x = 1", new_string="x = 2")
        assert "Read it again by read_file" in fault
        await work.text("read_file", path="a.py")
        await work.text("edit_file", path="a.py", old_string="x = 1", new_string="x = 2")
        await work.text("edit_file", path="a.py", old_string="x = 2", new_string="x = 3")
        assert file.read_text() == "x = 3\ny = 1\n"

    async def test_line_ends_stay_what_they_were(self, work: Work) -> None:
        file = work.write("a.txt", "a\r\nb\r\nc\r\n")
        assert await work.text("read_file", path="a.txt") == "     1\ta\n     2\tb\n     3\tc"
        await work.text("edit_file", path="a.txt", old_string="a\nb", new_string="1\n2\n3")
        assert file.read_bytes() == b"1\r\n2\r\n3\r\nc\r\n"
        await work.text("edit_file", path="a.txt", old_string="2\r\n3", new_string="x\r\ny")
        assert file.read_bytes() == b"1\r\nx\r\ny\r\nc\r\n"
        mixed = work.write("b.txt", "a\r\nb\n")
        await work.text("edit_file", path="b.txt", old_string="b", new_string="c")
        assert mixed.read_bytes() == b"a\r\nc\n"

    async def test_a_letter_that_the_files_encoding_lacks_is_named(self, work: Work) -> None:
        file = work.write("a.txt", "naïve\r\n".encode("cp1252"))
        fault = await work.fault("edit_file", path="a.txt", old_string="naïve", new_string="✓")
        assert fault == r"the file is written in cp1252, which has no '\u2713'; write the text without it"
        assert file.read_bytes() == "naïve\r\n".encode("cp1252")

    async def test_an_edit_that_would_fill_the_disk_is_refused(self, work: Work) -> None:
        work.write("a.txt", "a" * 100_000)
        assert "would have more than" in await work.fault(
            "edit_file", path="a.txt", old_string="a", new_string="b" * 10_000, replace_all=True
        )

    async def test_a_hint_takes_no_longer_than_it_is_worth(self, work: Work) -> None:
        work.write("a.txt", "\n".join(["ab" * 90 + "c"] * 20_000))
        fault = await work.fault(
            "edit_file", path="a.txt", old_string="\n".join(["ba" * 90 + "d"] * 5_000), new_string=""
        )
        assert fault.startswith("old_string was not found")

    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.text(alphabet="ab\n\r é", max_size=30),
        st.text(alphabet="ab\n\r é", min_size=1, max_size=4),
        st.text(alphabet="cd\n", max_size=3),
    )
    async def test_an_edit_is_that_of_the_text_or_refused(
        self, work: Work, text: str, old: str, new: str
    ) -> None:
        file = work.write("p.txt", text)
        await work.run("read_file", path="p.txt")
        outcome = await work.run("edit_file", path="p.txt", old_string=old, new_string=new)
        before = Text.of(text.encode())
        assert before is not None
        searched = old.replace("\r\n", "\n") if before.newline == "\r\n" else old
        if outcome.result.is_error:
            assert before.text.count(searched) != 1 or searched == new
            assert file.read_bytes() == text.encode()
        else:
            assert before.text.count(searched) == 1
            assert file.read_bytes() == before.with_text(before.text.replace(searched, new))


class TestList:
    async def test_a_folder_is_listed_by_name_hidden_files_too(self, work: Work) -> None:
        work.write("b.txt", "12")
        work.write(".env", "")
        work.write("a/x", "")
        work.write("odd\nname", "")
        assert (
            await work.text("list_files") == ".env  (0 bytes)\na/\nb.txt  (2 bytes)\n'odd\\nname'  (0 bytes)"
        )
        (work.path / "empty").mkdir()
        assert await work.text("list_files", path="empty") == "('empty' is empty)"
        assert "is a file, and not a folder" in await work.fault("list_files", path="b.txt")

    async def test_a_large_one_says_how_much_is_missing(self, work: Work) -> None:
        for number in range(612):
            work.write(f"{number:03}", "")
        text = await work.text("list_files")
        assert "499  (0 bytes)\n(… and 112 more, by name; glob finds those that fit a pattern)" in text


@given(st.binary(max_size=200))
def test_bytes_that_are_read_as_text_are_written_back_as_they_were(data: bytes) -> None:
    text = Text.of(data)
    assert text is None or text.with_text(text.text) == data


def test_a_system_that_cannot_hold_to_a_folder_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "supports_dir_fd", set())
    with pytest.raises(RenderError, match="needs a system that opens files relative to an open folder"):
        Folder(tmp_path)
