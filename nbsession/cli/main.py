"""The command line: which commands there are, and how a failure is told."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import metadata
from typing import TYPE_CHECKING

from nbsession.cli import demo, lesson, new, replay, send, serve, sessions
from nbsession.cli.command import Failure
from nbsession.errors import NbsessionError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = (demo, new, lesson, serve, sessions, send, replay)

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Wrong usage ends with status 2, a failure with status 1; both say why in one line on standard error.
    An interrupt ends with status 130, a reader that went away (a closed pipe) with 0.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    rest: list[str] = []
    if "--" in given:
        cut = given.index("--")
        given, rest = given[:cut], given[cut + 1 :]
    options = parser().parse_args(given)
    options.rest = rest
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except Failure as failure:
        return failed(str(failure))
    except NbsessionError as error:
        return failed(str(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is to be flushed at the end
        return 0
    except OSError as error:
        place = error.filename or getattr(options, "folder", None) or ""
        return failed(f"{error.strerror or error}: {place}" if place else str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    return status


def failed(message: str) -> int:
    """Say in one line why a command failed, and return its status."""
    print(f"nbsession: {message}", file=sys.stderr)
    return 1


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    made = argparse.ArgumentParser(
        prog="nbsession",
        description="A model's context as a component tree, bound to sessions that last.",
        epilog="nbsession COMMAND --help says more of each. Start with: nbsession demo",
    )
    made.add_argument("--version", action="version", version=f"nbsession {metadata.version('nbsession')}")
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_to(commands)
    return made
