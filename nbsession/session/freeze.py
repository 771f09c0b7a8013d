"""Contexts worked out beforehand, for every combination of knob values: what works without a kernel."""

from __future__ import annotations

import itertools
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbsession.content import visible
from nbsession.errors import KnobError, NbsessionError, SessionError, did_you_mean
from nbsession.export import Shelf, ending_of, panel_module, panel_page, save, without_room
from nbsession.session.preview import compiled_under, last_sent
from nbsession.tree import unchanged

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nbsession.context import CompiledContext
    from nbsession.knobs import KnobSpec
    from nbsession.session.core import SessionCore

MOST_COMBINATIONS = 1_000
MOST_BYTES = 2_000_000
"""Of texts, each counted once, and of what says which combination has which."""

ENDINGS = (".html", ".mjs")


@dataclass(frozen=True, slots=True)
class FrozenKnob:
    """A knob with the values it may be moved to; ``sent`` is the value last sent."""

    name: str
    kind: str
    values: tuple[Any, ...]
    labels: tuple[str, ...]
    sent: Any
    description: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class Combination:
    """One combination of values, and its context.

    ``parts`` are the parts of the context, as runs (first and last) of their places in
    ``Frozen.parts``; ``kept`` are the estimated tokens at its front that are as last sent, and
    ``broken_by`` names the part that ends them. ``withheld`` is what a ``Fit`` has no room for, each as
    ``path``, ``priority`` and ``tokens``.
    """

    values: tuple[Any, ...]
    tokens: int
    parts: tuple[tuple[int, int], ...]
    kept: int = 0
    broken_by: str = ""
    withheld: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Frozen:
    """The contexts under each combination of knob values: plain data, made by ``session.freeze``.

    ``combinations`` stand in the order of the knobs' values, the last knob's first; ``current`` is
    the place of the one that the session stands at, and ``sent`` the context under the values as
    last sent. ``parts`` name their texts by digest, under which ``texts`` has each of them once. It
    displays itself in a notebook as a panel that works in a saved one, without a kernel.
    """

    session: str
    knobs: tuple[FrozenKnob, ...]
    combinations: tuple[Combination, ...]
    current: int
    sent: Combination
    parts: tuple[Mapping[str, Any], ...]
    texts: Mapping[str, str]

    def at(self, **values: Any) -> Combination:
        """Return the combination of these values; a knob that is not named stands as it is now."""
        unknown = next((name for name in values if name not in [knob.name for knob in self.knobs]), None)
        if unknown is not None:
            known = [knob.name for knob in self.knobs]
            raise KnobError(
                f"no frozen knob is named {unknown!r}{did_you_mean(unknown, known)}", knob=unknown
            )
        now = self.combinations[self.current].values
        wanted = tuple(values.get(knob.name, value) for knob, value in zip(self.knobs, now, strict=True))
        for combination in self.combinations:
            if all(map(unchanged, combination.values, wanted)):
                return combination
        said = ", ".join(f"{name}={value!r}" for name, value in values.items())
        raise KnobError(
            f"{said} was not frozen; freeze it: session.freeze(…), with that value among the others"
        )

    def text(self, combination: Combination) -> str:
        """Return a combination's context as it is sent, part by part, and what there is no room for."""
        places = [at for first, last in combination.parts for at in range(first, last + 1)]
        sent = [
            f"── {part['title']} · {part['path']} ≈{part['tokens']}\n{self.texts[part['text']]}"
            for part in map(self.parts.__getitem__, places)
        ]
        withheld = [
            f"── withheld for want of room: {item['path']} (priority {item['priority']:g}, ≈{item['tokens']:,} tokens)"
            for item in combination.withheld
        ]
        return "\n".join([*sent, *withheld])

    def save(self, path: str | os.PathLike[str], force: bool = False) -> None:
        """Write the panel to a file: a page (``.html``), or an ES module for MyST's ``anywidget`` directive (``.mjs``).

        Either stands alone: it needs no kernel, no network and no other file. Raises ``SessionError`` for
        another ending, a folder that is not there, or, without ``force``, a file that is.
        """
        made = {".html": panel_page, ".mjs": panel_module}
        ending = ending_of(path, ENDINGS)
        save({Path(path).expanduser(): made[ending](self.to_dict())}, force=force)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        here = self.combinations[self.current]
        values = ", ".join(
            f"{knob.name} = {value!r}" for knob, value in zip(self.knobs, here.values, strict=True)
        )
        return f"{values}: ≈{here.tokens:,} tokens\n{self.text(here)}"

    def __repr__(self) -> str:
        names = " × ".join(f"{len(knob.values)} {knob.name}" for knob in self.knobs)
        return f"<Frozen {self.session!r}: {names}, {len(self.texts):,} texts>"


def frozen_of(core: SessionCore, asked: Mapping[str, Iterable[Any]]) -> Frozen:
    """Compile the tree under every combination, over copies; see ``Session.freeze``."""
    values = _values(core.knobs.specs(), asked)
    count = math.prod(map(len, values.values()))
    if count > MOST_COMBINATIONS:
        sizes = " × ".join(f"{name} {len(choices)}" for name, choices in values.items())
        raise SessionError(
            f"the panel would have {count:,} combinations ({sizes}), and at most {MOST_COMBINATIONS:,} are possible; "
            f"{_remedy(values)}"
        )
    shelf = Shelf()
    present, before = core.knobs.values(), last_sent(core)
    sent = compiled_under(core, before)
    combinations: list[Combination] = []
    for chosen in itertools.product(*values.values()):
        under = dict(zip(values, chosen, strict=True))
        try:
            context = compiled_under(core, {**present, **under})
        except NbsessionError as error:
            error.add_note(f"under {', '.join(f'{name}={value!r}' for name, value in under.items())}")
            raise
        combinations.append(_combination(shelf, chosen, context, sent))
        if shelf.size > MOST_BYTES:
            raise SessionError(
                f"the panel would have over {MOST_BYTES:,} bytes: it has {shelf.size:,} after {len(combinations):,} of "
                f"{count:,} combinations; {_remedy(values)}"
            )
    return Frozen(
        session=core.session.id,
        knobs=tuple(
            _knob(core.knobs.specs()[name], choices, before[name]) for name, choices in values.items()
        ),
        combinations=tuple(combinations),
        current=_nearest(values, present),
        sent=_combination(shelf, tuple(before[name] for name in values), sent, sent),
        parts=tuple(shelf.parts),
        texts=shelf.texts,
    )


def _values(specs: Mapping[str, KnobSpec], asked: Mapping[str, Iterable[Any]]) -> dict[str, tuple[Any, ...]]:
    """Return the values of each knob as it keeps them; without any, those of all knobs that can be counted."""
    if not asked:
        every = {name: choices for name, spec in specs.items() if (choices := _countable(spec))}
        if not every:
            raise SessionError(
                "no knob here has values that can be counted; name some: session.freeze(depth=[1, 2, 3])"
            )
        return every
    values: dict[str, tuple[Any, ...]] = {}
    for name, offered in asked.items():
        if name not in specs:
            raise KnobError(f"no knob is named {name!r}{did_you_mean(name, specs)}", knob=name)
        try:
            given = (
                () if isinstance(offered, str) else tuple(itertools.islice(offered, MOST_COMBINATIONS + 1))
            )
        except TypeError:
            given = ()
        if not given:
            raise KnobError(f"give the values of knob {name!r} as a list, got {offered!r}", knob=name)
        kept: list[Any] = []
        for value in map(specs[name].check, given):
            if _place(value, kept) is not None:
                raise KnobError(f"knob {name!r} has the value {value!r} twice; take one away", knob=name)
            kept.append(value)
        values[name] = tuple(kept)
    return values


def _countable(spec: KnobSpec) -> tuple[Any, ...]:
    if spec.kind == "bool":
        return (False, True)
    if spec.kind == "choice":
        return spec.options
    if spec.kind == "int" and spec.min is not None and spec.max is not None:
        low, high, step = int(spec.min), int(spec.max), int(spec.step or 1)
        return tuple(range(low, min(high, low + step * MOST_COMBINATIONS) + 1, step))
    return ()


def _remedy(values: Mapping[str, tuple[Any, ...]]) -> str:
    most = max(values, key=lambda name: len(values[name]))
    return (
        f"leave out {most} ({len(values[most]):,} values), or give fewer of them: session.freeze({most}=[…])"
    )


def _combination(
    shelf: Shelf, values: tuple[Any, ...], context: CompiledContext, sent: CompiledContext
) -> Combination:
    diff = context.diff(sent)
    end = diff.prefix_broken_by
    named = "" if end is None else visible(f"{end.title or end.role or end.kind} · {end.path}")
    withheld = without_room(context)
    shelf.size += 100 * len(withheld)
    return Combination(values, context.tokens, shelf.place(context), diff.prefix_tokens_kept, named, withheld)


def _knob(spec: KnobSpec, choices: tuple[Any, ...], sent: Any) -> FrozenKnob:
    words = dict(zip(map(repr, spec.options), spec.labels, strict=True))
    labels = tuple(visible(words.get(repr(value), _written(value))) for value in choices)
    return FrozenKnob(
        visible(spec.name), spec.kind, choices, labels, sent, visible(spec.description), visible(spec.group)
    )


def _written(value: Any) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def _nearest(values: Mapping[str, tuple[Any, ...]], present: Mapping[str, Any]) -> int:
    """Return the place of the combination that has as many of the present values as there are."""
    at = 0
    for name, choices in values.items():
        at = at * len(choices) + (_place(present[name], choices) or 0)
    return at


def _place(value: Any, choices: Sequence[Any]) -> int | None:
    """Return where a value stands among others; ``True`` is not 1."""
    return next((at for at, choice in enumerate(choices) if unchanged(choice, value)), None)
