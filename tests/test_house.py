"""The shape of the package: what names what, type-checking imports included."""

from __future__ import annotations

import ast
import itertools
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

CONTRIBUTING = Path(__file__).parents[1] / "CONTRIBUTING.md"
PACKAGE = Path(__file__).parents[1] / "nbsession"
FILES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}

FOR_USERS = ("nbsession.hooks.session", "nbsession.session.session")
"""The one look upwards: users of ``use_session()`` are to see the type of the session."""

LONGEST = 450
"""Lines of a module: what is longer is two things."""


def names_in(source: str, module: str, *, package: bool = False) -> set[str]:
    """Return the package's files that a file names in any import, wherever it stands and however it is written."""
    above = module.split(".") if package else module.split(".")[:-1]
    named: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            within = above[: len(above) + 1 - node.level] if node.level else []
            origin = ".".join([*within, *([node.module] if node.module else [])])
            inside = {f"{origin}.{alias.name}" for alias in node.names}
            named |= (inside & FILES.keys()) or {origin}
    return (named & FILES.keys()) - {module}


def named_by(module: str) -> set[str]:
    """Return the package's files that one of them names."""
    path = FILES[module]
    return names_in(path.read_text("utf-8"), module, package=path.name == "__init__.py")


def family_of(module: str) -> str:
    return module.split(".")[1]


def picture() -> tuple[dict[str, str], set[tuple[str, str]]]:
    """Return the box of each family in CONTRIBUTING.md's picture, and the arrows between boxes."""
    drawn = CONTRIBUTING.read_text("utf-8").partition("```mermaid\n")[2].partition("```")[0]
    labels = dict(re.findall(r'(\w+)\["(.*?)"\]', drawn))
    boxes = {
        said.split(":")[0].split()[0]: box for box, label in labels.items() for said in label.split(" · ")
    }
    arrows = {
        (start, end)
        for line in re.sub(r'\[".*?"\]', "", drawn).splitlines()
        for starts, ends in itertools.pairwise(line.split(" --> "))
        for start, end in itertools.product(starts.split("&"), ends.split("&"))
    }
    return boxes, {(start.strip(), end.strip()) for start, end in arrows}


def below(box: str, arrows: set[tuple[str, str]]) -> set[str]:
    found: set[str] = set()
    waiting = [box]
    while waiting:
        at = waiting.pop()
        new = {end for start, end in arrows if start == at} - found
        found |= new
        waiting += new
    return found


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("from . import choice", {"nbsession.context.choice"}),
        ("from .layout import Layout", {"nbsession.context.layout"}),
        ("from ..usage import prices", {"nbsession.usage.prices"}),
        ("from nbsession.usage import cost", {"nbsession.usage"}),
        ("import nbsession.usage.prices", {"nbsession.usage.prices"}),
    ],
)
def test_an_arrow_is_seen_however_it_is_written(source: str, named: set[str]) -> None:
    assert names_in(source, "nbsession.context.fit") == named
    assert names_in("from . import choice", "nbsession.context", package=True) == {"nbsession.context.choice"}


def test_the_picture_in_contributing_is_that_of_the_imports() -> None:
    boxes, arrows = picture()
    imports = {
        (boxes[family_of(module)], boxes[family_of(named)])
        for module in FILES
        for named in named_by(module)
        if "nbsession" not in (module, named) and (module, named) != FOR_USERS
    }
    between = {(start, end) for start, end in imports if start != end}
    assert {(start, end) for start, end in between if end not in below(start, arrows)} == set()
    assert arrows - between == set()


def test_no_files_name_each_other_in_a_circle() -> None:
    graph = {module: named_by(module) for module in FILES}
    graph[FOR_USERS[0]].remove(FOR_USERS[1])
    circle: list[str] = []
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = error.args[1]
    assert circle == [], " ← ".join(circle)


def test_no_module_is_longer_than_one_reads_in_one_go() -> None:
    lines = {module: len(path.read_text("utf-8").splitlines()) for module, path in FILES.items()}
    assert {module: count for module, count in lines.items() if count > LONGEST} == {}


def test_every_family_says_what_lives_there() -> None:
    for path in PACKAGE.rglob("__init__.py"):
        assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), path
