"""Rules over tool calls: what they match, and what cannot be got past them."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbsession import allow, ask, deny
from nbsession.errors import SessionError
from nbsession.tools import Rule, verdict_on
from nbsession.tools.command_line import commands_in

SHELL = [allow("shell", command="git *"), allow("shell", command="ls*"), deny("shell", command="rm *")]


def decided(rules: list[Rule], tool: str = "shell", **input: Any) -> str:
    verdict = verdict_on(rules, (tool,), input)
    return "" if verdict is None else verdict.decision.outcome


def test_a_rule_matches_by_the_tool_and_by_the_text_of_each_argument_that_it_names() -> None:
    rules = [allow("read_*"), ask("write_*", path="src/*"), deny("pay", amount="1???", dry="false")]
    assert decided(rules, "read_file", path="a") == "allowed"
    assert decided(rules, "write_file", path="src/a/b.py") == "asked"
    assert decided(rules, "write_file", path="doc/a") == ""
    assert decided(rules, "write_file") == ""
    assert decided(rules, "Read_file") == ""
    assert decided(rules, "pay", amount=1000, dry=False) == "denied"
    assert decided(rules, "pay", amount=1000.0, dry=False) == "denied"
    assert decided(rules, "pay", amount=1000, dry=True) == ""


def test_lists_and_objects_are_matched_as_json_and_a_dotted_name_reaches_into_objects() -> None:
    rules = [
        deny("fetch", urls='*"http:*'),
        deny("fetch", **{"headers.auth": "*"}),
        deny("fetch", **{"a.b": "exactly"}),
    ]
    assert decided(rules, "fetch", urls=["https://a", "http://b"]) == "denied"
    assert decided(rules, "fetch", urls=["https://a"], headers={"auth": "x"}) == "denied"
    assert decided(rules, "fetch", **{"a.b": "exactly"}) == "denied"
    assert decided(rules, "fetch", urls=["https://a"], headers={}) == ""


def test_a_tool_is_matched_by_its_own_name_and_by_the_one_it_was_called_by() -> None:
    for rule in (deny("shell"), deny("bash")):
        verdict = verdict_on([rule], ("shell", "bash"), {})
        assert verdict is not None
        assert verdict.action == "deny"


def test_by_the_other_name_that_a_tool_has_in_a_clash_it_is_refused_and_asked_about_but_not_allowed() -> None:
    for rule, outcome in ((deny("delete"), "denied"), (ask("delete"), "asked"), (allow("delete"), "")):
        verdict = verdict_on([rule], ("fs_delete",), {}, known_as=("delete",))
        assert (verdict.decision.outcome if verdict else "") == outcome


@pytest.mark.parametrize(
    "line",
    [
        "rm -rf x",
        "  rm\t -rf   x",
        "ls; rm x",
        "ls && rm x",
        "ls || rm x",
        "ls | rm x",
        "ls & rm x",
        "ls\nrm x",
        "(ls; rm x)",
        "{ rm x; }",
        "if true; then rm x; fi",
        "git log $(rm x)",
        'git log "$(rm x)"',
        "git log `rm x`",
        "git log <(rm x)",
        "git log $(git log $(rm x))",
        "A=1 rm x",
        "A=1 B='2 3' rm x",
        "env A=1 rm x",
        "sudo -u me rm x",
        "/bin/rm x",
        "\\rm x",
        "r''m x",
        '"rm" x',
        "r\\\nm x",
        "sh -c 'ls; rm x'",
        "eval 'rm x'",
        "find . -exec rm {} \\;",
        "xargs rm < names",
        "<names rm x",
        "2>/dev/null rm x",
        ">/dev/null rm x",
        "function f { rm x; }; f",
        "f() { rm x; }; f",
        "coproc N { rm x; }",
        "time -p rm x",
        "trap 'rm x' EXIT",
        "git commit -m 'it; is' && rm x",
    ],
)
def test_a_denied_command_is_found_wherever_a_line_runs_it(line: str) -> None:
    assert decided(SHELL, command=line) == "denied"
    assert decided([*SHELL[2:]], command=line) == "denied"


@pytest.mark.parametrize(
    "line",
    [
        "git commit -m 'now; rm x'",
        'git log --grep="rm x"',
        "git rm x",
        "ls && git log",
        "git log 2>&1 >/dev/null",
    ],
)
def test_what_only_mentions_a_denied_command_runs(line: str) -> None:
    assert decided(SHELL, command=line) == "allowed"


@pytest.mark.parametrize(
    "line",
    ["ls && cat x", "git log; curl a", "git log | sh", "git log > ~/.bashrc", "LD_PRELOAD=x git log", ""],
)
def test_a_line_is_allowed_only_where_each_of_its_commands_is(line: str) -> None:
    assert decided(SHELL, command=line) == ""
    assert decided([ask("shell"), *SHELL], command=line) == "asked"


def test_a_file_that_is_written_to_can_be_allowed() -> None:
    assert decided([*SHELL, allow("shell", command="> /tmp/*")], command="git log > /tmp/x") == "allowed"


@pytest.mark.parametrize(
    "line",
    [
        "$X y",
        "rm${IFS}-rf",
        "r? x",
        "{rm,x}",
        "echo 'a",
        "sudo $X",
        "cat <<E\nrm\nE",
        "$'\\x72m' x",
        "$(echo rm) x",
    ],
)
def test_where_nobody_can_tell_which_command_runs_it_is_asked(line: str) -> None:
    for rules in ([allow("shell"), deny("shell", command="rm *")], [deny("shell", command="rm *")]):
        assert decided(rules, command=line) == "asked"
    assert decided([allow("shell")], command=line) == "allowed"


def test_the_words_of_a_command_are_read_as_a_line() -> None:
    assert decided(SHELL, command=["rm", "-rf", "x"]) == "denied"
    assert decided(SHELL, command=["sh", "-c", "ls; rm x"]) == "denied"
    assert decided([deny("shell", commands="rm *")], commands=["ls", "rm x"]) == "denied"


def test_a_path_is_matched_also_without_its_detours() -> None:
    rules = [allow("read", path="src/*"), deny("read", path="src/secret/*")]
    assert decided(rules, "read", path="src/a") == "allowed"
    assert decided(rules, "read", path="src/../etc/passwd") == ""
    assert decided(rules, "read", path="src/a/../secret/x") == "denied"
    assert decided(rules, "read", path="./src//secret/x") == "denied"


def test_what_is_no_rule_is_refused_with_the_remedy() -> None:
    with pytest.raises(SessionError, match=r"deny\('pay', amount=\) takes a shell pattern.*got 3"):
        deny("pay", amount=cast("str", 3))
    with pytest.raises(SessionError, match=r"allow\(\) takes a tool's name.*got ''"):
        allow("")


def test_a_rule_reads_as_it_is_written() -> None:
    assert str(deny("shell", command='rm "*"')) == 'deny("shell", command="rm \\"*\\"")'


RULES = st.lists(
    st.builds(
        lambda make, tool, command: make(tool, **({} if command is None else {"command": command})),
        st.sampled_from([allow, ask, deny]),
        st.sampled_from(["*", "shell", "sh*", "read"]),
        st.sampled_from([None, "*", "a*", "a b", "b", "*b"]),
    ),
    max_size=6,
)


@given(RULES, st.sampled_from(["shell", "read"]), st.sampled_from(["a", "a b", "b", "c"]))
def test_of_a_simple_call_the_last_rule_that_matches_decides(
    rules: list[Rule], tool: str, command: str
) -> None:
    matching = [rule for rule in rules if rule.concerns((tool,)) and rule.matches({"command": command})]
    verdict = verdict_on(rules, (tool,), {"command": command})
    assert (None if verdict is None else verdict.rule) == (matching[-1] if matching else None)


@given(RULES, st.lists(st.sampled_from(["a", "a b", "b", "c"]), min_size=1, max_size=4))
def test_a_line_is_decided_as_the_strictest_of_its_commands_or_stricter(
    rules: list[Rule], parts: list[str]
) -> None:
    order = ["allowed", "", "asked", "denied"]
    strictest = max((decided(rules, command=part) for part in parts), key=order.index)
    assert order.index(decided(rules, command="; ".join(parts))) >= order.index(strictest)


@given(st.text(alphabet="ab \\'\"$`(){};|&<>\n=/0", max_size=60))
def test_any_text_can_be_taken_apart(line: str) -> None:
    assert all(command == " ".join(command.split()) for command in commands_in(line).commands)
