"""Binder builds an environment that opens on the first lesson and runs all of them: its own steps, without Docker."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[1]
START_SECONDS = 60
BASE_PACKAGES = ("jupyterlab", "ipykernel", "ipywidgets", "notebook")


def run(command: list[str] | str, *, cwd: Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env=env,
        shell=isinstance(command, str),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return done.stdout


def checkout(folder: Path) -> Path:
    """Copy what a clone would hold."""
    ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", "artifacts", "build", "dist")
    return Path(shutil.copytree(ROOT, folder, ignore=ignored))


def dockerfile(repository: Path) -> str:
    command = [sys.executable, "-m", "repo2docker", "--no-build", "--debug", "."]
    return run(command, cwd=repository)


def repository_steps(text: str) -> list[str]:
    """Return the RUN steps that follow the copy of the repository; those before only build the base."""
    after = text.split("# Copy stuff.", 1)[1]
    joined = re.sub(r"\\\n", " ", after)
    return re.findall(r"^RUN (.+)$", joined, flags=re.MULTILINE)


def base_pins() -> list[str]:
    """Return the versions that the base image has locked before our requirements are installed."""
    spec = importlib.util.find_spec("repo2docker")
    assert spec is not None
    assert spec.origin is not None
    locks = Path(spec.origin).parent / "buildpacks" / "conda"
    text = (locks / "environment.py-3.12-linux-64.lock").read_text("utf-8")
    found = [re.search(rf"/{name}-(\d[\d.]*)-[^/]*$", text, flags=re.MULTILINE) for name in BASE_PACKAGES]
    return [f"{name}=={match[1]}" for name, match in zip(BASE_PACKAGES, found, strict=True) if match]


def base_python() -> str:
    """Return the Python that Binder would use, if this machine has it, else the running one."""
    versions = Path.home() / ".pyenv" / "versions"
    for candidate in [shutil.which("python3.12"), *sorted(versions.glob("3.12.*/bin/python3.12"))]:
        probe = [str(candidate), "-c", "import venv, ensurepip"]
        if candidate and not subprocess.run(probe, capture_output=True, check=False).returncode:
            return str(candidate)
    return sys.executable


def landing(prefix: Path, repository: Path, env: dict[str, str]) -> str:
    """Return where JupyterLab, started as Binder does, leads who comes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--no-browser", "--allow-root", "--ip=127.0.0.1", f"--ServerApp.port={port}"]
    command = [str(prefix / "bin" / "jupyter-lab"), *options, "--IdentityProvider.token="]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=repository, env=env, stdout=quiet, stderr=quiet) as server:
        try:
            return led_to(f"http://127.0.0.1:{port}/", server)
        finally:
            server.kill()


def led_to(url: str, server: subprocess.Popen[bytes]) -> str:
    """Ask until the server is up; return the path at the end of its redirections."""
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return str(urlsplit(answer.geturl()).path)
        except OSError:
            assert server.poll() is None, "JupyterLab ended"
            assert time.monotonic() < until, "JupyterLab did not start"


@pytest.mark.timeout(900)
def test_the_steps_of_binder_make_an_environment_that_opens_on_the_first_lesson_and_runs_all(
    tmp_path: Path,
) -> None:
    repository = checkout(tmp_path / "repository")
    prefix = tmp_path / "environment"
    run([base_python(), "-m", "venv", str(prefix)], cwd=tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    # A virtual environment is chosen by its path alone, as in the image.
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "IPYTHON", "PYTHON"))}
    environment |= {
        "HOME": str(home),
        "KERNEL_PYTHON_PREFIX": str(prefix),
        "NB_PYTHON_PREFIX": str(prefix),
        "PATH": f"{prefix / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "REPO_DIR": str(repository),
    }
    pip = str(prefix / "bin" / "pip")
    run([pip, "install", "-q", *base_pins()], cwd=tmp_path, env=environment)

    steps = repository_steps(dockerfile(repository))
    assert any("requirements.txt" in step for step in steps)
    assert any("postBuild" in step for step in steps)
    for step in steps:
        run(step, cwd=repository, env=environment)

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert landing(prefix, repository, environment) == "/lab/tree/notebooks/01-see-what-the-model-saw.ipynb"
    lessons = sorted(str(lesson) for lesson in (repository / "notebooks").glob("*.ipynb"))
    told = {"NBSESSION_MODEL": "simulated", "NBSESSION_SIMULATED_RATE": "0"}
    run([str(prefix / "bin" / "jupyter"), "execute", *lessons], cwd=elsewhere, env=environment | told)
    ipython = str(prefix / "bin" / "ipython")
    listed = run([ipython, "--colors=NoColor", "-c", "%session help"], cwd=elsewhere, env=environment)
    assert "%%session" in listed
    kept = run([pip, "list", "--format=freeze"], cwd=tmp_path, env=environment)
    assert next(pin for pin in base_pins() if pin.startswith("jupyterlab==")) in kept


def test_binder_asks_for_a_python_that_the_package_supports() -> None:
    assert (ROOT / "binder" / "runtime.txt").read_text("utf-8").strip() == "python-3.12"
    assert ".[server]" in (ROOT / "binder" / "requirements.txt").read_text("utf-8").split()
