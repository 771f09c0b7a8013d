"""Formatting: headings, lists, tables and the like, as Markdown or XML.

Block elements (headings, paragraphs, lists, tables, code) stand apart by a blank
line; inline ones (bold, italic, link) join the text around them in a heading,
paragraph or list item. Text is passed on as it is: nothing in it is escaped,
but in attributes and table cells.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from nbsession.context import Foldable, Fragment, Kind, Part, join_texts, mode_of, texts_only
from nbsession.errors import RenderError, SessionError
from nbsession.hooks import encode
from nbsession.tree import Element, Fiber

Writer = Callable[[str, Mapping[str, Any], bool], str]
"""Makes text of the inner text, the properties, and whether it is XML."""


class _Formatted(Foldable):
    """A formatting element: its children's text, written by a function."""

    def __init__(self, name: str, write: Writer, *, kind: Kind, props: tuple[str, ...] = ()) -> None:
        super().__init__(name, props=props)
        self.write = write
        self.kind: Kind = kind

    def fold(self, fiber: Fiber, inner: Fragment) -> Fragment:
        text = "".join([part.text for part in texts_only(fiber, inner)])
        if not text and not fiber.element.props:
            return inner.folded(())
        written = self.write(text, fiber.element.props, mode_of(fiber) == "xml")
        return inner.folded((Part(self.kind, fiber.path, written),))


def _heading(level: int) -> Writer:
    def write(text: str, _: Mapping[str, Any], xml: bool) -> str:
        return f"<h{level}>{text}</h{level}>" if xml else f"{'#' * level} {text}"

    return write


def _inline(tag: str, mark: str) -> Writer:
    def write(text: str, _: Mapping[str, Any], xml: bool) -> str:
        return f"<{tag}>{text}</{tag}>" if xml else f"{mark}{text}{mark}"

    return write


def _paragraph(text: str, _: Mapping[str, Any], xml: bool) -> str:
    return f"<p>{text}</p>" if xml else text


def _link(text: str, props: Mapping[str, Any], xml: bool) -> str:
    href = props["href"]
    return f'<a href="{escape(href)}">{text or escape(href)}</a>' if xml else f"[{text or href}]({href})"


def _code(text: str, props: Mapping[str, Any], xml: bool) -> str:
    language = props.get("language") or ""
    if xml:
        attribute = f' language="{escape(language)}"' if language else ""
        return f"<code{attribute}>\n{text}\n</code>"
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}"


H1 = _Formatted("H1", _heading(1), kind="block")
H1.__doc__ = """A heading of the first level: ``H1(*children)``."""
H2 = _Formatted("H2", _heading(2), kind="block")
H2.__doc__ = """A heading of the second level: ``H2(*children)``."""
H3 = _Formatted("H3", _heading(3), kind="block")
H3.__doc__ = """A heading of the third level: ``H3(*children)``."""
Paragraph = _Formatted("Paragraph", _paragraph, kind="block")
Paragraph.__doc__ = (
    """A paragraph; its children are joined without anything between: ``Paragraph(*children)``."""
)
Bold = _Formatted("Bold", _inline("b", "**"), kind="text")
Bold.__doc__ = """Bold text, inline: ``Bold(*children)``."""
Italic = _Formatted("Italic", _inline("i", "*"), kind="text")
Italic.__doc__ = """Italic text, inline: ``Italic(*children)``."""
_link_host = _Formatted("Link", _link, kind="text", props=("href",))
_code_host = _Formatted("Code", _code, kind="block", props=("language",))


def Link(*children: object, href: str, key: str | int | None = None) -> Element:
    """A link, inline; without children its address is its text."""
    return _link_host(*children, key=key, href=href)


def Code(*children: object, language: str = "", key: str | int | None = None) -> Element:
    """A block of code, fenced; the fence grows where the code holds one."""
    return _code_host(*children, key=key, language=language)


def Json(value: Any, *, key: str | int | None = None) -> Element:
    """A value as a block of indented JSON; pydantic models included. What is not JSON is a ``RenderError``."""
    try:
        data = encode(value, "Json()")
    except SessionError:
        raise RenderError(
            f"Json() got {value!r:.80} ({type(value).__name__}); give JSON data or a pydantic model"
        ) from None
    text = json.dumps(data, indent=2, ensure_ascii=False)
    return _code_host(text, key=key, language="json")


class _List(Foldable):
    """A list; each child is an item, nested Python lists are opened, and a list inside hangs on the item before."""

    def __init__(self, name: str, tag: str) -> None:
        super().__init__(name)
        self.tag = tag

    def fold(self, fiber: Fiber, inner: Fragment) -> Fragment:
        texts_only(fiber, inner)
        items: list[_Item] = []
        for item in _items(fiber):
            if item.nested and items:
                items[-1] = _Item(f"{items[-1].text}\n{item.text}", items[-1].done)
            elif item.text:
                items.append(item)
        if not items:
            return inner.folded(())
        if mode_of(fiber) == "xml":
            text = "\n".join([f"<{self.tag}>", *map(_xml_item, items), f"</{self.tag}>"])
        else:
            text = "\n".join(self._markdown(n, item) for n, item in enumerate(items, 1))
        return inner.folded((Part("block", fiber.path, text),))

    def _markdown(self, number: int, item: _Item) -> str:
        mark = f"{number}. " if self.tag == "ol" else "- "
        box = "" if item.done is None else "[x] " if item.done else "[ ] "
        return mark + box + item.text.replace("\n", "\n" + " " * len(mark))


class _Item(NamedTuple):
    """An item's text; ``done`` where it is a task; ``nested`` where it is a list itself."""

    text: str
    done: bool | None = None
    nested: bool = False


def _xml_item(item: _Item) -> str:
    state = "" if item.done is None else f' done="{"true" if item.done else "false"}"'
    return f"<li{state}>{item.text}</li>"


def _items(fiber: Fiber) -> Iterable[_Item]:
    for child in fiber.children:
        if isinstance(child, str):
            yield _Item(child)
        elif isinstance(child, Fiber):
            if child.type.name == "":
                yield from _items(child)
                continue
            text = join_texts(part for part in child.output.body if isinstance(part, Part))
            done = child.element.props["done"] if child.type is _task else None
            yield _Item(text, done, isinstance(child.type, _List))


BulletList = _List("BulletList", "ul")
BulletList.__doc__ = """A bulleted list; each child is an item: ``BulletList(*items)``."""
NumberedList = _List("NumberedList", "ol")
NumberedList.__doc__ = """A numbered list; each child is an item: ``NumberedList(*items)``."""
_task_list = _List("TaskList", "ul")
_task = Foldable("Task", props=("done",))


def TaskList(*items: Any, key: str | int | None = None) -> Element:
    """A list of tasks: each item is a node, a pair of a node and whether it is done, or a list of these."""
    return _task_list(*_tasks(items), key=key)


def _tasks(items: Iterable[Any]) -> Iterable[Element]:
    for item in items:
        if isinstance(item, tuple) and len(item) == 2 and isinstance(item[1], bool):
            yield _task(item[0], done=item[1])
        elif isinstance(item, (list, tuple)):
            yield from _tasks(item)
        else:
            yield _task(item, done=False)


class _Table(Foldable):
    def fold(self, fiber: Fiber, inner: Fragment) -> Fragment:
        headers, rows = fiber.element.props["headers"], fiber.element.props["rows"]
        write = _xml_table if mode_of(fiber) == "xml" else _markdown_table
        return inner.folded((Part("block", fiber.path, write(headers, rows)),))


_table = _Table("Table", props=("headers", "rows"))


def Table(rows: Any, *, headers: Sequence[str] | None = None, key: str | int | None = None) -> Element:
    """A table of rows: sequences, mappings (whose keys are the headers), or a data frame."""
    if hasattr(rows, "to_dict") and hasattr(rows, "columns"):
        headers = headers or [str(name) for name in rows.columns]
        rows = rows.to_numpy().tolist()
    rows = list(rows)
    if rows and all(isinstance(row, Mapping) for row in rows):
        headers = headers or list(dict.fromkeys(str(name) for row in rows for name in row))
        rows = [[row.get(name, "") for name in headers] for row in rows]
    if any(isinstance(row, (str, Mapping)) or not isinstance(row, Sequence) for row in rows):
        raise RenderError("Table() takes rows that are all sequences or all mappings, or a data frame")
    width = max([len(headers or ()), *(len(row) for row in rows)], default=0)
    cells = tuple(
        tuple("" if cell is None else str(cell) for cell in (*row, *[""] * (width - len(row))))
        for row in rows
    )
    names = tuple(str(name) for name in headers or ()) or ("",) * width
    return _table(key=key, headers=names, rows=cells)


def _markdown_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return "\n".join([line(headers), "|" + " --- |" * len(headers), *[line(row) for row in rows]])


def _xml_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell, quote=False)}</{tag}>" for cell in cells) + "</tr>"

    head = [line(headers, "th")] if any(headers) else []
    return "\n".join(["<table>", *head, *[line(row, "td") for row in rows], "</table>"])
