"""``MCP``: the tools of a Model Context Protocol server as the tree's own.

A server is started, watched and stopped by one task (``server``), reached as ``link`` says; what it lists and answers is
untrusted, and made fit for a model in ``listing`` and ``answer``. Stands on the protocol's official SDK, loaded when a
server starts.
"""

from importlib.metadata import PackageNotFoundError, version

_INSTALL = "pip install 'nbsession[mcp]'"

try:
    _found = version("mcp")
except PackageNotFoundError:
    raise ImportError(f"tools of MCP servers take the package mcp: {_INSTALL}") from None
if int(_found.partition(".")[0]) < 2:
    raise ImportError(f"tools of MCP servers take the package mcp 2.3 or later, {_found} is here: {_INSTALL}")

from nbsession.mcp.component import MCP  # noqa: E402  # after the check, so that it is what is told

__all__ = ["MCP"]
