"""Permissions of a session: what rules decide, what somebody allows for good, and what is kept of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nbsession import (
    App,
    Pause,
    StopReason,
    System,
    Timeline,
    Tool,
    ToolContext,
    allow,
    ask,
    component,
    deny,
    tool,
)
from nbsession.content import ToolCall
from nbsession.errors import SessionError, ToolError
from nbsession.events import ConfirmationRequested, PermissionDecided
from nbsession.stores import SqlStore
from nbsession.testing import ScriptedModel, call

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nbsession import Execution, Session
    from nbsession.tools import Rule


def agent(log: list[str], *replies: Any, permissions: Sequence[Rule] = (), **options: Any) -> App:
    @tool
    def read(path: str) -> str:
        """Read a file."""
        log.append(f"read {path}")
        return "text"

    @tool(aliases=["save"])
    def write(path: str) -> str:
        """Write a file."""
        log.append(f"write {path}")
        return "written"

    @tool(confirm=True)
    def send(to: str) -> str:
        """Send it."""
        log.append(f"send {to}")
        return "sent"

    @tool
    def sign(context: ToolContext) -> str:
        """Sign."""
        if context.answer is None:
            raise Pause("Which name?", again=True)
        log.append("sign")
        return "signed"

    @tool
    async def delegate(path: str, context: ToolContext) -> str:
        """Let another agent write."""
        child = context.spawn(Agent, f"Write {path}")
        return str(await child)

    @component
    def Agent() -> Any:
        return [System("Help."), read, write, send, sign, delegate, Timeline()]

    return App(Agent, model=ScriptedModel(*replies), permissions=permissions, **options)


async def answered(execution: Execution, *answers: Any, **confirm: Any) -> list[str]:
    """Answer what an execution asks, in order; return the questions."""
    asked: list[str] = []
    left = list(answers)
    async for event in execution:
        if isinstance(event, ConfirmationRequested):
            asked.append(event.message)
            if confirm:
                execution.confirm(event.call.id, True, **confirm)
            else:
                execution.session.answer(event.question, left.pop(0))  # type: ignore[attr-defined]  # it is a Session
    await execution
    return asked


def decisions(session: Session) -> list[str]:
    return [str(run.decision) for tick in session.ticks for run in tick.tool_calls if run.decision]


async def told(execution: Execution) -> list[tuple[str, str]]:
    return [(event.decision, event.rule) async for event in execution if isinstance(event, PermissionDecided)]


async def test_what_is_denied_does_not_run_and_the_model_is_told_by_which_rule() -> None:
    log: list[str] = []
    app = agent(log, call("write", path="/etc/x"), "Then not.", permissions=[deny("write", path="/etc/*")])
    session = app.session()
    execution = session.send("Write it.")
    assert await told(execution) == [("denied", 'deny("write", path="/etc/*")')]
    (run,) = (await execution).tool_calls
    assert log == []
    assert run.result is not None
    assert (run.result.status, run.result.is_error) == ("denied", True)
    assert "denied by a permission rule: write with path like '/etc/*' may not be called" in run.result.text
    assert str(run.decision) == 'denied by deny("write", path="/etc/*")'


async def test_what_is_allowed_runs_without_a_question_though_the_tool_asks_itself() -> None:
    log: list[str] = []
    session = agent(log, call("send", to="Bo"), "Done.", permissions=[allow("send", to="B*")]).session()
    execution = session.send("Go.")
    assert await answered(execution) == []
    assert log == ["send Bo"]
    assert await told(execution) == [("allowed", 'allow("send", to="B*")')]


async def test_where_no_rule_matches_the_tools_own_confirm_decides() -> None:
    log: list[str] = []
    replies = [[call("send", to="Al"), call("read", path="a")], "Done."]
    session = agent(log, *replies, permissions=[allow("send", to="B*")]).session()
    execution = session.send("Go.")
    assert await answered(execution, False) == ["Run send(to='Al')?"]
    assert log == ["read a"]
    assert await told(execution) == []
    assert decisions(session) == []


async def test_a_rule_that_asks_is_named_in_the_question_and_waits_as_a_confirmation_does(
    tmp_path: Path,
) -> None:
    log: list[str] = []
    rules = [ask("write*")]
    store = SqlStore(f"sqlite:///{tmp_path}/s.db")
    session = agent(log, call("save", path="a"), permissions=rules, store=store).session("s")
    execution = session.send("Write.")
    async for event in execution:
        if isinstance(event, ConfirmationRequested):
            assert event.message == "Run save(path='a')? (asked by ask(\"write*\"))"
            assert execution.pause()
    assert (await execution).stop_reason is StopReason.paused
    await session.aclose()
    again = agent(log, "Done.", permissions=rules, store=store).session("s")
    (question,) = again.waiting
    assert (question.rule, question.lasting) == (rules[0], True)
    assert decisions(again) == ['asked by ask("write*")']
    assert (await again.answer(question.id, True)).text == "Done."
    assert log == ["write a"]
    assert decisions(again) == ['asked by ask("write*")']
    await again.aclose()


@pytest.mark.parametrize("by", ["answer", "confirm"])
async def test_always_lets_what_the_rule_asks_about_run_for_the_rest_of_the_session(by: str) -> None:
    log: list[str] = []
    replies = [call("write", path="a"), call("write", path="b"), call("write", path="/etc/c"), "Done."]
    rules = [ask("write"), deny("write", path="/etc/*")]
    session = agent(log, *replies, permissions=rules).session()
    execution = session.send("Write.")
    asked = await (answered(execution, "always") if by == "answer" else answered(execution, always=True))
    assert len(asked) == 1
    assert log == ["write a", "write b"]
    assert decisions(session) == [
        'asked by ask("write")',
        "allowed always by the user",
        'denied by deny("write", path="/etc/*")',
    ]
    assert [(str(rule), rule.by) for rule in session.permissions] == [
        ('ask("write")', "app"),
        ('allow("write")', "user"),
        ('deny("write", path="/etc/*")', "app"),
    ]


async def test_always_may_be_said_of_a_tool_that_asks_itself_and_an_app_rule_goes_before_it() -> None:
    log: list[str] = []
    replies = [call("send", to="Al"), call("send", to="Bo"), call("send", to="Cy"), "Done."]
    session = agent(log, *replies, permissions=[deny("send", to="C*")]).session()
    assert len(await answered(session.send("Go."), "always")) == 1
    assert log == ["send Al", "send Bo"]
    assert list(session.permissions) == [allow("send"), deny("send", to="C*")]


@pytest.mark.parametrize("clashes", [False, True])
@pytest.mark.parametrize("named", ["delete_file", "fs_delete_file"])
async def test_a_tool_that_a_clash_gives_a_longer_name_is_refused_and_asked_about_by_both(
    named: str, clashes: bool
) -> None:
    log: list[str] = []
    of_server = Tool("delete_file", "Delete.", handler=lambda: log.append("deleted"))
    of_server.qualify("fs_delete_file")
    own = Tool("delete_file", "Delete ours.", handler=lambda: log.append("ours"))
    called = call("fs_delete_file" if clashes else "delete_file")

    @component
    def Agent() -> Any:
        return [System("Help."), of_server, *([own] if clashes else []), Timeline()]

    def opened(rule: Rule) -> Session:
        return App(Agent, model=ScriptedModel(called, called, "Done."), permissions=[rule]).session()

    denied = opened(deny(named))
    await denied.send("Delete it.")
    assert decisions(denied) == [f'denied by deny("{named}")'] * 2
    assert log == []
    asked = opened(ask(named))
    assert len(await answered(asked.send("Delete it."), "always")) == 1
    assert log == ["deleted", "deleted"]


async def test_a_rule_that_allows_a_tool_does_not_allow_another_that_has_its_name_in_no_clash() -> None:
    log: list[str] = []
    of_server = Tool("delete_file", "Delete.", handler=lambda: log.append("deleted"), confirm=True)
    of_server.qualify("fs_delete_file")
    own = Tool("delete_file", "Delete ours.", handler=lambda: log.append("ours"), confirm=True)

    @component
    def Agent() -> Any:
        return [System("Help."), of_server, own, Timeline()]

    says = ScriptedModel([call("delete_file"), call("fs_delete_file")], "Done.")
    session = App(Agent, model=says, permissions=[allow("delete_file")]).session()
    assert len(await answered(session.send("Delete them."), False)) == 1
    assert log == ["ours"]


async def test_always_is_kept_over_a_restart_and_in_forks_and_can_be_taken_back(tmp_path: Path) -> None:
    log: list[str] = []
    rules = [ask("write", path="*.txt")]
    store = SqlStore(f"sqlite:///{tmp_path}/s.db")
    first = agent(log, call("write", path="a.txt"), "Done.", permissions=rules, store=store).session("s")
    await answered(first.send("Write."), "always")
    await first.aclose()

    replies = [call("write", path="b.txt"), "Done.", call("write", path="c.txt"), "Done."]
    session = agent(log, *replies, permissions=rules, store=store).session("s")
    assert decisions(session) == ['asked by ask("write", path="*.txt")']
    assert await answered(session.send("Write.")) == []
    assert list(session.fork().permissions) == list(session.permissions)
    assert str(session.permissions) == (
        'ask("write", path="*.txt") · by the app\nallow("write", path="*.txt") · allowed always by the user'
    )
    session.permissions.remove(allow("write", path="*.txt"))
    assert list(session.permissions) == rules
    assert len(await answered(session.send("Write."), False)) == 1
    assert log == ["write a.txt", "write b.txt"]
    await session.aclose()


async def test_a_rule_that_is_added_goes_before_the_others_and_is_kept(tmp_path: Path) -> None:
    log: list[str] = []
    store = SqlStore(f"sqlite:///{tmp_path}/s.db")
    session = agent(log, permissions=[allow("write")], store=store).session("s")
    session.permissions.add(deny("write"))
    await session.aclose()
    again = agent(log, call("write", path="a"), "No.", permissions=[allow("write")], store=store).session("s")
    assert [(str(rule), rule.by) for rule in again.permissions] == [
        ('allow("write")', "app"),
        ('deny("write")', "program"),
    ]
    await again.send("Write.")
    assert log == []
    again.permissions.remove(deny("write"))
    assert len(again.permissions) == 1
    with pytest.raises(SessionError, match=r'allow\("write"\) is a rule of the app; add one'):
        again.permissions.remove(allow("write"))
    with pytest.raises(SessionError, match=r'has no ask\("x"\); there are: allow\("write"\)'):
        again.permissions.remove(ask("x"))
    await again.aclose()


async def test_an_input_that_was_corrected_is_not_asked_about_again_and_may_be_denied() -> None:
    log: list[str] = []
    rules = [ask("write"), deny("write", path="/etc/*")]
    replies = [call("write", path="a"), call("write", path="a"), "Done."]
    session = agent(log, *replies, permissions=rules).session()
    asked = await answered(session.send("Write."), {"path": "b"}, {"path": "/etc/x"})
    assert len(asked) == 2
    assert log == ["write b"]
    assert decisions(session) == ['asked by ask("write")', 'denied by deny("write", path="/etc/*")']


async def test_a_line_that_cannot_be_read_is_asked_about_each_time() -> None:
    ran: list[str] = []

    @tool
    def shell(command: str) -> str:
        """Run it."""
        ran.append(command)
        return "ok"

    @component
    def Agent() -> Any:
        return [shell, Timeline()]

    model = ScriptedModel(call("shell", command="$X a"), call("shell", command="$X b"), "Done.")
    session = App(Agent, model=model, permissions=[deny("shell", command="rm *")]).session()
    execution = session.send("Go.")
    asked = await answered(execution, always=True)
    assert asked == [
        f"Run shell(command='$X {name}')? (it cannot be told which commands this runs, and the rule "
        'deny("shell", command="rm *") is about them)'
        for name in "ab"
    ]
    assert ran == ["$X a", "$X b"]
    assert list(session.permissions) == [deny("shell", command="rm *")]


async def test_what_is_allowed_always_is_allowed_to_those_that_wait_beside_it() -> None:
    ran: list[str] = []

    @tool(parallel=True)
    def fetch(url: str) -> str:
        """Fetch it."""
        ran.append(url)
        return "page"

    @component
    def Agent() -> Any:
        return [fetch, Timeline()]

    calls = [call("fetch", url=url) for url in ("a", "b", "c")]
    session = App(Agent, model=ScriptedModel(calls, "Done."), permissions=[ask("fetch")]).session()
    execution = session.send("Go.")
    asked: list[str] = []
    async for event in execution:
        if isinstance(event, ConfirmationRequested):
            asked.append(event.call.id)
            if len(asked) == 3:
                execution.confirm(asked[1], True, always=True)
    await execution
    assert sorted(ran) == ["a", "b", "c"]
    assert session.waiting == []


def test_a_rule_that_matches_nothing_is_found_before_anything_is_sent() -> None:
    rules = [deny("wirte"), deny("write", file="*"), allow("nothing"), ask("write", path="*")]
    found = [
        item for item in agent([], permissions=rules).session().check() if item.what == "rule-of-nothing"
    ]
    assert [(item.severity, item.message.partition("; ")[0]) for item in found] == [
        ("warning", 'the rule deny("wirte") is about no tool that is there now'),
        ("warning", 'the rule deny("write", file="*") matches no call: no such tool takes file'),
        ("note", 'the rule allow("nothing") is about no tool that is there now'),
    ]


async def test_an_argument_is_matched_as_the_tool_takes_it_too() -> None:
    ran: list[bool] = []

    @tool
    def remove(force: bool) -> str:
        """Remove it."""
        ran.append(force)
        return "removed"

    @component
    def Agent() -> Any:
        return [remove, Timeline()]

    model = ScriptedModel(call("remove", force="yes"), call("remove", force=False), "Done.")
    session = App(Agent, model=model, permissions=[deny("remove", force="true")]).session()
    await session.send("Go.")
    assert ran == [False]


async def test_what_the_user_dispatches_is_not_asked_about_and_may_be_denied() -> None:
    log: list[str] = []
    session = agent(log, permissions=[ask("write"), deny("read")]).session()
    assert await session.dispatch("write", path="a") == "written"
    with pytest.raises(ToolError, match="denied by a permission rule: read may not be called"):
        await session.dispatch("read", path="a")
    assert log == ["write a"]


async def test_a_session_that_is_spawned_has_the_rules_and_what_was_added_to_them() -> None:
    log: list[str] = []
    replies = [call("delegate", path="a"), call("write", path="a"), "I may not.", "Done."]
    session = agent(log, *replies, permissions=[ask("read")]).session()
    session.permissions.add(deny("write"))
    await session.send("Go.")
    assert log == []
    assert list(session.children[0].permissions) == list(session.permissions)


async def test_in_a_sweep_nobody_is_asked_so_what_would_be_is_denied() -> None:
    log: list[str] = []
    session = agent(log, "Hello.", call("write", path="a"), "No.", permissions=[ask("write")]).session()
    await session.send("Hi.")
    (row,) = await session.sweep("Write.", repeat=1)
    assert log == []
    assert row.result is not None
    (run,) = row.result.tool_calls
    assert run.result is not None
    assert run.result.status == "denied"


async def test_a_tool_that_goes_on_after_a_pause_is_still_denied() -> None:
    log: list[str] = []
    session = agent(log, call("sign"), "No.").session()
    await session.send("Sign.")
    session.permissions.add(deny("sign"))
    await session.answer(session.waiting[0].id, "Bo")
    assert log == []


async def test_late_readers_and_restarts_find_every_decision(tmp_path: Path) -> None:
    log: list[str] = []
    store = SqlStore(f"sqlite:///{tmp_path}/s.db")
    rules = [allow("read"), deny("write")]
    replies = [[call("read", path="a"), call("write", path="b")], "Done."]
    session = agent(log, *replies, permissions=rules, store=store).session("s")
    await session.send("Go.")
    await session.aclose()
    again = agent(log, permissions=rules, store=store).session("s")
    assert decisions(again) == ['allowed by allow("read")', 'denied by deny("write")']
    events = []
    async for event in again.subscribe(0):
        events.append(event)
        if event.type == "done":
            break
    assert [(e.decision, e.rule, e.by) for e in events if isinstance(e, PermissionDecided)] == [
        ("allowed", 'allow("read")', "app"),
        ("denied", 'deny("write")', "app"),
    ]
    await again.aclose()


def test_what_is_no_list_of_rules_is_refused_at_once() -> None:
    @component
    def Agent() -> Any:
        return Timeline()

    with pytest.raises(SessionError, match="takes a list of rules"):
        App(Agent, permissions=allow("x"))  # type: ignore[arg-type]  # that is the fault
    with pytest.raises(SessionError, match="takes rules made by allow"):
        App(Agent, permissions=["allow"])  # type: ignore[list-item]  # as above


RULES = st.lists(
    st.builds(
        lambda make, tool, path: make(tool, **({} if path is None else {"path": path})),
        st.sampled_from([allow, ask, deny]),
        st.sampled_from(["*", "write", "read"]),
        st.sampled_from([None, "a*", "*b"]),
    ),
    max_size=6,
)
CALLS = st.tuples(st.sampled_from(["write", "read", "send"]), st.sampled_from(["a", "ab", "b", "a/../b"]))


@given(RULES, st.lists(st.one_of(st.none(), st.integers(0, 5)), max_size=3), CALLS)
@example([ask("*", path="a*")], [0], ("write", "a/../b"))  # no rule is about b, where the path leads
def test_always_never_overrides_a_denial(
    rules: list[Rule], granted: list[int | None], called: tuple[str, str]
) -> None:
    session = agent([], permissions=rules).session()
    made, tool = ToolCall("c", called[0], {"path": called[1]}), Tool(called[0], handler=str)
    before = session.permissions.verdict_on(tool, made)
    asks = [rule for rule in rules if rule.action == "ask"]
    for number in granted:
        if number is None:
            session.permissions.always("send", None)
        elif asks:
            session.permissions.always("", asks[number % len(asks)])
    after = session.permissions.verdict_on(tool, made)
    if before is not None and before.action != "ask":
        assert after == before
    if before is not None and before.action == "ask":
        assert after is None or after.action in ("ask", "allow")
