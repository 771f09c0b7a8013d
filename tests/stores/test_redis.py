"""What the Redis store promises beyond the contract: how it lies there, what outlives what, and what it says of that."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import uuid
import zlib
from typing import TYPE_CHECKING, Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from nbsession import App, stores
from nbsession.errors import SessionBusyError, SessionClosedError, StoreError
from nbsession.stores import MemoryStore, RedisStore, Row, SqlStore, default_is_there, default_store
from nbsession.testing import ScriptedModel, call
from tests.support import redis as support
from tests.support.notepad import Notepad

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.redis import Server

WRITER = """
import sys
from nbsession.stores import Row, RedisStore
store, revision = RedisStore(sys.argv[1]), 0
while True:
    rows = [Row("entry", str(revision), {"text": "kept"}), Row("head", "head", {"entry": revision})]
    revision = store.append("s", rows, {str(revision): "text"}, revision=revision)
    print(revision, flush=True)
"""


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def raw(url: str) -> redis.Redis:
    return redis.Redis.from_url(url.partition("?")[0], protocol=2)


@pytest.fixture
def store(redis_url: str) -> Iterator[RedisStore]:
    opened = RedisStore(redis_url)
    yield opened
    opened.close()


def test_importing_the_stores_loads_no_redis() -> None:
    code = "import sys, nbsession.stores; print('redis' in sys.modules)"
    assert python(code).communicate()[0] == "False\n"


def test_completion_offers_the_store_that_is_imported_when_it_is_used() -> None:
    assert "RedisStore" in dir(stores)


def test_a_redis_url_works_where_a_sql_url_does(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    default_store(redis_url).append("s", [Row("entry", "e", {})], revision=0)
    monkeypatch.setenv("NBSESSION_STORE", redis_url)
    store = default_store()
    assert isinstance(store, RedisStore)
    assert (store.revision("s"), default_is_there(), default_is_there("redis://nowhere/0")) == (1, True, True)
    store.close()


async def test_a_session_is_stored_restored_forked_and_verified(redis_url: str) -> None:
    def app(*responses: Any) -> App:
        return App(Notepad, model=ScriptedModel(*responses), store=RedisStore(redis_url))

    session = app([call("add_note", note="likes tea")], "Noted.", "long " * 1_000).session("ann")
    await session.send("I like tea.")
    await session.send("Tell me all.")
    before = ([entry.to_dict() for entry in session.timeline], [tick.context.hash for tick in session.ticks])
    await session.aclose()
    again = app("Tea.").session("ann")
    assert (
        [entry.to_dict() for entry in again.timeline],
        [tick.context.hash for tick in again.ticks],
    ) == before
    assert again.verify() == []
    fork = again.fork(at=1, id="bob")
    assert (await fork.send("What do I like?")).text == "Tea."
    await fork.aclose()
    last = app().session("bob")
    assert (last.verify(), [entry.text for entry in last.timeline][-1]) == ([], "Tea.")
    assert [(info.id, info.parent) for info in app().sessions()] == [("bob", "ann"), ("ann", None)]


def test_what_was_appended_survives_a_killed_writer_and_a_killed_server() -> None:
    with support.server(*support.LASTING) as server:
        writer = python(WRITER, server.url)
        assert writer.stdout is not None
        said = [int(writer.stdout.readline()) for _ in range(200)][-1]
        writer.kill()
        said = max([said, *map(int, writer.communicate()[0].split())])
        server.kill()
        server.start()
        store = RedisStore(server.url)
        rows = store.load("s")
        assert rows is not None
        assert len(rows) >= said
        assert len(rows) % 2 == 0, "an append is kept as a whole or not at all"
        store.texts(row.key for row in rows if row.kind == "entry")
        assert store.append("s", [Row("entry", "on", {})], revision=len(rows)) == len(rows) + 1
        store.close()


def test_a_server_that_is_killed_while_it_is_written_keeps_whole_appends() -> None:
    with support.server(*support.LASTING) as server:
        writer = python(WRITER, server.url)
        assert writer.stdout is not None
        said = [int(writer.stdout.readline()) for _ in range(200)][-1]
        server.kill()
        writer.kill()
        writer.communicate()
        server.start()
        store = RedisStore(server.url)
        assert len(store.load("s") or []) == store.revision("s") >= said
        assert store.revision("s") % 2 == 0
        assert [info.revision for info in store.sessions()] == [store.revision("s")]
        store.close()


def test_after_its_server_was_started_again_a_store_goes_on() -> None:
    with support.server(*support.LASTING) as server:
        store = RedisStore(server.url)
        token = store.acquire("s", "me", 60)
        store.append("s", [Row("entry", "e1", {})], revision=0, token=token)
        server.kill()
        with pytest.raises(StoreError, match="cannot be reached"):
            store.append("s", [Row("entry", "e2", {})], revision=1, token=token)
        server.start()
        assert store.append("s", [Row("entry", "e2", {})], revision=1, token=token) == 2
        store.close()


def test_a_writer_whose_server_lost_the_last_rows_is_told_that() -> None:
    with support.server("--save", "") as server:
        store = RedisStore(server.url)
        store.append("s", [Row("entry", "e1", {})], revision=0)
        server.kill()
        server.start()
        with pytest.raises(
            SessionClosedError,
            match="'s' is not in the store any more: it was deleted, or the store was put back",
        ):
            store.append("s", [Row("entry", "e2", {})], revision=1)
        store.close()


def test_an_append_whose_answer_was_lost_is_kept_once_when_it_comes_again(store: RedisStore) -> None:
    token = store.acquire("s", "me", 60)
    store.append("s", [Row("entry", "e1", {})], revision=0, token=token)
    sent = [Row("entry", "e2", {"text": "schön"}), Row("entry", "e3", {})]
    assert store.append("s", sent, {"d": "text"}, revision=1, token=token) == 3
    assert store.append("s", sent, {"d": "text"}, revision=1, token=token) == 3
    assert [row.key for row in store.load("s") or []] == ["e1", "e2", "e3"]
    for other in ([sent[0]], [sent[1], sent[0]], []):
        with pytest.raises(SessionBusyError, match="has 3 rows in the store and this writer knew 1"):
            store.append("s", other, revision=1, token=token)
    with pytest.raises(SessionBusyError, match="has 3 rows"):
        store.append("s", sent, revision=1)  # who holds no lease may not be the one who sent them
    store.acquire("s", "me", 60)
    with pytest.raises(SessionBusyError, match="taken over by me"):
        store.append("s", sent, revision=1, token=token)


async def test_a_session_whose_server_is_full_stays_in_memory_and_is_stored_when_there_is_room() -> None:
    with support.server("--appendonly", "yes") as server, raw(server.url) as client:
        app = App(Notepad, model=ScriptedModel("one", "two", "three"), store=RedisStore(server.url))
        session = app.session("s")
        await session.send("first")
        client.config_set("maxmemory", 1)
        with pytest.raises(StoreError, match="has no memory left"):
            await session.send("second")
        [note] = session.notes
        assert "rows of session 's' are in memory only" in note
        assert app.model.contexts[1:] == [], "no model is called for what could not be kept"
        client.config_set("maxmemory", 0)
        assert (await session.send("third")).text == "two"
        assert (session.notes, session.verify()) == ([], [])
        texts = [entry.text for entry in session.timeline]
        await session.aclose()
        again = App(Notepad, model=ScriptedModel(), store=RedisStore(server.url)).session("s")
        assert [entry.text for entry in again.timeline] == texts
        assert "second" in texts


async def test_a_risk_is_told_once() -> None:
    with support.server("--appendonly", "no", "--save", "") as server:
        session = App(Notepad, model=ScriptedModel(), store=RedisStore(server.url)).session("s")
        assert [note for note in session.take_notes() if "writes nothing to disk" in note]
        assert session.notes == []
        await session.aclose()


def test_of_several_processes_one_wins_each_revision(redis_url: str) -> None:
    code = """
    import sys
    from nbsession.errors import SessionBusyError
    from nbsession.stores import Row, RedisStore
    print("ready", flush=True)
    sys.stdin.readline()
    store, won = RedisStore(sys.argv[1]), []
    for revision in range(40):
        try:
            store.append("s", [Row("entry", sys.argv[2], {})], revision=revision)
            won.append(revision)
        except SessionBusyError:
            while len(store.load("s") or []) <= revision:
                pass
    store.close()
    print(*won)
    """
    writers = [python(code, redis_url, name) for name in "abc"]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    won = sorted(int(word) for writer in writers for word in writer.communicate()[0].split())
    assert won == list(range(40))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@pytest.fixture(scope="module")
def lasting(redis_server: Server) -> Iterator[RedisStore]:
    store = RedisStore(redis_server.url, prefix="lasting:")
    yield store
    store.close()


@given(data=st.dictionaries(st.text(), JSON, max_size=4), text=st.text(), parent=st.none() | st.uuids())
def test_any_json_comes_back(
    lasting: RedisStore, data: dict[str, object], text: str, parent: uuid.UUID | None
) -> None:
    session = uuid.uuid4().hex
    above = None if parent is None else str(parent)
    rows = [Row("session", session, {"metadata": data, "parent": above}), Row("state", "k", data)]
    memory = MemoryStore()
    for store in (memory, lasting):
        store.append(session, rows, {session: text}, revision=0)
        assert store.load(session) == rows
        assert store.texts([session]) == {session: text}
    [info], [known] = lasting.sessions(limit=1), memory.sessions()
    assert (info.id, info.metadata, info.parent) == (known.id, known.metadata, known.parent)


def test_rows_are_json_for_any_other_program(store: RedisStore, redis_url: str) -> None:
    store.append("s", [Row("entry", "e", {"text": "schön", "n": [1, None]})], {"d": "a\nb"}, revision=0)
    prefix = redis_url.partition("prefix=")[2]
    with raw(redis_url) as client:
        found: Any = client.lrange(f"{prefix}rows:s", 0, -1)
        text: Any = client.hget(f"{prefix}texts", "d")
        keys: Any = client.keys(f"{prefix}*")
    assert [line.decode() for line in found] == ['["entry","e",{"text":"schön","n":[1,null]}]']
    assert json.loads(zlib.decompress(text)) == "a\nb"
    assert sorted(key.decode().removeprefix(prefix) for key in keys) == [
        "rows:s",
        "schema",
        "session:s",
        "sessions",
        "texts",
        "users",
        "uses:s",
    ]


def test_appends_of_any_length_are_one_step(store: RedisStore) -> None:
    rows = [Row("event", f"{number}", {}) for number in range(20_001)]
    texts = {f"{number}": "text" for number in range(20_001)}
    assert store.append("s", rows, texts, revision=0) == 20_001
    assert store.load("s") == rows
    assert [row for _, row in store.rows("s")] == rows
    assert store.texts(texts) == texts


def test_no_two_appends_have_the_same_time_whatever_the_clock_says(store: RedisStore, redis_url: str) -> None:
    store.append("a", [Row("entry", "e", {})], revision=0)
    prefix = redis_url.partition("prefix=")[2]
    with raw(redis_url) as client:  # as if the clock had been ahead
        client.zadd(f"{prefix}sessions", {"a": 9e9})
    store.append("b", [Row("entry", "e", {})], revision=0)
    store.append("c", [Row("entry", "e", {})], revision=0)
    assert [info.id for info in store.sessions()] == ["c", "b", "a"]
    assert [info.id for page in (None, 1) for info in paged(store)][:3] == ["c", "b", "a"]


def paged(store: RedisStore) -> Iterator[Any]:
    page = store.sessions(limit=1)
    while page:
        yield from page
        page = store.sessions(after=page[-1].place, limit=1)


def test_a_store_lies_in_one_slot_of_a_cluster_if_its_prefix_says_so() -> None:
    with support.server("--cluster-enabled", "yes", "--port", "0") as server:
        with raw(server.url) as client:
            client.execute_command("CLUSTER ADDSLOTSRANGE 0 16383")
            while client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
                pass
        store = RedisStore(server.url, prefix="{nbsession}:")
        store.append("s", [Row("entry", "e", {})], {"d": "text"}, revision=0)
        assert (store.revision("s"), store.texts(["d"])) == (1, {"d": "text"})
        store.close()
        spread = RedisStore(server.url)
        with pytest.raises(StoreError, match=r"is a cluster.*prefix='\{nbsession\}:'"):
            spread.append("s", [Row("entry", "e", {})], revision=0)
        spread.close()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["--appendonly", "yes"], []),
        (
            ["--appendonly", "no", "--save", ""],
            ["writes nothing to disk: all sessions are lost when that server ends"],
        ),
        (
            ["--appendonly", "no", "--save", "60 1"],
            [r"only now and then (save 60 1): what came since is lost"],
        ),
        (
            ["--appendonly", "yes", "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"],
            [
                "may drop sessions when its memory is full (maxmemory-policy allkeys-lru): set that to noeviction"
            ],
        ),
        (["--appendonly", "yes", "--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru"], []),
        (["--appendonly", "yes", "--maxmemory-policy", "allkeys-lru"], []),
    ],
)
def test_what_the_server_does_not_keep_is_said(settings: list[str], said: list[str]) -> None:
    with support.server(*settings) as server:
        store = RedisStore(server.url)
        session = App(Notepad, model=ScriptedModel(), store=store).session("s")
        assert len(store.notes) == len(said)
        for note, words in zip(store.notes, said, strict=True):
            assert note.startswith(f"{store.location} ")
            assert words in note
        assert session.notes == list(store.notes)
        store.close()


def test_a_server_that_hides_its_settings_is_used_without_a_word() -> None:
    with support.server("--rename-command", "CONFIG", "") as server:
        store = RedisStore(server.url)
        assert store.notes == ()
        store.close()


def test_a_closed_store_says_so(redis_url: str) -> None:
    store = RedisStore(redis_url)
    store.close()
    with pytest.raises(StoreError, match="was closed: open it again"):
        store.load("s")


def test_a_session_reads_the_same_from_every_store(redis_url: str, tmp_path: Path) -> None:
    rows = [Row("entry", f"{number}", {"text": "x" * number}) for number in range(300)]
    found = []
    for store in (MemoryStore(), RedisStore(redis_url), SqlStore(f"sqlite:///{tmp_path}/s.db")):
        store.append("s", rows, revision=0)
        found.append((store.load("s", ["entry"]), list(store.rows("s", 100, ["entry"], 5))))
        store.close()
    assert found[0] == found[1] == found[2]
