"""Tools: functions that a model may call, what they take, and the running of one call.

Schemas and their faults come from the signature, the docstring and pydantic.
"""

from nbsession.tools.call import TASK, Outcome, needs_confirmation, run_tool
from nbsession.tools.context import ToolContext
from nbsession.tools.output import Output
from nbsession.tools.pause import Pause, checked_answer
from nbsession.tools.permission import Decision, Rule, Verdict, allow, ask, deny, rules_given, verdict_on
from nbsession.tools.question import Question, confirmation_schema
from nbsession.tools.schema_faults import faults_against
from nbsession.tools.tool import Tool, tool

__all__ = [
    "TASK",
    "Decision",
    "Outcome",
    "Output",
    "Pause",
    "Question",
    "Rule",
    "Tool",
    "ToolContext",
    "Verdict",
    "allow",
    "ask",
    "checked_answer",
    "confirmation_schema",
    "deny",
    "faults_against",
    "needs_confirmation",
    "rules_given",
    "run_tool",
    "tool",
    "verdict_on",
]
