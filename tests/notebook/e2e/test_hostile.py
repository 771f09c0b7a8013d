"""A corpus of hostile texts in every view and form, in a real browser: nothing of it runs, loads or comes alive."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from ipywidgets import Widget
from playwright.sync_api import expect

from nbsession import (
    App,
    Knobs,
    ModelError,
    Result,
    Section,
    Session,
    System,
    Timeline,
    component,
    tool,
    use_knob,
    use_state,
)
from nbsession.content import ToolCall
from nbsession.events import ConfirmationRequested
from nbsession.experiment import Case, Experiment
from nbsession.notebook.experiment import sheet as sheets
from nbsession.notebook.experiment import values
from nbsession.notebook.experiment.view import RunView
from nbsession.notebook.panels import findings, tables
from nbsession.notebook.panels.inspector import Inspector
from nbsession.notebook.panels.knobs import Change, Panel, context_bundle
from nbsession.notebook.sweep import table as sweep_table
from nbsession.notebook.sweep.pair import Pair
from nbsession.notebook.view import templates
from nbsession.notebook.view.desk import Desk
from nbsession.notebook.view.edit_form import form_of as form_of_edit
from nbsession.notebook.view.execution import ExecutionView, static_of
from nbsession.notebook.view.form import answer_of, answered, form_of
from nbsession.notebook.view.live import Ui
from nbsession.notebook.view.pieces import Call
from nbsession.notebook.view.transcript import Transcript
from nbsession.testing import ScriptedModel, call
from nbsession.tools import Question, confirmation_schema
from tests.support.hostile import MATHEMATICS, PICTURES, SHORT, TEXTS, URLS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

    from tests.notebook.e2e.conftest import MakeNotebook

pytestmark = pytest.mark.timeout(240)

TRAP = """
window.trapped = [];
window.ran = what => window.trapped.push(`ran ${what}`);
for (const name of ["alert", "confirm", "prompt", "open"]) window[name] = () => window.trapped.push(name);
document.addEventListener("submit", () => window.trapped.push("submit"), true);
"""
FOUND = """() => {
    const allowed = new Set(
        ("A B BLOCKQUOTE BODY BR BUTTON CODE DD DEL DETAILS DIV DL DT EM H1 H2 H3 H4 H5 H6 HEAD HR HTML I IMG INS KBD LI OL P PRE " +
         "PROGRESS S SECTION SELECT OPTION INPUT TEXTAREA LABEL SMALL SPAN STRONG STYLE SUMMARY TABLE TBODY TD TH THEAD TIME TR UL").split(" "));
    const known = new Set(
        ("alt aria-hidden aria-label class colspan data-d data-do data-s data-grows data-t href id max open rel role scope src start style " +
         "tabindex title type value for name rows step min max selected checked placeholder readonly data-f data-n data-k data-lm-suppress-shortcuts data-p data-q data-at data-act data-press aria-invalid aria-describedby " +
         "aria-current aria-valuetext data-copy data-older data-other data-part disabled hidden").split(" "));
    const stop = "var[(]--(to|sy|se|me|an)[)] [0-9.]+% [0-9.]+%";
    const bar = `height:[0-9.]+%(;background:linear-gradient[(]to top,(${stop},?)*[)])?`;
    const styled = RegExp(`^((--[zamw]:[0-9.]+%;?)+$|(--w|width|left): ?[0-9.]+%;?|text-align: ?(left|right|center);?|padding-left:[0-9]+px|${bar})$`);
    const found = [...window.trapped];
    for (const each of document.querySelectorAll("*")) {
        if (!allowed.has(each.tagName)) found.push(`<${each.tagName}>`);
        for (const { name, value } of each.attributes) {
            if (!known.has(name)) found.push(`${each.tagName} ${name}`);
            if (name === "href" && !/^https?:/.test(value)) found.push(`href ${value}`);
            if (name === "src" && !/^data:image[/](png|jpeg|gif|webp);base64,/.test(value)) found.push(`src ${value}`);
            if (name === "style" && !styled.test(value)) found.push(`style ${value}`);
        }
        if (each.tagName === "STYLE" && /url|@import|expression/.test(each.textContent)) found.push("style sheet");
    }
    return [...new Set(found)];
}"""
STYLE = re.compile("^(<style>[^<]*</style>)+")
ESCAPES = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\U000e0000-\U000e007f]"
)


def agent(text: str) -> Any:
    @component
    def Hostile() -> Any:
        use_knob("wish", text, options=["plain", text], description=text, group=text)
        notes, set_notes = use_state([text])

        @tool
        def keep(note: str) -> str:
            """Keep."""
            set_notes(lambda kept: [*kept, note])
            return note

        @tool(confirm=True)
        def fail(note: str) -> str:
            """Fail."""
            raise ValueError(note)

        return [
            System(text),
            Section(*notes, id="notes", title=text),
            keep,
            fail,
            Knobs(),
            Timeline(),
        ]

    return Hostile


async def spoken(text: str) -> tuple[Session, list[dict[str, str]]]:
    """Have a text said by the user, the model, a tool and an error; return the session and what is shown of it."""
    model = ScriptedModel([call("keep", note=text), call("fail", note=text)], text, ModelError(text))
    session = App(agent(text), model=model).session()
    shown: list[dict[str, str]] = []
    for _ in range(2):
        execution = session.send(text)
        view = ExecutionView(execution)
        following = asyncio.ensure_future(view.follow())
        async for event in execution:
            if isinstance(event, ConfirmationRequested):
                shown.append({"live": str(view.html())})
                execution.confirm(event.call.id, True)  # as it is called
        await asyncio.wait({following})
        following.exception()
        shown += [{"live": view.html()}, view.static()]
    return session, shown


def beside(session: Session, text: str) -> list[dict[str, str]]:
    """Show a session's tables, its panel and a sweep, with the text where there is room for one."""
    shown = [
        tables.bundle(tables.ticks(session)),
        tables.bundle(tables.history(session.history())),
        tables.bundle(tables.outline(session.outline(), text)),
    ]
    sweep = session.sweep(text, wish=["plain", text], context_only=True)
    pair = Pair(sweep)
    pair.other.value = 1
    panel = Panel(session)
    panel.controls["wish"].value = "plain"
    shown += [sweep_table.bundle(sweep), panel.bundles()[1]]
    change = Change.of(session.preview(wish="plain"))
    made = templates.macro("panels", "preview")(Ui(), change, text, False)  # a template's
    shown.append({"live": f"{pair.html}{panel.preview}{made}"})
    Widget.close_all()
    return shown


async def experimented(text: str) -> list[dict[str, str]]:
    """Ask an experiment whose cases, knobs, answers, judgements and errors are the text; return all that is shown of it."""

    def score(result: Result, case: Case) -> Any:
        if case.name == "plain":
            raise ValueError(text)
        return {text: "plain" in str(result.ticks[0].context)}

    cases = [
        Case(text, text),
        Case("plain", text, "plain"),
        Case(f"{text} again", text, text.strip() or "again"),
    ]
    app = App(agent(text), model=ScriptedModel(ModelError(text), *[text] * 9))
    experiment = Experiment(app, cases, knobs={"wish": ["plain", text]}, score=score)
    shown = [sheets.bundle(sheets.plan(experiment.plan()))]
    run = experiment.run(concurrency=1)
    view = RunView(run, name="run")
    await run
    first = run.trials[-1].arm.name
    preferred = await run.prefer("plain", first, lambda *_: 1.0) if len(run.arms) > 1 else None
    shown += [{"live": view.html()}, view.static(), sheets.bundle(sheets.Sheet((sheets.arms_of(run.arms),)))]
    shown += [tables.bundle(values.arm(arm)) for arm in run.arms.values()]
    shown += [tables.bundle(values.preferences(preferred))] if preferred is not None else []
    return [*shown, *(tables.bundle(values.trial(trial)) for trial in run.trials)]


def inspected(session: Session, text: str) -> list[dict[str, str]]:
    """Show a session in the inspector: as it was and would be, with a component left out, and beside a fork."""
    fork = session.fork(0, id=f"fork of {session.id}")
    fork.knobs["wish"] = "plain"
    panel = Inspector(session)
    notes = next(place.path for place in session.outline().places if place.key == "notes")
    asked: tuple[dict[str, Any], ...] = (
        {"k": "leave", "path": notes, "out": True},
        {"k": "session", "id": text},
        {"k": "go", "tick": 9},
        {"k": "company", "id": fork.id},
    )
    shown = [panel.static()]
    for each in asked:
        panel.hear(each)
        shown.append({"live": panel.html()})
    shown.append(panel.static())
    return shown


def found_out(session: Session, text: str) -> list[dict[str, str]]:
    """Show what is found out about a session, and what a reader does with its ticks."""
    session.breakpoints.add(part=text)
    fork = session.fork(0)
    shown = [
        findings.check(session.check()),
        findings.forecast(session.forecast(), text),
        findings.session_diff(session.compare(fork)),
        findings.bisection(session.bisect(lambda tick: tick.number > 0)),
        findings.breakpoints(session),
    ]
    desk = Desk()
    desk.knows(session)
    changed = {"knob:wish": "0", **{field.name: text for field in form_of_edit(session, 1).fields}}
    asked: tuple[dict[str, Any], ...] = (
        {"k": "edit"},
        {"k": "compare", "fields": {**changed, text: text}},
        {"k": "compare", "fields": changed},
        {"k": "python"},
        {"k": "source", "path": "Hostile"},
        {"k": "source", "path": text},
    )
    made = [{"live": str(desk.answer({**each, "of": session.id, "tick": 1}))} for each in asked]
    stood = templates.macro("desk", "stood")
    made.append({"text/html": str(stood(Ui(), text, 1, Transcript(), text, Transcript(), text))})
    Widget.close_all()
    return [*map(tables.bundle, shown), *made]


def waiting(text: str) -> list[dict[str, str]]:
    """Ask a text, about a call with it and for an answer of which it is a part; return what is shown before and after."""
    field = {"type": "string", "description": text, "default": text}
    schemas: tuple[dict[str, Any], ...] = (
        {"enum": [text, "plain"]},
        {"enum": [text, *map(str, range(9))], "description": text},
        {"type": "array"},
        {"type": "object", "properties": {text: field, "other": {"enum": [text]}}, "required": [text]},
    )
    about = ToolCall("call", "ask", {"note": text})
    questions = [Question(f"qu_{n}", text, about, "pause", schema) for n, schema in enumerate(schemas)]
    allowed = confirmation_schema({"type": "object", "properties": {"note": field}})
    questions.append(Question("qu_9", text, about, "confirmation", allowed))
    shown: list[dict[str, str]] = []
    for question in questions:
        ui, run = Ui(), Transcript()
        ui.post = "post_1"
        asked = run.waits(question, 0.0).piece
        assert isinstance(asked, Call)
        shown.append(static_of(ui, run))
        empty = form_of(question)
        _, wrong = answer_of(empty, {"fields": {text: text, "other": text, "": text}})
        _, pressed = answer_of(empty, {"press": text})
        made = templates.macro("question", "form")
        shown += [{"live": made(form, "id")} for form in (empty, wrong, pressed)]
        assert asked.asked is not None
        asked.asked.end = f"answered by the program: {answered(question, text if question.kind == 'pause' else {'note': text})}"
        shown += [static_of(ui, run), {"live": templates.macro("question", "end")(asked.asked.end)}]
    return shown


async def views_of(text: str) -> dict[str, list[str]]:
    """Return every view and form of a text."""
    session, shown = await spoken(text)
    found: dict[str, list[str]] = {"live": [], "text/html": [], "text/markdown": [], "text/plain": []}
    first, last = session.ticks[0].context, session.ticks[-1].context
    assert first is not None
    assert last is not None
    shown.append(context_bundle(last, first))
    if text in SHORT:
        shown += [
            *beside(session, text),
            *inspected(session, text),
            *found_out(session, text),
            *waiting(text),
            *await experimented(text),
        ]
    for bundle in shown:
        for kind, content in bundle.items():
            found[kind].append(content)
    return found


@pytest.fixture(scope="module")
def views() -> dict[str, list[str]]:
    """Every view and form of all texts."""

    async def all_of_them() -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for text in TEXTS:
            for kind, contents in (await views_of(text)).items():
                found.setdefault(kind, []).extend(contents)
        return found

    # A loop of its own thread: the browser's keeps this one.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, all_of_them()).result()


@pytest.fixture
def trap(page: Page) -> Iterator[Page]:
    """A page that tells what was run in it, and may load nothing."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.route("**/*", lambda route: route.abort())
    page.add_init_script(TRAP)
    page.set_content("<p>empty")
    page.evaluate(TRAP)
    yield page
    assert asked == []


def test_the_corpus_is_large_and_says_each_thing_once() -> None:
    assert len(set(TEXTS)) == len(TEXTS) >= 150


def test_the_trap_catches_what_comes_alive(trap: Page) -> None:
    trap.evaluate('() => { document.body.innerHTML = \'<img src="data:,x" onerror="ran(1)"><form></form>\' }')
    trap.wait_for_function("() => window.trapped.length")
    assert {"ran 1", "<FORM>", "IMG onerror"} <= set(trap.evaluate(FOUND))


@pytest.mark.parametrize("kind", ["live", "text/html"])
def test_nothing_hostile_comes_alive_in_any_view(kind: str, views: dict[str, list[str]], trap: Page) -> None:
    assert len(views[kind]) >= 4 * len(SHORT)
    # Each output brings its style sheets: a page of them all needs each once.
    sheets = {found[0] for each in views[kind] if (found := STYLE.match(each))}
    html = "".join([*sheets, *(STYLE.sub("", each) for each in views[kind])])
    trap.evaluate("html => { document.body.innerHTML = html }", html)
    trap.evaluate("() => new Promise(resolve => setTimeout(resolve))")
    assert trap.evaluate(FOUND) == []


def test_no_formula_in_an_answer_comes_alive_when_it_is_typeset(notebook: MakeNotebook, page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.add_init_script(TRAP)
    said = "\n\n".join((*MATHEMATICS, *URLS, *PICTURES))
    opened = notebook(
        "%load_ext nbsession\nfrom nbsession import App, System, Timeline, component\n"
        "from nbsession.testing import ScriptedModel\n"
        "@component\ndef Agent():\n    return [System('You say it.'), Timeline()]\n"
        f"app = App(Agent, model=ScriptedModel({said + ' The end: $x^2$'!r}))\n%session new app --id said",
        "%%session\nSay it.",
    )
    opened.run_all()
    shown = opened.cells().nth(1).locator(".jp-OutputArea-output")
    expect(shown.locator("mjx-container").last).to_be_visible()
    assert page.evaluate("() => window.trapped") == []
    assert shown.locator("script, iframe, object, embed, form, link, img").count() == 0
    for href in shown.locator("a").evaluate_all("links => links.map(link => link.getAttribute('href'))"):
        assert href.startswith(("http://", "https://"))
    assert [
        url for url in asked if not url.startswith(opened.lab.url) and not url.startswith(("data:", "blob:"))
    ] == []


def test_no_text_form_commands_a_terminal_or_hides_what_it_says(views: dict[str, list[str]]) -> None:
    for kind in ("text/plain", "text/markdown"):
        assert [found[0] for each in views[kind] if (found := ESCAPES.search(each))] == []
