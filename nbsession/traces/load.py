"""``load``: what other tools recorded, read by what stands in the file."""

from __future__ import annotations

import json
import os
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from nbsession.errors import SessionError, did_you_mean
from nbsession.traces import chatlas, inspect_log, otlp
from nbsession.traces.call import listed, mapping
from nbsession.traces.trace import Trace

if TYPE_CHECKING:
    from zipfile import ZipFile, ZipInfo

    from nbsession.traces.call import Told

LARGEST = 2**30
"""Bytes of a file, or of a member of an archive, that are read."""

ZSTANDARD = 93
READ = "Inspect's logs (.eval, .json), OTLP JSON of OpenTelemetry's spans, and chatlas's turns or exported samples"


class Traces(Sequence[Trace]):
    """The conversations of a file, by place or by id (``traces["sample 3"]``)."""

    def __init__(self, path: str, traces: Sequence[Trace]) -> None:
        self.path = path
        self._traces = tuple(traces)

    @property
    def ids(self) -> list[str]:
        """Their ids, in order."""
        return [trace.id for trace in self._traces]

    def __len__(self) -> int:
        return len(self._traces)

    @overload
    def __getitem__(self, which: int | str) -> Trace: ...
    @overload
    def __getitem__(self, which: slice) -> Sequence[Trace]: ...
    def __getitem__(self, which: int | str | slice) -> Trace | Sequence[Trace]:
        if not isinstance(which, str):
            return self._traces[which]
        found = next((trace for trace in self._traces if trace.id == which), None)
        if found is None:
            near = did_you_mean(which, self.ids) or f"; it has {len(self)}, such as {self.ids[0]!r}"
            raise SessionError(f"{self.path!r} has no conversation {which!r}{near}")
        return found

    def __repr__(self) -> str:
        several = "" if len(self) == 1 else "s"
        return f"<Traces of {self.path!r}: {len(self)} conversation{several}, {self._traces[0].source}>"


def load(path: str | os.PathLike[str]) -> Traces:
    """Read what another tool recorded; nothing is run and nobody asked.

    Inspect's ``.eval`` and ``.json`` logs, OpenTelemetry's spans and log records as OTLP JSON (a document, or one a
    line), chatlas's turns as JSON, and the lines of its ``export_eval``. What it is, is told by what stands in it.
    What is not known is kept as text, and named in a trace's ``notes``. Raises ``SessionError`` for a file that is
    not there, is none of these, or is broken, with the line or member.
    """
    file = Path(path).expanduser()
    shown = os.fspath(path)
    try:
        if file.stat().st_size > LARGEST:
            raise SessionError(f"{shown!r} is larger than {LARGEST / 2**20:,.0f} MiB; take a part of it")
        told = _archive(shown, file) if zipfile.is_zipfile(file) else _text(shown, file)
    except (
        zipfile.BadZipFile,
        NotImplementedError,
    ) as error:  # a version of archives that there is none of yet
        raise SessionError(f"{shown!r} is a broken archive: {error}") from error
    except OSError as error:
        raise SessionError(f"{shown!r} cannot be read: {error.strerror or error}") from error
    except RecursionError:
        raise SessionError(f"{shown!r} is nested deeper than any trace is; it is none, or broken") from None
    if not any(each.calls for each in told):
        raise SessionError(f"{shown!r} has no model call in it, so there is nothing to be shown")
    return Traces(shown, [Trace(each) for each in told if each.calls])


# Text


def _text(shown: str, file: Path) -> list[Told]:
    try:
        text = file.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise _unknown(shown, "is neither text nor an archive") from None
    try:
        document = json.loads(text)
    except ValueError:
        # Split by nothing else: other ends of lines may stand in a JSON text.
        lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
        if len(lines) < 2 or not lines[0][1].lstrip().startswith("{"):
            raise _unknown(shown, "is no JSON") from None
    else:
        return _document(shown, file.stem, document)
    return _lines(
        shown, file.stem, [(number, _parsed(shown, f"line {number}", line)) for number, line in lines]
    )


def _document(shown: str, name: str, document: Any) -> list[Told]:
    if otlp.is_export(document):
        return otlp.read([document])
    data = mapping(document)
    if "eval" in data and ("samples" in data or "plan" in data):
        return [inspect_log.sample_of(mapping(sample), data) for sample in listed(data.get("samples"))]
    turns = document if isinstance(document, list) else listed(data.get("turns"))
    if turns and all(map(chatlas.is_turn, turns)):
        return [chatlas.turns_of(turns, name)]
    return _lines(shown, name, [(1, document)])


def _lines(shown: str, name: str, lines: Sequence[tuple[int, Any]]) -> list[Told]:
    documents = [document for _, document in lines]
    if all(map(otlp.is_export, documents)):
        return otlp.read(documents)
    if all("input" in mapping(document) and "target" in mapping(document) for document in documents):
        return [chatlas.sample_of(document, f"{name} line {number}") for number, document in lines]
    if all("input" in mapping(document) for document in documents):
        raise _unknown(
            shown, "holds cases (inputs and what is ideal), and no answers: they are an experiment's"
        )
    if any(map(otlp.is_export, documents)):
        odd = next(number for number, document in lines if not otlp.is_export(document))
        raise SessionError(f"{shown!r} is broken at line {odd}: it has no resourceSpans and no resourceLogs")
    raise _unknown(shown, "is JSON of another kind")


def _parsed(shown: str, where: str, text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise SessionError(f"{shown!r} is broken at {where}: {error}") from error


def _unknown(shown: str, why: str) -> SessionError:
    return SessionError(f"{shown!r} {why}; traces are read from {READ}")


# An archive of Inspect's


def _archive(shown: str, file: Path) -> list[Told]:
    with zipfile.ZipFile(file) as archive:
        members = {member.filename: member for member in archive.infolist()}
        head = members.get("header.json") or members.get("_journal/start.json")
        if head is None:
            raise _unknown(shown, "is an archive of another kind (it has no header.json)")
        header = mapping(_member(shown, archive, head))
        samples = [
            member
            for name, member in members.items()
            if name.startswith("samples/") and name.endswith(".json")
        ]
        told = [inspect_log.sample_of(mapping(_member(shown, archive, member)), header) for member in samples]
    if head.filename != "header.json":
        for each in told:
            each.note("the run that wrote the log had not ended")
    return told


def _member(shown: str, archive: ZipFile, member: ZipInfo) -> Any:
    if member.file_size > LARGEST:
        raise SessionError(f"{shown!r}: {member.filename} is larger than {LARGEST / 2**20:,.0f} MiB unpacked")
    try:
        data = archive.read(member)
    except NotImplementedError:
        data = _unpacked(shown, archive, member)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise SessionError(f"{shown!r} is broken at {member.filename}: {error}") from error
    return _parsed(shown, member.filename, data)


def _unpacked(shown: str, archive: ZipFile, member: ZipInfo) -> bytes:
    """Unpack a member that is packed by Zstandard, which ``zipfile`` does from Python 3.14 on."""
    if member.compress_type != ZSTANDARD or archive.fp is None:
        raise SessionError(f"{shown!r}: {member.filename} is packed in a way that is not known here")
    try:
        import zstandard
    except ImportError as error:
        raise SessionError(
            f'{shown!r} is packed by Zstandard; to read it, pip install "nbsession[traces]"'
        ) from error
    archive.fp.seek(member.header_offset)
    try:
        name, extra = struct.unpack("<26xHH", archive.fp.read(30))
        archive.fp.seek(name + extra, os.SEEK_CUR)
        packed = archive.fp.read(member.compress_size)
        with zstandard.ZstdDecompressor().stream_reader(packed) as reader:
            data = reader.read(member.file_size + 1)
    except (struct.error, zstandard.ZstdError) as error:
        raise SessionError(f"{shown!r} is broken at {member.filename}: {error}") from error
    if len(data) != member.file_size:
        raise SessionError(
            f"{shown!r} is broken at {member.filename}: it does not have the {member.file_size:,} bytes that it is said to have"
        )
    return data
