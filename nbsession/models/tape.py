"""The file that recordings are kept in: JSON lines, appended only.

    {"nbsession": "recordings", "version": 1}
    {"part": "9f2c…", "kind": "system", "path": "Notepad/System", "text": "You are friendly."}
    {"answer": "<hash of the context>", "at": "…", "model": "anthropic:…", "content": […], "context": {…}, …}

A part of a context is written once, however many contexts hold it, and a context
names only the parts after those that it has in common with an earlier one
(``like``, ``keep``). An answer stands by itself, so any line may be taken out:
what goes with it is only seen where a context that is not there is compared.
Ids and times of a context are not kept, nor is anything of the connection.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import threading
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from nbsession.content import Block, block_from_dict
from nbsession.context import Capabilities, CompiledContext, Part
from nbsession.errors import ModelError
from nbsession.usage import CacheDiagnosis, Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

VERSION = 1
EVERYTHING = Capabilities(server_tools=True)
"""What a model takes of which nothing else is kept."""
_HEADER = {"nbsession": "recordings", "version": VERSION}
_GROUPS = ("system", "tools", "flow")
_LOST: Mapping[str, Any] = {"kind": "message", "path": "", "text": "(taken out of the file)"}
_LOOK_BACK = 32
"""How many of the latest recordings are looked at for one whose context begins alike."""


@dataclass(frozen=True, slots=True)
class Played:
    """A finished block and its pace: after so many milliseconds, so many more characters."""

    block: Block
    pace: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Recording:
    """One answer to one context. ``at`` is when it was made (ISO 8601), ``line`` where it stands in the file.

    ``parts`` are the ids of the context's parts, by group; ``Tape.context_of``
    makes a context of them that can be compared. ``takes`` is what the model took, for
    which the context was compiled.
    """

    key: str
    at: str
    model: str
    content: tuple[Played, ...]
    stop_reason: str
    usage: Usage = field(default_factory=Usage)
    detail: str = ""
    diagnosis: CacheDiagnosis | None = None
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    takes: Capabilities = EVERYTHING
    line: int = 0


class Tape:
    """The recordings of one file, read when they are asked for and again when the file has changed.

    Where one context was recorded several times, the latest answer counts. May be
    used from several threads; several processes may append to one file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._read_at: tuple[int, int] | None = None
        self._lines = 0
        self._recordings: dict[str, Recording] = {}
        self._parts: dict[str, Mapping[str, Any]] = {}

    def recordings(self) -> Mapping[str, Recording]:
        """Return the recordings by the hash of their context; none where there is no file.

        Raises ``ModelError`` with the number of the first line that cannot be read.
        """
        with self._lock:
            self._refresh()
            return self._recordings

    def takes(self) -> Capabilities | None:
        """Return what the model of the latest recording took, ``None`` where there is none."""
        with self._lock:
            self._refresh()
            latest = next(reversed(self._recordings.values()), None)
        return None if latest is None else latest.takes

    def append(self, recording: Recording, context: CompiledContext) -> None:
        """Add an answer to ``context`` at the end of the file, in one write."""
        with self._lock:
            self._refresh()
            groups = {name: _sketch(parts) for name, parts in zip(_GROUPS, _grouped(context), strict=True)}
            new = {key: data for group in groups.values() for key, data in group if key not in self._parts}
            lines: list[Mapping[str, Any]] = [{"part": key, **data} for key, data in new.items()]
            parts = {name: tuple(key for key, _ in group) for name, group in groups.items()}
            lines.append(_answer_line(recording, parts, *self._alike(parts["flow"])))
            try:
                written, size = self._write(lines)
            except OSError as error:
                raise ModelError(
                    f"{self.path} could not be written ({error.strerror or error}); the answer was given and "
                    "is not recorded: make the file writable, or record into another",
                ) from error

            known = self._read_at[1] if self._read_at is not None else 0
            self._read_at = self._stat()
            if self._read_at[1] != known + size:
                self._read_at = None  # another process has written, too: read it all again
                return
            self._parts.update(new)
            self._lines += written
            self._take(replace(recording, parts=parts, line=self._lines))

    def _alike(self, flow: tuple[str, ...]) -> tuple[str, int]:
        """Return the key of the recording whose flow begins most like this one, and how many parts they share."""
        best = ("", 0)
        for recording in itertools.islice(reversed(self._recordings.values()), _LOOK_BACK):
            pairs = zip(flow, recording.parts["flow"], strict=False)
            shared = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
            if shared > best[1]:
                best = (recording.key, shared)
        return best

    def nearest(self, context: CompiledContext) -> Recording | None:
        """Return the recording whose context shares most parts with this one; of equals, the latest."""
        asked = Counter(key for parts in _grouped(context) for key, _ in _sketch(parts))

        def likeness(recording: Recording) -> tuple[int, int, int]:
            keys = Counter(key for group in recording.parts.values() for key in group)
            shared = (asked & keys).total()
            return shared, -(asked.total() + keys.total() - 2 * shared), recording.line

        return max(self.recordings().values(), key=likeness, default=None)

    def context_of(self, recording: Recording) -> CompiledContext:
        """Make the recorded context again, as far as it is kept: texts, places and settings."""
        sketches = [[(key, self._parts.get(key, _LOST)) for key in recording.parts[name]] for name in _GROUPS]
        return _comparable(*sketches, settings=recording.settings)

    def _refresh(self) -> None:
        try:
            stat = self._stat()
            if self._read_at == stat:
                return
            text = self.path.read_text(encoding="utf-8", errors="surrogatepass")
        except FileNotFoundError:
            self._recordings, self._parts, self._read_at = {}, {}, None
            return
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise ModelError(
                f"{self.path} could not be read as recordings ({why}); give the path of a file of them",
                kind="request",
            ) from error
        # Nothing is known while it is read: a line that cannot be read leaves nothing behind.
        self._recordings, self._parts, self._read_at = {}, {}, None
        self._parse(text)
        self._read_at = stat

    def _stat(self) -> tuple[int, int]:
        stat = self.path.stat()
        return stat.st_mtime_ns, stat.st_size

    def _take(self, recording: Recording) -> None:
        # Taken out first, so that the order is that of the latest answers.
        self._recordings.pop(recording.key, None)
        self._recordings[recording.key] = recording

    def _parse(self, text: str) -> None:
        text = _whole_lines(text)
        self._lines = text.count("\n") + (not text.endswith("\n"))
        for number, line in enumerate(text.split("\n"), start=1):
            if not line.strip():
                continue
            try:
                data = json.loads(line)
                if "nbsession" in data:
                    self._check_version(data["version"])
                elif "part" in data:
                    part = {name: str(data[name]) for name in data if name != "part"}
                    self._parts[data["part"]] = {**_LOST, **part}
                else:
                    self._take(_recording_of(data, number, self._recordings))
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
                raise ModelError(
                    f"line {number} of {self.path} cannot be read as a recording ({type(error).__name__}: {error}); "
                    "take the line out, or bring an earlier version of the file back"
                ) from error

    def _check_version(self, version: int) -> None:
        if version > VERSION:
            raise ModelError(
                f"{self.path} was written by a newer version of nbsession (form {version}, this one reads "
                f"{VERSION}); upgrade with: pip install -U nbsession"
            )

    def _write(self, lines: list[Mapping[str, Any]]) -> tuple[int, int]:
        """Append lines; return how many there are, and their bytes."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # One write at the end of the file: another process's lines stay whole.
        descriptor = os.open(
            self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o644
        )
        try:
            size = os.fstat(descriptor).st_size
            if size == 0:
                lines = [_HEADER, *lines]
            text = "".join(f"{_dump(line)}\n" for line in lines)
            if size and self._last_byte(descriptor, size) != b"\n":
                tail = _unfinished(self.path.read_bytes())
                if tail:
                    size -= tail
                    os.ftruncate(descriptor, size)
                else:
                    text = f"\n{text}"
            data = text.encode("utf-8", "surrogatepass")
            if os.write(descriptor, data) != len(data):
                os.ftruncate(descriptor, size)
                raise OSError("the disk took only a part of it")
            return len(lines), len(data)
        finally:
            os.close(descriptor)

    @staticmethod
    def _last_byte(descriptor: int, size: int) -> bytes:
        os.lseek(descriptor, size - 1, os.SEEK_SET)
        return os.read(descriptor, 1)


def _whole_lines(text: str) -> str:
    """Leave out a last line that was cut while it was written; its answer was never whole."""
    tail = _unfinished(text.encode("utf-8", "surrogatepass"))
    return text.encode("utf-8", "surrogatepass")[:-tail].decode("utf-8", "surrogatepass") if tail else text


def _unfinished(data: bytes) -> int:
    """Return how many bytes at the end of a file are the beginning of a line that was cut, 0 where none was."""
    last = data[data.rfind(b"\n") + 1 :]
    if not last.startswith(b"{"):
        return 0
    try:
        json.loads(last)
    except (ValueError, RecursionError):
        return len(last)
    return 0


def difference(asked: CompiledContext, recorded: CompiledContext) -> tuple[str, str]:
    """Say in words what first differs between two contexts, and in full, line by line."""
    diff = _comparable(*[_sketch(parts) for parts in _grouped(asked)], settings=asked.settings).diff(recorded)
    said: list[str] = []
    for old, new in diff.changed:
        if old.text == new.text:
            said.append(f"{_label(new)} differs in what is not text")
            continue
        at = _first_difference(old.text, new.text)
        said.append(f"{_label(new)} reads {_excerpt(new.text, at)}, recorded was {_excerpt(old.text, at)}")
    said += [f"{_label(part)} was not there: {_excerpt(part.text, 0)}" for part in diff.added]
    said += [f"{_label(part)} is missing: {_excerpt(part.text, 0)}" for part in diff.removed]
    said += [
        f"the setting {name!r} is {new!r}, recorded was {old!r}" for name, (old, new) in diff.settings.items()
    ]
    said += [f"{_label(part)} stands elsewhere" for part in diff.moved]
    more = f" (and {len(said) - 1} more)" if len(said) > 1 else ""
    return (f"{said[0]}{more}" if said else "it differs in what is not text"), str(diff)


def _first_difference(old: str, new: str) -> int:
    pairs = enumerate(zip(old, new, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(old), len(new)))


def _label(part: Part) -> str:
    return f"{part.title or part.role or part.kind} at {part.path}"


def _excerpt(text: str, at: int) -> str:
    start = max(0, at - 12) if len(text) > 60 else 0
    piece = text[start : start + 60]
    return repr(f"{'…' if start else ''}{piece}{'…' if start + 60 < len(text) else ''}")


def _grouped(context: CompiledContext) -> tuple[Iterable[Part], Iterable[Part], Iterable[Part]]:
    tools = [part for part in context.parts if part.kind == "tool"]
    return context.system, tools, context.flow


def _sketch(parts: Iterable[Part]) -> list[tuple[str, Mapping[str, Any]]]:
    """Describe parts by what can be compared: no ids of entries, no bytes of pictures."""
    sketch: list[tuple[str, Mapping[str, Any]]] = []
    for part in parts:
        data: dict[str, Any] = {"kind": part.kind, "path": part.path}
        if part.key and part.kind != "message":
            data["key"] = part.key
        if part.role:
            data["role"] = part.role
        if part.title and part.title != part.key:
            data["title"] = part.title
        key = hashlib.sha256(f"{part.digest}{_dump(data)}".encode("utf-8", "surrogatepass")).hexdigest()
        sketch.append((key[:12], {**data, "text": part.text}))
    return sketch


def _comparable(
    system: Iterable[tuple[str, Mapping[str, Any]]],
    tools: Iterable[tuple[str, Mapping[str, Any]]],
    flow: Iterable[tuple[str, Mapping[str, Any]]],
    *,
    settings: Mapping[str, Any],
) -> CompiledContext:
    """Make a context of sketches; a message is known by its place, since entries have another id each time."""
    groups: list[list[Part]] = []
    for sketch in (system, tools, flow):
        group: list[Part] = []
        for place, (key, data) in enumerate(sketch):
            name = str(place) if data["kind"] == "message" else data.get("key", "")
            part = Part(
                data["kind"],
                data["path"],
                data["text"],
                key=name,
                title=data.get("title", ""),
                role=data.get("role", ""),
            )
            part._digest = key  # what it was made of is not all kept
            group.append(part)
        groups.append(group)
    return CompiledContext(groups[0], groups[2], groups[1], settings=settings)


def _answer_line(
    recording: Recording, parts: Mapping[str, tuple[str, ...]], like: str, keep: int
) -> Mapping[str, Any]:
    usage = {name: value for name, value in recording.usage.to_dict().items() if value}
    line: dict[str, Any] = {"answer": recording.key, "at": recording.at, "model": recording.model}
    line["content"] = [
        {**played.block.to_dict(), "pace": [list(step) for step in played.pace]}
        for played in recording.content
    ]
    line["stop"] = recording.stop_reason
    if recording.detail:
        line["detail"] = recording.detail
    line["usage"] = usage
    if recording.diagnosis is not None:
        line["diagnosis"] = recording.diagnosis.to_dict()
    if recording.takes != EVERYTHING:
        line["takes"] = {
            name: value
            for name, value in asdict(recording.takes).items()
            if value != getattr(EVERYTHING, name)
        }
    rest = {**parts, "flow": parts["flow"][keep:]}
    line["context"] = {"like": like, "keep": keep} if keep else {}
    line["context"].update({name: list(keys) for name, keys in rest.items() if keys})
    if recording.settings:
        line["context"]["settings"] = dict(recording.settings)
    return line


def _recording_of(data: Mapping[str, Any], number: int, before: Mapping[str, Recording]) -> Recording:
    context = data["context"]
    groups = {name: tuple(context.get(name, ())) for name in _GROUPS}
    if alike := before.get(context.get("like", "")):
        groups["flow"] = (*alike.parts["flow"][: context["keep"]], *groups["flow"])
    return Recording(
        data["answer"],
        data["at"],
        data["model"],
        tuple(Played(block_from_dict(item), _pace_of(item["pace"])) for item in data["content"]),
        data["stop"],
        Usage.from_dict(data["usage"]),
        data.get("detail", ""),
        CacheDiagnosis.from_dict(data["diagnosis"]) if "diagnosis" in data else None,
        groups,
        context.get("settings", {}),
        replace(EVERYTHING, **data.get("takes", {})),
        number,
    )


def _pace_of(steps: Iterable[Iterable[int]]) -> tuple[tuple[int, int], ...]:
    return tuple((int(milliseconds), int(characters)) for milliseconds, characters in steps)


def _dump(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, default=str)
