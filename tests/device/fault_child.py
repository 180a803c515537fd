"""Opens a microphone that misbehaves and tells what the program was told. Its argument is JSON.

"microphone": Microphone's arguments; "control": a control file; "steps": words for it, one after each frame; "limit_s";
"as_nobody": whether this process gives up root's rights first.
"""

import contextlib
import importlib
import json
import os
import pkgutil
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import trio

from ravatar_audio import capture
from ravatar_audio.capture import Microphone
from ravatar_audio.errors import RavatarError
from tests.device.capture_child import be_urgent


def told(error: RavatarError) -> dict[str, Any]:
    return {"error": error.code, "message": error.message, "advice": error.advice, "details": repr(error.details)}


def become_nobody() -> None:
    """Give up root's rights, where this process has them, and keep what ALSA reads.

    Nobody may not be allowed to read this checkout or this Python: what is imported later is imported now.
    """
    for name in ("grp", "pwd", "pyaudio", "resource"):
        importlib.import_module(name)
    for module in pkgutil.walk_packages(capture.__path__, "ravatar_audio.capture."):
        importlib.import_module(module.name)
    configuration = Path(os.environ["ALSA_CONFIG_PATH"]).read_bytes()
    descriptor, os.environ["ALSA_CONFIG_PATH"] = tempfile.mkstemp()
    os.write(descriptor, configuration)
    os.fchmod(descriptor, 0o644)
    os.close(descriptor)
    if os.getuid() == 0:
        os.setgid(65_534)
        os.setuid(65_534)


async def main(request: dict[str, Any]) -> None:
    answer: dict[str, Any] = {"frames": 0, "events": []}
    control = Path(request["control"])
    steps = list(request["steps"])
    if request.get("as_nobody"):
        become_nobody()
    microphone = Microphone(**request["microphone"])
    events = microphone.events()
    try:
        with trio.fail_after(request["limit_s"]):
            async with microphone:
                async for _ in microphone:
                    answer["frames"] += 1
                    if steps:
                        fresh = control.with_suffix(".fresh")
                        fresh.write_text(steps.pop(0))
                        fresh.replace(control)
                    elif answer["frames"] > 8:
                        break
    except RavatarError as error:
        answer |= told(error)
    with contextlib.suppress(trio.WouldBlock, trio.EndOfChannel):
        while True:
            event = events.receive_nowait()
            answer["events"].append((event.kind, event.message))
    counts = microphone.statistics()
    answer["unaccounted"] = (
        counts.captured_samples - counts.delivered_samples - counts.ring_dropped_samples - counts.pending_samples
    )
    answer["threads"] = [thread.name for thread in threading.enumerate() if "trio" not in thread.name.lower()]
    answer["native_threads"] = len(os.listdir("/proc/self/task"))
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    be_urgent()
    trio.run(main, json.loads(sys.argv[1]))
