"""A folder, and the files below it: reached by descriptors, one name at a time, and through no link.

A path that is looked at and then opened may be another file by then. Here each name is
opened relative to the folder that was opened before (``openat`` with ``O_NOFOLLOW``), so that there is no
moment between check and use. Hard links and mounts inside the folder are not told from other files.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple, NoReturn, TypeAlias

from nbsession.errors import RenderError, ToolError, nearest

Parts: TypeAlias = tuple[str, ...]
"""The names on the way from the folder to a file; none for the folder itself."""

MOST_BYTES = 20 * 1024 * 1024
"""Of a file that is read or written."""

_NEIGHBOURS = 2000
"""Names of a folder that a missing one is compared with."""

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link, and links are not followed",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Entry(NamedTuple):
    """What a folder holds under a name; ``kind`` is that of ``stat.S_IFMT``, ``size`` in bytes."""

    name: str
    kind: int
    size: int


class Folder:
    """A folder on disk. Raises ``RenderError`` where it is none, or where this system has no way to hold to it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not {os.open, os.stat, os.mkdir, os.rename} <= os.supports_dir_fd or not hasattr(os, "O_NOFOLLOW"):
            raise RenderError(
                f"WorkDir needs a system that opens files relative to an open folder (Linux, macOS), and {sys.platform} "
                "does not; run it there, or write tools of your own for the files that the model is to reach"
            )
        given = Path(path).expanduser()
        self.path = Path(os.path.realpath(given))
        if not self.path.is_dir():
            what = "is a file" if self.path.exists() else "is not there"
            raise RenderError(
                f"WorkDir({str(path)!r}) needs a folder, and {self.path} {what}; make the folder, or give another path"
            )

    def parts(self, path: str) -> Parts:
        """Take a path apart; ``"."`` is the folder. Raises ``ToolError`` for any but the one plain spelling of a path.

        With one spelling for each file, a rule on paths cannot be passed by with another.
        """
        if path == ".":
            return ()
        names = path.split("/")
        inside = path.startswith("/") and Path(os.path.normpath(path)).is_relative_to(self.path)
        if ".." in names:
            raise ToolError(
                f"{shown(path)} has '..' in it, which no path here may; write it from the working folder down"
            )
        if path.startswith("/") and not inside:
            raise ToolError(
                f"{shown(path)} is outside the working folder; give a path relative to that folder"
            )
        plain = os.path.relpath(path, self.path) if inside else os.path.normpath(path)
        if not path or path != plain:
            raise ToolError(f"each file has one path here: write {shown(plain)} for {shown(path)}")
        if "\0" in path or not _encodable(path):
            raise ToolError(f"{shown(path)} cannot be the path of a file")
        return tuple(names)

    @contextmanager
    def opened(self, parts: Parts, *, create: bool = False) -> Iterator[int]:
        """Open a folder for as long as the block runs, and give its descriptor; ``create`` makes what is missing."""
        try:
            fd = os.open(self.path, _FOLDER)
        except OSError as error:
            raise ToolError(f"the working folder {self.path} cannot be opened: {error.strerror}") from error
        try:
            for depth, name in enumerate(parts):
                inner = self._enter(fd, parts[: depth + 1], name, create=create)
                os.close(fd)
                fd = inner
            yield fd
        finally:
            os.close(fd)

    def _enter(self, fd: int, parts: Parts, name: str, *, create: bool) -> int:
        if create:
            with suppress(FileExistsError), said(parts):
                os.mkdir(name, dir_fd=fd)
        try:
            return os.open(name, _FOLDER, dir_fd=fd)
        except OSError as error:
            _explain(fd, parts, error, wanted="a folder")

    def entries(self, parts: Parts) -> Iterator[Entry]:
        """Give what a folder holds, in the order of the disk."""
        with self.opened(parts) as fd, os.scandir(fd) as found:
            for entry in found:
                with suppress(OSError):  # it is gone again
                    status = entry.stat(follow_symlinks=False)
                    yield Entry(entry.name, stat.S_IFMT(status.st_mode), status.st_size)

    def is_file(self, parts: Parts) -> bool:
        """Say whether there is something at a path that is no folder, whatever it is; ``ToolError`` for nothing."""
        if not parts:
            return False
        with self.opened(parts[:-1]) as fd:
            try:
                return not stat.S_ISDIR(os.stat(parts[-1], dir_fd=fd, follow_symlinks=False).st_mode)
            except OSError as error:
                _explain(fd, parts, error, wanted="a file or folder")

    def read(self, parts: Parts) -> bytes:
        """Return a regular file's bytes; ``ToolError`` for what is none, and beyond 20 MB."""
        if not parts:
            raise ToolError("'.' is the working folder, and no file; list_files lists it")
        with self.opened(parts[:-1]) as fd:
            return _read(fd, parts)

    def read_if_there(self, parts: Parts) -> bytes | None:
        """Return a regular file's bytes, and ``None`` where there is nothing at its path, its folders included."""
        try:
            return self.read(parts)
        except Missing:
            return None

    def write(self, parts: Parts, data: bytes, *, instead_of: bytes | None) -> None:
        """Put ``data`` in the place of a file whose bytes were ``instead_of`` (``None``: of nothing), as one step.

        Missing folders are made; the permission bits stay. Who reads the file meanwhile gets all of the old or all of
        the new one. Raises ``ToolError`` where the file is another by now, read-only, or git's own.
        """
        if len(data) > MOST_BYTES:
            raise ToolError(
                f"{_path(parts)} would have {len(data):,} bytes; at most {MOST_BYTES:,} are written"
            )
        if ".git" in map(str.casefold, parts):
            raise ToolError(
                f"{_path(parts)} is git's own, and not written here: what stands there may run; use git's commands"
            )
        with self.opened(parts[:-1], create=True) as fd:
            temporary = f".nbsession-{secrets.token_hex(8)}.tmp"
            with said(parts):
                made = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFELY, 0o666, dir_fd=fd)
            try:
                with said(parts), os.fdopen(made, "wb") as file:
                    file.write(data)
                    file.flush()
                    if (mode := _mode(fd, parts)) is not None:
                        os.fchmod(file.fileno(), mode)
                    os.fsync(file.fileno())
                if _read_if_there(fd, parts) != instead_of:
                    raise ToolError(
                        f"{_path(parts)} was changed by somebody else at this moment; read it again, then repeat this"
                    )
                with said(parts):
                    os.rename(temporary, parts[-1], src_dir_fd=fd, dst_dir_fd=fd)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=fd)
                raise


class Missing(ToolError):
    """There is nothing at a path."""


def shown(path: str) -> str:
    """Return a path as it is said in a text: in quotes, on one line, whatever its letters are."""
    return repr(path) if path.isprintable() else ascii(path)


def plain(path: str) -> str:
    """Return a path as a line of a list: as it is, or in quotes where it would not be one line of plain letters."""
    return path if path.isprintable() else ascii(path)


def kind_of(kind: int) -> str:
    """Say what something is, by ``stat.S_IFMT``."""
    return _KINDS.get(kind, "a file" if kind == stat.S_IFREG else "no regular file")


@contextmanager
def said(parts: Parts) -> Iterator[None]:
    """Say what the system refuses as a ``ToolError``; that something is there already goes through."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        raise ToolError(f"{_path(parts)} cannot be written: {error.strerror or error}") from error


_SAFELY = os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) if os.name == "posix" else 0
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _SAFELY


def _read_if_there(fd: int, parts: Parts) -> bytes | None:
    try:
        return _read(fd, parts)
    except Missing:
        return None


def _read(fd: int, parts: Parts) -> bytes:
    """Return the bytes of a regular file in an open folder."""
    name = parts[-1]
    try:
        # Opening a pipe or a device does something already; without O_NONBLOCK it may also wait for ever.
        _refuse_special(fd, parts, os.stat(name, dir_fd=fd, follow_symlinks=False))
        file = os.open(name, os.O_RDONLY | os.O_NONBLOCK | _SAFELY, dir_fd=fd)
    except OSError as error:
        _explain(fd, parts, error, wanted="a file")
    with os.fdopen(file, "rb") as opened:
        _refuse_special(fd, parts, os.fstat(file))
        with said(parts):
            data = opened.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ToolError(
            f"{_path(parts)} has more than {MOST_BYTES:,} bytes, too many for this; take a part of it by a command in the shell"
        )
    return data


def _mode(fd: int, parts: Parts) -> int | None:
    """Return the permission bits of the file that is to be replaced, ``None`` where there is none."""
    try:
        mode = os.stat(parts[-1], dir_fd=fd, follow_symlinks=False).st_mode
        if not mode & 0o222:
            raise ToolError(f"{_path(parts)} is read-only; ask the user whether it may be changed")
        os.close(os.open(parts[-1], os.O_WRONLY | os.O_NONBLOCK | _SAFELY, dir_fd=fd))
    except FileNotFoundError:
        return None
    return mode & 0o777  # not the bits that let others run it as its owner: the text is another now


def _refuse_special(fd: int, parts: Parts, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _refusal(fd, parts, stat.S_IFMT(status.st_mode), wanted="a file that is read or written here")


def _refusal(fd: int, parts: Parts, kind: int, *, wanted: str) -> ToolError:
    if kind == stat.S_IFLNK:
        return ToolError(f"{_path(parts)} is {kind_of(kind)}; it leads to {shown(_link(fd, parts[-1]))}")
    return ToolError(f"{_path(parts)} is {kind_of(kind)}, and not {wanted}")


def _explain(fd: int, parts: Parts, error: OSError, *, wanted: str) -> NoReturn:
    """Raise what there is to say of a name in an open folder that could not be opened."""
    name = parts[-1]
    try:
        kind = stat.S_IFMT(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        near = nearest(name, islice(_names(fd), _NEIGHBOURS))
        hint = f"; did you mean {_path((*parts[:-1], near))}?" if near else ""
        raise Missing(f"{_path(parts)} does not exist{hint}") from error
    except OSError:
        kind = 0
    if kind == stat.S_IFLNK or (error.errno == errno.ENOTDIR and kind):
        raise _refusal(fd, parts, kind, wanted=wanted) from error
    raise ToolError(f"{_path(parts)} cannot be opened: {error.strerror or error}") from error


def _names(fd: int) -> Iterator[str]:
    with suppress(OSError), os.scandir(fd) as found:
        yield from (entry.name for entry in found)


def _link(fd: int, name: str) -> str:
    try:
        return os.readlink(name, dir_fd=fd)
    except OSError:
        return "nothing any more"


def _path(parts: Parts) -> str:
    return shown("/".join(parts) or ".")


def _encodable(path: str) -> bool:
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return False
    return True
