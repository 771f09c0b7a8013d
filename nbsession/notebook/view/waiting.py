"""Questions that wait, shown in a cell of their own: answered there, they go on there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbsession.notebook import kernel
from nbsession.notebook.view.desk import desk
from nbsession.notebook.view.execution import Begun, ExecutionView, asking, going_on, static_of
from nbsession.notebook.view.live import Ui
from nbsession.notebook.view.place import Place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbsession.notebook.view.transcript import Transcript
    from nbsession.session import Execution, Session
    from nbsession.tools import Question


class WaitingView:
    """Shows questions of one session; the page has a form for each."""

    def __init__(self, session: Session, questions: Sequence[Question]) -> None:
        self.session = session
        self._run = asking(session, questions)
        self._ui = Ui()
        self._place: Place | None = None

    @property
    def run(self) -> Transcript:
        """What it shows."""
        return self._run

    def display(self) -> None:
        """Make the output in the calling cell."""
        from IPython.core.getipython import get_ipython
        from IPython.display import display

        self._run.cell = kernel.cell_id(get_ipython()) or self._run.cell
        made = display({"text/plain": ""}, raw=True, display_id=True)  # type: ignore[no-untyped-call]  # as IPython has it
        self._place = Place(made)
        self._ui.root = desk().knows(self.session, self._place)
        self._ui.post = self.session.app.home.call(lambda: desk().posts.put_up(self))
        self.restate()

    def restate(self) -> None:
        """Show them anew, with what became of them."""
        if self._place is not None:
            self._place.update(static_of(self._ui, self._run))

    def go_on(self, execution: Execution) -> ExecutionView:
        """Return a view of what goes on here once a question is answered."""
        return going_on(execution, Begun(self._run, self._ui, self._place))
