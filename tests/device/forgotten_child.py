"""A program that opens a microphone and never closes it. Its argument is JSON.

"microphone": Microphone's arguments; "ending": "forgotten" (nothing refers to it any more, but the program goes on) or
"exit" (the program ends meanwhile).
"""

import gc
import json
import sys
import warnings
from collections.abc import Callable
from typing import Any

import trio

from ravatar_audio.capture import Microphone
from ravatar_audio.capture.streams import device_stream
from ravatar_audio.native import Chain

held: list[Microphone] = []


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():  # noqa: ASYNC110 - a thread does it
        await trio.sleep(0.01)


async def main(request: dict[str, Any]) -> None:
    answer: dict[str, Any] = {}
    with trio.fail_after(30):
        microphone = await Microphone(**request["microphone"]).__aenter__()
        first = await anext(microphone)
        assert isinstance(microphone._chain, Chain)
        if request["ending"] == "exit":
            held.append(microphone)
        else:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                del microphone
                gc.collect()
            answer["warnings"] = [str(warning.message) for warning in caught]
            await until(lambda: not device_stream._open_streams)  # the stream has run for that long
    print(json.dumps(answer | {"seq": first.seq}), flush=True)


if __name__ == "__main__":
    trio.run(main, json.loads(sys.argv[1]))
