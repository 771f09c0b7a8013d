"""What a user sets once for a notebook: ``%config Nbsession``, or ``[tool.nbsession]`` in pyproject.toml."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from traitlets import Bool, Enum, Float, Int, TraitError, Unicode, observe
from traitlets.config import Configurable

from nbsession.errors import did_you_mean
from nbsession.notebook.forms import DISPLAYS
from nbsession.notebook.view.look import look

if TYPE_CHECKING:
    from nbsession.notebook.project import Project

FOLDS = ("none", "changed", "all")
THEMES = ("auto", "light", "dark")


class Nbsession(Configurable):
    """The notebook's defaults, to be set with ``%config Nbsession.<name> = <value>``.

    What a cell's line says goes before these; they go before ``[tool.nbsession]`` of the
    nearest pyproject.toml, and that before the environment ($NBSESSION_MODEL, $NBSESSION_STORE).
    """

    model = Unicode("", help="the model of sessions whose app names none; '': as the environment says").tag(
        config=True
    )
    store = Unicode(
        "",
        help="the URL of the store of sessions with an id, e.g. sqlite:///talks.db; '': the user's own file",
    ).tag(config=True)
    live = Bool(True, help="show responses while they stream; else once they are complete").tag(config=True)
    display = Enum(
        DISPLAYS,
        "full",
        help="what stands under a cell: all, the response only (quiet), or nothing (off; --as still binds the result)",
    ).tag(config=True)
    folds = Enum(
        FOLDS, "changed", help="what is unfolded at first: nothing, the parts that changed, or all"
    ).tag(config=True)
    theme = Enum(THEMES, "auto", help="the colours of outputs: the front end's, or always light or dark").tag(
        config=True
    )
    budget = Float(
        0.0, min=0.0, help="end a cell before it would cost more than so many US dollars; 0: no limit"
    ).tag(config=True)
    max_ticks = Int(0, min=0, help="end each cell after so many model calls; 0: as the app says").tag(
        config=True
    )

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self._looks()

    @observe("folds", "theme")
    def _looks(self, _change: object = None) -> None:
        look.folds, look.theme = self.folds, self.theme

    def adopt(self, project: Project) -> list[str]:
        """Take a project's values where ``%config`` or a configuration file says nothing.

        Returns a line for each key that is unknown or has a value of a wrong type or
        range, with what is allowed; the others hold all the same.
        """
        complaints = []
        traits = self.traits(config=True)
        configured = self.config.Nbsession
        for key, value in project.values.items():
            where = f"{project.path}: [tool.nbsession] "
            if key not in traits:
                complaints.append(f"{where}has no key {key!r}{did_you_mean(key, traits)}")
                continue
            kind, allowed = _ALLOWED[type(traits[key])]
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
                complaints.append(f"{where}{key} is {_kind(allowed, traits[key])}, got {value!r}")
            elif key not in configured:
                try:
                    self.set_trait(key, value)
                except TraitError:
                    complaints.append(f"{where}{key} is {_kind(allowed, traits[key])}, got {value!r}")
        return complaints


_ALLOWED: dict[type, tuple[Any, str]] = {
    Bool: (bool, "true or false"),
    Unicode: (str, "a text"),
    Enum: (str, "one of "),
    Float: ((int, float), "an amount of US dollars, 0 or more"),
    Int: (int, "a whole number, 0 or more"),
}


def _kind(allowed: str, trait: Any) -> str:
    return allowed + ", ".join(repr(value) for value in getattr(trait, "values", None) or ())
