"""Load on a server that is killed with -9 and started again, and what its clients lost by it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import subprocess
import sys
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from nbsession.protocol import FrameReader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from nbsession.protocol import Frame

DELTAS = ("text_delta", "input_json_delta")
FRAMES = 200
"""What the followers read between two kills, at most."""

ROOT = Path(__file__).parents[2]


@dataclass
class Tally:
    """What was counted. ``faults`` say what was lost, given twice or done twice; there should be none."""

    kills: int = 0
    frames: int = 0
    compared: int = 0
    resumed: int = 0
    accepted: int = 0
    done: int = 0
    interrupted: int = 0
    faults: list[str] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, enough: Callable[[], bool]) -> None:
        """Wait for frames until something is so."""
        while not enough():
            self.news.clear()
            await self.news.wait()


class Server:
    """The server's process of the moment. Who asks while there is none waits for the next one."""

    def __init__(self, store: str, work_log: Path) -> None:
        self._command = [sys.executable, "-m", "tests.support.served", store, str(work_log)]
        self._process: subprocess.Popen[str] | None = None
        self._up = asyncio.Event()
        self._url = ""

    async def start(self) -> None:
        """Start a process, and wait until it serves."""
        self._url = await asyncio.to_thread(self._start)
        self._up.set()

    def _start(self) -> str:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self._process.stdout is not None
        found: list[str] = re.findall(r"http://\S+", self._process.stdout.readline())
        return found[0]

    def kill(self) -> None:
        """Kill it, in the middle of whatever it does."""
        assert self._process is not None
        self._up.clear()
        self._process.kill()
        self._process.communicate()

    async def url(self) -> str:
        """Return where it is, as soon as it is somewhere."""
        await self._up.wait()
        return self._url


class Follower:
    """Reads the events of one session, and comes back after the last one that it had."""

    def __init__(self, server: Server, session: str, tally: Tally) -> None:
        self.session = session
        self.last = 0
        self.read: dict[int, dict[str, Any]] = {}
        self._server = server
        self._tally = tally
        self._open: set[int] = set()

    async def follow(self) -> None:
        """Follow until this is cancelled."""
        async with httpx.AsyncClient(timeout=30) as client:
            while True:
                url = f"{await self._server.url()}/sessions/{self.session}/events"
                headers = {"last-event-id": str(self.last)}
                with contextlib.suppress(httpx.TransportError):
                    async with client.stream("GET", url, headers=headers) as answer:
                        async for frame in frames_of(answer):
                            self._take(frame)
                self._tally.resumed += 1
                await asyncio.sleep(0.01)

    def _take(self, frame: Frame) -> None:
        self._tally.frames += 1
        self._tally.news.set()
        data = json.loads(frame.data)
        if frame.event in DELTAS:
            if data["index"] not in self._open:
                self._fault(f"a delta of block {data['index']} came before its start")
            return
        if frame.id != self.last + 1:
            self._fault(f"{frame.event} has number {frame.id} after {self.last}")
        if frame.event == "content_block_start":
            self._open.add(data["index"])
        elif frame.event in ("content_block_stop", "message_start"):
            self._open -= {data["index"]} if "index" in data else self._open
        if frame.id is not None:
            self.last = frame.id
            self.read[frame.id] = data

    def _fault(self, what: str) -> None:
        self._tally.faults.append(f"{self.session}: {what}")


async def frames_of(answer: httpx.Response) -> AsyncIterator[Frame]:
    """Read the frames of a stream."""
    reader = FrameReader()
    async for data in answer.aiter_bytes():
        for frame in reader.feed(data):
            yield frame


class Sender:
    """Sends tasks to one session, each under its request id until it is accepted; streams some of the answers."""

    def __init__(self, server: Server, session: str, tally: Tally) -> None:
        self.accepted: dict[str, str] = {}
        self.read: dict[int, dict[str, Any]] = {}
        self._session = session
        self._server = server
        self._tally = tally

    async def send(self) -> None:
        """Send until this is cancelled, a few at a time."""
        async with httpx.AsyncClient(timeout=30) as client:
            number = 0
            while True:
                await self._queue(client, f"{self._session}-{number}")
                await self._stream(client, f"{self._session}-{number + 1}")
                number += 2

    async def _queue(self, client: httpx.AsyncClient, name: str) -> None:
        while True:
            url = f"{await self._server.url()}/sessions/{self._session}/runs"
            with contextlib.suppress(httpx.TransportError):
                answer = await client.post(url, json={"message": name, "request_id": name})
                if answer.status_code == 202:
                    self.accepted[name] = answer.json()["id"]
                else:
                    self._tally.faults.append(f"{name}: {answer.status_code} {answer.text}")
                return
            await asyncio.sleep(0.01)

    async def _stream(self, client: httpx.AsyncClient, name: str) -> None:
        url = f"{await self._server.url()}/sessions/{self._session}/message/stream"
        with contextlib.suppress(httpx.TransportError):
            async with client.stream("POST", url, json={"message": name, "request_id": name}) as answer:
                async for frame in frames_of(answer):
                    if frame.id is not None:
                        self.read[frame.id] = json.loads(frame.data)
                    elif frame.event not in DELTAS:
                        self._tally.faults.append(f"{name}: {frame.event} has no number")


async def count_losses(store: str, folder: Path, *, kills: int, sessions: int = 4, seed: int = 20) -> Tally:
    """Kill a server so often, each time after it sent a chance number of frames, and count what that lost."""
    tally, chance = Tally(), random.Random(seed)
    work_log = folder / "work.log"
    work_log.touch()
    server = Server(store, work_log)
    await server.start()
    try:
        names = [f"s{number}" for number in range(sessions)]
        async with httpx.AsyncClient(timeout=30) as client:
            for name in names:
                made = await client.post(f"{await server.url()}/sessions", json={"id": name})
                made.raise_for_status()
        followers = [Follower(server, name, tally) for name in names]
        senders = [Sender(server, name, tally) for name in names]
        async with going(*(follower.follow() for follower in followers)):
            async with going(*(sender.send() for sender in senders)):
                for _ in range(kills):
                    enough = tally.frames + chance.randint(1, FRAMES)
                    await tally.until(lambda: tally.frames >= enough)  # noqa: B023  # before the next one
                    server.kill()
                    tally.kills += 1
                    await server.start()
            async with httpx.AsyncClient(base_url=await server.url(), timeout=30) as client:
                for sender, follower in zip(senders, followers, strict=True):
                    await _settle(client, follower.session, sender, tally)
                    await _compare(client, follower, sender, tally)
    finally:
        server.kill()
    begun = Counter(work_log.read_text().split())
    tally.faults += [f"the tool of {name} ran {count} times" for name, count in begun.items() if count > 1]
    return tally


@asynccontextmanager
async def going(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Let work go on meanwhile, and cancel it then; what fails is raised at once."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one) for one in work]
        yield
        for task in tasks:
            task.cancel()


async def _settle(client: httpx.AsyncClient, session: str, sender: Sender, tally: Tally) -> None:
    """Wait until all runs that were accepted have ended, and count how."""
    for name, run in sender.accepted.items():
        status = ""
        while status in ("", "queued", "running"):
            answer = await client.get(f"/sessions/{session}/runs/{run}")
            status = answer.json().get("status", f"{answer.status_code} {answer.text}")
        tally.accepted += 1
        if status == "done":
            tally.done += 1
        elif status == "interrupted":
            tally.interrupted += 1
        else:
            tally.faults.append(f"the accepted run {name} is {status}")
    while (await client.get(f"/sessions/{session}")).json()["status"] != "idle":  # what was streamed runs on
        pass


async def _compare(client: httpx.AsyncClient, follower: Follower, sender: Sender, tally: Tally) -> None:
    """Compare what clients had with what the session's history says."""
    kept: dict[int, dict[str, Any]] = {}
    after: int | None = 0
    while after is not None:
        page = (
            await client.get(f"/sessions/{follower.session}/events/history?after={after}&limit=500")
        ).json()
        kept |= {event["sequence"]: event for event in page["events"] if event["type"] not in DELTAS}
        after = page["next"]
    await tally.until(lambda: follower.last >= max(kept))
    for reader, read in (("follower", follower.read), ("sender", sender.read)):
        tally.compared += len(read)
        for number, event in read.items():
            if kept.get(number) != event:
                tally.faults.append(
                    f"{follower.session}: the {reader} had {event} as number {number}, which is {kept.get(number)}"
                )
    messages = Counter(
        event["entry"]["content"][0]["text"]
        for event in kept.values()
        if event["type"] == "entry_committed" and event["entry"]["role"] == "user"
    )
    for name in sender.accepted:
        if messages[name] != 1:
            tally.faults.append(f"the accepted run {name} stands {messages[name]} times in the timeline")
