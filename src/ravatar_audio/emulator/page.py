"""The streaming page: where a real platform renders the avatar, this one shows what it hears."""

import math
import secrets
import time
from importlib import resources
from typing import Any

from starlette.responses import HTMLResponse

from ravatar_audio.emulator.platform_state import Live
from ravatar_audio.frames import HOP_SAMPLES, RATE_HZ

_REFUSAL = """<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>Live session</title>
<body style="margin:0;height:100vh;display:grid;place-content:center;background:#0c1119;color:#e8edf4;
font:17px system-ui,sans-serif;text-align:center"><main><h1 style="font-size:1.3rem">{title}</h1><p>{text}</p></main>
"""


def page(frame_ancestors: str | None) -> HTMLResponse:
    """Make the page of a live session; it asks for the session's state by itself."""
    nonce = secrets.token_urlsafe(12)
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'; connect-src 'self'"
    if frame_ancestors is not None:
        policy += f"; frame-ancestors {frame_ancestors}"
    html = (resources.files(__package__) / "page.html").read_text(encoding="utf-8").replace("NONCE", nonce)
    return HTMLResponse(html, headers={"Content-Security-Policy": policy} | _private())


def refusal(status: int, title: str, text: str) -> HTMLResponse:
    """Make a page that says why there is nothing to see."""
    return HTMLResponse(_REFUSAL.format(title=title, text=text), status, _private())


def _private() -> dict[str, str]:
    return {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}  # the address has the token in it


def state(live: Live, avatar_name: str, since_hops: int) -> dict[str, Any]:
    """Return what the page shows, with the levels of the hops that it has not seen; null for silence: JSON has no
    infinity.
    """
    now = time.monotonic()
    detector = live.turn_detector
    hops = detector.position_samples // HOP_SAMPLES
    return {
        "state": live.state,
        "avatar": avatar_name,
        "session_s": (now if live.ended_s is None else live.ended_s) - live.started_s,
        "heard_s": detector.position_samples / RATE_HZ,
        "pause_s": None if live.stream_clock.last_s is None else now - live.stream_clock.last_s,
        "level_dbfs": _finite(detector.levels_dbfs(hops - 1)[0]) if hops else None,
        "hops": hops,
        "levels_dbfs": [_finite(level) for level in detector.levels_dbfs(since_hops)],
        "gaps": live.declared_gaps,
        "lost_samples": live.declared_lost_samples,
        "connections": len(live.connections),
        "said": list(live.said),
    }


def _finite(level_dbfs: float) -> float | None:
    return round(level_dbfs, 1) if math.isfinite(level_dbfs) else None
