"""The package that it takes, and that nothing else loads it."""

from __future__ import annotations

import importlib
import importlib.metadata
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from typing import Any

import pytest

import nbsession.mcp
from nbsession.testing import render


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, r"take the package mcp: pip install 'nbsession\[mcp\]'"),
        ("1.30.0", r"take the package mcp 2.3 or later, 1.30.0 is here: pip install 'nbsession\[mcp\]'"),
    ],
)
def test_without_the_package_the_import_says_what_to_install(
    found: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(_: str) -> str:
        if found is None:
            raise PackageNotFoundError("mcp")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(importlib.metadata, "version", version)
        with pytest.raises(ImportError, match=said):
            importlib.reload(nbsession.mcp)
    importlib.reload(nbsession.mcp)


def test_importing_it_loads_no_sdk() -> None:
    program = "import sys, nbsession.mcp; print([name for name in ('mcp', 'mcp_types', 'anyio') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_server_is_asked_for_by_name() -> None:
    bad: Any = 5
    with pytest.raises(nbsession.RenderError, match="MCP takes a name for the server, got 5"):
        _ = render(nbsession.mcp.MCP(bad, command=["x"])).context
