"""An output says so when what its prompt used has changed since."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from nbsession.notebook.stale import MOST_OUTPUTS, MOST_VALUES, Stale, digest
from tests.notebook.kernels import Kernel, running_kernel
from tests.notebook.test_magics import SETUP, fine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


class Thing:
    def __init__(self) -> None:
        self.rows = [1, 2]


def frame() -> pd.DataFrame:
    return pd.DataFrame({"town": ["Basel", "Bern"], "price": [5.0, 12.5]})


CHANGES: list[tuple[Callable[[], Any], Callable[[Any], Any]]] = [
    (lambda: "a", lambda it: it + "b"),
    (lambda: 1, lambda it: it + 1),
    (lambda: [1, [2]], lambda it: it[1].append(3)),
    (lambda: {"a": {"b": 1}}, lambda it: it["a"].update(b=2)),
    (frame, lambda it: it.__setitem__("price", [5.0, 13.0])),
    (frame, lambda it: it.__setattr__("columns", ["city", "price"])),
    (lambda: frame()["town"], lambda it: it.__setitem__(0, "Biel")),
    (lambda: np.zeros((3, 3)), lambda it: it.__setitem__((2, 2), 1)),
    (Thing, lambda it: it.rows.append(3)),
]


@pytest.mark.parametrize(("make", "change"), CHANGES)
def test_a_change_within_a_value_changes_its_digest(
    make: Callable[[], Any], change: Callable[[Any], Any]
) -> None:
    value = make()
    before = digest(value)
    assert digest(value) == before
    changed = change(value)
    assert digest(value if changed is None else changed) != before


@pytest.mark.parametrize("make", [lambda: "a", lambda: [1, {"a": "b"}], frame, lambda: np.arange(9)])
def test_the_same_value_made_again_has_the_same_digest(make: Callable[[], Any]) -> None:
    assert digest(make()) == digest(make())


class Hostile:
    @property
    def shape(self) -> tuple[int, ...]:
        raise RuntimeError


def test_a_digest_is_bounded_and_survives_what_cannot_be_looked_at() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert len(digest([list(range(10)) for _ in range(100_000)])) < 4 * MOST_VALUES
    assert len(digest(endless)) < 4 * MOST_VALUES
    hostile = Hostile()
    assert digest(hostile) == digest(hostile)
    odd = pd.DataFrame({"a": [[1], {}]})
    assert digest(odd) == digest(odd)


class Page:
    def __init__(self) -> None:
        self.updates: list[Mapping[str, str]] = []

    def update(self, bundle: Mapping[str, str], *, raw: bool) -> None:
        assert raw
        self.updates.append(bundle)


STATIC = {"text/html": "<p>Yes.</p>", "text/markdown": "Yes.", "text/plain": "Yes."}


def test_each_form_of_an_output_names_what_has_changed_and_no_longer_when_it_is_as_before() -> None:
    names: dict[str, Any] = {"df": [1], "n": 2, "other": 3}
    stale, page = Stale(names), Page()
    stale.watch("cell", {name: digest(names[name]) for name in ("df", "n")}, page, STATIC)
    names["other"] = 4
    stale.check()
    assert page.updates == []
    names["df"] = [1, 2]
    stale.check()
    stale.check()
    (update,) = page.updates
    assert "<p>Yes.</p>" in update["text/html"]
    assert "df has changed since" in update["text/html"]
    assert update["text/markdown"] == "Yes.\n\n*df has changed since*"
    assert update["text/plain"] == "Yes.\n\n[df has changed since]"
    del names["n"]
    stale.check()
    assert page.updates[-1]["text/plain"] == "Yes.\n\n[df, n have changed since]"
    names.update(df=[1], n=2)
    stale.check()
    assert page.updates[-1] == STATIC


def test_the_oldest_of_very_many_outputs_are_let_go_of() -> None:
    names = {"n": 1}
    stale = Stale(names)
    pages = [Page() for _ in range(MOST_OUTPUTS + 1)]
    for number, page in enumerate(pages):
        stale.watch(str(number), {"n": digest(1)}, page, STATIC)
    names["n"] = 2
    stale.check()
    assert [len(page.updates) for page in pages] == [0, *[1] * MOST_OUTPUTS]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with running_kernel(XDG_DATA_HOME=str(tmp_path_factory.mktemp("data"))) as kernel:
        fine(kernel.run(SETUP))
        yield kernel


def updates(kernel: Kernel, code: str) -> list[str]:
    ran = fine(kernel.run(code))
    return [each["data"]["text/plain"] for each in ran.of("update_display_data")]


ROOT = """
@component
def Tail():
    return System("Be short.")

@component
def Top():
    return [Tail(), Timeline()]

bot = App(Top, model=ScriptedModel(*["Yes."] * 9))
"""


def test_a_cell_whose_variable_changed_says_so_until_it_is_run_again(kernel: Kernel) -> None:
    fine(kernel.run(ROOT + "%session new bot"))
    fine(kernel.run("rows = [1, 2]"))
    fine(kernel.run("%%session\nCount {{len(rows)}}.", cell="asked"))
    assert updates(kernel, "unrelated = 1") == []
    (told,) = updates(kernel, "rows.append(3)")
    assert told.endswith("[rows has changed since]")
    fine(kernel.run("%%session\nCount {{len(rows)}}.", cell="asked"))
    assert updates(kernel, "unrelated = 2") == []


def test_a_component_that_was_defined_otherwise_marks_the_cell_and_one_defined_again_does_not(
    kernel: Kernel,
) -> None:
    fine(kernel.run(ROOT + "%session new bot"))
    fine(kernel.run("%%session\nHi", cell="greeted"))
    assert not any("Tail" in told for told in updates(kernel, ROOT))
    told = updates(kernel, ROOT.replace("Be short.", "Be long."))
    assert any(each.endswith("[Tail has changed since]") for each in told)
