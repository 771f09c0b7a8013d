"""A real PostgreSQL server for all tests of stores, and a database of its own for each that asks."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
import sqlalchemy

from tests.support import postgres as support

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Path]:
    with support.server() as folder:
        yield folder


@pytest.fixture
def postgres(postgres_server: Path) -> str:
    """Return the URL of a new, empty database."""
    name = f"sessions_{next(_numbers)}"
    engine = sqlalchemy.create_engine(support.url(postgres_server), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return support.url(postgres_server, name)
