"""Questions that wait, in a real kernel: under their cell, on a line, after a restart, and answered by the program."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.notebook.kernels import Kernel, Ran, running_kernel
from tests.notebook.test_extension import ipython
from tests.notebook.test_magics import fine, one_line
from tests.notebook.test_sweep_magic import in_a_terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(120)

SETUP = """
%load_ext nbsession
from typing import Literal
from nbsession import *
from nbsession.testing import ScriptedModel, call

@tool
def ask(question: str) -> str:
    "Ask the person."
    raise Pause(question)

@tool
def choose(what: str) -> str:
    "Let the person choose."
    raise Pause(what, answer=Literal["now", "later"])

@tool
def count(what: str) -> int:
    "Ask for a number."
    raise Pause(what, answer=int)

@component
def Agent():
    return [System("Help."), ask, choose, count, Timeline()]

def open_(*responses):
    return App(Agent, model=ScriptedModel(*responses))
"""

LETTER = """
%load_ext nbsession
from nbsession import *
from nbsession.testing import ScriptedModel, call

sent = []
Desk = create_context(None)

@component
def Draft():
    text, set_text = use_context(Desk)

    @tool
    def draft(to: str) -> str:
        "Write a draft."
        set_text(f"Dear {to}")
        return "drafted"

    return not text and draft

@component
def Approve():
    text, _ = use_context(Desk)

    @tool
    def approve() -> bool:
        "Have the draft approved."
        raise Pause(f"Send {text!r}?", answer=bool)

    return text and approve

@component
def Send():
    text, _ = use_context(Desk)

    @tool
    def send() -> str:
        "Send the letter."
        sent.append(text)
        return "sent"

    return text and send

@component
def Letter():
    desk = use_state("")
    return [System("You write letters."), Desk(desk, Draft(), Approve(), Send()), Timeline()]

def step(context):
    last = context.messages[-1].text
    tool = {"Write to Bo.": "draft", "drafted": "approve", "true": "send"}.get(last)
    return f"It is {last}." if tool is None else call(tool, **({"to": "Bo"} if tool == "draft" else {}))

app = App(Letter, model=ScriptedModel(*[step] * 9))
%session new app --id letter --as letter
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with running_kernel(XDG_DATA_HOME=str(tmp_path_factory.mktemp("data"))) as kernel:
        fine(kernel.run(SETUP))
        yield kernel


def asked(kernel: Kernel, responses: str, message: str = "Go.") -> Ran:
    fine(kernel.run(f"bot = open_({responses})\n%session new bot --as talk"))
    return fine(kernel.run(f"%%session\n{message}"))


class Page:
    """What a page with a finished output does: it asks for the form of a question in it, and answers."""

    def __init__(self, kernel: Kernel, ran: Ran, place: int = 0) -> None:
        html = self.html(ran)
        self.kernel = kernel
        self.question, self.at = re.findall(r"data-q=(\w+) data-at=(\w+)", html)[place]
        found = re.search(r'data-x=(\w+) data-of="([^"]+)"', html)
        assert found is not None
        self.of = found[2]
        self.comm = next(
            m["content"]["comm_id"]
            for m in kernel.messages
            if m["msg_type"] == "comm_open" and m["content"]["data"]["state"].get("key") == found[1]
        )
        self.count = 0

    @staticmethod
    def html(ran: Ran) -> str:
        shown = [*ran.of("display_data"), *ran.of("update_display_data")]
        return next(str(each["data"]["text/html"]) for each in reversed(shown) if "data-q" in str(each))

    def say(self, kind: str, **more: Any) -> str:
        """Send a message, and return what the page is to show."""
        self.count += 1
        number = f"{self.at}-{self.count}"
        content = {"k": kind, "n": number, "of": self.of, "q": self.question, "at": self.at, **more}
        self.kernel.comm(self.comm, {"method": "custom", "content": content})
        return str(self.told(lambda said: said.get("n") == number)["html"])

    def told(self, wanted: Any) -> dict[str, Any]:
        def found(message: dict[str, Any]) -> bool:
            said = message["content"].get("data", {}).get("content")
            return isinstance(said, dict) and message["content"].get("comm_id") == self.comm and wanted(said)

        content: dict[str, Any] = self.kernel.until(found)["content"]["data"]["content"]
        return content

    def shows(self, words: str) -> dict[str, Any]:
        """Wait until an output is replaced by one with these words."""

        def there(message: dict[str, Any]) -> bool:
            html = message["content"].get("data", {}).get("text/html", "")
            return message["msg_type"] == "update_display_data" and words in html

        content: dict[str, Any] = self.kernel.until(there)["content"]
        return content


def test_a_letter_is_drafted_then_approved_after_a_restart_and_sent(tmp_path: Path) -> None:
    with running_kernel(XDG_DATA_HOME=str(tmp_path)) as kernel:
        fine(kernel.run(LETTER))
        ran = fine(kernel.run("%%session\nWrite to Bo."))
        assert "Send 'Dear Bo'?" in ran.shown[-1]
        assert "waits for an answer since" in ran.shown[-1]
        assert "%session answer qu_" in ran.shown[-1]
    with running_kernel(XDG_DATA_HOME=str(tmp_path)) as kernel:
        fine(kernel.run(LETTER))
        table = fine(kernel.run("%session waiting")).shown[-1]
        assert "Send 'Dear Bo'?" in table
        assert "approve()" in table
        assert "waits" in fine(kernel.run("%session list")).shown[-1]
        ran = fine(kernel.run("%session answer yes --as result"))
        assert "It is sent." in ran.shown[-1]
        assert "Send 'Dear Bo'? · approve() answered: yes" in ran.shown[-1]
        assert fine(kernel.run("print(sent, result.text)")).text == "['Dear Bo'] It is sent.\n"
        assert fine(kernel.run("%session waiting")).text == "nothing waits for an answer\n"


def test_what_stands_under_the_cell_is_text_alone_and_its_form_comes_from_the_kernel(kernel: Kernel) -> None:
    ran = asked(kernel, "call('choose', what='When?'), 'Fine.'")
    html = Page.html(ran)
    assert "When?" in html
    assert "waits for an answer since" in html
    assert "<button" not in html
    form = Page(kernel, ran).say("question")
    assert re.findall(r"<button[^>]*>(\w+)</button>", form) == ["now", "later"]


def test_an_answer_goes_on_in_the_same_output_and_one_that_does_not_fit_loses_nothing(kernel: Kernel) -> None:
    ran = asked(kernel, "call('count', what='How many?'), 'So many.'")
    page = Page(kernel, ran)
    form = page.say("answer", fields={"": "1.5"})
    assert "is to be a whole number, got 1.5" in form
    assert 'value="1.5"' in form
    assert page.say("answer", fields={"": "3"}) == ""
    update = page.shows("So many.")
    assert update["transient"] == ran.of("display_data")[0]["transient"]
    assert "answered: 3" in update["data"]["text/html"]
    assert "data-q" not in update["data"]["text/html"]
    assert update["data"]["text/plain"].count("[tick ") == 2
    assert page.told(lambda said: said["k"] == "put")["key"] in Page.html(ran)


def test_of_two_questions_each_is_answered_in_its_place(kernel: Kernel) -> None:
    ran = asked(kernel, "[call('ask', question='One?'), call('ask', question='Two?')], 'Both.'")
    second = Page(kernel, ran, 1)
    assert second.say("answer", fields={"": "2"}) == ""
    update = second.shows("answered: 2")
    assert "data-q" in update["data"]["text/html"]
    again = Page(kernel, Ran("", [{"msg_type": "update_display_data", "content": update}]))
    assert again.question != second.question
    assert again.say("answer", fields={"": "1"}) == ""
    assert "answered: 1" in again.shows("Both.")["data"]["text/html"]


def test_where_the_program_answers_every_output_says_what_it_was(kernel: Kernel) -> None:
    ran = asked(kernel, "call('ask', question='Which?'), 'Good.'")
    shown = Page(kernel, fine(kernel.run("%session answer")))
    page = Page(kernel, ran)
    assert (shown.question, shown.at == page.at) == (page.question, False)
    fine(kernel.run("print((await talk.answer(talk.waiting[0].id, 'this')).text)"))
    for each in (page, shown):
        told = each.told(lambda said, at=each.at: said["k"] == "told" and said["at"] == at)
        assert "answered by the program: this" in told["html"]
    assert "waits for an answer" not in page.shows("answered by the program: this")["data"]["text/html"]
    assert "does not wait any more" in page.say("answer", fields={"": "that"})


def test_a_form_in_a_cell_of_its_own_goes_on_there_and_the_first_output_is_told(kernel: Kernel) -> None:
    ran = asked(kernel, "call('ask', question='Which?'), 'Well done.'")
    first, second = Page(kernel, ran), Page(kernel, fine(kernel.run("%session answer")))
    assert second.say("answer", fields={"": "that"}) == ""
    second.shows("Well done.")
    told = first.told(lambda said: said["k"] == "told" and said["at"] == first.at)
    assert "answered in another output: that" in told["html"]


def test_another_message_says_that_it_withdraws_what_waited(kernel: Kernel) -> None:
    ran = asked(kernel, "call('ask', question='Which?'), 'Never mind.'")
    page = Page(kernel, ran)
    ran = fine(kernel.run("%%session\nForget it."))
    assert "[A question that waited for an answer: withdrawn by this message]" in ran.shown[-1]
    assert "Never mind." in ran.shown[-1]
    page.shows("withdrawn: another message was sent")


def test_a_line_answers_by_id_as_json_or_text_and_says_what_is_wrong(kernel: Kernel) -> None:
    asked(kernel, "[call('ask', question='One?'), call('count', what='Two?')], 'Both.'")
    one, two = fine(kernel.run("print(*[q.id for q in talk.waiting])")).text.split()
    assert "waits for 2 answers, so say which question" in one_line(kernel.run("%session answer 7"))
    assert "'Two?' is not answered: is to be a whole number, got \"many\"; it takes a number" in one_line(
        kernel.run(f"%session answer {two} many")
    )
    assert "has no question 'qu_0'; what waits is" in one_line(kernel.run("%session answer qu_0 7"))
    ran = fine(kernel.run(f"%session answer {one} 'to the sea'"))
    assert "answered: to the sea" in ran.shown[-1]
    assert "Two?" in ran.shown[-1]
    assert "was answered with 'to the sea'" in one_line(kernel.run(f"%session answer {one} home"))
    assert "Both." in fine(kernel.run("%session answer 7")).shown[-1]
    assert "waits for no answer" in one_line(kernel.run("%session answer 7"))


def test_ids_and_choices_are_completed(kernel: Kernel) -> None:
    asked(kernel, "call('choose', what='When?'), 'Fine.'")
    complete = (
        "from nbsession.notebook.completion import complete\nknown = get_ipython().nbsession.sessions\n"
    )
    (question,) = fine(kernel.run("print(talk.waiting[0].id)")).text.split()
    ran = fine(kernel.run(f"{complete}print(complete(known, '%session answer '))"))
    assert ran.text.startswith(f"['{question}'")
    ran = fine(kernel.run(f"{complete}print(complete(known, '%session answer {question} '))"))
    assert ran.text.startswith("['now', 'later'")


@pytest.mark.parametrize("around", ["%%time\n", ""])
def test_a_cell_that_blocks_leaves_the_question_to_wait_in_its_output(kernel: Kernel, around: str) -> None:
    fine(kernel.run("bot = open_(call('ask', question='Which?'), 'Good.')\n%session new bot --as talk"))
    ran = fine(kernel.run(f"{around}%%session\nGo."))
    assert "waits for an answer since" in ran.shown[-1]
    assert "Good." in fine(kernel.run("if True:\n    %session answer this")).shown[-1]


TERMINAL = (
    SETUP + "bot = open_([call('count', what='How many?'), call('ask', question='Why?')], 'So it is.')",
    "%session new bot --as talk",
    "%%session --as result\nGo.",
    "print('then:', result.stop_reason, len(talk.waiting))",
)


def test_a_terminal_asks_and_goes_on_and_nothing_lets_a_question_wait() -> None:
    written = in_a_terminal(*TERMINAL, typed="many\n3\nbecause\n")
    assert "How many? (a number; nothing lets it wait)" in written
    assert 'is to be a whole number, got "many"' in written
    assert "Why? (a text; nothing lets it wait)" in written
    assert "answered: because" in written
    assert "So it is." in written
    assert "then: end_turn 0" in written
    written = in_a_terminal(*TERMINAL, "%session answer", typed="\n\n")
    assert "then: paused 2" in written
    assert written.count("How many? (a number; nothing lets it wait)") == 2


def test_where_nobody_can_be_asked_the_text_says_how_to_answer() -> None:
    printed = ipython(*TERMINAL[:1], "%session new bot --as talk", "%%session\nGo.", "%session answer")
    assert "How many? · count(what=" in printed
    assert ": %session answer qu_" in printed
    assert "So it is." not in printed
    assert "%session answer ID VALUE" in printed


def test_a_cell_that_shows_nothing_still_says_what_waits(kernel: Kernel) -> None:
    fine(kernel.run("bot = open_(call('ask', question='Which?'), 'Good.')\n%session new bot --as talk"))
    ran = fine(kernel.run("%%session --display off\nGo."))
    assert "Which?" in ran.shown[-1]
    assert "%session answer VALUE" in ran.shown[-1]
