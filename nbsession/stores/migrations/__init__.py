"""How a store of an older schema becomes one of this: Alembic's revisions, one a version.

``schema.tables`` is the newest schema, and a new store is made of it at once;
an older one goes through the revisions after its own. Which one that is stands
in the table ``meta``, as in every version, so that opening a store of this
schema needs no Alembic.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from nbsession.errors import StoreError

if TYPE_CHECKING:
    from sqlalchemy import Connection

FOLDER = Path(__file__).parent

# Alembic's operations work on one connection in the process at a time.
_ALONE = threading.Lock()


def upgrade(connection: Connection, older: int, newer: int, location: str) -> None:
    """Bring the tables from schema ``older`` to ``newer``, inside the caller's transaction.

    Any failure is a ``StoreError``, and the caller's transaction has to be rolled back.
    """
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    try:
        script = ScriptDirectory(str(FOLDER))
        steps = reversed(list(script.iterate_revisions(str(newer), str(older))))
        with _ALONE, Operations.context(MigrationContext.configure(connection)):
            for step in steps:
                step.module.upgrade()
    except Exception as error:
        cause = " ".join(str(getattr(error, "orig", None) or error).split())
        raise StoreError(
            f"{location} could not be brought from schema {older} to {newer} ({type(error).__name__}: {cause}): "
            "it was left as it was, and the nbsession that wrote it still reads it; see that it can be written "
            "and has free space, and open it again",
            location=location,
        ) from error
