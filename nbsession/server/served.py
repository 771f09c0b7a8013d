"""An app as it is served: under a name, with or without tools for a folder."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Protocol

from nbsession.server.fault import Refusal
from nbsession.tree import Component, component

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nbsession.session import Home, Session
    from nbsession.stores.base import SessionInfo, SessionStore

WORK_DIR = "work_dir"
"""The property by which a root component takes the folder itself."""


class App(Protocol):
    """What is served: an ``nbsession.App``."""

    root: Any
    model: Any
    store: SessionStore | None
    home: Home

    @property
    def opened(self) -> Mapping[str, Session]:
        """The sessions that are open here, by id."""

    def session(
        self,
        id: str | None = None,
        *,
        tools: Sequence[Any] = (),
        metadata: Mapping[str, Any] | None = None,
        **props: Any,
    ) -> Session:
        """Open a session."""

    def knows(self, id: str) -> bool:
        """Say whether a session of that id is open here or kept in the store."""

    def sessions(self) -> list[SessionInfo]:
        """List the sessions that the store keeps."""

    def like(self, root: Any, *, model: Any = None, store: SessionStore | None = None) -> Any:
        """Return an app with another root that is like this one otherwise."""


class Served:
    """One app under its name. Sessions with a folder of their own live in a twin of it.

    The twin has the folder's tools beside the root, in front of it, so that they are a part of the prefix that
    stays; a root that takes ``work_dir`` gets the folder instead, and puts the tools where it wants.
    """

    def __init__(self, name: str, app: App) -> None:
        self.name = name
        self.app = app
        self._twin: App | None = None

    @property
    def component(self) -> str:
        """The name of the root component."""
        root = self.app.root
        return str(root.name if isinstance(root, Component) else root.type.name)

    @property
    def takes_folder(self) -> bool:
        """Whether the root takes the folder itself."""
        root = self.app.root
        return isinstance(root, Component) and WORK_DIR in inspect.signature(root.function).parameters

    def check_props(self, props: Mapping[str, Any]) -> None:
        """Refuse properties that the root does not take: a tree that had them could not be rendered again without."""
        root = self.app.root
        taken = inspect.signature(root.function).parameters.values() if isinstance(root, Component) else ()
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken):
            return
        named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        known = {parameter.name for parameter in taken if parameter.kind in named}
        if unknown := sorted(props.keys() - known):
            raise Refusal(422, "invalid", f"{self.component} takes no property {unknown[0]!r}")

    @property
    def apps(self) -> list[App]:
        """The app, and its twin if there is one."""
        return [self.app] if self._twin is None else [self.app, self._twin]

    def open(self, id: str, work_dir: str | None, metadata: Mapping[str, Any] | None = None) -> Session:
        """Open a session, or make it."""
        if work_dir is None:
            return self.app.session(id, metadata=metadata)
        if self.takes_folder:
            return self.app.session(id, metadata=metadata, work_dir=work_dir)
        return self._with_folder().session(id, metadata=metadata, work_dir=work_dir)

    def _with_folder(self) -> App:
        if self._twin is None:
            self._twin = self.app.like(_beside(self.app.root), store=self.app.store)
            self._twin.home = self.app.home
        return self._twin


def _beside(root: Any) -> Component:
    """Return a component that shows a root with the tools of a folder in front of it."""
    from nbsession.workdir import WorkDir

    @component
    def WithFolder(work_dir: str, **props: Any) -> Any:
        return [WorkDir(work_dir), root(**props) if isinstance(root, Component) else root]

    return WithFolder
