"""Where a session's folder may lie."""

from __future__ import annotations

import os
from pathlib import Path

from nbsession.errors import SessionError
from nbsession.server.fault import Refusal


class Folders:
    """The folders that sessions may have: any that exists, or with a ``root`` those below it."""

    def __init__(self, root: str | os.PathLike[str] | None, *, several_users: bool) -> None:
        self._root = None if root is None else Path(root).resolve()
        self._refused = several_users and root is None
        if self._root is not None and not self._root.is_dir():
            raise SessionError(f"work_root={str(root)!r} is no folder; make it first")

    def hold(self, folder: str) -> bool:
        """Say whether a folder lies where a session's may, as the links on its way lead now."""
        if self._root is None:
            return not self._refused
        return Path(os.path.realpath(folder)).is_relative_to(self._root)

    def check(self, asked: str | None) -> str | None:
        """Return a folder's real path; refuse one that is not there, or not below the root.

        What lies elsewhere is refused without saying whether it is there.
        """
        if asked is None:
            return None
        if self._refused:
            raise Refusal(
                403,
                "work_dir",
                "this server has several users and no folder for their sessions (--work-root)",
            )
        if "\0" in asked:
            raise Refusal(422, "work_dir", "work_dir is no path")
        path = Path(asked) if self._root is None else self._root / asked
        if not path.is_absolute():
            raise Refusal(422, "work_dir", "work_dir has to be an absolute path")
        real = Path(os.path.realpath(path))
        if not self.hold(str(real)):
            raise Refusal(403, "work_dir", "work_dir has to lie below the server's --work-root")
        if not os.path.isdir(real):  # noqa: PTH112  # unlike Path's, false where it cannot be asked
            raise Refusal(422, "work_dir", "there is no such folder; make it first")
        return str(real)
