"""A folder for each test, with the tools that a model has there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.work import Work


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(tmp_path)
