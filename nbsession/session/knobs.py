"""A session's knobs, for everybody: any thread, any loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from nbsession.errors import KnobError, RenderError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from nbsession.knobs import By, KnobSpec, Setting
    from nbsession.session.core import SessionCore

T = TypeVar("T")


class SessionKnobs:
    """The knobs of a session, for any thread. ``knobs[name]`` reads, ``knobs[name] = value`` sets."""

    __slots__ = ("_core", "_mount")

    def __init__(self, core: SessionCore, mount: Callable[[], object]) -> None:
        self._core = core
        self._mount = mount  # renders what waits, so that every knob is declared

    def _on_home(self, fn: Callable[[SessionCore], T]) -> T:
        def carried() -> T:
            failure = None
            try:
                self._mount()
            except (RenderError, KnobError) as error:
                # The knob that broke a component is also the way to repair it.
                failure = error
            try:
                return fn(self._core)
            except KnobError as error:
                raise failure or error from None

        return self._core.home.call(carried)

    def __getitem__(self, name: str) -> Any:
        return self._on_home(lambda core: core.knobs[name])

    def __setitem__(self, name: str, value: Any) -> None:
        self.set(name, value)

    def __contains__(self, name: object) -> bool:
        return self._on_home(lambda core: name in core.knobs)

    def __iter__(self) -> Iterator[str]:
        return iter(self.specs())

    def __len__(self) -> int:
        return len(self.specs())

    def specs(self) -> dict[str, KnobSpec]:
        """Return the specs of the knobs that are mounted, by name."""
        return self._on_home(lambda core: dict(core.knobs.specs()))

    def values(self) -> dict[str, Any]:
        """Return the present values, by name."""
        return self._on_home(lambda core: dict(core.knobs.values()))

    def set(self, name: str, value: Any, by: By = "program") -> None:
        """Set a knob; returns when it is validated. ``by`` is ``"program"``, ``"user"`` or ``"model"``.

        Raises ``KnobError`` for an unknown name or a value outside the spec.
        """
        self._on_home(lambda core: core.knobs.set(name, value, by=by))

    def set_many(self, values: Mapping[str, Any], by: By = "program") -> None:
        """Set several knobs, all of them or none."""
        self._on_home(lambda core: core.knobs.set_many(values, by=by))

    def reset(self, *names: str, by: By = "program") -> None:
        """Set knobs (all, where none is named) back to their defaults."""
        self._on_home(lambda core: core.knobs.reset(*names, by=by))

    @property
    def history(self) -> Sequence[Setting]:
        """Who set what, when: the latest settings, oldest first."""
        return self._on_home(lambda core: tuple(core.knobs.history))

    def __repr__(self) -> str:
        return f"<knobs {self.values()!r}>"

    if not TYPE_CHECKING:  # or a type checker would take every name

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(_in_brackets(name))

        def __setattr__(self, name: str, value: Any) -> None:
            if name not in self.__slots__:
                raise AttributeError(_in_brackets(name))
            object.__setattr__(self, name, value)


def _in_brackets(name: str) -> str:
    return f"no attribute {name!r}; a knob is read by knobs[{name!r}] and set by knobs[{name!r}] = value"
