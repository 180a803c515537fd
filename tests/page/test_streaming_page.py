"""The emulator's streaming page, laid out by a real browser: whatever the size of its frame, nothing is cut off."""

import base64
import html
import json
import re
import subprocess
from importlib import resources
from pathlib import Path

import pytest

from ..conftest import HANG_LIMIT_S, needs

BROWSER = "chromium"
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000", "--dump-dom")

STATES: dict[str, dict[str, object]] = {
    "begin": {"level_dbfs": None, "gaps": 0, "session_s": 0, "heard_s": 0, "pause_s": None, "said": []},
    "full": {
        "level_dbfs": -61.4,
        "gaps": 123,
        "session_s": 86_399,
        "heard_s": 86_399.9,
        "pause_s": 4_000,
        "said": [["user", "(12.3 s of speech)"], ["avatar", "I heard 12.3 s of sound, " * 4]] * 4,
    },
}

SIZES = [(200, 520), (160, 400), (240, 640), (280, 200), (320, 240), (390, 844), (480, 270), (1280, 720), (1920, 1080)]

# Runs inside the frame before the page's own script, which then finds a platform that answers.
STUB = """<script>window.fetch = async () => ({ok: true, status: 200, json: async () => (STATE)});</script>"""

# What is shown must lie inside the frame, and hold its own text.
MEASURE = """
function cut(frame) {
  const page = frame.contentDocument, wide = frame.clientWidth, tall = frame.clientHeight, found = [];
  for (const item of page.querySelectorAll(".face, h1, .chip, .sound, canvas, dt, dd, .talk, h2")) {
    const box = item.getBoundingClientRect();
    if (!box.width || !box.height) continue;
    const name = item.id || item.className.baseVal || item.className || item.tagName + ":" + item.textContent;
    if (box.left < -0.5 || box.top < -0.5 || box.right > wide + 0.5 || box.bottom > tall + 0.5)
      found.push(`${name} is outside: ${[box.left, box.top, box.right, box.bottom].map(Math.round)}`);
    if (item.matches("h1, dt, dd, .chip") && item.scrollWidth > item.clientWidth + 1 && item.clientWidth)
      found.push(`${name} cuts its text`);
  }
  const parts = [...page.querySelectorAll(".face, h1, .chip, .sound, .talk")];
  const boxes = parts.map((item) => item.getBoundingClientRect());
  for (const [index, one] of boxes.entries()) for (const other of boxes.slice(index + 1))
    if (one.width && other.width && Math.min(one.right, other.right) - Math.max(one.left, other.left) > 1
        && Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top) > 1) found.push("two parts overlap");
  const values = [...page.querySelectorAll("dd")].filter((item) => item.getBoundingClientRect().width);
  if (values.length !== 4) found.push(`${values.length} of 4 figures are shown`);
  return found;
}
"""


def measured(tmp_path: Path, state: dict[str, object]) -> dict[str, list[str]]:
    """What is cut off, for each size of a frame."""
    needs(BROWSER)
    live = {"state": "active", "avatar": "Maximiliane", "hops": 40, "levels_dbfs": [-30.0] * 40} | state
    page = (resources.files("ravatar_audio.emulator") / "page.html").read_text(encoding="utf-8")
    page = page.replace("<style>", STUB.replace("STATE", json.dumps(live)) + "<style>", 1)
    frames = "".join(
        f'<iframe id="{wide}x{tall}" style="border:0;display:block" width="{wide}" height="{tall}" '
        f'srcdoc="{html.escape(page)}"></iframe>'
        for wide, tall in SIZES
    )
    script = f"""{MEASURE}
addEventListener("load", () => setTimeout(() => {{
  const found = Object.fromEntries([...document.querySelectorAll("iframe")].map((frame) => [frame.id, cut(frame)]));
  document.body.innerHTML = "<pre>" + btoa(JSON.stringify(found)) + "</pre>";
}}, 600));"""
    file = tmp_path / "frames.html"
    file.write_text(f"<!DOCTYPE html><meta charset='utf-8'><body>{frames}<script>{script}</script>", encoding="utf-8")
    shown = subprocess.run(
        [BROWSER, *OPTIONS, f"--user-data-dir={tmp_path / 'profile'}", file.as_uri()],
        capture_output=True,
        timeout=HANG_LIMIT_S,
        check=True,
        text=True,
    ).stdout
    found = re.search(r"<pre>([A-Za-z0-9+/=]+)</pre>", shown)
    assert found, f"the browser measured nothing: {shown[-500:]}"
    result: dict[str, list[str]] = json.loads(base64.b64decode(found[1]))
    return result


@pytest.mark.parametrize("state", STATES)
def test_nothing_of_the_streaming_page_is_cut_off_in_a_frame_of_any_size(tmp_path: Path, state: str) -> None:
    found = measured(tmp_path, STATES[state])
    assert found == {f"{wide}x{tall}": [] for wide, tall in SIZES}
