"""Models that run on this machine: which servers answer, what they offer, and what that takes.

Nothing is asked of any port before ``local()`` is called, or a model of it is first used.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

from nbsession import threads
from nbsession.context import Capabilities
from nbsession.errors import ModelError, did_you_mean
from nbsession.models.anthropic.model import AnthropicModel
from nbsession.models.anthropic.request import DEFAULT_MAX_TOKENS
from nbsession.models.endpoint import LOCAL_PORTS

if TYPE_CHECKING:
    from nbsession.context import CompiledContext
    from nbsession.events import ModelEvent
    from nbsession.models.base import Source

Fetch: TypeAlias = Callable[..., Any]
"""``fetch(path, body=None)`` gives a page of a server as JSON data, ``None`` where there is none."""

_LONGEST_PAGE = 4_000_000
# One for each model, so that its connections are used again.
_adapters: dict[tuple[str, str, str, Capabilities], AnthropicModel] = {}


class LocalModel:
    """A model that a server on this machine offers; pass it wherever a model is taken.

    ``name`` finds the same model by ``resolve``. Without ``capabilities``, the server
    is asked for them when the model is first used, and again after a failure; until
    then they are those of a model that takes tools and images. An answer is bounded
    to half the window, where that is known.
    """

    def __init__(self, name: str, url: str, capabilities: Capabilities | None = None) -> None:
        self.name = name
        self.url = url
        self._given = capabilities
        self._known = capabilities

    @property
    def source(self) -> Source:
        """Always ``"live"``."""
        return "live"

    @property
    def capabilities(self) -> Capabilities:
        """What the model takes, as far as it is known."""
        return self._known or Capabilities(documents=False)

    def __repr__(self) -> str:
        can = self._known
        if can is None:
            return f"<LocalModel {self.name} at {self.url}, not asked yet>"
        takes = [word for word, has in (("tools", can.tools), ("images", can.images)) if has]
        window = [f"window {can.window:,} tokens"] if can.window else []
        return f"<LocalModel {', '.join([f'{self.name} at {self.url}', *takes, *window])}>"

    def warm(self) -> None:
        """Load what a request needs; may be called in a thread, and more than once."""
        _adapter(self).warm()

    async def aclose(self) -> None:
        """Close the connections of the running loop; the next request opens new ones."""
        await _adapter(self).aclose()

    def request(self, context: CompiledContext) -> dict[str, Any]:
        """Return the body of the request that ``stream`` sends for ``context``."""
        return _adapter(self).request(context)

    async def prepare(self) -> bool:
        """Ask the server what the model takes, where that is not known; say whether it is not what was assumed."""
        if self._known is not None:
            return False
        assumed = self.capabilities
        self._known = await threads.beside(partial(_profile, self.name, self.url))
        return self.capabilities != assumed

    async def stream(self, context: CompiledContext) -> AsyncGenerator[ModelEvent, None]:
        """Answer ``context``, event by event; see ``ModelAdapter``.

        Raises ``ModelError`` for every failure, and where the context holds what the
        model does not take.
        """
        await self.prepare()
        try:
            async with aclosing(_adapter(self).stream(context)) as events:
                async for event in events:
                    yield event
        except ModelError:
            self._known = self._given  # another model may run there the next time
            raise


def local(*, ports: Mapping[str, int] | None = None, timeout: float = 1.0) -> list[LocalModel]:
    """List the models that servers on this machine offer now, by asking their usual ports.

    These are Ollama, llama.cpp's server, LM Studio (from 0.4.1) and vLLM; ``ports``
    says where one listens elsewhere, as in ``ports={"llamacpp": 8081}``. Blocks for
    about ``timeout`` seconds at most for each of a server's pages. A port that is
    closed, or where something else answers, gives no models, nor does a server that
    asks for a key. Raises ``ValueError`` for a server that is not known, and for what is no port.
    """
    for prefix, port in (ports or {}).items():
        if prefix not in LOCAL_PORTS:
            raise ValueError(f"no local server is named {prefix!r}{did_you_mean(prefix, LOCAL_PORTS)}")
        if port not in range(1, 65536):
            raise ValueError(f"the port of {prefix!r} must be a whole number from 1 to 65535, got {port!r}")
    places = {**LOCAL_PORTS, **(ports or {})}
    found = threads.each(lambda place: _ask(*place, timeout), places.items())
    return list(chain.from_iterable(found))


def _adapter(model: LocalModel) -> AnthropicModel:
    prefix, _, identifier = model.name.partition(":")
    key = (prefix, identifier, model.url, model.capabilities)
    if key not in _adapters:
        window = model.capabilities.window
        bound = DEFAULT_MAX_TOKENS if window is None else min(DEFAULT_MAX_TOKENS, max(1, window // 2))
        _adapters[key] = AnthropicModel(
            identifier,
            base_url=model.url,
            prefix=prefix,
            caching=False,
            max_tokens=bound,
            capabilities=model.capabilities,
        )
    return _adapters[key]


def _profile(name: str, url: str) -> Capabilities | None:
    """Ask a server what its model takes; ``None`` where it does not say."""
    prefix, _, identifier = name.partition(":")
    offered = dict(_offered(prefix, _fetching(url, 1.0), identifier))
    # A server of llama.cpp has one model, whatever it is called by.
    return offered.get(identifier) or (next(iter(offered.values()), None) if prefix == "llamacpp" else None)


def _ask(prefix: str, port: int, timeout: float) -> list[LocalModel]:
    url = f"http://127.0.0.1:{port}"
    offered = _offered(prefix, _fetching(url, timeout))
    return [LocalModel(f"{prefix}:{identifier}", url, able) for identifier, able in offered]


def _offered(prefix: str, fetch: Fetch, only: str | None = None) -> list[tuple[str, Capabilities]]:
    try:
        return list(_OFFERS[prefix](fetch, only))
    except (LookupError, TypeError, AttributeError):
        return []  # something else answers there, in a form of its own


def _fetching(url: str, timeout: float) -> Fetch:
    place = urlsplit(url).netloc

    def fetch(path: str, body: Mapping[str, Any] | None = None) -> Any:
        # No proxy of the environment is used, and no redirection to elsewhere followed.
        connection = http.client.HTTPConnection(place, timeout=timeout)
        data = None if body is None else json.dumps(body)
        try:
            connection.request(
                "GET" if body is None else "POST", path, data, {"Content-Type": "application/json"}
            )
            page = connection.getresponse()
            return json.loads(page.read(_LONGEST_PAGE)) if page.status == 200 else None
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()

    return fetch


Offers: TypeAlias = Iterable[tuple[str, Capabilities]]


def _ollama(fetch: Fetch, only: str | None = None) -> Offers:
    listed = [only] if only else [entry["name"] for entry in (fetch("/api/tags") or {"models": ()})["models"]]
    for name in listed:
        shown = fetch("/api/show", {"model": name})
        if shown is None:
            if only:
                return
            shown = {}
        able = shown.get("capabilities")
        if able is not None and "completion" not in able:
            continue
        # Its window is what it is run with, not what it was trained for.
        settings = dict(
            line.split(None, 1) for line in shown.get("parameters", "").splitlines() if " " in line
        )
        window = settings.get("num_ctx", "").strip()
        yield (
            name,
            Capabilities(
                tools=able is None or "tools" in able,
                images=able is None or "vision" in able,
                documents=False,
                window=int(window) if window.isdigit() else None,
            ),
        )


def _llamacpp(fetch: Fetch, only: str | None = None) -> Offers:  # noqa: ARG001  # one page lists all
    for entry in _listed(fetch, "llamacpp"):
        props = fetch("/props") or {}
        able = props.get("chat_template_caps") or {}
        yield (
            entry["id"],
            Capabilities(
                tools=bool(able.get("supports_tools", True)),
                images=bool((props.get("modalities") or {}).get("vision", False)),
                documents=False,
                window=(props.get("default_generation_settings") or {}).get("n_ctx"),
            ),
        )


def _lmstudio(fetch: Fetch, only: str | None = None) -> Offers:  # noqa: ARG001  # one page lists all
    for entry in (fetch("/api/v1/models") or {"models": ()})["models"]:
        if entry["type"] != "llm":
            continue
        able = entry.get("capabilities") or {}
        loaded = entry.get("loaded_instances") or [{}]
        yield (
            entry["key"],
            Capabilities(
                images=bool(able.get("vision", False)),
                documents=False,
                window=(loaded[0].get("config") or {}).get("context_length"),
            ),
        )


def _vllm(fetch: Fetch, only: str | None = None) -> Offers:  # noqa: ARG001  # one page lists all
    for entry in _listed(fetch, "vllm"):
        yield entry["id"], Capabilities(documents=False, window=entry.get("max_model_len"))


def _listed(fetch: Fetch, owner: str) -> list[Mapping[str, Any]]:
    page = fetch("/v1/models") or {"data": ()}
    return [entry for entry in page["data"] if entry.get("owned_by") == owner]


_OFFERS: Mapping[str, Callable[[Fetch, str | None], Offers]] = {
    "ollama": _ollama,
    "llamacpp": _llamacpp,
    "lmstudio": _lmstudio,
    "vllm": _vllm,
}
