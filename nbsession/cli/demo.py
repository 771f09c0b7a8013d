"""``nbsession demo``: open the first notebook in JupyterLab, or prove that it runs."""

from __future__ import annotations

import os
import sys
import tempfile
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbsession.cli.command import Failure

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from importlib.resources.abc import Traversable

FIRST_NOTEBOOK = "01-see-what-the-model-saw.ipynb"
CELL_SECONDS = 120


def add_to(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "demo",
        help="open JupyterLab on the first notebook, or check that it runs",
        description="Open JupyterLab on the first notebook. What follows -- goes to JupyterLab.",
    )
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        metavar="FOLDER",
        help="where the notebook is, or is copied to (default: notebooks if it is there, else nbsession-demo)",
    )
    parser.add_argument(
        "--check", action="store_true", help="run the notebook headless, print its session cells, and exit"
    )
    parser.add_argument("--no-browser", action="store_true", help="start the server only")
    parser.add_argument("--port", type=int, help="the port to listen on (default: the first free from 8888)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Carry the command out."""
    if options.check:
        return check()
    demo(options.folder, browser=not options.no_browser, port=options.port, arguments=options.rest)
    return 0


def demo(
    folder: Path | None, *, browser: bool = True, port: int | None = None, arguments: Sequence[str] = ()
) -> None:
    """Open JupyterLab on the first lesson and return when it is stopped; say what is done meanwhile.

    The lessons are opened where they stand if ``folder`` holds the first already, else
    they are copied there. Without a folder that is ``notebooks`` in the current
    directory if it holds that, else a new ``nbsession-demo``. What is there is not written over.
    ``arguments`` are handed to JupyterLab as they are.
    """
    from jupyterlab.labapp import LabApp

    notebook = _place(folder)
    print(_about_the_model())
    # Not the notebook as an argument: then the printed address would not lead to it.
    options = [f"--ServerApp.root_dir={notebook.parent}", f"--LabApp.default_url=/lab/tree/{notebook.name}"]
    if not browser:
        options.append("--no-browser")
    if port is not None:
        options.append(f"--ServerApp.port={port}")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        # JupyterLab refuses root otherwise, and in a container there is often no one else.
        options.append("--allow-root")
    # A kernel of the user's own named python3 would not have nbsession.
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    print(f"JupyterLab opens on {notebook}; Ctrl+C here ends it", flush=True)
    LabApp.launch_instance([*options, *arguments])


def check() -> int:
    """Execute the first notebook headless with the simulated model and print what it showed.

    Prints the plain text of every ``%%session`` cell. Returns 1 if a cell
    raised or a session cell showed nothing. Needs no key and no network, and
    leaves the user's stored sessions alone.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook: Any = nbformat.reads(_source().joinpath(FIRST_NOTEBOOK).read_text("utf-8"), as_version=4)
    with tempfile.TemporaryDirectory(prefix="nbsession-check-", ignore_cleanup_errors=True) as scratch:
        client = NotebookClient(
            notebook,
            timeout=CELL_SECONDS,
            kernel_name="python3",
            extra_arguments=["--log-level=ERROR"],  # else it warns of its own transport, on this machine only
            allow_errors=True,
            resources={"metadata": {"path": scratch}},
        )
        client.execute(env=_without_keys(Path(scratch)))
    failures = [line for cell in notebook.cells if cell.cell_type == "code" for line in _report(cell)]
    for line in failures:
        print(line, file=sys.stderr)
    return 1 if failures else 0


def _source() -> Traversable:
    """The lessons that came with the package: inside an installed one, beside it in a checkout."""
    package = resources.files("nbsession")
    installed = package / "notebooks"
    if installed.joinpath(FIRST_NOTEBOOK).is_file():
        return installed
    beside = Path(str(package)).parent / "notebooks"
    if not (beside / FIRST_NOTEBOOK).is_file():
        raise Failure(f"{FIRST_NOTEBOOK} is missing from this installation; reinstall nbsession")
    return beside


def _place(folder: Path | None) -> Path:
    if folder is None:
        here = Path("notebooks")
        folder = here if (here / FIRST_NOTEBOOK).is_file() else Path("nbsession-demo")
    notebook = folder / FIRST_NOTEBOOK
    if not notebook.is_file():
        copied = _copy(_source(), folder)
        print(f"copied {copied} notebooks, the lessons and more, to {folder}")
    return notebook.resolve()


def _copy(source: Traversable, folder: Path) -> int:
    """Copy the notebooks of a folder and those below it that are not there; return how many."""
    folder.mkdir(parents=True, exist_ok=True)
    copied = 0
    for each in sorted(source.iterdir(), key=lambda each: each.name):
        if each.is_dir() and not each.name.startswith("."):
            copied += _copy(each, folder / each.name)
        elif each.name.endswith(".ipynb") and not (folder / each.name).exists():
            (folder / each.name).write_text(each.read_text("utf-8"), "utf-8")
            copied += 1
    return copied


def _about_the_model() -> str:
    """Say who will answer."""
    from nbsession.models import default_model

    model = default_model()
    if model.source == "simulated":
        return "no key is set, so a simulated model answers: rules, no language model (with ANTHROPIC_API_KEY it is Claude)"
    return f"{model.name} answers, and what it costs is yours"


def _without_keys(scratch: Path) -> dict[str, str]:
    """The environment of a kernel that can reach no provider and no stored session of the user."""
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    own = {
        "CI": "1",
        "IPYTHONDIR": str(scratch / "ipython"),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "NBSESSION_MODEL": "simulated",
        "NBSESSION_STORE": f"sqlite:///{scratch / 'sessions.db'}",
    }
    return {**kept, **own}


def _report(cell: Any) -> list[str]:
    """Print a session cell and what it showed; return what went wrong in any cell."""
    title = f"[{cell.execution_count}] {cell.source.strip().splitlines()[0]}"
    raised = [f"{title}: {out.ename}: {out.evalue}" for out in cell.outputs if out.output_type == "error"]
    if not cell.source.startswith("%%session"):
        return raised
    shown = [out.data["text/plain"] for out in cell.outputs if "text/plain" in out.get("data", {})]
    print(cell.source.strip(), *shown, "", sep="\n")
    return raised or ([] if any(text.strip() for text in shown) else [f"{title}: showed nothing"])
