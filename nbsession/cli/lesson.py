"""``nbsession lesson``: a lesson's solutions, and the lesson as nbgrader takes it."""

from __future__ import annotations

import ast
import copy
import difflib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbsession.cli.command import Failure

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

KEY = "nbsession"
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
_CHECK = re.compile(r"^check\(", re.MULTILINE)


def add_to(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "lesson",
        help="write a lesson with its exercises solved, or for nbgrader",
        description="Write a copy of a lesson. With --solved its exercises are done. With --nbgrader it is the instructor's "
        "version of an assignment: solutions stand between nbgrader's marks, and each check is graded.",
    )
    parser.add_argument("notebook", type=Path, metavar="NOTEBOOK", help="the lesson")
    parser.add_argument("target", type=Path, metavar="TARGET", help="the file to write")
    form = parser.add_mutually_exclusive_group(required=True)
    form.add_argument("--solved", action="store_true", help="with the solutions in place")
    form.add_argument("--nbgrader", action="store_true", help="as an assignment's source")
    parser.add_argument("--force", action="store_true", help="write over a file that is there")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Carry the command out."""
    import nbformat

    if options.target.exists() and not options.force:
        raise Failure(f"{options.target} is there already; write over it with --force")
    if not options.notebook.is_file():
        raise Failure(f"there is no notebook {options.notebook}")
    if not options.target.parent.is_dir():
        raise Failure(f"there is no folder {options.target.parent}; make it first")
    try:
        lesson = nbformat.read(options.notebook, as_version=4)
    except (
        ValueError,
        AttributeError,
        nbformat.ValidationError,
    ) as error:  # as nbformat has it for other JSON
        raise Failure(f"{options.notebook} is no notebook: {error}") from None
    for at, cell in enumerate(lesson.cells):
        _refuse_odd(_about(cell), f"cell {at} of {options.notebook}")
    made = solved(lesson) if options.solved else assignment(lesson, options.notebook.stem)
    exercises = sum(_about(cell).get("solution") is not None for cell in lesson.cells)
    if not exercises:
        raise Failure(f"{options.notebook} has no exercises: no cell whose metadata has nbsession.solution")
    options.target.write_text(nbformat.writes(made) + "\n", "utf-8")
    print(f"wrote {options.target}: {exercises} exercise{'s' * (exercises != 1)}")
    return 0


def solved(lesson: Any) -> Any:
    """Return a lesson with its solutions in place of what its reader is to write."""
    made = copy.deepcopy(lesson)
    for cell in made.cells:
        cell.source = _about(cell).get("solution", cell.source)
        cell.metadata.pop(KEY, None)
    return made


def assignment(lesson: Any, name: str) -> Any:
    """Return a lesson as nbgrader's source of an assignment (its metadata's schema 3)."""
    made = copy.deepcopy(lesson)
    for cell in made.cells:
        about = _about(cell)
        cell.metadata.pop(KEY, None)
        if "solution" in about:
            cell.source = marked(cell.source, about["solution"])
        elif "points" in about:
            cell.source = graded(cell.source)
        else:
            continue
        is_check = "points" in about
        cell.metadata["nbgrader"] = {
            "schema_version": 3,
            "grade_id": f"{name}-{cell.id}",
            "grade": is_check,
            "solution": not is_check,
            "locked": is_check,
            "task": False,
            **({"points": about["points"]} if is_check else {}),
        }
    return made


def marked(start: str, solution: str) -> str:
    """Return a solution with nbgrader's marks around the statements that its reader is to write.

    nbgrader puts a line that raises in place of what stands between the marks, so they hold whole
    statements. What stood there to begin with is kept above them as a comment.
    """
    theirs, ours = start.splitlines(), solution.splitlines()
    blocks = difflib.SequenceMatcher(None, theirs, ours, autojunk=False).get_matching_blocks()
    first = next((at for at, line in enumerate(ours) if at >= len(theirs) or theirs[at] != line), len(ours))
    last = len(ours)
    if len(blocks) > 1 and blocks[-2].b + blocks[-2].size == len(ours):
        last = max(first, blocks[-2].b)
    first, last = _statements(solution, first, last)
    indent = _indent(ours[first:last])
    begun = theirs[first : len(theirs) - (len(ours) - last)]
    kept = [line if line.lstrip().startswith("#") else _commented(line, indent) for line in begun]
    return "\n".join(
        [*ours[:first], *kept, indent + BEGIN, *ours[first:last], indent + END, *ours[last:]],
    )


def graded(source: str) -> str:
    """Return a check that stops where it does not hold, once it has shown what does."""
    named, found = _CHECK.subn("_checked = check(", source)
    return f"{named}\ndisplay(_checked)\n_checked.require()" if found else source


def _statements(source: str, first: int, last: int) -> tuple[int, int]:
    """Widen some lines to the innermost statements that hold them; to all where it is not Python alone."""
    try:
        body: Sequence[ast.stmt] = ast.parse(source).body
    except SyntaxError:  # a magic
        return 0, len(source.splitlines())
    while True:
        spans = [(_begin(statement), statement.end_lineno or 0) for statement in body]
        held = [at for at, (begin, end) in enumerate(spans) if begin < last and first < end]
        if not held:
            return first, last
        inner = getattr(body[held[0]], "body", None) if len(held) == 1 else None
        if not inner or first < _begin(inner[0]) or last > (inner[-1].end_lineno or 0):
            return min(first, spans[held[0]][0]), max(last, spans[held[-1]][1])
        body = inner


def _begin(statement: ast.stmt) -> int:
    """Return how many lines stand before a statement, its decorators taken with it."""
    decorators: Sequence[ast.expr] = getattr(statement, "decorator_list", ())
    return min([statement.lineno, *(decorator.lineno for decorator in decorators)]) - 1


def _refuse_odd(about: Mapping[str, Any], where: str) -> None:
    solution, points = about.get("solution", ""), about.get("points", 0)
    if not isinstance(solution, str):
        raise Failure(f"nbsession.solution of {where} must be the cell's text, got {solution!r}")
    if isinstance(points, bool) or not isinstance(points, int | float) or points < 0:
        raise Failure(f"nbsession.points of {where} must be a number from 0, got {points!r}")


def _indent(lines: Sequence[str]) -> str:
    return min(
        (line[: len(line) - len(line.lstrip())] for line in lines if line.strip()), key=len, default=""
    )


def _commented(line: str, indent: str) -> str:
    return f"{indent}# {line.removeprefix(indent)}".rstrip()


def _about(cell: Any) -> dict[str, Any]:
    about = cell.metadata.get(KEY)
    return about if isinstance(about, dict) else {}
