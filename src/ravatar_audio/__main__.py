"""`python -m ravatar_audio` is the command `ravatar-audio`, and this its entry point."""

from typing import NoReturn

from ravatar_audio import _loading


def main() -> NoReturn:
    """Run the command; everything is imported in here."""
    _loading.begin()
    from ravatar_audio.cli import main as run

    run()


if __name__ == "__main__":
    main()
