"""``nbsession serve``: the sessions of apps over HTTP."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbsession.app import App
from nbsession.cli.command import Failure, app_of, store_option
from nbsession.components import System, Timeline
from nbsession.stores import default_store
from nbsession.tree import component

if TYPE_CHECKING:
    import argparse

TOKEN = "NBSESSION_TOKEN"  # noqa: S105  # where one may be, not one


@component
def Conversation() -> Any:
    """A plain conversation."""
    return [System("You are a helpful assistant."), Timeline()]


def add_to(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "serve",
        help="serve the sessions of apps over HTTP",
        description="Serve the sessions of apps over HTTP, to this machine and to whoever has the token that is printed; "
        "three lines to paste are printed with it. Without an app it is a plain conversation. The first app is the one "
        "that a session is of where nothing else is said.",
        epilog=f"${TOKEN}, where it is set, is the token; $NBSESSION_MODEL the model of apps that name none.",
    )
    parser.add_argument(
        "app", nargs="*", metavar="MODULE:NAME", help="an App, or a component: agents:app, agents.py:Notepad"
    )
    parser.add_argument("--port", type=int, default=2323, help="the port (default: 2323; 0 for any free one)")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="the address to listen at (default: this machine's own, 127.0.0.1)",
    )
    parser.add_argument("--no-token", action="store_true", help="ask for no token; for this machine only")
    parser.add_argument(
        "--tokens",
        type=Path,
        metavar="FILE",
        help="several users: a name and a token a line; their sessions are apart",
    )
    parser.add_argument(
        "--work-root", type=Path, metavar="DIR", help="the folder below which sessions may have their own"
    )
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", help="another name by which it is asked"
    )
    parser.add_argument(
        "--allow-origin", action="append", default=[], metavar="URL", help="a site whose pages may ask"
    )
    store_option(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Carry the command out: serve until it is interrupted."""
    try:
        from nbsession.server import tokens_of
    except ImportError as error:
        raise Failure(
            f'to serve, install what it takes: pip install "nbsession[server]" ({error})'
        ) from error
    store = default_store(options.store)
    apps = {target.rpartition(":")[2]: app_of(target) for target in options.app} or {
        "default": App(Conversation)
    }
    for app in apps.values():
        app.store = store if options.store else app.store or store
    (name, first), *others = apps.items()
    first.serve(
        options.port,
        host=options.host,
        token=not options.no_token and (os.environ.get(TOKEN) or True),
        tokens=tokens_of(options.tokens) if options.tokens is not None else None,
        name=name,
        also=dict(others),
        work_root=options.work_root,
        hosts=options.allow_host,
        origins=options.allow_origin,
        background=False,
        say=partial(print, flush=True),
    )
    return 0
