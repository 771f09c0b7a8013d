"""The knobs of a session at a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession.errors import KnobError, did_you_mean
from nbsession.knobs import KnobSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbsession.client.connection import Connection


class AsyncKnobs:
    """The knobs of a session: each call asks the server."""

    def __init__(self, connection: Connection, path: str) -> None:
        self._connection = connection
        self._path = f"{path}/knobs"

    async def values(self) -> dict[str, Any]:
        """Return the present values, by name."""
        return {knob["name"]: knob["value"] for knob in await self._read()}

    async def specs(self) -> dict[str, KnobSpec]:
        """Return the specs of the knobs that are mounted, by name; what only the server's code can check is not in them."""
        return {knob["name"]: _spec(knob) for knob in await self._read()}

    async def get(self, name: str) -> Any:
        """Return a knob's value; ``KnobError`` where there is none of that name."""
        values = await self.values()
        if name not in values:
            raise KnobError(f"no knob is named {name!r}{did_you_mean(name, values)}", knob=name)
        return values[name]

    async def set(self, name: str, value: Any) -> None:
        """Set a knob, as its user; ``KnobError`` for an unknown name or a value that it does not take."""
        await self.set_many({name: value})

    async def set_many(self, values: Mapping[str, Any]) -> None:
        """Set several knobs, all of them or none."""
        await self._connection.call("PATCH", self._path, body=dict(values))

    async def reset(self, *names: str) -> None:
        """Set knobs (all, where none is named) back to their defaults."""
        defaults = {knob["name"]: knob["default"] for knob in await self._read()}
        await self.set_many({name: defaults[name] for name in names or defaults if name in defaults})

    async def _read(self) -> list[dict[str, Any]]:
        knobs: list[dict[str, Any]] = (await self._connection.call("GET", self._path))["knobs"]
        return knobs


def _spec(knob: Mapping[str, Any]) -> KnobSpec:
    limits = {name: knob[name] for name in _LIMITS if knob.get(name) is not None}
    if knob["kind"] == "choice":
        limits["options"] = dict(zip(knob["labels"], knob["options"], strict=True))
    return KnobSpec.of(knob["name"], knob["default"], **limits)


_LIMITS = ("min", "max", "step", "max_length", "pattern", "description", "group", "momentary")
