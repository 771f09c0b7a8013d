"""How much longer Python starts with nbsession imported, and IPython with its extension loaded.

Each round starts every variant once, in a fresh process, so that a slow spell
of the machine falls on all of them; the table shows medians.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
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


def seconds(code: str) -> float:
    """Return how long a fresh interpreter takes to run ``code``."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    for code in VARIANTS.values():  # once unmeasured: bytecode and disk caches
        seconds(code)
    rounds = [{name: seconds(code) for name, code in VARIANTS.items()} for _ in range(ROUNDS)]
    print("| step | median | added | target |\n|---|---|---|---|")
    for name in VARIANTS:
        median = statistics.median(measured[name] for measured in rounds)
        if name in OVER:
            bare, target = OVER[name]
            added = statistics.median(measured[name] - measured[bare] for measured in rounds)
            print(f"| {name} | {median:.3f} s | {added:.3f} s | ≤ {target:.2f} s |")
        else:
            print(f"| {name} | {median:.3f} s | | |")


if __name__ == "__main__":
    main()
