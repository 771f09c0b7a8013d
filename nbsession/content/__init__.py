"""What is said: blocks of content, messages and entries, and how any value of a user's becomes one.

Immutable values, without a word about who sends them.
"""

from nbsession.content.blocks import (
    Block,
    Document,
    Image,
    Message,
    Role,
    ServerTool,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    ToolSpec,
    block_from_dict,
    new_id,
)
from nbsession.content.entry import Entry
from nbsession.content.message import Draft, digest_of, drafts_of
from nbsession.content.picture import IMAGE_TYPES
from nbsession.content.rich import Rich, bounded, media, result_content
from nbsession.content.table import Table, read_table
from nbsession.content.visible import in_a_line, visible

__all__ = [
    "IMAGE_TYPES",
    "Block",
    "Document",
    "Draft",
    "Entry",
    "Image",
    "Message",
    "Rich",
    "Role",
    "ServerTool",
    "Table",
    "Text",
    "Thinking",
    "ToolCall",
    "ToolResult",
    "ToolSpec",
    "block_from_dict",
    "bounded",
    "digest_of",
    "drafts_of",
    "in_a_line",
    "media",
    "new_id",
    "read_table",
    "result_content",
    "visible",
]
