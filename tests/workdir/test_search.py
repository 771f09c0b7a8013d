"""Finding files by their names and by what is in them."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbsession import App, StopReason, ToolError
from nbsession.testing import ScriptedModel, call
from nbsession.workdir import search, walk
from nbsession.workdir.pattern import Pattern
from tests.support.work import Coder, until

if TYPE_CHECKING:
    from tests.support.work import Work

TREE = (
    "a.py",
    "b.txt",
    "src/c.py",
    "src/deep/er/d.py",
    "src/deep/e.tsx",
    ".env",
    ".github/workflows/ci.yml",
    ".git/config",
    "node_modules/x/index.js",
    "src/__pycache__/c.pyc",
)


def fill(work: Work) -> None:
    for path in TREE:
        work.write(path, f"the text of {path}\n")


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.py", ["a.py", "src/c.py", "src/deep/er/d.py"]),
        ("./*.py", ["a.py"]),
        ("src/*.py", ["src/c.py"]),
        ("**/*.py", ["a.py", "src/c.py", "src/deep/er/d.py"]),
        ("src/**/*.py", ["src/c.py", "src/deep/er/d.py"]),
        ("src/**", ["src/c.py", "src/deep/e.tsx", "src/deep/er/d.py"]),
        ("**/deep/**/*.{py,ts,tsx}", ["src/deep/e.tsx", "src/deep/er/d.py"]),
        ("{a,b}.{py,txt}", ["a.py", "b.txt"]),
        ("[ab].*", ["a.py", "b.txt"]),
        ("?.txt", ["b.txt"]),
        ("**", ["a.py", "b.txt", "src/c.py", "src/deep/e.tsx", "src/deep/er/d.py"]),
        (".env", [".env"]),
        (".*", [".env"]),
        (".github/**", [".github/workflows/ci.yml"]),
        ("node_modules/**", ["node_modules/x/index.js"]),
        ("**/__pycache__/*", ["src/__pycache__/c.pyc"]),
    ],
)
async def test_a_pattern_finds_what_it_names_and_nothing_hidden_that_it_does_not(
    work: Work, pattern: str, found: list[str]
) -> None:
    fill(work)
    assert (await work.text("glob", pattern=pattern)).split("\n") == found


class TestGlob:
    async def test_a_folder_to_look_in_may_be_a_hidden_one(self, work: Work) -> None:
        fill(work)
        assert await work.text("glob", pattern="*.yml", path=".github") == ".github/workflows/ci.yml"
        assert await work.text("glob", pattern="*.rs") == "no file matches '*.rs'"
        assert "does not exist" in await work.fault("glob", pattern="*", path="scr")

    async def test_many_files_are_counted_beyond_those_that_are_listed(self, work: Work) -> None:
        for number in range(250):
            work.write(f"{number:03}.txt", "")
        text = await work.text("glob", pattern="*.txt")
        assert text.endswith("199.txt\n(… and 50 more files; narrow pattern or path)")

    @pytest.mark.parametrize("pattern", ["", "/etc/*", "../*", "a/../../*", "x" * 1001, "{a,b}" * 20])
    async def test_a_pattern_that_cannot_be_meant_is_refused(self, work: Work, pattern: str) -> None:
        assert "pattern" in await work.fault("glob", pattern=pattern)

    async def test_a_pattern_of_many_stars_costs_no_more_than_others(self, work: Work) -> None:
        work.write("/".join("a" * 60) + "/" + "a" * 200, "")
        started = time.process_time()
        assert "no file" in await work.text("glob", pattern="**/a/" * 40 + "*a*a*a*a*a*a*a*a*a*a*b")
        assert time.process_time() - started < 5

    async def test_a_search_ends_when_its_time_is_over_and_says_so(
        self, work: Work, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fill(work)
        monkeypatch.setattr(walk, "SECONDS", -1.0)
        assert "stopped after 10 seconds, not all folders were looked at" in await work.text(
            "glob", pattern="**"
        )
        assert "stopped after 10 seconds, not all files were searched" in await work.text("grep", pattern="x")

    @given(
        st.text(alphabet="a*?[]!-{},/.^\\", max_size=20),
        st.lists(st.text(alphabet="a.-[", min_size=1, max_size=4), max_size=4),
    )
    def test_any_pattern_is_matched_or_refused(self, text: str, names: list[str]) -> None:
        try:
            pattern = Pattern(text)
        except ToolError:
            return
        places = pattern.start
        for name in names:
            places = pattern.after(places, name)
        assert pattern.is_match(places) in (True, False)


class TestGrep:
    async def test_lines_come_with_their_place(self, work: Work) -> None:
        work.write("a.py", "import os\n\ndef f():\n    return os\n")
        work.write("b.txt", "os too\r\n")
        assert (
            await work.text("grep", pattern=r"\bos\b")
            == "a.py:1: import os\na.py:4:     return os\nb.txt:1: os too"
        )
        assert await work.text("grep", pattern="^IMPORT") == "no line matches '^IMPORT'"
        assert await work.text("grep", pattern="(?i)^IMPORT") == "a.py:1: import os"

    async def test_it_may_be_one_file_a_folder_or_those_of_a_pattern(self, work: Work) -> None:
        fill(work)
        assert await work.text("grep", pattern="text", path="src/c.py") == "src/c.py:1: the text of src/c.py"
        assert await work.text("grep", pattern="text", path="src/deep", glob="*.py") == (
            "src/deep/er/d.py:1: the text of src/deep/er/d.py"
        )
        assert ".git/config" not in await work.text("grep", pattern="text")
        assert ".env:1:" in await work.text("grep", pattern="text", path=".env")
        assert ".env:1:" in await work.text("grep", pattern="text", glob=".*")
        assert "does not exist" in await work.fault("grep", pattern="text", path="scr")

    async def test_other_encodings_are_searched_and_binary_files_are_not(self, work: Work) -> None:
        work.write("a.txt", "naïve".encode("utf-16"))
        work.write("b.txt", "naïve".encode("cp1252"))
        work.write("c.bin", "naïve\0".encode())
        assert await work.text("grep", pattern="naï") == "a.txt:1: naïve\nb.txt:1: naïve"

    async def test_much_is_counted_beyond_what_is_shown(self, work: Work) -> None:
        work.write("a.txt", "hit\n" * 1000)
        work.write("b.txt", "hit\n" * 7)
        text = await work.text("grep", pattern="hit")
        assert text.endswith(
            "a.txt:200: hit\n(… 200 of 1,007 lines in 2 files; narrow pattern, path or glob)"
        )

    async def test_a_long_line_is_shown_around_what_matches(self, work: Work) -> None:
        work.write("a.txt", "x" * 10_000 + "needle" + "y" * 10_000)
        text = await work.text("grep", pattern="needle")
        assert len(text) < 400
        assert "…xxx" in text
        assert "needleyyy" in text
        work.write("a.txt", ("x" * 299 + "\n") * 1000)
        assert len(await work.text("grep", pattern="x")) < 25_000

    async def test_a_file_that_is_too_large_is_named_and_the_others_are_searched(self, work: Work) -> None:
        with work.write("a.txt", "").open("wb") as file:
            file.truncate(1 << 30)
        work.write("b.txt", "hit")
        text = await work.text("grep", pattern="hit")
        assert text.startswith("b.txt:1: hit\n('a.txt' has more than")

    @pytest.mark.parametrize(
        "pattern", ["(", "*", "a{99999999999}", "(?P<a>x)(?P<a>y)", "[z-a]", "(" * 5000 + ")" * 5000]
    )
    async def test_what_is_no_expression_is_refused_with_the_reason(self, work: Work, pattern: str) -> None:
        work.write("a.txt", "a")
        assert "is no regular expression that Python takes" in await work.fault("grep", pattern=pattern)

    @pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(?:a*)*b", "^(([a-z])+.)+[A-Z]([a-z])+$"])
    async def test_an_expression_that_would_take_for_ever_is_ended(
        self, work: Work, monkeypatch: pytest.MonkeyPatch, pattern: str
    ) -> None:
        monkeypatch.setattr(search, "SECONDS", 0.5)
        work.write("a.txt", "hit")
        work.write("b.txt", "a" * 5000 + "!")
        text = await work.text("grep", pattern=f"hit|{pattern}")
        assert text.startswith("a.txt:1: hit\n(stopped at 'b.txt': it takes too long")

    async def test_an_abort_leaves_no_process_that_matches(
        self, work: Work, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        started: list[Any] = []
        popen = subprocess.Popen

        def noted(*arguments: Any, **options: Any) -> Any:
            started.append(popen(*arguments, **options))
            return started[-1]

        monkeypatch.setattr(subprocess, "Popen", noted)
        monkeypatch.setattr(search, "SECONDS", 2.0)
        work.write("b.txt", "a" * 5000 + "!")
        session = App(
            Coder(path=work.path, confirm=False), model=ScriptedModel([call("grep", pattern="(a+)+$")])
        ).session()
        execution = session.send("Search.")
        async for event in execution:
            if event.type == "tool_start":
                await until(lambda: bool(started))
                execution.abort()
        assert (await execution).stop_reason is StopReason.aborted
        await until(lambda: started[0].returncode is not None)
        session.close()

    async def test_nothing_in_the_folder_is_imported_by_the_search(
        self, work: Work, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(work.path)
        monkeypatch.setenv("PYTHONPATH", str(work.path))
        for name in ("re.py", "json.py", "sitecustomize.py"):
            work.write(name, f"open({str(work.path / 'ran')!r}, 'w')")
        await work.text("grep", pattern="open")
        assert not (work.path / "ran").exists()


async def test_a_folder_that_goes_on_and_on_is_looked_through(work: Work) -> None:
    at = Path("x" * 100)
    work.write(str(at / "a.txt"), "hit")
    inner = "/".join(["x" * 100] * 30)
    work.write(f"{inner}/a.txt", "hit")
    assert "no line matches" not in await work.text("grep", pattern="hit")
    assert f"{inner}/a.txt" in await work.text("glob", pattern="*.txt")
