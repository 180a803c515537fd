"""A load harness as one would write it: asyncio, aiohttp for the calls, websockets, a task and a timer for each client.

    python -m benches.rivals.load_usual URL CA CLIENTS RAMP SECONDS

Prints one line of JSON: what `Window` has measured. It shares one TLS context and sends the same messages.
"""

import asyncio
import base64
import importlib
import json
import ssl
import sys
import time

import websockets

from .load_window import Window, envelope, frames, schedule

aiohttp = importlib.import_module("aiohttp")


async def client(number: int, due_s: float, end_s: float, url: str, tls: ssl.SSLContext, window: Window) -> None:
    """From token to end, as the platform's guide says."""
    await asyncio.sleep(due_s - time.monotonic())
    user = f"usual-{number:06d}"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as http:
        token = (await (await http.post(f"{url}/jwt", json={"user_id": user})).json())["jwt"]
        headers = {"Authorization": f"Bearer {token}"}
        connection = await (await http.get(f"{url}/connection", headers=headers)).json()
        body = {"avatar_id": "ava", "width": "1280", "height": "720"}
        start = await (await http.post(f"{url}/startLiveSession", json=body, headers=headers)).json()
        message = envelope(user, connection["session"], start["LicenseId"])
        socket_url = url.replace("http", "ws", 1) + f"/ws/chat?token={token}"
        async with websockets.connect(socket_url, ssl=tls, max_queue=None) as socket:
            reading = asyncio.create_task(_read(socket))
            frame_due_s = time.monotonic()
            for pcm in frames(number):
                frame_due_s += 0.256
                if frame_due_s > end_s:
                    break
                await asyncio.sleep(frame_due_s - time.monotonic())
                window.note(time.monotonic(), frame_due_s)
                message["audio_base64_pcm"] = base64.b64encode(pcm).decode()
                await socket.send(json.dumps(message))
            reading.cancel()
        await http.post(f"{url}/endLiveSession", json={"LicenseId": start["LicenseId"]}, headers=headers)


async def _read(socket: websockets.ClientConnection) -> None:
    async for message in socket:
        json.loads(message)


async def run(url: str, ca: str, clients: int, ramp: float, seconds: float) -> None:
    """All of them."""
    tls = ssl.create_default_context(cafile=ca)
    window, due_s, end_s = schedule(clients, ramp, seconds)
    measuring = asyncio.create_task(window.watch_asyncio())
    results = await asyncio.gather(
        *(client(number, due_s[number], end_s, url, tls, window) for number in range(clients)), return_exceptions=True
    )
    await measuring
    print(json.dumps(window.told(sum(isinstance(item, BaseException) for item in results))), flush=True)


if __name__ == "__main__":
    address, authority, *numbers = sys.argv[1:]
    asyncio.run(run(address, authority, int(numbers[0]), float(numbers[1]), float(numbers[2])))
