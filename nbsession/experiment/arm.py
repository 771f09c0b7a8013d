"""An arm: one way of asking, that is a combination of knob values and perhaps a model."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nbsession.errors import KnobError, ModelError, SessionError
from nbsession.knobs import equal
from nbsession.models.resolve import resolve

DEFAULT = "default"
"""The name of an arm that sets nothing."""


@dataclass(frozen=True, slots=True)
class Arm:
    """Knob values and a model under which every case is asked; ``model`` is ``None`` for the app's own.

    ``label`` is what the model is called here: its name, or one that was given to it.
    """

    name: str
    knobs: Mapping[str, Any] = field(default_factory=dict)
    model: Any = None
    label: str = ""


def arms_of(knobs: Any = None, models: Any = ()) -> tuple[Arm, ...]:
    """Combine knob values and models into arms, each with a short name of its own.

    ``knobs`` is a mapping of names to lists of values, all combinations of which are tried, or a list of
    mappings of names to values; these may be named, as in ``{"terse": {"tone": "terse"}}``. An arm is named by its value where
    only one thing varies, else as ``"tone=terse, depth=2"``. Raises ``KnobError`` and ``SessionError`` for
    what cannot be read so, and ``ModelError`` for a model that is not known.
    """
    combinations = _combinations(knobs)
    labelled = _models(models)
    varied = _varied([values for _, values in combinations])
    arms = [
        Arm(_name(given, values, varied, label if len(labelled) > 1 else ""), dict(values), model, label)
        for (given, values), (label, model) in itertools.product(combinations, labelled)
    ]
    names: set[str] = set()
    for arm in arms:
        if arm.name in names:
            raise SessionError(
                f"two arms are called {arm.name!r}: they are the same, or need names, as in "
                'knobs={"terse": {…}, "long": {…}}'
            )
        names.add(arm.name)
    return tuple(arms)


def _combinations(knobs: Any) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the combinations of values, each with the name that it was given, or ``""``."""
    if knobs is None or (isinstance(knobs, (Mapping, Sequence)) and not knobs):
        return [("", {})]
    if isinstance(knobs, Mapping):
        if all(isinstance(values, Mapping) for values in knobs.values()):
            return [(str(name), values) for name, values in knobs.items()]
        _check_grid(knobs)
        return [("", dict(zip(knobs, values, strict=True))) for values in itertools.product(*knobs.values())]
    if isinstance(knobs, str) or not isinstance(knobs, Sequence):
        raise SessionError(
            f"knobs= takes lists of values by knob, or a list of mappings, got {type(knobs).__name__}: {knobs!r:.80}"
        )
    found: list[tuple[str, Mapping[str, Any]]] = []
    for number, each in enumerate(knobs):
        if not isinstance(each, Mapping):
            raise SessionError(f"arm {number} of knobs= is no mapping of knobs to values: {each!r:.80}")
        if each and all(isinstance(values, Mapping) for values in each.values()):
            found += [(str(name), values) for name, values in each.items()]
        else:
            found.append(("", each))
    return found


def _check_grid(knobs: Mapping[str, Any]) -> None:
    for name, values in knobs.items():
        if isinstance(values, (str, Mapping)) or not isinstance(values, Sequence):
            raise KnobError(f"give the values of knob {name!r} as a list, got {values!r}", knob=name)
        if not values:
            raise KnobError(f"knob {name!r} has no values to try; give at least one", knob=name)
        twice = [v for n, v in enumerate(values) if any(equal(v, other) for other in values[:n])]
        if twice:
            raise KnobError(
                f"knob {name!r} has the value {twice[0]!r} twice; take one away, or repeat= each trial",
                knob=name,
            )


def _models(models: Any) -> list[tuple[str, Any]]:
    """Return the models by what they are called here; without any, the app's own under no name."""
    if isinstance(models, Mapping):
        return [(str(label), resolve(model)) for label, model in models.items()] or [("", None)]
    if isinstance(models, str) or not isinstance(models, Sequence):
        raise ModelError(f"models= takes a list of names or adapters, got {models!r:.80}; write models=[…]")
    resolved = [resolve(model) for model in models]
    names = [model.name for model in resolved]
    if twice := [name for n, name in enumerate(names) if name in names[:n]]:
        raise ModelError(
            f"models= has {twice[0]!r} twice; call them by names of your own: models={{'a': …, 'b': …}}"
        )
    return list(zip(names, resolved, strict=True)) or [("", None)]


def _varied(combinations: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name the knobs that have not the same value everywhere, in the order in which they come."""
    names = dict.fromkeys(name for values in combinations for name in values)
    return [
        name
        for name in names
        if any(
            name not in values or not equal(values[name], combinations[0].get(name))
            for values in combinations
        )
    ]


def _name(given: str, values: Mapping[str, Any], varied: Sequence[str], label: str) -> str:
    told = [name for name in (varied or values) if name in values]
    if given:
        words = [given]
    elif len(varied or values) == 1:
        words = [_word(values[name]) for name in told]
    else:
        words = [f"{name}={_word(values[name])}" for name in told]
    return ", ".join([*words, *([label] if label else [])]) or DEFAULT


def _word(value: Any) -> str:
    word = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    first = next(iter(word.splitlines()), "")
    return first if len(first) <= 40 and first == word else first[:39] + "…"
