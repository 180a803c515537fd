"""`python -m ravatar_audio` is the command `ravatar-audio`, and this its entry point."""

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Everything is imported in here: an interrupt meanwhile is one, and no traceback."""
    try:
        from ravatar_audio.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
