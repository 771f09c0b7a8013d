"""Tools: functions that a model may call, what they take, and the running of one call.

Schemas and their faults come from the signature, the docstring and pydantic.
"""

from nbsession.tools.call import TASK, Outcome, needs_confirmation, run_tool
from nbsession.tools.context import ToolContext
from nbsession.tools.output import check_output, read_output
from nbsession.tools.tool import Tool, tool

__all__ = [
    "TASK",
    "Outcome",
    "Tool",
    "ToolContext",
    "check_output",
    "needs_confirmation",
    "read_output",
    "run_tool",
    "tool",
]
