"""``nbsession new``: a notebook to start from."""

from __future__ import annotations

import keyword
import os
import re
import shlex
import shutil
import sys
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbsession
from nbsession.cli.command import Failure

if TYPE_CHECKING:
    import argparse

STARTER = "starter.ipynb"
ENDING = ".ipynb"
_WORD = re.compile(r"[^\W_]+")


def add_to(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "new",
        help="write a notebook to start from",
        description="Write NAME.ipynb: a component with a tool and a knob, a session to talk to, and a test. It runs as it "
        "stands, without a key.",
    )
    parser.add_argument("name", metavar="NAME", help="what it is to be called: trip-planner")
    parser.add_argument("--force", action="store_true", help="write over a notebook that is there")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Carry the command out."""
    component = component_name(Path(options.name.removesuffix(ENDING)).name)
    place = Path(options.name.removesuffix(ENDING) + ENDING)
    if place.exists() and not options.force:
        raise Failure(f"{place} is there already; choose another name, or write over it with --force")
    if not place.parent.is_dir():
        raise Failure(f"there is no folder {place.parent}; make it first")
    starter = resources.files("nbsession.cli").joinpath(STARTER).read_text("utf-8")
    names = {"Starter": component, "starter": slug(place.stem)}
    place.write_text(re.sub("|".join(names), lambda found: names[found[0]], starter), "utf-8")
    print(f"wrote {place}; open it with: {shlex.join([_jupyter(), 'lab', str(place)])}")
    return 0


def _jupyter() -> str:
    """The command of the environment that this runs in, by its path where the shell would find another one or none."""
    own = Path(sys.executable).with_name("jupyter")
    return "jupyter" if not own.exists() or shutil.which("jupyter") == str(own) else os.path.relpath(own)


def component_name(name: str) -> str:
    """Return the name of a component for what a notebook is called: ``TripPlanner`` for ``trip-planner``."""
    made = "".join(word[0].upper() + word[1:] for word in _WORD.findall(name))
    if not made.isidentifier() or keyword.iskeyword(made):
        raise Failure(
            f"no component can be called after {name!r}; begin with a letter, and use letters, digits, - and _ "
            "as in trip-planner"
        )
    if made in nbsession.__all__:
        raise Failure(
            f"{made} is a name of nbsession's own, which the notebook uses; choose another one than {name!r}"
        )
    return made


def slug(name: str) -> str:
    """Return a name as an id has it: ``trip_planner`` for ``Trip planner``."""
    return "_".join(_WORD.findall(name)).lower()
