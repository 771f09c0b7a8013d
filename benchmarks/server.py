"""What the HTTP server adds, holds and loses: latency and memory of many streams, rates, lists, kills.

Server and clients are processes of their own, on loopback. An event's text says when the model gave
it, so its latency is the time from there to its arrival in a client that reads bytes and parses nothing. The
same client reads a server that only streams such texts by the same web framework: what that
takes is the client's and the framework's own, and taken off.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import sessions
from benchmarks.served import RATE, SECONDS
from nbsession.stores import SqlStore
from tests.support.losing import count_losses

if TYPE_CHECKING:
    from collections.abc import Iterator

STREAMS = 100
IDLE = 1_000
CALLERS = 8
CALLS = 250
PAGES = 40
KILLS = int(os.environ.get("NBSESSION_KILLS", "50"))
MEGABYTE = 1_000_000
MOMENT = re.compile(rb"@(\d+)@")


class Server:
    """A server's process."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.port = port
        self._process = process

    @property
    def memory(self) -> int:
        """What it holds in memory, in bytes."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    @property
    def cpu(self) -> float:
        """The seconds that it worked."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def served(*what: str) -> Iterator[Server]:
    command = [sys.executable, "-m", "benchmarks.served", *what]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = int(re.findall(r"http://127.0.0.1:(\d+)", process.stdout.readline())[0])
        yield Server(process, port)
    finally:
        process.terminate()
        process.communicate()


class Connection:
    """One kept connection that reads as little as it can."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> Connection:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def send(self, method: str, path: str, body: Any = None) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        kind = (
            f"content-type: application/json\r\ncontent-length: {len(data)}\r\n" if body is not None else ""
        )
        self._writer.write(f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{kind}\r\n".encode() + data)

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        self.send(method, path, body)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        assert length is not None, head
        read = json.loads(await self._reader.readexactly(int(length[1])))
        assert head.startswith(b"HTTP/1.1 2"), read
        return read

    async def moments(self) -> list[float]:
        """Read a stream to its end; return the milliseconds that each piece took."""
        taken: list[float] = []
        while len(taken) < RATE * SECONDS and (data := await self._reader.read(65_536)):
            now = time.monotonic_ns()
            taken += [(now - int(moment)) / 1e6 for moment in MOMENT.findall(data)]
        return taken

    async def begun(self) -> None:
        await self._reader.readuntil(b"retry: 1000")

    def close(self) -> None:
        self._writer.close()


async def stream(port: int) -> None:
    """Read so many streams at once, in this process, and print what each event took."""

    async def one(number: int) -> list[float]:
        await asyncio.sleep(number / STREAMS)
        connection = await Connection.open(port)
        connection.send("POST", f"/sessions/s{number}/message/stream", {"message": "talk"})
        return await connection.moments()

    taken = await asyncio.gather(*(one(number) for number in range(STREAMS)))
    print(json.dumps([moment for one in taken for moment in one]))


def latencies(server: Server) -> tuple[list[float], float]:
    """Return what each event took to a client's process, and the part of a core that the server worked."""
    before, started = server.cpu, time.monotonic()
    command = [
        sys.executable,
        "-c",
        f"import asyncio; from benchmarks import server; asyncio.run(server.stream({server.port}))",
    ]
    said = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    taken = sorted(json.loads(said))
    return taken, (server.cpu - before) / (time.monotonic() - started)


async def make(port: int, count: int) -> None:
    connection = await Connection.open(port)
    for number in range(count):
        await connection.ask("POST", "/sessions", {"id": f"s{number}"})
    connection.close()


async def idle(server: Server) -> float:
    """Open so many streams that say nothing; return how much more memory that takes."""
    await make(server.port, STREAMS)
    before = server.memory
    connections = [await Connection.open(server.port) for _ in range(IDLE)]
    for number, connection in enumerate(connections):
        connection.send("GET", f"/sessions/s{number % STREAMS}/events")
    for connection in connections:
        await connection.begun()
    grown = server.memory - before
    for connection in connections:
        connection.close()
    return grown / MEGABYTE


async def calls(port: int) -> float:
    """Send messages, some callers at a time, each to a session of its own; return how many were answered a second."""
    await make(port, CALLERS)
    connections = [await Connection.open(port) for _ in range(CALLERS)]

    async def caller(number: int) -> None:
        for _ in range(CALLS):
            await connections[number].ask("POST", f"/sessions/s{number}/message", {"message": "go"})

    started = time.perf_counter()
    await asyncio.gather(*(caller(number) for number in range(CALLERS)))
    return CALLERS * CALLS / (time.perf_counter() - started)


async def pages(port: int) -> list[float]:
    """Read pages of a long list; return the milliseconds of each."""
    connection, taken, path = await Connection.open(port), [], "/sessions?limit=50"
    for _ in range(PAGES):
        started = time.perf_counter()
        page = await connection.ask("GET", path)
        taken.append((time.perf_counter() - started) * 1_000)
        path = f"/sessions?limit=50&cursor={page['next']}"
    return taken[1:]


def at(share: float, taken: list[float]) -> float:
    return taken[int(len(taken) * share) - 1]


def show(what: str, measured: str, bound: str = "") -> None:
    print(f"{what:<66} {measured:>22}   {bound}", flush=True)


def show_streams(folder: Path) -> None:
    with served("floor") as server:
        floor, work = latencies(server)
    show(
        "an event, a server that only streams (median, p95)",
        f"{at(0.5, floor):.1f}, {at(0.95, floor):.1f} ms",
    )
    show("  part of a core that it works", f"{work:.2f}")
    with served("app", f"sqlite:///{folder / 'streams.db'}") as server:
        before = server.memory
        asyncio.run(make(server.port, STREAMS))
        taken, work = latencies(server)
        held = (server.memory - before) / STREAMS / MEGABYTE
    assert len(taken) >= 0.99 * STREAMS * RATE * SECONDS
    show(
        f"an event of {STREAMS} sessions at {RATE} a second each (median, p95)",
        f"{at(0.5, taken):.1f}, {at(0.95, taken):.1f} ms",
    )
    show("  part of a core that it works", f"{work:.2f}")
    show("  added (p95)", f"{at(0.95, taken) - at(0.95, floor):.1f} ms", "at most 50")
    show("  memory, a session", f"{held:.2f} MB", "at most 1")


def main() -> None:
    show("load of the machine before", f"{os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        show_streams(folder)
        with served("app", f"sqlite:///{folder / 'idle.db'}") as server:
            show(f"{IDLE:,} idle event streams", f"{asyncio.run(idle(server)):.0f} MB", "at most 200")
        with served("app", f"sqlite:///{folder / 'calls.db'}") as server:
            show(
                "messages answered, an instant model",
                f"{asyncio.run(calls(server.port)):.0f} a second",
                "at least 300",
            )
        store = SqlStore(f"sqlite:///{folder / 'list.db'}")
        sessions.fill(store)
        store.close()
        with served("app", f"sqlite:///{folder / 'list.db'}") as server:
            taken = asyncio.run(pages(server.port))
        listed = f"{statistics.median(taken):.1f}, {max(taken):.1f} ms"
        show(f"a page of 50 of {sessions.SESSIONS:,} sessions (median, longest)", listed, "at most 20")
        tally = asyncio.run(count_losses(f"sqlite:///{folder / 'kills.db'}", folder, kills=KILLS))
    show(f"events that clients had, over {tally.kills} kills", f"{tally.compared:,}")
    show("  lost, changed, given or done twice", f"{len(tally.faults)}", "0")
    show("runs that were accepted", f"{tally.accepted:,}")
    show("  done, interrupted by a kill", f"{tally.done:,}, {tally.interrupted:,}")


if __name__ == "__main__":
    main()
