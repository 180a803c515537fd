"""`python -m ravatar_audio.load`: a worker's share, for whoever runs workers; `ravatar-audio load` is for people."""

import trio

from ravatar_audio.load.share import on_pipes

trio.run(on_pipes)
