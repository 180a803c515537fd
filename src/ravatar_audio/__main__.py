"""`python -m ravatar_audio` is the command `ravatar-audio`."""

from ravatar_audio.cli import main

main()
