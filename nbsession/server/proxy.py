"""Behind Jupyter's own server, as on JupyterHub and Binder: jupyter-server-proxy starts a server and passes requests on.

Whoever may use the Jupyter server may then ask at its ``nbsession/`` path. The proxy alone knows the server's
token and adds it to what it passes on, so that nobody else on the machine can ask; it passes ``Host`` and ``Origin`` on as they came,
which so have to be the same there as everywhere. https://jupyter-server-proxy.readthedocs.io/en/latest/server-process.html
"""

from __future__ import annotations

import os
import sys
from typing import Any

from nbsession.server.users import new_token

APPS = "NBSESSION_APP"
"""The variable that names the apps: ``module:name``, several with blanks between; a plain conversation without it."""

_MAIN = "import sys; from nbsession.cli import main; sys.exit(main())"


def setup() -> dict[str, Any]:
    """Return how the server is started and asked; the entry point of ``jupyter_serverproxy_servers``."""
    token, apps = new_token(), os.environ.get(APPS, "").split()
    return {
        "command": [sys.executable, "-c", _MAIN, "serve", *apps, "--port", "{port}", "--allow-host", "*"],
        "environment": {"NBSESSION_TOKEN": token},
        "request_headers_override": {"Authorization": f"Bearer {token}"},
        "timeout": 30,
        "launcher_entry": {"enabled": False, "title": "nbsession"},
    }
