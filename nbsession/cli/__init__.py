"""The ``nbsession`` command: serve, look after and use sessions from a terminal.

One file a command; ``main`` reads the command line and says in one line what went wrong.
"""

from nbsession.cli.main import main

__all__ = ["main"]
