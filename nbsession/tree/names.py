"""The names that an author gave to hooks, read from the source: ``plan`` in ``plan, set_plan = use_state([])``.

Nothing is noted while a component renders. When somebody asks, the body is read
once: its hooks are called in the order in which they stand, those of one's own
hooks (``count = use_counter()``) inside them.
"""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
import textwrap
from typing import TYPE_CHECKING, Any

from nbsession.tree import context, hooks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import CodeType

_CELLS = frozenset(
    {
        hooks.use_state,
        hooks.use_reducer,
        hooks.use_memo,
        hooks.use_callback,
        hooks.use_ref,
        hooks.use_effect,
        hooks.use_cell,
        context.use_context,
    }
)
"""The hooks that keep one cell each; every other one calls these."""

_DEEPEST = 20


def hook_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the name of each hook of a component's function, by position; ``""`` where it has none.

    Empty where the source cannot be had, or does not say which hooks are called, as in a loop.
    A name inside one's own hook is that of the call, or, where it has several, both: ``cart.items``.
    """
    try:
        return tuple(_names(function, 0))
    except _Unclear:
        return ()


class _Unclear(Exception):  # no failure: there is nothing to be read
    """The source does not say which hooks are called."""


def _names(function: Callable[..., Any], depth: int) -> list[str]:
    body = _body(function)
    if body is None or depth > _DEEPEST:
        raise _Unclear
    names: list[str] = []
    for call, target in _hook_calls(body):
        found = _resolve(call.func, function)
        if found in _CELLS:
            names.append(target)
        elif inspect.isfunction(found):
            inner = _names(found, depth + 1)
            ours = found.__module__.partition(".")[0] == __package__.partition(".")[0]
            names += _within(target, [""] * len(inner) if ours else inner)
        else:
            raise _Unclear
    return names


def _within(outer: str, inner: list[str]) -> list[str]:
    """Return the names of the hooks of one's own hook, of which the value is called ``outer``."""
    if not outer:
        return inner
    if len(inner) == 1:
        return [outer]
    alone = sum(map(bool, inner)) == 1
    return [outer if name and alone else f"{outer}.{name}" if name else "" for name in inner]


def _body(function: Callable[..., Any]) -> ast.FunctionDef | None:
    code = getattr(function, "__code__", None)
    return (
        _parsed(code, linecache.getline(code.co_filename, code.co_firstlineno)) if code is not None else None
    )


@functools.lru_cache(maxsize=1024)
def _parsed(code: CodeType, _first_line: str) -> ast.FunctionDef | None:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(code)))
    except (OSError, TypeError, SyntaxError):
        return None
    found = tree.body[0] if tree.body else None
    return found if isinstance(found, ast.FunctionDef) else None


def _hook_calls(body: ast.FunctionDef) -> Iterator[tuple[ast.Call, str]]:
    """Give the calls of hooks in the order in which they run, with the name that the value gets."""
    for statement in body.body:
        yield from _calls(statement, {})


_APART = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
_REPEATED = (ast.For, ast.While, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def _calls(node: ast.AST, named: Mapping[int, str]) -> Iterator[tuple[ast.Call, str]]:
    if isinstance(node, _APART):
        for decorator in reversed(getattr(node, "decorator_list", ())):
            called = decorator if isinstance(decorator, ast.Call) else ast.Call(decorator, [], [])
            yield from _calls(called, {})
        return
    inner = {**named, **_targets(node)}
    for child in ast.iter_child_nodes(node):
        found = list(_calls(child, inner))
        if found and isinstance(node, _REPEATED):
            raise _Unclear
        yield from found
    if isinstance(node, ast.Call) and _last_name(node.func).lstrip("_").startswith("use_"):
        yield node, named.get(id(node), "")


def _targets(node: ast.AST) -> dict[int, str]:
    """Return which name the value of a call gets in an assignment."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target: ast.expr = node.targets[0]
        value: ast.expr | None = node.value
    elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)):
        target, value = node.target, node.value
    else:
        return {}
    if isinstance(target, (ast.Tuple, ast.List)) and isinstance(value, (ast.Tuple, ast.List)):
        pairs = zip(target.elts, value.elts, strict=False)
        return {id(given): name for each, given in pairs if (name := _first_name(each))}
    name = _first_name(target)
    return {id(value): name} if name and value is not None else {}


def _first_name(target: ast.expr) -> str:
    if isinstance(target, (ast.Tuple, ast.List)) and target.elts:
        target = target.elts[0]
    return target.id if isinstance(target, ast.Name) and target.id != "_" else ""


def _last_name(callee: ast.expr) -> str:
    if isinstance(callee, ast.Attribute):
        return callee.attr
    return callee.id if isinstance(callee, ast.Name) else ""


def _resolve(callee: ast.expr, function: Callable[..., Any]) -> Any:
    """Return what a callee's name stands for in a function."""
    if isinstance(callee, ast.Attribute):
        return getattr(_resolve(callee.value, function), callee.attr, None)
    if not isinstance(callee, ast.Name):
        return None
    free = function.__code__.co_freevars
    if callee.id in free:
        try:
            return (function.__closure__ or ())[free.index(callee.id)].cell_contents
        except ValueError:  # not assigned yet
            return None
    return function.__globals__.get(callee.id)
