"""A reconciler in plain Python: components, hooks, fibers and a root to mount them.

    from nbsession.tree import Root, component, use_state

    @component
    def Counter(step=1):
        count, set_count = use_state(0)
        return f"count: {count}"

    root = Root(Counter(step=2))
    root.flush()
    root.fiber.children  # what is mounted, to be walked

The life of a component: its element is matched with the fiber in the same slot
or of the same key; the body runs and its hooks find their cells; what it
returns is matched in turn; once nothing is dirty, effects run, children first.
"""

from nbsession.tree.boundary import ErrorBoundary
from nbsession.tree.context import Context, create_context, use_context
from nbsession.tree.element import Component, Element, Host, Node, component
from nbsession.tree.equality import unchanged
from nbsession.tree.fiber import Cell, Fiber
from nbsession.tree.hooks import (
    Ref,
    State,
    use_callback,
    use_cell,
    use_effect,
    use_memo,
    use_reducer,
    use_ref,
    use_state,
)
from nbsession.tree.names import hook_names
from nbsession.tree.node import UNPACK
from nbsession.tree.rendering import current
from nbsession.tree.root import GONE, Root
from nbsession.tree.source import Source, source_of
from nbsession.tree.trace import Trace, acting, actor

__all__ = [
    "GONE",
    "UNPACK",
    "Cell",
    "Component",
    "Context",
    "Element",
    "ErrorBoundary",
    "Fiber",
    "Host",
    "Node",
    "Ref",
    "Root",
    "Source",
    "State",
    "Trace",
    "acting",
    "actor",
    "component",
    "create_context",
    "current",
    "hook_names",
    "source_of",
    "unchanged",
    "use_callback",
    "use_cell",
    "use_context",
    "use_effect",
    "use_memo",
    "use_reducer",
    "use_ref",
    "use_state",
]
