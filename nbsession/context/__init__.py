"""What a tree compiles to: the compiled context and its parts, what of it fits a budget, edits of it, and how two differ.

It reads fibers and entries, and of the outside only how the user's models have counted
tokens (``usage``); it calls no model and writes nothing.
"""

from nbsession.context.box import Box, Keep, is_message, unboxed
from nbsession.context.chunk import Chunk, FlowItem, entry_tokens
from nbsession.context.compiled import NOTHING_SENT, CompiledContext, context_of
from nbsession.context.compiler import Compiled
from nbsession.context.diff import ContextDiff
from nbsession.context.edits import NO_EDITS, Edit, Edits, edited, place_of
from nbsession.context.fit import UNKNOWN, Room
from nbsession.context.fragment import (
    LEAVES,
    MEDIA,
    Foldable,
    Fragment,
    ModelChoice,
    Name,
    ToolUse,
    blocks_of,
    fragment_of,
    gather,
    join_texts,
    leaf,
    mode_of,
    texts_only,
    tools_given,
)
from nbsession.context.part import Kind, Part, entry_part, kinds_of, sendable, tokens_of
from nbsession.context.sent import Sent
from nbsession.context.target import Capabilities, Target
from nbsession.context.thinking import origin_of
from nbsession.context.withheld import BUDGET, LEFT_OUT, Withheld

__all__ = [
    "BUDGET",
    "LEAVES",
    "LEFT_OUT",
    "MEDIA",
    "NOTHING_SENT",
    "NO_EDITS",
    "UNKNOWN",
    "Box",
    "Capabilities",
    "Chunk",
    "Compiled",
    "CompiledContext",
    "ContextDiff",
    "Edit",
    "Edits",
    "FlowItem",
    "Foldable",
    "Fragment",
    "Keep",
    "Kind",
    "ModelChoice",
    "Name",
    "Part",
    "Room",
    "Sent",
    "Target",
    "ToolUse",
    "Withheld",
    "blocks_of",
    "context_of",
    "edited",
    "entry_part",
    "entry_tokens",
    "fragment_of",
    "gather",
    "is_message",
    "join_texts",
    "kinds_of",
    "leaf",
    "mode_of",
    "origin_of",
    "place_of",
    "sendable",
    "texts_only",
    "tokens_of",
    "tools_given",
    "unboxed",
]
