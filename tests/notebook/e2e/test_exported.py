"""The exported page: one scrubber over all ticks, in step, with nothing behind it; nothing that was said runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pytest
from playwright.sync_api import expect

from nbsession import App, Section, System, Timeline, component, tool, use_timeline
from nbsession.testing import ScriptedModel, call
from tests.notebook.e2e.axe import faults
from tests.notebook.e2e.test_frozen import HOSTILE, LIVE, shot, strict
from tests.support.hostile import SHORT
from tests.support.notepad import Notepad

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

COME_ALIVE = LIVE.replace(", a)", ", a:not([href^='https://'], [href^='http://']))")
"""What no text may become: an answer may have links to the web, as in a notebook."""

UNFOLDED = """() => {
  const all = [...document.querySelectorAll("details")];
  for (const each of all) each.open = true;
  return all.every((each) => each.childElementCount > 1);
}"""

TERSE = """\
Terse now, as you said:

| town | nights |
|:--|--:|
| Bern | 2 |

```python
print("$5 or $10")
```

- [a page](https://example.org), and $x^2$
"""

pytestmark = pytest.mark.timeout(240)


def test_a_page_steps_through_all_ticks_with_context_tools_and_answer_in_step(
    page: Page, tmp_path: Path
) -> None:
    answers: tuple[Any, ...] = (
        [call("add_note", note="Met Ryan at the station"), "I write that down."],
        "Noted: **Ryan**, at the station.",
        call("set_knob", name="tone", value="terse"),
        TERSE,
    )
    session = App(Notepad, model=ScriptedModel(*answers)).session("notes")
    session.run("My name is Ryan. We met at the station.")
    session.run("Be short from now on, please.")
    session.export(tmp_path / "notes.html")
    seen = strict(page)
    page.goto((tmp_path / "notes.html").as_uri())
    where, main = page.locator("[role=status]"), page.locator("main")
    expect(where).to_contain_text("Tick 0 · 1 of 4")
    expect(main).to_contain_text('add_note note = "Met Ryan at the station"')
    shot(page, "exported-first")
    page.keyboard.press("ArrowRight")
    expect(where).to_contain_text("Tick 1 · 2 of 4")
    expect(main).to_contain_text("Noted: Ryan, at the station.")
    expect(main.locator(".md strong")).to_have_text("Ryan")
    expect(main.locator(".parts .added").first).to_contain_text("Notepad")
    expect(main).to_contain_text("of the prefix are as in the tick before, up to")
    shot(page, "exported-second")
    page.get_by_label("Tick", exact=True).press("ArrowRight")
    expect(where).to_contain_text("Tick 2 · 3 of 4")
    page.keyboard.press("End")
    expect(where).to_contain_text("Tick 3 · 4 of 4")
    expect(main.locator(".changed del").first).to_contain_text("You are a friendly assistant")
    expect(main.locator(".md td.right")).to_have_text("2")
    expect(main.locator(".md a")).to_have_attribute("rel", "noreferrer")
    expect(main.locator(".md pre")).to_have_text('print("$5 or $10")')
    shot(page, "exported-markdown")
    expect(page.get_by_label("The next tick")).to_be_disabled()
    page.get_by_label("The tick before").click()
    expect(where).to_contain_text("Tick 2 · 3 of 4")
    page.keyboard.press("Home")
    expect(where).to_contain_text("Tick 0 · 1 of 4")
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme)
        page.evaluate("() => document.querySelectorAll('details').forEach(each => { each.open = true; })")
        assert faults(page, "body") == [], scheme
    assert [url for url in seen if not url.startswith("file:")] == []


def test_a_page_shows_what_was_said_and_runs_none_of_it(page: Page, tmp_path: Path) -> None:
    answers: list[list[Any]] = [[call("add_note", note=said), said] for said in HOSTILE]
    session = App(
        Notepad, model=ScriptedModel(*[one for said in answers for one in (said, said[1])])
    ).session(HOSTILE[0])
    for said in HOSTILE:
        session.run(said)
    session.export(tmp_path / "hostile.html")
    seen = strict(page)
    page.goto((tmp_path / "hostile.html").as_uri())
    for place in range(len(session.ticks)):
        expect(page.locator("[role=status]")).to_contain_text(f"{place + 1} of {len(session.ticks)}")
        expect(page.locator("main .words").first).to_have_text(HOSTILE[place // 2])
        folded = page.locator("details:not([open]) > summary")
        while folded.count():
            folded.first.click()
        assert page.locator(COME_ALIVE).count() == 0
        page.keyboard.press("ArrowRight")
    assert page.evaluate("window.ran") is None
    assert [url for url in seen if not url.startswith("file:")] == []


def test_no_text_of_the_corpus_comes_alive_in_an_exported_page(page: Page, tmp_path: Path) -> None:
    rounds = [SHORT[start : start + 30] for start in range(0, len(SHORT), 30)]

    @tool
    def repeat(text: str) -> str:
        """Give the text back."""
        return text

    @component
    def Repeating() -> Any:
        said = rounds[min(len(use_timeline()) // 4, len(rounds) - 1)]
        return [
            System("\n".join(said)),
            [Section(text, id=f"s{n}", title=text) for n, text in enumerate(said)],
            repeat,
            Timeline(),
        ]

    answers = [
        answer for texts in rounds for answer in (call("repeat", text="\n".join(texts)), "\n".join(texts))
    ]
    session = App(Repeating, model=ScriptedModel(*answers)).session("<img src=x onerror=ran(1)>")
    for texts in rounds:
        session.run("\n".join(texts))
    session.export(tmp_path / "corpus.html")
    ran: list[Any] = []
    page.expose_function("ran", lambda *given: ran.append(given))
    seen = strict(page)
    page.goto((tmp_path / "corpus.html").as_uri())
    for place in range(len(session.ticks)):
        expect(page.locator("[role=status]")).to_contain_text(f"{place + 1} of {len(session.ticks)}")
        # What is folded is drawn once it is looked at, and may hold more of that.
        page.wait_for_function(UNFOLDED)
        assert page.locator(COME_ALIVE).count() == 0
        page.keyboard.press("ArrowRight")
    assert ran == []
    assert [url for url in seen if not url.startswith("file:")] == []
