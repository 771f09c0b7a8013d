"""Every store keeps the contract, and the contract notices a store that does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nbsession.stores import MemoryStore, RedisStore, Row, SqlStore
from nbsession.stores.contract import CHECKS, store_contract

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from nbsession.stores.checking import Factory


@pytest.fixture(params=["memory", "sqlite", "postgresql", "redis"])
def factory(request: pytest.FixtureRequest, tmp_path: Path) -> Factory:
    if request.param == "memory":
        return MemoryStore
    if request.param == "postgresql":
        url: str = request.getfixturevalue("postgres")
        return lambda: SqlStore(url)
    if request.param == "redis":
        place: str = request.getfixturevalue("redis_url")
        return lambda: RedisStore(place)
    return lambda: SqlStore(f"sqlite:///{tmp_path}/sessions.db")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_store_keeps_the_contract(check: Callable[[Factory], None], factory: Factory) -> None:
    check(factory)


def test_the_contract_runs_as_one_call(tmp_path: Path) -> None:
    store_contract(lambda: SqlStore(f"sqlite:///{tmp_path}/sessions.db"))


class Careless(MemoryStore):
    """Takes any revision for the true one."""

    def append(
        self,
        session: str,
        rows: Sequence[Row],
        texts: Mapping[str, str] | None = None,
        *,
        revision: int,
        token: int | None = None,
    ) -> int:
        return super().append(session, rows, texts, revision=len(self.load(session) or []), token=token)


def test_the_contract_refuses_a_store_without_revisions() -> None:
    with pytest.raises(AssertionError, match="must be refused with SessionBusyError") as failure:
        store_contract(Careless)
    assert failure.value.__notes__ == ["while checking a store: a_stale_writer_keeps_nothing"]


class Forgetful(MemoryStore):
    """Says that it lasts, and does not."""

    blocking = True


def test_the_contract_refuses_a_store_that_does_not_last() -> None:
    with pytest.raises(AssertionError, match="after the store is opened again"):
        store_contract(Forgetful)
