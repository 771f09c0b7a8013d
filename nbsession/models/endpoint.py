"""Where a model's requests go, and with which key."""

from __future__ import annotations

import ipaddress
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from nbsession.errors import MissingKeyError, ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import ModuleType

LOCAL_PORTS = {"ollama": 11434, "llamacpp": 8080, "lmstudio": 1234, "vllm": 8000}
"""The ports on which servers of this machine listen by default; their names are prefixes of models."""

LOCAL_KEY = "none-needed"
"""What is sent as the key to a server that needs none: the SDKs refuse to send nothing."""


class Key(str):
    """An API key: sent as it is, and not shown where a traceback or a debugger shows values."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'[key]'"


@dataclass(frozen=True, slots=True)
class Service:
    """What is particular to a provider and its SDK.

    ``load`` imports the SDK, whose ``client`` is a class of it. ``url`` is where the
    service is, and the key of the environment goes to ``hosts`` and to where
    ``$<variables>_BASE_URL`` leads. ``kinds`` are the kinds of ``ModelError`` by the
    service's own words for what failed.
    """

    load: Callable[[], ModuleType]
    client: str
    url: str
    hosts: tuple[str, ...]
    variables: str
    kinds: Mapping[str, str]

    @property
    def key_variable(self) -> str:
        return f"{self.variables}_API_KEY"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the next request goes.

    ``trusted`` says whether that is the service itself, or where the environment
    leads: what else the environment holds for the service is then sent, too.
    """

    url: str
    key: Key
    trusted: bool

    @property
    def host(self) -> str:
        """Host and port, as a message names them."""
        return urlsplit(self.url).netloc


def endpoint_of(service: Service, model: str, base_url: str | None, api_key: Key) -> Endpoint:
    """Find out where the next request of ``model`` goes, from what was given and from the environment.

    Raises ``MissingKeyError`` where a key is needed and there is none, and
    ``ModelError`` for a URL or key that cannot be used.
    """
    url = url_of(service, model, base_url)
    trusted = base_url is None or is_at(url, service.hosts)
    key = Key(api_key.strip())
    if not key and trusted:
        key = Key(os.environ.get(service.key_variable, "").strip())
    if not key and on_this_machine(url):
        key = Key(LOCAL_KEY)
    if not key and trusted:
        raise MissingKeyError(
            f"no API key: set {service.key_variable}, pass api_key=, "
            'or use model="simulated" to go on without one'
        )
    if not key:
        raise MissingKeyError(
            f"no API key for {urlsplit(url).netloc}: pass api_key= ({service.key_variable} is not sent there)"
        )
    check_key(key, model)
    return Endpoint(url, key, trusted)


def url_of(service: Service, model: str, base_url: str | None) -> str:
    """Find out to which URL the requests of ``model`` go; ``ModelError`` for one that cannot be used."""
    variable = f"{service.variables}_BASE_URL"
    url = base_url or os.environ.get(variable, "").strip() or service.url
    check_url(url, "base_url=" if base_url else variable, model)
    return url


def check_url(url: str, given_as: str, model: str) -> None:
    """Raise ``ModelError`` for what is no URL of a server; ``given_as`` is where it was given."""
    parts: SplitResult | None = None
    with suppress(ValueError):
        split = urlsplit(url)
        parts = split if split.port != 0 else None  # a port is checked when it is asked for
    if "@" in (url if parts is None or not parts.netloc else parts.netloc):
        raise ModelError(
            f"{given_as} of {model} holds a user name or password; leave it out, and pass api_key= where one is needed",
            kind="request",
        )
    if (
        parts is None
        or parts.scheme not in ("http", "https")
        or not parts.hostname
        or any(character.isspace() for character in url)
    ):
        raise ModelError(
            f"{given_as} of {model} must be a URL such as 'http://localhost:11434', got {url!r}",
            kind="request",
        )


def check_key(key: Key, model: str) -> None:
    """Raise ``ModelError`` for a key that no header may hold: HTTP libraries would quote, and so show it."""
    if not (key.isascii() and key.isprintable()):
        raise ModelError(
            f"the API key for {model} holds a character that no HTTP header may hold; copy it again",
            kind="authentication",
        )


def is_at(url: str, hosts: Iterable[str]) -> bool:
    """Say whether a URL's host is one of ``hosts``, or below one."""
    host = urlsplit(url).hostname or ""
    return any(host == known or host.endswith(f".{known}") for known in hosts)


def on_this_machine(url: str) -> bool:
    """Say whether a URL's host is the loopback."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False
