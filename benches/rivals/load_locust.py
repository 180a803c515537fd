"""A load harness as a user class of Locust: gevent, its HTTP client, websocket-client.

    locust -f benches/rivals/load_locust.py --headless -u CLIENTS -r RAMP -H URL

The authority, clients, ramp and seconds come as LOAD_CA, _CLIENTS, _RAMP and _SECONDS of the environment. Prints one
line of JSON: what `Window` has measured.
"""

import base64
import importlib
import importlib.util
import json
import os
import ssl
import sys
import time
from pathlib import Path
from typing import Any

gevent: Any = importlib.import_module("gevent")
locust: Any = importlib.import_module("locust")
websocket: Any = importlib.import_module("websocket")

_spec = importlib.util.spec_from_file_location("load_window", Path(__file__).with_name("load_window.py"))
assert _spec is not None
assert _spec.loader is not None
_window: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_window)

CA = os.environ["LOAD_CA"]
CLIENTS, RAMP, SECONDS = (float(os.environ[f"LOAD_{name}"]) for name in ("CLIENTS", "RAMP", "SECONDS"))
TLS = ssl.create_default_context(cafile=CA)
STATE: dict[str, Any] = {"started": 0, "failed": 0, "ended": 0}


class Kiosk(locust.HttpUser):  # type: ignore[misc]
    """One client."""

    wait_time = locust.constant(3_600)

    @locust.task  # type: ignore[untyped-decorator]
    def visit(self) -> None:
        """From token to end."""
        if "window" not in STATE:
            STATE["window"], _, STATE["end_s"] = _window.schedule(int(CLIENTS), RAMP, SECONDS)
            gevent.spawn(STATE["window"].watch_blocking)
        number = STATE["started"]
        STATE["started"] += 1
        try:
            self.talk(number)
        except Exception:
            STATE["failed"] += 1
        STATE["ended"] += 1
        if STATE["ended"] == CLIENTS:
            gevent.sleep(0.5)
            print(json.dumps(STATE["window"].told(STATE["failed"])), flush=True)
            os._exit(0)  # its own way out waits for this user

    def talk(self, number: int) -> None:
        """The session."""
        user = f"locust-{number:06d}"
        self.client.verify = CA
        token = self.client.post("/jwt", json={"user_id": user}).json()["jwt"]
        headers = {"Authorization": f"Bearer {token}"}
        session = self.client.get("/connection", headers=headers).json()["session"]
        body = {"avatar_id": "ava", "width": "1280", "height": "720"}
        license_id = self.client.post("/startLiveSession", json=body, headers=headers).json()["LicenseId"]
        message = _window.envelope(user, session, license_id)
        url = self.host.replace("http", "ws", 1) + f"/ws/chat?token={token}"
        sock = websocket.create_connection(url, sslopt={"context": TLS})
        reading = gevent.spawn(self.read, sock)
        due_s = time.monotonic()
        for pcm in _window.frames(number):
            due_s += 0.256
            if due_s > STATE["end_s"]:
                break
            gevent.sleep(max(0.0, due_s - time.monotonic()))
            began_s = time.monotonic()
            STATE["window"].note(began_s, due_s)
            message["audio_base64_pcm"] = base64.b64encode(pcm).decode()
            sock.send(json.dumps(message))
            self.environment.events.request.fire(
                request_type="frame", name="frame", response_time=1000 * (time.monotonic() - began_s),
                response_length=0, exception=None, context={},
            )  # fmt: skip
        reading.kill()
        sock.close()
        self.client.post("/endLiveSession", json={"LicenseId": license_id}, headers=headers)

    def read(self, sock: Any) -> None:
        """Take what comes."""
        while True:
            json.loads(sock.recv())


sys.modules.setdefault("load_window", _window)
