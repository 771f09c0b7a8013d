"""Writing a file whole or not at all, and over nothing that is there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from nbsession.errors import SessionError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


def ending_of(path: str | os.PathLike[str], endings: Collection[str]) -> str:
    """Return which of the endings a path has; ``SessionError`` that lists them where it has none of them."""
    ending = Path(path).suffix.lower()
    if ending not in endings:
        raise SessionError(
            f"{os.fspath(path)!r} ends with {ending or 'nothing'!r}, which nothing is written as; "
            f"end it with one of {', '.join(endings)}"
        )
    return ending


def save(texts: Mapping[Path, str], *, force: bool) -> None:
    """Write files, each under another name first; with ``force`` also over what is there.

    Nothing is written where one of them may not be. Raises ``SessionError``.
    """
    for path in texts:
        if not path.parent.is_dir():
            raise SessionError(f"there is no folder {str(path.parent)!r}; make it, or name another")
        if path.is_dir():
            raise SessionError(f"{str(path)!r} is a folder; give the name of a file in it")
        if path.exists() and not force:
            raise SessionError(
                f"{str(path)!r} is there already; give another name, or force=True (--force) to write over it"
            )
    for path, text in texts.items():
        try:
            _replace(path, text)
        except OSError as error:
            raise SessionError(
                f"{str(path)!r} could not be written ({error.strerror or error}); name another file"
            ) from error


def _replace(path: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    written = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogatepass", newline="\n") as file:
            file.write(text)
        written.chmod(0o666 & ~_umask())
        written.replace(path)
    except BaseException:
        written.unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
