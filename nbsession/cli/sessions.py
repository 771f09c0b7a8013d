"""``nbsession sessions``: list, show, export and remove what a store keeps."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TYPE_CHECKING, Any

from nbsession.cli.command import (
    Failure,
    app_of,
    app_option,
    json_option,
    kept,
    opened,
    store_option,
    write_json,
)
from nbsession.content import visible
from nbsession.session.export import told

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from nbsession.session import Session
    from nbsession.stores import SessionInfo
    from nbsession.timeline import Tick

PAGE = 50
WIDTH = 100
"""Columns of a table that goes into a file or a pipe."""


def add_to(commands: Any) -> None:
    """Add the commands to the command line."""
    group = commands.add_parser(
        "sessions",
        help="list, show, export and remove stored sessions",
        description="Look after the sessions that a store keeps. No model is called.",
    )
    actions = group.add_subparsers(required=True, metavar="ACTION")

    lister = actions.add_parser("list", help="the sessions, the last used first")
    lister.add_argument(
        "-n", "--limit", type=int, default=PAGE, metavar="N", help=f"at most so many (default: {PAGE})"
    )
    lister.set_defaults(run=list_sessions)

    shower = actions.add_parser(
        "show",
        help="a session's conversation, or what the model was sent in a tick",
        description="Show a session's conversation, tick by tick; with --tick, exactly what the model was sent.",
    )
    shower.add_argument("id", metavar="ID")
    shower.add_argument("--tick", type=int, metavar="N", help="show the context of this tick (-1: the last)")
    shower.set_defaults(run=show)

    exporter = actions.add_parser(
        "export",
        help="write a session to a file, as its ending says",
        description="Write a session to a file: .html (one page with a scrubber), .ipynb, .md, .json, and, with --app, "
        ".py and test_….py.",
    )
    exporter.add_argument("id", metavar="ID")
    exporter.add_argument("path", metavar="PATH")
    exporter.add_argument("--force", action="store_true", help="write over a file that is there")
    app_option(exporter)
    exporter.set_defaults(run=export, json=False)

    remover = actions.add_parser(
        "rm",
        help="remove sessions for good",
        description="Remove sessions for good. One that forks share their past with stays, unless they go too.",
    )
    remover.add_argument("ids", nargs="+", metavar="ID")
    remover.add_argument("-y", "--yes", action="store_true", help="do not ask")
    remover.set_defaults(run=remove, json=False)

    for action in (lister, shower, exporter, remover):
        store_option(action)
    for action in (lister, shower):
        json_option(action)


def list_sessions(options: argparse.Namespace) -> int:
    """List the sessions of a store."""
    if options.limit < 1:
        raise Failure(f"--limit takes a number from 1, got {options.limit}")
    store = opened(options.store)
    infos = store.sessions(limit=options.limit + 1)
    more, infos = len(infos) > options.limit, infos[: options.limit]
    if options.json:
        write_json([_described(info) for info in infos])
        return 0
    if not infos:
        print(f"no session is kept in {store!r}")
        return 0
    rows = [
        (info.id, _ago(info.updated), str(info.revision), f"fork of {info.parent}" if info.parent else "")
        for info in infos
    ]
    _print_table(("SESSION", "USED", "ROWS", ""), rows)
    if more:
        print(f"… and more; --limit {options.limit * 2} shows them")
    return 0


def show(options: argparse.Namespace) -> int:
    """Show a session, or the context of one of its ticks."""
    session = kept(opened(options.store), options.id)
    if options.tick is not None:
        return _show_context(_tick_of(session, options.tick), as_json=options.json)
    conversation = told(session._core)
    if options.json:
        write_json(conversation.to_dict())
        return 0
    head = [
        f"session {session.id}",
        f"{len(session.ticks)} ticks",
        f"{session.usage.total.total_tokens:,} tokens",
    ]
    if session.usage.cost is not None:
        head.append(f"${session.usage.cost:.4f}")
    print(visible(" · ".join(head)))
    for turn in conversation.turns:
        print(f"\n> {_indented(turn.text or '(no message)')}")
        for tick in turn.ticks:
            _print_tick(tick)
    for question in session.waiting:
        print(f"\nwaits for an answer ({question.id}): {visible(question.text)}")
    return 0


def export(options: argparse.Namespace) -> int:
    """Write a session to a file."""
    store = opened(options.store)
    session = kept(store, options.id)
    if options.app is not None:
        session = app_of(options.app, store).session(options.id)
    elif options.path.endswith(".py"):
        raise Failure(
            f"{options.path} is to have the components in it; name the app they are of by --app MODULE:NAME"
        )
    session.export(options.path, force=options.force)
    print(f"wrote {options.path}")
    return 0


def remove(options: argparse.Namespace) -> int:
    """Remove sessions for good."""
    store = opened(options.store)
    for each in options.ids:
        kept(store, each)
    named = visible(", ".join(dict.fromkeys(options.ids)))
    if not options.yes:
        if not sys.stdin.isatty():
            raise Failure("nobody can be asked here; add --yes to remove them for good")
        if input(f"remove {named} for good? [y/N] ").strip().lower() not in ("y", "yes"):
            print("nothing was removed")
            return 0
    store.delete(options.ids)
    print(f"removed {named}")
    return 0


def _tick_of(session: Session, number: int) -> Tick:
    ticks = session.ticks
    if not -len(ticks) <= number < len(ticks):
        raise Failure(f"session {session.id!r} has no tick {number}; it has {len(ticks)}, the first is 0")
    return ticks[number]


def _show_context(tick: Tick, *, as_json: bool) -> int:
    context = tick.context
    if as_json:
        write_json(context.to_dict())
        return 0
    print(f"tick {tick.number} · {tick.asked} · ≈{context.tokens:,} tokens · {context.hash[:12]}")
    for part in context.parts:
        title = " · ".join(filter(None, (part.role or part.kind, part.title, part.path, f"≈{part.tokens:,}")))
        print(f"\n[{visible(title)}]\n{visible(part.text)}")
    for item in context.withheld:
        print(f"\nwithheld: {visible(item.path)} ({item.reason}, ≈{item.tokens:,} tokens)")
    return 0


def _print_tick(tick: Tick) -> None:
    figures = f"tick {tick.number} · {tick.model or tick.asked} ({tick.source}) · ≈{tick.context.tokens:,} tokens sent"
    print(f"\n  {visible(figures)}")
    if tick.text.strip():
        print(f"  {_indented(tick.text)}")
    for run in tick.tool_calls:
        print(f"  · {_indented(_short(str(run)))}")
    if tick.error is not None:
        print(f"  ! {_indented(str(tick.error))}")


def _short(text: str, most: int = 400) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _indented(text: str) -> str:
    return visible(text).replace("\n", "\n  ")


def _described(info: SessionInfo) -> dict[str, Any]:
    return {
        "id": info.id,
        "created": info.created,
        "updated": info.updated,
        "rows": info.revision,
        "metadata": dict(info.metadata),
        "parent": info.parent,
    }


def _print_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    cells = [titles, *([visible(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(titles))]
    width = shutil.get_terminal_size((WIDTH, 0)).columns
    for row in cells:
        line = "  ".join(cell.ljust(widths[column]) for column, cell in enumerate(row)).rstrip()
        print(line if not sys.stdout.isatty() or len(line) <= width else f"{line[: width - 1]}…")


def _ago(moment: float) -> str:
    seconds = max(0.0, time.time() - moment)
    for name, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {name} ago"
    return "just now"
