"""The environment of a command: the one around, without its keys."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

_SECRET = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL)S?(_|$)", re.IGNORECASE)
_SECRET_NAMES = {"MYSQL_PWD", "PGPASSFILE"}
_LOGIN = re.compile(r"://[^/\s@]+:[^/\s@]+@")


def without_keys(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what is likely a secret.

    That is every variable with ``KEY``, ``TOKEN``, ``SECRET``, ``PASSWORD``, ``PASSWD``, ``PASSPHRASE`` or
    ``CREDENTIAL`` at the end of a word of its name (words end at ``_``, case makes no difference, a plural s neither), as
    ``ANTHROPIC_API_KEY``, ``AWS_ACCESS_KEY_ID`` or ``PGPASSWORD``; ``MYSQL_PWD`` and ``PGPASSFILE``; and every one whose value
    holds a URL with a password in it.
    """
    return {name: value for name, value in environment.items() if not _is_secret(name, value)}


def _is_secret(name: str, value: str) -> bool:
    return bool(_SECRET.search(name) or name in _SECRET_NAMES or _LOGIN.search(value))


def of_commands(given: Mapping[str, str]) -> dict[str, str]:
    """Return what commands run with: this process's environment without keys, and what was given for them."""
    return {**without_keys(os.environ), **given}
