"""``WorkDir``: a folder that a model works in."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from nbsession.errors import RenderError, did_you_mean
from nbsession.tools import Tool
from nbsession.tree import component, use_memo
from nbsession.workdir.files import Files
from nbsession.workdir.folder import Folder
from nbsession.workdir.search import Search
from nbsession.workdir.shell import Shell

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbsession.tools.tool import Confirm

# Names, and those of arguments, that models know from the coding agents that they have worked in.
READING = ("read_file", "list_files", "glob", "grep")
"""The tools that change nothing."""

CHANGING = ("write_file", "edit_file", "shell")
"""The tools that write or run; they ask first where nobody says otherwise."""


@component
def WorkDir(
    path: str | os.PathLike[str],
    *,
    only: Collection[str] | None = None,
    confirm: Confirm = True,
    shell: bool = True,
    env: Mapping[str, str] | None = None,
) -> Any:
    """Let the model work in a folder: ``WorkDir("project")``, with ``~`` and links in the path resolved once.

    The tools are ``read_file``, ``list_files``, ``glob`` and ``grep``, which may run side by side, and ``write_file``,
    ``edit_file`` and ``shell``. ``only`` names those that the model gets; ``shell=False`` leaves out the shell. ``confirm`` is for
    the three that write or run: ``True`` asks before each call, ``False`` never, a function of input and ``ToolContext`` decides
    (``context.name`` is the tool).

    Files outside the folder are neither read nor written, by no path and no link; links are not followed inside
    it either, pipes and devices are refused, and nothing is written into ``.git``. Each file has one path, relative and without ``.`` and ``..``, so that a rule on paths holds for
    the tools on files; a hard link or a mount in the folder is a file like others, and where a file system takes
    upper and lower case as the same, a file has several spellings. Files of 20 MB at most are read, written and searched. A file that
    changed since the session read it last is not changed before it is read again; one that is there and was not read is not overwritten.

    The shell is no sandbox: a command runs with your rights, in the folder and not held to it. Its environment is that of this process
    without what is likely a secret: names with a word that ends in KEY, TOKEN, SECRET, PASSWORD, PASSWD, PASSPHRASE or CREDENTIAL
    (and with an s), MYSQL_PWD, PGPASSFILE, and values with a URL that holds a password; ``env`` is added to it. When a command
    ends, reaches its timeout (120 seconds, 600 at most) or is aborted, its whole process group ends: it is asked (SIGTERM), and killed after
    2 seconds. What made a session of its own (``setsid``) is not of the group, and where this process itself is killed nobody ends them.

    Forks of a session share the folder: going back in a conversation takes back nothing that was written. Raises ``RenderError``
    where the folder is not there, for unknown names in ``only``, and on systems that cannot open files relative to a folder (Windows).
    """
    known = (*READING, *CHANGING)
    if isinstance(only, str):
        raise RenderError(f"WorkDir takes only= as a list of names, got {only!r}")
    for name in known if only is None else only:
        if name not in known:
            raise RenderError(f"WorkDir has no tool {name!r}{did_you_mean(name, known)}")
    folder = use_memo(lambda: Folder(path), [os.fspath(path)])
    files, search = use_memo(lambda: (Files(folder), Search(folder)), [folder])
    handlers: dict[str, Callable[..., Any]] = {
        "read_file": files.read_file,
        "list_files": files.list_files,
        "glob": search.glob,
        "grep": search.grep,
        "write_file": files.write_file,
        "edit_file": files.edit_file,
        "shell": Shell(folder, env or {}).shell,
    }
    return [
        Tool(handler=handler, confirm=confirm if name in CHANGING else False, parallel=name in READING)
        for name, handler in handlers.items()
        if (only is None or name in only) and (shell or name != "shell")
    ]
