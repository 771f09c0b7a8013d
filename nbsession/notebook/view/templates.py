"""The templates, styles and scripts of all views, and how figures are written in them.

Every value is escaped and bounded, and hidden characters in it are spelled out, on its way
into a template; only ``Markup`` that this package made goes in as it is.
"""

from __future__ import annotations

import datetime as dt
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from nbsession.content import mathematics, visible
from nbsession.notebook.view.bounds import bounded
from nbsession.notebook.view.look import look

if TYPE_CHECKING:
    from collections.abc import Callable

    from jinja2 import Environment
    from markupsafe import Markup

STATIC = tuple(
    Path(__file__).parents[1] / family / "static" for family in ("view", "panels", "sweep", "experiment")
)
"""The folders of templates, styles and scripts; a name stands in one of them only."""


def source(name: str) -> str:
    """Return the text of a file of ``STATIC``."""
    return next(folder / name for folder in STATIC if (folder / name).is_file()).read_text("utf-8")


@cache
def macro(template: str, name: str) -> Callable[..., str]:
    """Return a macro of ``<template>.html.j2``, to be called for a fragment."""
    found: Callable[..., str] = getattr(_environment().get_template(f"{template}.html.j2").module, name)
    return found


@cache
def style(name: str = "view") -> Markup:
    """Return ``<name>.css`` without comments and spare white space, as a ``<style>`` element.

    It goes into every static output, so that each reads well alone: bytes count.
    """
    from markupsafe import Markup

    css = re.sub(r"/\*.*?\*/", "", source(f"{name}.css"), flags=re.DOTALL)
    css = re.sub(r"\s+", " ", css)
    css = re.sub(r"\s*([{};,>~])\s*|(:) ", r"\1\2", css).replace(";}", "}")
    return Markup("<style>") + Markup(css.strip()) + Markup("</style>")  # noqa: S704  # our own file


def whole(value: str) -> Markup:
    """Write a text in full, however long: what a reader is to edit must not lose its end."""
    from markupsafe import escape

    return escape(visible(value))


def tokens(count: int, *, about: bool = True) -> str:
    """Write a token count: ``"≈1,234 tokens"``, without the sign where it was reported."""
    return f"{'≈' if about else ''}{count:,} token{'' if count == 1 else 's'}"


def signed(count: int) -> str:
    """Write a change: ``"+12"``, ``"−3"``, ``"±0"``."""
    return f"+{count:,}" if count > 0 else f"−{-count:,}" if count else "±0"


def seconds(value: float) -> str:
    """Write a time: ``"12 ms"``, ``"3.4 s"``, ``"2 min 5 s"``."""
    if value < 0.9995:
        return f"{value * 1000:.0f} ms"
    if value < 99.95:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s"


def dollars(value: float | None) -> str:
    """Write a cost in US dollars, ``"–"`` where it is not known."""
    if value is None:
        return "–"
    return f"${value:.2f}" if value >= 1 or value == 0 else f"${value:.2g}" if value >= 0.0001 else "<$0.0001"


def moment(at: str) -> str:
    """Write a time of ISO 8601 to the minute: ``"2026-11-21 09:45 UTC"``; what is none stays as it is."""
    try:
        return dt.datetime.fromisoformat(at).astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    except ValueError:
        return at


def minute(at: float) -> str:
    """Write a time, in seconds since the epoch, as a date and minute of this machine's zone: what is saved is read later."""
    return dt.datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M")


def root() -> str:
    """Return the classes of the root of every page: nothing is typeset but mathematics in answers; the theme."""
    return mathematics.IGNORED if look.theme == "auto" else f"{mathematics.IGNORED} {look.theme}"


@cache
def _environment() -> Environment:
    import jinja2

    class Tight(jinja2.FileSystemLoader):
        """Drops line breaks and indentation of the templates themselves; a space to keep is ``{{ " " }}``."""

        def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
            source, filename, current = super().get_source(environment, template)
            return re.sub(r"\n[ \t]*", "", source), filename, current

    environment = jinja2.Environment(
        loader=Tight(STATIC),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: visible(bounded(value)) if type(value) is str else value,
    )
    environment.globals["root"] = root
    environment.filters.update(whole=whole, minute=minute)
    environment.filters.update(tokens=tokens, signed=signed, seconds=seconds, dollars=dollars, moment=moment)
    return environment
