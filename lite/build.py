"""Build the lessons as a site that runs in the browser alone: JupyterLite, with the package in its Python.

``pip install '.[lite]' && python lite/build.py SITE``, from a clone, with npm. Everything that a page
needs is in SITE then: any server of files will do, and no package index is asked by those who read it.
``--wheels FOLDER`` takes wheels from there before an index; what no index has comes from Pyodide's own distribution.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from email import message_from_bytes
from importlib import metadata
from pathlib import Path
from typing import Any

from jupyterlite_pyodide_kernel.constants import PYODIDE_CDN_URL, PYODIDE_PYTHON_VERSION, PYODIDE_VERSION
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
KERNEL = ("micropip", "ipython", "comm")
"""What the kernel itself needs; the rest of it comes with the kernel."""

THEIRS = ("nh3", "markupsafe", "rpds-py")
"""Compiled, and built for this platform by Pyodide alone: no index has them."""

BROWSER = {
    "sys_platform": "emscripten",
    "platform_system": "Emscripten",
    "platform_machine": "wasm32",
    "extra": "",
}
BROWSER |= {"python_version": PYODIDE_PYTHON_VERSION, "python_full_version": f"{PYODIDE_PYTHON_VERSION}.0"}


def run(*command: str | Path, cwd: Path | None = None) -> None:
    subprocess.run([str(part) for part in command], check=True, cwd=cwd)


def pyodide(folder: Path) -> dict[str, Any]:
    """Put Pyodide's core in ``folder`` and return what its distribution has."""
    with tempfile.TemporaryDirectory() as scratch:
        quietly = ("--silent", "--no-audit", "--no-fund")
        run("npm", "install", *quietly, f"pyodide@{PYODIDE_VERSION}", cwd=Path(scratch))
        shutil.copytree(Path(scratch) / "node_modules" / "pyodide", folder)
    distribution: dict[str, Any] = json.loads((folder / "pyodide-lock.json").read_text("utf-8"))
    return distribution


def wheels(folder: Path, distribution: dict[str, Any], given: Path | None) -> list[Path]:
    """Fill ``folder`` with the package, all that it needs and what the kernel needs, as wheels."""
    folder.mkdir()
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT)
    ours = next(folder.glob("*.whl"))
    for wheel in given.glob("*.whl") if given else ():
        shutil.copy(wheel, folder)
    for name in THEIRS:
        file = distribution["packages"][name]["file_name"]
        if not list(folder.glob(f"{name.replace('-', '_')}-*.whl")):
            urllib.request.urlretrieve(f"{PYODIDE_CDN_URL}/{file}", folder / file)  # noqa: S310  # their own address
    download(folder, pins(folder, ours), distribution["info"]["abi_version"])
    return sorted(folder.glob("*.whl"))


def pins(folder: Path, ours: Path) -> list[str]:
    """Return what else is needed in a browser, each with its version; what is in ``folder`` keeps its own."""
    there = {
        canonicalize_name(wheel.name.split("-")[0]): wheel.name.split("-")[1]
        for wheel in folder.glob("*.whl")
    }
    asked, held = folder / "asked.txt", folder / "held.txt"
    asked.write_text("\n".join([f"nbsession @ {ours.as_uri()}", *KERNEL]), "utf-8")
    held.write_text("\n".join(f"{name}=={there[name]}" for name in there if name != "nbsession"), "utf-8")
    # Its platform is not this Pyodide's, but says as well which requirements are meant for a browser.
    platform = ("--python-platform", "wasm32-pyodide2024", "--python-version", PYODIDE_PYTHON_VERSION)
    command = ("uv", "pip", "compile", "-q", "--no-header", "--no-annotate", *platform, "-c", held, asked)
    found = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout
    return [line for line in found.splitlines() if Requirement(line).name not in there]


def download(folder: Path, pinned: list[str], abi: str) -> None:
    """Take wheels for this Pyodide from the package index."""
    platform = ("--platform", f"pyemscripten_{abi}_wasm32", "--python-version", PYODIDE_PYTHON_VERSION)
    tags = (
        "--implementation",
        "cp",
        "--abi",
        f"cp{PYODIDE_PYTHON_VERSION.replace('.', '')}",
        "--abi",
        "abi3",
        "--abi",
        "none",
    )
    whole = ("--no-deps", "--only-binary", ":all:", "-d", folder)
    run(sys.executable, "-m", "pip", "download", "-q", *platform, *tags, *whole, *pinned)


def described(file: Path) -> dict[str, Any]:
    """Return what Pyodide has to know of a wheel."""
    name, version = file.name.split("-")[:2]
    with zipfile.ZipFile(file) as wheel:
        names = wheel.namelist()
        told = next(each for each in names if each.endswith(".dist-info/METADATA") and each.count("/") == 1)
        required = message_from_bytes(wheel.read(told)).get_all("Requires-Dist", [])
    tops = {each.split("/")[0].removesuffix(".py") for each in names if each.endswith(".py")}
    needs = [need for need in map(Requirement, required) if not need.marker or need.marker.evaluate(BROWSER)]
    return {
        "name": canonicalize_name(name),
        "version": version,
        "file_name": file.name,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "imports": sorted(top for top in tops if top.isidentifier()),
        "depends": [canonicalize_name(need.name) for need in needs],
        "install_dir": "site",
        "package_type": "package",
        "unvendored_tests": False,
    }


def lock(folder: Path, distribution: dict[str, Any], files: list[Path]) -> list[str]:
    """Put the wheels beside Pyodide's core in ``folder``, list them there, and return their names."""
    packages = {package["name"]: package for package in map(described, files)}
    for package in packages.values():
        package["depends"] = [name for name in package["depends"] if name in packages]
    for file in files:
        shutil.copy(file, folder)
    listed = {"info": distribution["info"], "packages": packages}
    (folder / "pyodide-lock.json").write_text(json.dumps(listed, indent=1), "utf-8")
    return sorted(packages)


def build(site: Path, given: Path | None) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        core = place / "static" / "pyodide"
        distribution = pyodide(core)
        names = lock(core, distribution, wheels(place / "wheels", distribution, given))
        shutil.copytree(ROOT / "notebooks", place / "lessons", ignore=shutil.ignore_patterns("*_checkpoints"))
        settings = {
            "LiteBuildConfig": {
                "apps": ["lab"],
                "contents": ["lessons"],
                "output_dir": str(site.resolve()),
                "no_sourcemaps": True,
            }
        }
        (place / "jupyter_lite_config.json").write_text(json.dumps(settings), "utf-8")
        kernel = {"disablePyPIFallback": True, "loadPyodideOptions": {"packages": names}}
        data = {"litePluginSettings": {"@jupyterlite/pyodide-kernel-extension:kernel": kernel}}
        page = {"jupyter-lite-schema-version": 0, "jupyter-config-data": data}
        (place / "jupyter-lite.json").write_text(json.dumps(page), "utf-8")
        run(sys.executable, "-m", "jupyter", "lite", "build", cwd=place)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("site", type=Path, help="the folder to write")
    parser.add_argument(
        "--wheels", type=Path, metavar="FOLDER", help="wheels to take before those of an index"
    )
    options = parser.parse_args()
    build(options.site, options.wheels)
    print(
        f"{options.site}: open lab/index.html?path=01-see-what-the-model-saw.ipynb, nbsession {metadata.version('nbsession')}"
    )


if __name__ == "__main__":
    main()
