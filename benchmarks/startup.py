"""How much longer Python starts with nbsession imported, and IPython with its extension loaded.

Each round starts every variant once, in a fresh process, so that a slow spell
of the machine falls on all of them; the table shows medians. Bytecode is
cached, as it is in an installed package.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS = 9
SHELL = "from IPython.core.interactiveshell import InteractiveShell; s = InteractiveShell.instance()"
VARIANTS = {
    "python": "pass",
    "import nbsession": "import nbsession",
    "IPython": SHELL,
    "%load_ext nbsession": f"{SHELL}; s.run_line_magic('load_ext', 'nbsession')",
}
OVER = {"import nbsession": ("python", 0.15), "%load_ext nbsession": ("IPython", 0.30)}


def seconds(code: str, surroundings: dict[str, str]) -> float:
    """Return how long a fresh interpreter takes to run ``code``."""
    started = time.perf_counter()
    command = [sys.executable, "-c", code]
    subprocess.run(command, env=surroundings, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def measured() -> list[dict[str, float]]:
    """Return the seconds of each variant, round by round."""
    with tempfile.TemporaryDirectory() as cache:
        surroundings = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
        surroundings.pop("PYTHONDONTWRITEBYTECODE", None)
        for code in VARIANTS.values():  # once unmeasured, to fill the cache
            seconds(code, surroundings)
        return [{name: seconds(code, surroundings) for name, code in VARIANTS.items()} for _ in range(ROUNDS)]


def main() -> None:
    rounds = measured()
    print("| step | median | added | target |\n|---|---|---|---|")
    for name in VARIANTS:
        median = statistics.median(one[name] for one in rounds)
        if name in OVER:
            bare, target = OVER[name]
            added = statistics.median(one[name] - one[bare] for one in rounds)
            print(f"| {name} | {median:.3f} s | {added:.3f} s | ≤ {target:.2f} s |")
        else:
            print(f"| {name} | {median:.3f} s | | |")


if __name__ == "__main__":
    main()
