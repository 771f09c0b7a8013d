"""What the commands share: the store, the app by name, and how their answers are written."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbsession.app import App
from nbsession.components import Timeline
from nbsession.errors import did_you_mean
from nbsession.stores import default_is_there, default_store
from nbsession.tree import Component, Element

if TYPE_CHECKING:
    from nbsession.session import Session
    from nbsession.stores import SessionStore


class Failure(Exception):
    """A command cannot do what it was asked for; its text says why, and what to do."""


def store_option(parser: argparse.ArgumentParser) -> None:
    """Let a command take ``--store``."""
    parser.add_argument(
        "--store",
        metavar="URL",
        help="where the sessions are: sqlite:///file.db, postgresql+psycopg://…, redis://… "
        "(default: $NBSESSION_STORE, else this user's SQLite file)",
    )


def app_option(parser: argparse.ArgumentParser, *, required: bool = False, **more: Any) -> None:
    """Let a command take ``--app``."""
    parser.add_argument(
        "--app",
        required=required,
        metavar="MODULE:NAME",
        help="the App, or the component, that the sessions are of: agents:app, agents.py:Notepad",
        **more,
    )


def json_option(parser: argparse.ArgumentParser) -> None:
    """Let a command take ``--json``."""
    parser.add_argument("--json", action="store_true", help="write JSON, for a script to read")


def opened(url: str | None, *, make: bool = False) -> SessionStore:
    """Open a store to look at; unless ``make``, one that is not there is a ``Failure`` instead of an empty one."""
    if not make and not default_is_there(url):
        raise Failure(
            f"there is no store {url}; --store names another one"
            if url
            else "no session was stored by this user so far; name a store by --store or $NBSESSION_STORE"
        )
    return default_store(url)


def app_of(name: str, store: SessionStore | None = None) -> App:
    """Import an app by ``module:name`` or ``file.py:name``; a component becomes the app of it.

    ``store``, where one is given, is the app's from then on.
    """
    module_name, colon, attribute = name.partition(":")
    if not colon or not module_name or not attribute:
        raise Failure(f"{name!r} names no app; write module:name, as in agents:app")
    module = _module(module_name)
    if not hasattr(module, attribute):
        known = [each for each, value in vars(module).items() if isinstance(value, App | Component)]
        raise Failure(f"{module_name} has no {attribute!r}{did_you_mean(attribute, known)}")
    found = getattr(module, attribute)
    if isinstance(found, Component | Element):
        found = App(found)
    if not isinstance(found, App):
        raise Failure(f"{name} is a {type(found).__name__}; name an App or a component")
    if store is not None:
        found.store = store
    return found


def _module(name: str) -> Any:
    path = Path(name)
    if name.endswith(".py"):
        if not path.is_file():
            raise Failure(f"there is no file {name}")
        folder, name = path.resolve().parent, path.stem
    else:
        folder = Path.cwd()
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise Failure(f"there is no module {name!r} here; write a file as {name}.py:name") from None
        raise


def kept(store: SessionStore, id: str) -> Session:
    """Open a stored session to be looked at, whatever its components are."""
    if not store.revision(id):
        near = did_you_mean(id, [info.id for info in store.sessions(limit=200)])
        raise Failure(
            f"there is no session {id!r} in {store!r}{near or '; nbsession sessions list shows them'}"
        )
    return App(Timeline(), store=store).session(id)


def write_json(data: Any) -> None:
    """Write data as JSON."""
    print(json.dumps(data, ensure_ascii=False, indent=1, default=str))
