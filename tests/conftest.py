"""What every test starts from: no key, no user's files, the same examples each time in CI."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

import hypothesis
import pytest

from tests.support import redis

if TYPE_CHECKING:
    from collections.abc import Iterator

hypothesis.settings.register_profile("dev", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "dev")

FOLDERS = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
KEYS_AND_CHOICES = ("ANTHROPIC_", "OPENAI_", "NBSESSION_")

_numbers = itertools.count()


def pytest_report_header(config: pytest.Config) -> str:
    """Print what a failed run is repeated with."""
    examples = "derandomized" if os.environ.get("CI") else "random (--hypothesis-seed repeats them)"
    hash_seed = os.environ.get("PYTHONHASHSEED", "random")
    return f"seeds: PYTHONHASHSEED={hash_seed}, hypothesis examples {examples}"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests with a browser, and run them last.

    Playwright's sync API leaves its own loop running in the thread, where no
    test could start another one afterwards.
    """
    for item in items:
        if "playwright" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


@pytest.fixture(scope="session", autouse=True)
def _own_surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hide the keys, the settings and the home of whoever runs the tests, also from kernels."""
    folder = tmp_path_factory.mktemp("surroundings")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(KEYS_AND_CHOICES):
                patch.delenv(name)
        for name in (*FOLDERS, "XDG_DATA_HOME"):
            (folder / name).mkdir()
            patch.setenv(name, str(folder / name))
        yield


@pytest.fixture(autouse=True)
def _own_sessions(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start every test without stored sessions."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="session")
def redis_server() -> Iterator[redis.Server]:
    with redis.server() as made:
        yield made


@pytest.fixture
def redis_url(redis_server: redis.Server) -> str:
    """Return the URL of a store that nobody has used."""
    return f"{redis_server.url}?prefix=store-{next(_numbers)}:"
