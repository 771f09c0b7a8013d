"""pyplot in components: refused where it would race the user's cells, and left alone everywhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.notebook.kernels import Kernel, running_kernel
from tests.notebook.test_magics import fine, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(120)

SETUP = """
%load_ext nbsession
import sys
from nbsession import App, Image, System, Timeline, User, component, tool
from nbsession.testing import ScriptedModel, call

def drawn(figure, axes):
    axes.plot([1, 2])
    return User("A chart:", Image(figure))

@component
def ByPyplot():
    import matplotlib.pyplot as plt
    return [System("Look."), drawn(*plt.subplots()), Timeline()]

@component
def OnTheCurrentFigure():
    import matplotlib.pyplot as plt
    plt.title("theirs")
    return [System("Look."), drawn(plt.gcf(), plt.gca()), Timeline()]

@component
def ByFigure():
    from matplotlib.figure import Figure
    figure = Figure()
    return [System("Look."), drawn(figure, figure.subplots()), Timeline()]

@component
def WithATool():
    @tool
    def draw():
        "Draw."
        import matplotlib.pyplot as plt
        figure, axes = plt.subplots()
        axes.plot([1, 2])
        plt.close(figure)
        return figure
    return [System("Draw."), draw, Timeline()]

def app(root, *responses):
    return App(root, model=ScriptedModel(*responses or ["I see."]))
"""
REMEDY = "make the figure with matplotlib.figure.Figure()"


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    with running_kernel(XDG_DATA_HOME=str(tmp_path)) as started:
        fine(started.run(SETUP))
        yield started


def sent(kernel: Kernel, made: str) -> str:
    """Send to a new session; return the error's line, ``""`` where there is none."""
    fine(kernel.run(f"root = {made}\n%session new root"))
    ran = kernel.run("%%session\nLook.")
    return one_line(ran) if ran.error is not None else ""


def test_a_component_that_draws_with_pyplot_is_refused_with_the_remedy(kernel: Kernel) -> None:
    assert fine(kernel.run("print('matplotlib' in sys.modules)")).text == "False\n"
    # Nobody has imported it yet: the component itself does.
    refused = sent(kernel, "app(ByPyplot)")
    assert refused.startswith("RenderError: ByPyplot: pyplot.figure() was called while a component renders")
    assert REMEDY in refused
    assert fine(kernel.run("import matplotlib.pyplot as plt; print(plt.get_fignums())")).text == "[]\n"


def test_a_component_cannot_reach_the_figure_of_a_cell(kernel: Kernel) -> None:
    fine(kernel.run("import matplotlib.pyplot as plt; plt.ioff(); figure = plt.figure(); plt.title('mine')"))
    refused = kernel.run("app(OnTheCurrentFigure).session().compile('Look.')")
    assert "pyplot.gcf() was called while a component renders" in str(refused.error)


def test_figures_by_themselves_and_in_tools_and_cells_are_drawn(kernel: Kernel) -> None:
    assert sent(kernel, "app(ByFigure)") == ""
    assert sent(kernel, "app(WithATool, call('draw'), 'Drawn.')") == ""
    assert fine(
        kernel.run("print(root.model.contexts[1].messages[-1].content[0].content[0].media_type)")
    ).text == ("image/png\n")
    fine(kernel.run("import matplotlib.pyplot as plt; figure, axes = plt.subplots(); plt.title('mine')"))


def test_unloading_gives_pyplot_back_as_it_was(kernel: Kernel) -> None:
    fine(kernel.run("import matplotlib.pyplot as plt; print(hasattr(plt.figure, '__wrapped__'))"))
    ran = kernel.run(
        "%unload_ext nbsession\nprint(hasattr(plt.gcf, '__wrapped__'), [f for f in sys.meta_path if 'nbsession' in repr(f)])"
    )
    assert fine(ran).text.endswith("False []\n")
