"""The test's hand inside the kiosk: runs the commands that come as JSON lines over a virtual serial port."""

import base64
import json
import os
import subprocess
import sys
import threading
import time
from typing import Any


def main(path: str) -> None:
    port = os.open(path, os.O_RDWR | os.O_NOCTTY)
    lock = threading.Lock()

    def say(**what: Any) -> None:
        data = json.dumps(what | {"up_s": time.clock_gettime(time.CLOCK_BOOTTIME)}).encode() + b"\n"
        with lock:
            while data:
                data = data[os.write(port, data) :]

    def run(order: dict[str, Any]) -> None:
        command, limit_s = ["/bin/bash", "-c", order["command"]], order["limit_s"]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=limit_s,
                check=False,
            )
            code, out = done.returncode, done.stdout
        except subprocess.TimeoutExpired as error:
            code, out = -1, error.stdout or b""
        say(id=order["id"], code=code, out=base64.b64encode(out).decode())

    rest = b""
    while True:
        data = os.read(port, 65_536)
        if not data:  # nobody is at the other end yet
            time.sleep(0.2)
            continue
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            try:
                order = json.loads(line)
            except ValueError:
                continue  # the end of a line whose beginning was for an earlier boot
            if "ping" in order:
                say(pong=order["ping"])
            else:
                threading.Thread(target=run, args=(order,), daemon=True).start()


if __name__ == "__main__":
    main(sys.argv[1])
