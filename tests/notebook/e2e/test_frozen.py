"""Panels of knobs without a kernel: in JupyterLab, on a page, as a module; whatever was said, nothing of it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pytest
from playwright.sync_api import expect

from nbsession import App, Fit, Knobs, Priority, Section, System, Timeline, component, use_knob
from nbsession.testing import ScriptedModel
from tests.notebook.e2e.lab import ARTIFACTS
from tests.notebook.e2e.test_sessions import AGENT, errors, output

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from nbsession.session import Frozen
    from tests.notebook.e2e.conftest import MakeNotebook

pytestmark = pytest.mark.timeout(240)

HOSTILE = (
    "</script><script>window.ran = 1</script>",
    "<img src=x onerror='window.ran = 1'>",
    "<svg onload='window.ran = 1'><iframe srcdoc='<script>parent.ran = 1</script>'></iframe></svg>",
    "[a](javascript:window.ran=1) ![b](https://example.org/b.png)",
    "<!--<script>window.ran = 1",
    "</textarea></title></style><script>window.ran = 1</script>",
    "{{ 7 * 7 }} ${window.ran = 1} `${window.ran = 1}` \\u003cscript>",
)
LIVE = ".nbx :is(script, iframe, img, svg, object, embed, link, form, a)"
"""What no text may become; a panel has no such element of its own once it is there."""


HOST = """<!doctype html><body><div id=one></div><div id=two></div><script type=module>
import widget from './panel.mjs';
const model = { get() { throw Error('asked the model'); } };
for (const id of ['one', 'two']) widget.render({ model, el: document.getElementById(id) });
</script>"""


@component
def Guide() -> Any:
    tone, _ = use_knob("tone", "friendly", options=["friendly", "terse", *HOSTILE], group="Voice")
    depth, _ = use_knob("depth", 2, min=1, max=5, description="How many rules")
    cite, _ = use_knob("cite", False)
    return [
        System(f"You are {tone}.\nYou know the town.\nYou are brief."),
        Section("\n".join(f"- rule {n}" for n in range(depth)), id="rules", title="Rules"),
        cite and Section("\n".join(HOSTILE), id="cite", title=HOSTILE[0]),
        Knobs(),
        Timeline(),
    ]


def frozen() -> Frozen:
    session = App(Guide, model=ScriptedModel(HOSTILE[1])).session("<b>guide</b>")
    session.run("\n".join(HOSTILE))
    return session.freeze()


def strict(page: Page) -> list[str]:
    """Note every request off this machine and every complaint of the page."""
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url) if "127.0.0.1" not in request.url else None)
    page.on("pageerror", lambda error: seen.append(str(error)))
    page.on("console", lambda message: seen.append(message.text) if message.type == "error" else None)
    return seen


def shot(page: Page, name: str) -> None:
    ARTIFACTS.mkdir(exist_ok=True)
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme)
        for width in (600, 1200):
            page.set_viewport_size({"width": width, "height": 900})
            page.screenshot(path=ARTIFACTS / f"{name}-{scheme}-{width}.png")


def test_a_saved_page_follows_its_knobs_and_asks_for_nothing(page: Page, tmp_path: Path) -> None:
    panel = frozen()
    panel.save(tmp_path / "panel.html")
    seen = strict(page)
    page.goto((tmp_path / "panel.html").as_uri())
    total, parts = page.get_by_role("status"), page.locator(".parts")
    expect(total).to_contain_text(f"≈{panel.at().tokens} tokens (±0 against the values as last sent)")
    page.get_by_label("depth").press("ArrowRight")
    more = panel.at(depth=3)
    expect(total).to_contain_text(f"≈{more.tokens} tokens (+{more.tokens - panel.sent.tokens} ")
    expect(total).to_contain_text("up to set_knob" if "set_knob" in more.broken_by else more.broken_by)
    expect(parts.locator(".changed ins").first).to_have_text("+ - rule 2")
    page.get_by_label("tone").select_option("terse")
    expect(parts.locator(".changed del").first).to_have_text("− You are friendly.")
    shot(page, "frozen-page")
    page.get_by_label("cite").check()
    expect(parts.locator(".added .title")).to_have_text(f"+ {HOSTILE[0]}")
    folded = page.locator(".parts details:not([open]) > summary")
    while folded.count():
        folded.first.click()
    expect(parts).to_contain_text(HOSTILE[4])
    page.get_by_role("button", name="Reset").click()
    expect(total).to_contain_text("±0")
    for place in range(len(HOSTILE)):
        page.get_by_label("tone").select_option(index=2 + place)
        expect(parts).to_contain_text(HOSTILE[place])
        assert page.locator(LIVE).count() == 0
    assert page.evaluate("window.ran") is None
    assert [url for url in seen if not url.startswith("file:")] == []


def test_what_there_is_no_room_for_is_shown_as_withheld(page: Page, tmp_path: Path) -> None:
    @component
    def Roomy() -> Any:
        room, _ = use_knob("room", 300, options=[300, 60])
        return Fit(
            System("Be brief."),
            Priority(-2, Section("Prefer trains. " * 20, id="rules", title="Rules")),
            Timeline(),
            max_tokens=room,
        )

    session = App(Roomy, model=ScriptedModel("Hello.")).session()
    session.run("Hi")
    session.freeze().save(tmp_path / "panel.html")
    page.goto((tmp_path / "panel.html").as_uri())
    expect(page.locator(".parts")).to_contain_text("Rules")
    expect(page.locator(".withheld")).to_have_count(0)
    page.get_by_label("room").select_option("60")
    expect(page.locator(".withheld")).to_contain_text("Section[rules]")
    expect(page.locator(".withheld")).to_contain_text("priority -2")
    shot(page, "frozen-withheld")


def test_a_page_reads_as_text_where_no_scripts_run(page: Page, tmp_path: Path) -> None:
    panel = frozen()
    panel.save(tmp_path / "panel.html")
    text = (tmp_path / "panel.html").read_text("utf-8")
    page.route(
        "**/*",
        lambda route: route.fulfill(
            body=text, content_type="text/html", headers={"Content-Security-Policy": "script-src 'none'"}
        ),
    )
    page.goto("http://127.0.0.1/panel.html")
    expect(page.locator(".nbx > details").first).to_contain_text("You are friendly.")
    expect(page.locator("p").first).to_contain_text(
        'as they stood: tone = "friendly", depth = 2, cite = false'
    )
    assert page.locator(".nbx :is(input, img, svg, iframe)").count() == 0


def test_the_module_renders_into_the_element_that_it_is_given(page: Page, tmp_path: Path) -> None:
    panel = frozen()
    panel.save(tmp_path / "panel.mjs")
    files = {
        "panel.mjs": ((tmp_path / "panel.mjs").read_text("utf-8"), "text/javascript"),
        "": (HOST, "text/html"),
    }

    def serve(route: Any) -> None:
        body, kind = files[route.request.url.rpartition("/")[2]]
        route.fulfill(body=body, content_type=kind)

    page.route("**/*", serve)
    seen = strict(page)
    page.goto("http://127.0.0.1/")
    two = page.locator("#two")
    two.get_by_label("depth").press("End")
    expect(two.get_by_role("status")).to_contain_text(f"≈{panel.at(depth=5).tokens} tokens")
    expect(page.locator("#one").get_by_role("status")).to_contain_text("±0")
    assert page.evaluate("window.ran") is None
    assert seen == []


def test_in_a_notebook_the_panel_works_saved_and_reads_as_text_untrusted(
    notebook: MakeNotebook, page: Page
) -> None:
    opened = notebook(
        AGENT,
        "app = App(Notepad, model=ScriptedModel('Hello.'))\n%session new app --id frozen",
        "%%session\nHi",
        "%session knobs --freeze tone=friendly,terse verbosity=1,2,3,4,5",
    )
    for index in range(4):
        opened.run(index)
    assert errors(opened) == []
    panel = output(opened, 3)
    panel.get_by_label("verbosity").press("ArrowRight")
    expect(panel.get_by_role("status")).to_contain_text("up to")
    expect(panel.locator("ins").first).to_contain_text("Verbosity: 4 of 5.")
    for theme in ("Light", "Dark"):
        opened.theme(f"JupyterLab {theme}")
        for width in (600, 1200):
            page.set_viewport_size({"width": width, "height": 900})
            opened.screenshot(f"frozen-lab-{theme.lower()}-{width}", of=panel)
    assert opened.errors == []  # before the kernel goes: the page's own requests to it then fail
    assert opened.save().metadata.get("widgets") is None
    opened.open().close()
    saved = output(opened, 3)
    saved.get_by_label("tone").select_option("terse")
    expect(saved.locator("ins").first).to_contain_text("You are a terse assistant")

    # As a notebook that came from somebody else: JupyterLab runs no script of it until it is trusted.
    opened.reopen_without_kernel()
    expect(saved).to_contain_text("You are a friendly assistant with a notepad. Verbosity: 3 of 5.")
    expect(saved.locator("input, select")).to_have_count(0)
    opened.screenshot("frozen-lab-untrusted", of=saved)
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:trust'); }")
    page.locator(".jp-Dialog-button.jp-mod-accept").click()
    saved.get_by_label("tone").select_option("terse")
    expect(saved.locator("ins").first).to_contain_text("You are a terse assistant")
