"""The shape of the package: what names what, type-checking imports included."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "nbsession"
FILES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}

FOR_USERS = ("nbsession.hooks.session", "nbsession.session.session")
"""The one look upwards: users of ``use_session()`` are to see the type of the session."""

LONGEST = 450
"""Lines of a module: what is longer is two things."""


def named_by(module: str) -> set[str]:
    """Return the package's files that a file names in any import, wherever it stands."""
    named: set[str] = set()
    for node in ast.walk(ast.parse(FILES[module].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            named |= (inside & FILES.keys()) or {node.module}
    return (named & FILES.keys()) - {module}


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
