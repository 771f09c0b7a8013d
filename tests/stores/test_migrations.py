"""A store of an older schema becomes one of this, or stays as it is."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from nbsession.errors import StoreError
from nbsession.stores import Row, SessionInfo, SqlStore, migrations, schema

FIRST = Path(__file__).with_name("schema_1.sql").read_text()
ROWS = [
    Row("session", "old", {"metadata": {"title": "kept"}, "parent": "older"}),
    Row("entry", "e", {"text": "schön"}),
]


def run(url: str, script: str) -> None:
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        for statement in script.split(";\n"):
            connection.exec_driver_sql(statement)
    engine.dispose()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file as the first version of nbsession left it."""
    path = tmp_path / "sessions.db"
    run(f"sqlite:///{path}", "PRAGMA journal_mode = wal;\n" + FIRST)
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """Return the URL of a database of the first version."""
    if request.param == "sqlite":
        return f"sqlite:///{request.getfixturevalue('file')}"
    made: str = request.getfixturevalue("postgres")
    run(made, FIRST)
    return made


def test_an_older_store_is_brought_up_with_all_it_had(url: str) -> None:
    store = SqlStore(url)
    assert store.sessions() == [
        SessionInfo("old", 1700000000.25, 1700000001.5, 2, {"title": "kept"}, "older")
    ]
    assert store.load("old") == ROWS
    assert store.texts(["digest"]) == {"digest": "a text"}
    token = store.acquire("old", "process 1 on host-a", 60)
    assert store.append("old", [Row("entry", "new", {})], revision=2, token=token) == 3
    store.close()
    again = SqlStore(url)
    assert len(again.load("old") or []) == 3
    again.close()


def test_an_older_store_that_was_brought_up_is_like_a_new_one(url: str) -> None:
    SqlStore(url).close()
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.tables) == []
        assert schema.version(connection, url) == schema.VERSION
    engine.dispose()


def test_every_version_has_its_revision() -> None:
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(migrations.FOLDER))
    assert [step.revision for step in script.walk_revisions()] == [
        f"{number}" for number in range(schema.VERSION, 0, -1)
    ]


def test_a_migration_that_cannot_be_done_leaves_the_store_as_it_was(file: Path) -> None:
    run(f"sqlite:///{file}", "CREATE TABLE leases (car TEXT)")
    before = file.read_bytes()
    with pytest.raises(
        StoreError, match=r"could not be brought from schema 1 to 5 .*leases already exists.*left as it was"
    ) as failure:
        SqlStore(f"sqlite:///{file}")
    assert failure.value.location == str(file)
    assert file.read_bytes() == before


def test_a_migration_that_fails_half_way_undoes_what_it_did(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(migrations.FOLDER, tmp_path / "migrations")
    (tmp_path / "migrations" / "versions" / "v6_half.py").write_text(
        "from alembic import op\n"
        "revision, down_revision = '6', '5'\n"
        "def upgrade():\n"
        '    op.execute("DELETE FROM rows WHERE sequence = 1")\n'
        "    op.drop_table('texts')\n"
        "    raise OSError('the power went')\n"
    )
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "FOLDER", tmp_path / "migrations")
        patch.setattr(schema, "VERSION", 6)
        with pytest.raises(StoreError, match=r"from schema 1 to 6 \(OSError: the power went\): it was left"):
            SqlStore(url)
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        assert schema.version(connection, url) == 1
        assert "leases" not in sqlalchemy.inspect(connection).get_table_names()
    engine.dispose()
    store = SqlStore(url)
    assert store.load("old") == ROWS
    assert store.texts(["digest"]) == {"digest": "a text"}
    store.close()


def test_an_older_file_that_may_only_be_read_is_left_as_it_is(file: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(
        StoreError, match=r"readonly database.*it was left as it was.*see that it can be written"
    ):
        SqlStore(f"sqlite:///file:{file}?mode=ro&uri=true")
    assert file.read_bytes() == before


def test_processes_that_open_an_older_store_at_once_all_find_it_brought_up(url: str) -> None:
    code = """
import sys
from nbsession.stores import SqlStore
print("ready", flush=True)
sys.stdin.readline()
store = SqlStore(sys.argv[1])
print(store.acquire(sys.argv[2], "me", 60), len(store.load("old")))
store.close()
"""
    openers = [
        subprocess.Popen(
            [sys.executable, "-c", code, url, f"{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    for opener in openers:
        assert opener.stdout is not None
        assert opener.stdout.readline() == "ready\n"
    for opener in openers:
        assert opener.stdin is not None
        opener.stdin.write("go\n")
        opener.stdin.flush()
    assert [opener.communicate()[0] for opener in openers] == ["1 2\n"] * 3


def test_a_store_of_this_schema_is_opened_without_alembic(tmp_path: Path) -> None:
    code = (
        "import sys; from nbsession.stores import SqlStore; "
        "SqlStore(sys.argv[1]).close(); SqlStore(sys.argv[1]).close(); print('alembic' in sys.modules)"
    )
    command = [sys.executable, "-c", code, f"sqlite:///{tmp_path}/new.db"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"
