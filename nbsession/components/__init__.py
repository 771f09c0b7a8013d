"""The components: what a context is written with."""

from nbsession.components.collapsed import Collapsed
from nbsession.components.fit import Cut, First, Fit, Priority, Whole
from nbsession.components.formatting import (
    H1,
    H2,
    H3,
    Bold,
    BulletList,
    Code,
    Italic,
    Json,
    Link,
    NumberedList,
    Paragraph,
    Table,
    TaskList,
)
from nbsession.components.knobs import Knobs
from nbsession.components.media import Document, Image
from nbsession.components.message import Assistant, Message, User
from nbsession.components.mode import XML, Markdown
from nbsession.components.model import Model
from nbsession.components.section import Section
from nbsession.components.server_tools import CodeExecution, FileSearch, ToolSearch, WebFetch, WebSearch
from nbsession.components.system import System
from nbsession.components.timeline import Timeline

__all__ = [
    "H1",
    "H2",
    "H3",
    "XML",
    "Assistant",
    "Bold",
    "BulletList",
    "Code",
    "CodeExecution",
    "Collapsed",
    "Cut",
    "Document",
    "FileSearch",
    "First",
    "Fit",
    "Image",
    "Italic",
    "Json",
    "Knobs",
    "Link",
    "Markdown",
    "Message",
    "Model",
    "NumberedList",
    "Paragraph",
    "Priority",
    "Section",
    "System",
    "Table",
    "TaskList",
    "Timeline",
    "ToolSearch",
    "User",
    "WebFetch",
    "WebSearch",
    "Whole",
]
