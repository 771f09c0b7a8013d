"""The permissions of one session: its app's rules, those that were added, and what somebody allowed for good."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nbsession.errors import SessionError
from nbsession.tools import Rule, rules_given, verdict_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from nbsession.content import ToolCall
    from nbsession.session.home import Home
    from nbsession.session.keeping import Keeper
    from nbsession.tools import Tool, Verdict

PERMISSIONS = "permissions"
"""Where the state log has what was added to the app's rules."""


class Permissions:
    """The rules of a session over tool calls, in order: the last that matches decides. Iterate it for them.

    First are the tools that were allowed for good where they asked themselves, then the app's rules and those
    that were added; what somebody allowed for good stands after the rule that asked. All but the app's is kept
    with the session, and a fork has it. Its methods may be called from any thread.
    """

    def __init__(
        self,
        of_app: Sequence[Rule],
        state: Mapping[str, Any],
        keeper: Keeper,
        home: Home,
    ) -> None:
        self._of_app = tuple(of_app)
        self._keeper = keeper
        self._home = home
        kept = state.get(PERMISSIONS, {})
        self._added = [Rule.from_dict(item) for item in kept.get("added", ())]
        self._always = [Rule.from_dict(item) for item in kept.get("always", ())]
        self._confirmed: list[str] = list(kept.get("confirmed", ()))

    @property
    def rules(self) -> tuple[Rule, ...]:
        """All of them, each with who made it in ``by``."""
        rules = [Rule("allow", tool, by="user") for tool in self._confirmed]
        for rule in (*self._of_app, *self._added):
            rules.append(rule)
            if rule in self._always:
                rules.append(replace(rule, action="allow", by="user", wide=True))
        return tuple(rules)

    def add(self, rule: Rule) -> None:
        """Add a rule after all others, so that it goes before them, from the next call on; ``SessionError`` for what is none."""
        (given,) = rules_given([rule], "permissions.add")
        self._home.call(lambda: self._change(lambda: self._added.append(replace(given, by="program"))))

    def remove(self, rule: Rule) -> None:
        """Take away a rule that was added, or one that was allowed for good: it is asked again then.

        Raises ``SessionError`` for the app's own, which a rule that is added can overrule, and for one that is not there.
        """
        self._home.call(lambda: self._remove(rule))

    def __iter__(self) -> Iterator[Rule]:
        return iter(self.rules)

    def __len__(self) -> int:
        return len(self.rules)

    def __str__(self) -> str:
        return "\n".join(f"{rule} · {_WHO[rule.by]}" for rule in self.rules)

    def __repr__(self) -> str:
        return f"<permissions {list(self.rules)!r}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self) or repr(self))

    # What the loop asks, on the home loop

    def verdict_on(self, tool: Tool, call: ToolCall) -> Verdict | None:
        """Say what the rules decide of a call; ``None`` where the tool's own ``confirm`` does."""
        rules = self.rules
        if not rules:
            return None
        try:
            arguments = tool.validate(call.input) if any(rule.arguments for rule in rules) else {}
        except Exception:  # noqa: BLE001  # a validator may raise anything; the call is refused where it would run
            arguments = {}
        return verdict_on(rules, (tool.name, call.name), call.input, arguments, known_as=tool.known_as)

    def always(self, tool: str, rule: Rule | None) -> None:
        """Allow from now on what a rule asks about, or, without one, what a tool asks itself."""

        def allowing() -> None:
            if rule is None and tool not in self._confirmed:
                self._confirmed.append(tool)
            elif rule is not None and rule not in self._always:
                self._always.append(rule)

        self._change(allowing)

    def take_over(self, other: Permissions) -> None:
        """Begin with what was added to another session's rules, as one that it spawns does."""
        if other._added or other._always or other._confirmed:
            self._added, self._always = [*other._added], [*other._always]
            self._change(lambda: self._confirmed.extend(other._confirmed))

    def _change(self, change: Callable[[], None]) -> None:
        change()
        kept = {
            "added": [rule.to_dict() for rule in self._added],
            "always": [rule.to_dict() for rule in self._always],
            "confirmed": list(self._confirmed),
        }
        self._keeper.note([(PERMISSIONS, kept)])

    def _remove(self, rule: Rule) -> None:
        asked = next((asked for asked in self._always if replace(asked, action="allow") == rule), None)
        if asked is not None and rule.by != "program":
            self._change(lambda: self._always.remove(asked))
        elif rule in self._added:
            last = len(self._added) - 1 - self._added[::-1].index(rule)
            self._change(lambda: self._added.__delitem__(last))
        elif rule.action == "allow" and not rule.arguments and rule.tool in self._confirmed:
            self._change(lambda: self._confirmed.remove(rule.tool))
        elif rule in self._of_app:
            raise SessionError(
                f"{rule} is a rule of the app; add one that decides otherwise: session.permissions.add(…)"
            )
        else:
            listed = ", ".join(map(str, self.rules)) or "none"
            raise SessionError(f"session.permissions has no {rule!r}; there are: {listed}")


_WHO = {"app": "by the app", "program": "added by the program", "user": "allowed always by the user"}
