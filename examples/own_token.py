"""Talk with a token of the product's own back end: no project id is on the device. Argument: a sound file."""

import asyncio
import json
import os
import sys
import urllib.request

from ravatar_audio.asyncio import LiveSession, Reply, Settings

settings = Settings.load(user_id="device-7")
BACK_END = os.environ.get("BACK_END_URL", f"{settings.api_url}/jwt")  # yours; here the platform's own serves as one


def ask_back_end() -> str:
    request = urllib.request.Request(  # noqa: S310
        BACK_END, json.dumps({"user_id": settings.user_id}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return str(json.load(answer)["jwt"])


async def fetch_token() -> str:
    return await asyncio.to_thread(ask_back_end)


async def main(source: str) -> None:
    async with LiveSession.open(settings, source, fetch_token=fetch_token) as live:
        async for event in live.events():
            if isinstance(event, Reply):
                print(event.text)


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "mic"))
