"""The rules of the simulated model, in the order in which they are tried."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nbsession.models.simulated.arguments import value_for
from nbsession.models.simulated.choosing import INTERROGATIVE, Choice, choose
from nbsession.models.simulated.failing import asked_failure
from nbsession.models.simulated.memory import asked_for, asked_position, facts, find_fact
from nbsession.models.simulated.parameters import parameters
from nbsession.models.simulated.quoting import asked_section, best_line
from nbsession.models.simulated.reading import Reading, Reply
from nbsession.models.simulated.telling import NATURE, arguments, block, description, offers, outcome
from nbsession.models.simulated.words import (
    clip,
    first_sentence,
    plain,
    quoted,
    sentences,
    spelled,
    stems,
    words,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_DESCRIBE = re.compile(
    r"\b(?:what (?:do|can) you see|what['’]?s? (?:is )?in (?:your|the) context|what (?:have|were) you (?:been )?(?:sent|given)"
    r"|what were you sent|describe (?:your|the)? ?(?:context|prompt)|describe (?:what you see|yourself)"
    r"|(?:show|tell) me (?:about )?your (?:context|prompt)|show your context|your compiled context)\b",
    re.IGNORECASE,
)
_ABILITIES = re.compile(
    r"^(?:help|help me)\W*$|\b(?:what (?:can|could|do) you do|what (?:are|is) your (?:tools|abilities|rules)"
    r"|(?:which|what) (?:tools|knobs) (?:do you have|can you use|are there|have you)|how (?:can|do) you (?:help|work)"
    r"|who are you|what are you|are you (?:a |an )?(?:language model|llm|ai|real|human|bot|claude|chatgpt)"
    r"|list (?:your|the) (?:tools|knobs))\b",
    re.IGNORECASE,
)
_TOOL_QUESTION = re.compile(r"\b(?:what|how|why|explain|describe|tell me about|which)\b", re.IGNORECASE)
_GREETING = re.compile(
    r"^(?:hi|hello|hey|hallo|servus|ciao|good (?:morning|afternoon|evening|day)|greetings)(?: (?:there|again|you))?\b",
    re.IGNORECASE,
)
_THANKS = re.compile(r"\b(?:thanks|thank you|thx|cheers|much appreciated)\b", re.IGNORECASE)
_FAREWELL = re.compile(r"^(?:bye|goodbye|good night|see you|farewell)\b", re.IGNORECASE)
_NEEDED = re.compile(r"^To use `([\w-]+)` I need: `([\w-]+)`\.")


def describe_unasked(reading: Reading) -> Reply | None:
    """Nobody asked anything: describe the context."""
    if reading.asked is not None or reading.outcomes:
        return None
    return Reply("nothing-asked", "there is no user message", *description(reading))


def report_results(reading: Reading) -> Reply | None:
    """After tool calls: say what each gave."""
    if not reading.outcomes:
        return None
    told = [outcome(call, result) for call, result in reading.outcomes]
    short = [result.text.strip() or "(nothing)" for _, result in reading.outcomes]
    names = ", ".join(f"`{result.name}`" for _, result in reading.outcomes)
    why = f"{len(told)} result{'s' if len(told) > 1 else ''} of {names} after the last user message"
    failed = any(result.is_error for _, result in reading.outcomes)
    brief = "\n".join(told) if failed else clip("\n".join(short))
    opening = "I am sorry: " if failed else "All set! "
    return Reply("report-results", why, "\n\n".join(told), brief, opening=opening)


def fail_on_demand(reading: Reading) -> Reply | None:
    """Asked to fail: as a model on a network would."""
    failure = asked_failure(reading)
    if failure is None:
        return None
    text = {"refusal": "", "max_tokens": "This answer ends at its limit of tok"}.get(
        failure.stop, "This answer breaks off in the mid"
    )
    why = f"{quoted(failure.words)} in the question"
    return Reply("fail-on-demand", why, text, text or " ", opening="", failure=failure)


def describe_context(reading: Reading) -> Reply | None:
    """Asked what it sees: the parts of the context."""
    match = _DESCRIBE.search(reading.question)
    if match is None:
        return None
    return Reply("describe-context", f"“{match[0]}” in the question", *description(reading))


def tell_abilities(reading: Reading) -> Reply | None:
    """Asked what it is or can do: the truth, and what the context offers."""
    match = _ABILITIES.search(reading.question)
    if match is None:
        return None
    hello = "Hello! " if _GREETING.match(reading.question) else ""
    text = f"{hello}{NATURE} {offers(reading)}"
    return Reply(
        "tell-abilities", f"“{match[0]}” in the question", text, f"{NATURE} {offers(reading)}", opening=""
    )


def explain_tool(reading: Reading) -> Reply | None:
    """Asked about a tool by its name: its description and parameters."""
    if not _TOOL_QUESTION.search(reading.question):
        return None
    for spec in reading.tools:
        if "_" in spec.name and re.search(rf"(?<!\w){re.escape(spec.name)}(?!\w)", reading.question):
            names = ", ".join(f"`{p.name}`" + ("" if p.required else " (optional)") for p in parameters(spec))
            text = f"`{spec.name}`: {spec.description.strip() or 'no description'}\n\nIt takes {names or 'nothing'}."
            return Reply(
                "explain-tool", f"a question about `{spec.name}`", text, first_sentence(spec.description)
            )
    return None


def take_answer(reading: Reading) -> Reply | None:
    """The user answers what was asked for: the tool gets its last argument."""
    before = reading.earlier
    if len(before) < 2 or before[-1].role != "assistant" or before[-2].role != "user":
        return None
    match = _NEEDED.search(before[-1].text)
    spec = reading.tool(match[1]) if match else None
    if match is None or spec is None or reading.question.endswith("?") or len(reading.question) > 300:
        return None
    wanted = next((p for p in parameters(spec) if p.name == match[2]), None)
    value = value_for(wanted, plain(reading.question)) if wanted else None
    first = next(
        (c for s in sentences(before[-2].text) if (c := choose(reading, s)) and c.tool == spec.name), None
    )
    if value is None or first is None or first.missing != [match[2]]:
        return None
    filled = {**first.input, match[2]: value}
    return _calls(
        "take-answer",
        [Choice(spec.name, filled, [], f"`{match[2]}` was asked for in message {before[-1].number}")],
    )


def use_tools(reading: Reading) -> Reply | None:
    """The user asks for tools or knobs: call them, or ask for what is missing."""
    if not reading.tools:
        return None
    choices: list[Choice] = []
    for sentence in reading.sentences:
        choices += _choices(reading, sentence)
    ready = [choice for choice in choices if not choice.missing]
    if ready:
        return _calls("use-tool", ready)
    if not choices:
        return None
    first = choices[0]
    missing = ", ".join(f"`{name}`" for name in first.missing)
    knob = (
        f" for the knob “{first.input['name']}”" if first.tool == "set_knob" and "name" in first.input else ""
    )
    text = f"To use `{first.tool}` I need: {missing}.{knob and f' It is{knob}.'}"
    return Reply("ask-for-missing", f"{first.why}; your words give no {missing}", text, opening="")


def recall_position(reading: Reading) -> Reply | None:
    """Asked what was said first or last: quote it."""
    found = asked_position(reading, reading.question)
    if found is None:
        return None
    heard, name = found
    if heard is None:
        return Reply("recall-message", "no such message in the timeline", f"{name} is not in my context.")
    text = f"{name} (message {heard.number}) was {quoted(heard.text)}"
    return Reply(
        "recall-message", f"message {heard.number} of {len(reading.spoken)}", text, quoted(heard.text)
    )


def recall_fact(reading: Reading) -> Reply | None:
    """Asked about the user: the fact, with the message it stands in."""
    for sentence in reading.sentences:
        subject = asked_for(sentence)
        if subject and (fact := find_fact(reading, subject)):
            text = f"{fact.value}. You said so in message {fact.number}: {quoted(fact.sentence)}"
            why = f"“{fact.sentence}” in message {fact.number}"
            return Reply("remember-fact", why, text, f"{fact.value}.")
    return None


def tell_knob(reading: Reading) -> Reply | None:
    """Asked how a knob stands: its value."""
    if not INTERROGATIVE.match(plain(reading.question)):
        return None
    said = stems(reading.question) - stems("knob value setting set current currently level")
    for knob in reading.knobs.values():
        if said and said == stems(knob.name):
            text = f"The knob “{knob.name}” stands at {knob.value}."
            return Reply("tell-knob", f"“{' '.join(words(knob.name))}” in the question", text, knob.value)
    return None


def quote_section(reading: Reading) -> Reply | None:
    """Asked for a section by its title: quote all of it."""
    for sentence in reading.sentences:
        if part := asked_section(reading, sentence):
            text = f"From “{part.title}”:{block(part.body)}"
            return Reply("quote-section", f"“{part.title}” in the question", text, clip(part.body.strip()))
    return None


def quote_line(reading: Reading) -> Reply | None:
    """Quote the line that fits the question best."""
    if not _is_question(reading.question):
        return None
    for sentence in reading.sentences:
        line = best_line(reading, sentence)
        if line is not None:
            why = f"“{spelled(sentence, line.shared)}” in the question and in {line.where}"
            return Reply("quote-line", why, f"From {line.where}: {quoted(line.text)}", clip(line.text))
    return None


def unknown_fact(reading: Reading) -> Reply | None:
    """Asked about the user, and nothing is there: say so."""
    if not any(asked_for(sentence) for sentence in reading.sentences):
        return None
    text = "I find nothing about that in my context: no message, section or system part tells it."
    why = "a question about you, and no line that answers it"
    return Reply("unknown-fact", why, text, "Not in my context.", opening="I am sorry: ")


def acknowledge_fact(reading: Reading) -> Reply | None:
    """The user told a fact: say where it now stands."""
    told = facts(reading.asked) if reading.asked else []
    if not told:
        return None
    hello = "Hello! " if _GREETING.match(reading.question) else ""
    said = " ".join(dict.fromkeys(quoted(fact.sentence) for fact in told))
    text = f"{hello}Understood: {said} That stands in the timeline now; ask me for it."
    return Reply(
        "acknowledge-fact",
        f"{said} is a fact about you",
        text,
        "Understood.",
        opening="" if hello else "Thank you! ",
    )


def be_polite(reading: Reading) -> Reply | None:
    """Greetings, thanks and farewells."""
    question = reading.question
    if match := _THANKS.search(question):
        return Reply("thanks", f"“{match[0]}”", "You are welcome.", opening="")
    if match := _FAREWELL.match(question):
        return Reply(
            "farewell", f"“{match[0]}”", "Goodbye. The session keeps what was said.", "Goodbye.", opening=""
        )
    if (match := _GREETING.match(question)) and not stems(question[match.end() :]):
        return Reply("greeting", f"“{match[0]}”", f"Hello! {NATURE} {offers(reading)}", "Hello.", opening="")
    return None


def admit(reading: Reading) -> Reply:
    """Nothing fits: say so, and what would work here."""
    text = f"{NATURE} None of them fits that. {offers(reading)}"
    return Reply("no-rule-fits", "no other rule matched", text, f"No rule fits. {NATURE}", opening="")


RULES: tuple[Callable[[Reading], Reply | None], ...] = (
    describe_unasked,
    report_results,
    fail_on_demand,
    describe_context,
    tell_abilities,
    explain_tool,
    take_answer,
    use_tools,
    recall_position,
    recall_fact,
    tell_knob,
    quote_section,
    quote_line,
    unknown_fact,
    acknowledge_fact,
    be_polite,
)


def answer(reading: Reading) -> Reply:
    """Try the rules in order; the first that has an answer gives it."""
    return next((reply for rule in RULES if (reply := rule(reading))), None) or admit(reading)


def _choices(reading: Reading, sentence: str) -> list[Choice]:
    """The tools one sentence asks for: several where it can be parted at "and", and each half asks for one."""
    for match in re.finditer(r",?\s+(?:and then|and also|and|then)\s+", sentence):
        halves = [choose(reading, half) for half in (sentence[: match.start()], sentence[match.end() :])]
        if all(half is not None and not half.missing for half in halves):
            return [half for half in halves if half is not None]
    choice = choose(reading, sentence)
    return [choice] if choice else []


def _calls(rule: str, choices: list[Choice]) -> Reply:
    unique = [choice for number, choice in enumerate(choices) if choice not in choices[:number]]
    told = " ".join(f"I call `{choice.tool}`{arguments(choice.input)}." for choice in unique)
    why = "; ".join(f"`{choice.tool}`: {choice.why}" for choice in unique)
    return Reply(
        rule, why, told, " ", tuple((choice.tool, choice.input) for choice in unique), opening="Sure! "
    )


def _is_question(text: str) -> bool:
    start = r"^(?:what|who|whom|whose|when|where|which|why|how|is|are|do|does|did|was|were|can|could|tell|show|find|list|read|quote)\b"
    return "?" in text or re.match(start, plain(text), re.IGNORECASE) is not None
