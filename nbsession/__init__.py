"""See and shape what a language model sees, in a notebook.

A model's context is written as a component tree in plain Python and bound to a
live session; ``%load_ext nbsession`` brings ``%%session`` cells to a notebook.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbsession.app import App, run
from nbsession.components import (
    H1,
    H2,
    H3,
    XML,
    Assistant,
    Bold,
    BulletList,
    Code,
    CodeExecution,
    Collapsed,
    Cut,
    Document,
    FileSearch,
    First,
    Fit,
    Image,
    Italic,
    Json,
    Knobs,
    Link,
    Markdown,
    Message,
    Model,
    NumberedList,
    Paragraph,
    Priority,
    Section,
    System,
    Table,
    TaskList,
    Timeline,
    ToolSearch,
    User,
    WebFetch,
    WebSearch,
    Whole,
)
from nbsession.content import Entry
from nbsession.context import CompiledContext, ContextDiff
from nbsession.errors import (
    BudgetError,
    CompileError,
    HookError,
    KnobError,
    MissingKeyError,
    ModelError,
    NbsessionError,
    RecordingMissError,
    RenderError,
    ScoreError,
    SessionBusyError,
    SessionClosedError,
    SessionError,
    SessionNotFoundError,
    StoreError,
    ToolError,
)
from nbsession.hooks import (
    use_after_compile,
    use_continuation,
    use_data,
    use_gate,
    use_knob,
    use_on_execution_end,
    use_on_execution_start,
    use_on_message,
    use_on_mount,
    use_on_tick_end,
    use_on_tick_start,
    use_on_unmount,
    use_session,
    use_timeline,
    use_usage,
)
from nbsession.session import Continue, Execution, Finding, Preview, Result, Session, Stop, StopReason
from nbsession.timeline import Tick
from nbsession.tools import Pause, Question, Tool, ToolContext, allow, ask, deny, tool
from nbsession.tree import (
    Context,
    Element,
    ErrorBoundary,
    component,
    create_context,
    use_callback,
    use_context,
    use_effect,
    use_memo,
    use_reducer,
    use_ref,
    use_state,
)

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__version__ = "0.1.0"

__all__ = [
    "H1",
    "H2",
    "H3",
    "XML",
    "App",
    "Assistant",
    "Bold",
    "BudgetError",
    "BulletList",
    "Code",
    "CodeExecution",
    "Collapsed",
    "CompileError",
    "CompiledContext",
    "Context",
    "ContextDiff",
    "Continue",
    "Cut",
    "Document",
    "Element",
    "Entry",
    "ErrorBoundary",
    "Execution",
    "FileSearch",
    "Finding",
    "First",
    "Fit",
    "HookError",
    "Image",
    "Italic",
    "Json",
    "KnobError",
    "Knobs",
    "Link",
    "Markdown",
    "Message",
    "MissingKeyError",
    "Model",
    "ModelError",
    "NbsessionError",
    "NumberedList",
    "Paragraph",
    "Pause",
    "Preview",
    "Priority",
    "Question",
    "RecordingMissError",
    "RenderError",
    "Result",
    "ScoreError",
    "Section",
    "Session",
    "SessionBusyError",
    "SessionClosedError",
    "SessionError",
    "SessionNotFoundError",
    "Stop",
    "StopReason",
    "StoreError",
    "System",
    "Table",
    "TaskList",
    "Tick",
    "Timeline",
    "Tool",
    "ToolContext",
    "ToolError",
    "ToolSearch",
    "User",
    "WebFetch",
    "WebSearch",
    "Whole",
    "allow",
    "ask",
    "component",
    "create_context",
    "deny",
    "run",
    "tool",
    "use_after_compile",
    "use_callback",
    "use_context",
    "use_continuation",
    "use_data",
    "use_effect",
    "use_gate",
    "use_knob",
    "use_memo",
    "use_on_execution_end",
    "use_on_execution_start",
    "use_on_message",
    "use_on_mount",
    "use_on_tick_end",
    "use_on_tick_start",
    "use_on_unmount",
    "use_reducer",
    "use_ref",
    "use_session",
    "use_state",
    "use_timeline",
    "use_usage",
]


def load_ipython_extension(ip: InteractiveShell) -> None:
    """Load the notebook extension: ``%load_ext nbsession``."""
    from nbsession.notebook.extension import load

    load(ip)


def unload_ipython_extension(ip: InteractiveShell) -> None:
    """Unload it: ``%unload_ext nbsession``."""
    from nbsession.notebook.extension import unload

    unload(ip)
