"""The hooks that know a session: knobs, timeline, usage, life cycle, fetched data, and the state that is kept.

The plain ones (``use_state`` and its kin) are the tree's own.
"""

from nbsession.hooks.environment import Environment, SessionUsage, environment
from nbsession.hooks.fetched import DataCell, use_data
from nbsession.hooks.gates import Gate, Gates, GateState, holding
from nbsession.hooks.lifecycle import (
    CallbackCell,
    call_cell,
    call_hook,
    takes,
    use_after_compile,
    use_continuation,
    use_on_execution_end,
    use_on_execution_start,
    use_on_message,
    use_on_mount,
    use_on_tick_end,
    use_on_tick_start,
    use_on_unmount,
)
from nbsession.hooks.session import (
    GateCell,
    KnobCell,
    gates_in,
    use_gate,
    use_knob,
    use_knob_names,
    use_session,
    use_shown_entries,
    use_timeline,
    use_usage,
)
from nbsession.hooks.state import GONE, StateLog, check_hook, encode, hook_of, revive
from nbsession.hooks.watchers import Watchers

__all__ = [
    "GONE",
    "CallbackCell",
    "DataCell",
    "Environment",
    "Gate",
    "GateCell",
    "GateState",
    "Gates",
    "KnobCell",
    "SessionUsage",
    "StateLog",
    "Watchers",
    "call_cell",
    "call_hook",
    "check_hook",
    "encode",
    "environment",
    "gates_in",
    "holding",
    "hook_of",
    "revive",
    "takes",
    "use_after_compile",
    "use_continuation",
    "use_data",
    "use_gate",
    "use_knob",
    "use_knob_names",
    "use_on_execution_end",
    "use_on_execution_start",
    "use_on_message",
    "use_on_mount",
    "use_on_tick_end",
    "use_on_tick_start",
    "use_on_unmount",
    "use_session",
    "use_shown_entries",
    "use_timeline",
    "use_usage",
]
