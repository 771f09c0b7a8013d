"""Tools: functions that a model may call, what they take, and the running of one call.

Schemas and their faults come from the signature, the docstring and pydantic.
"""

from nbsession.tools.call import TASK, Outcome, needs_confirmation, run_tool
from nbsession.tools.context import ToolContext
from nbsession.tools.output import Output
from nbsession.tools.tool import Tool, tool

__all__ = [
    "TASK",
    "Outcome",
    "Output",
    "Tool",
    "ToolContext",
    "needs_confirmation",
    "run_tool",
    "tool",
]
