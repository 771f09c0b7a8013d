"""Pages that stand alone: one file with its style, its script and its data, that asks nobody for anything.

All that was said is data: JSON in which no tag can end or begin. The script makes text of it, never HTML, but of
answers, which are sanitised HTML already: Markdown, as in a notebook.
A page's policy lets in its own style and script by their hashes, and no request at all.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbsession.content import markdown, mathematics, visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jinja2 import Environment
    from markupsafe import Markup

_ALIGNED = re.compile(r' style="text-align:(left|center|right)"')

STATIC = Path(__file__).parent / "static"


def source(*names: str) -> str:
    """Return the text of files of ``static``, one after the other."""
    return "\n".join((STATIC / name).read_text("utf-8").strip() for name in names)


SHEETS = ("export.css",)


@cache
def style(*names: str) -> str:
    """Return style sheets as one, without comments and spare white space."""
    css = re.sub(r"\s+", " ", re.sub(r"/\*.*?\*/", "", source(*(names or SHEETS)), flags=re.DOTALL))
    return re.sub(r"\s*([{};,>])\s*", r"\1", css).replace(";}", "}").strip()


def embedded(data: Any) -> str:
    """Return data as JSON that may stand in HTML and in a script: no tag, entity or line of its own begins in it."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    for sign in ("<", ">", "&", "\u2028", "\u2029"):
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def fragment(template: str, script: str, data: Any, sheets: Sequence[str] = SHEETS, **values: Any) -> Markup:
    """Return an element that reads as text, and becomes what ``script`` makes of ``data`` where scripts run."""
    return rendered(
        template, style=sheet(*sheets), script=_ours(script), data=_ours(embedded(data)), **values
    )


def document(title: str, body: Markup, script: str, sheets: Sequence[str] = SHEETS) -> str:
    """Return a whole page around a fragment whose script is ``script``, and whose style ``sheets`` are."""
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style(*sheets))}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return _environment().get_template("page.html.j2").render(title=title, body=body, policy=policy)


def rendered(template: str, **values: Any) -> Markup:
    """Return what a template makes of values, each of them escaped."""
    from markupsafe import Markup

    made = _environment().get_template(template).render(values, ignored=mathematics.IGNORED)
    return Markup(made)  # noqa: S704  # auto-escaped


def prose(text: str) -> str:
    """Return Markdown as sanitised HTML, as a notebook shows it; without styles of its own, which a page forbids."""
    return _ALIGNED.sub(r' class="\1"', markdown.render(text))


def sheet(*names: str) -> Markup:
    """Return the style sheets as an element."""
    return rendered("sheet.html.j2", style=_ours(style(*names)))


def _ours(text: str) -> Markup:
    from markupsafe import Markup

    return Markup(text)  # noqa: S704  # a file of this package, or escaped by ``embedded``


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def _environment() -> Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(STATIC),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    environment.filters["whole"] = _whole
    environment.filters["prose"] = lambda text: _ours(prose(text).replace("\n", "&#10;"))
    return environment


def _whole(text: Any) -> Markup:
    """Escape a text and write its line breaks as entities: in Markdown, a blank line would end the HTML around it."""
    from markupsafe import escape

    return _ours(str(escape(visible(str(text)))).replace("\n", "&#10;"))
