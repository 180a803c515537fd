"""The kiosk's page in a real browser: each state says its sentence, at each size of screen, and nothing is cut off."""

import base64
import contextlib
import html
import json
import os
import re
import signal
import subprocess
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import trio

from ravatar_audio.kiosk.machine import Caption, Phase, Snapshot, Trouble
from ravatar_audio.kiosk.server import KioskServer
from ravatar_audio.kiosk.texts import LANGUAGES, load_texts

from ..conftest import HANG_LIMIT_S, ROOT, needs

BROWSER = "chromium"
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000", "--dump-dom")
LED_S = 60.0
"""Time for a browser to start and show the page."""
SIZES = [(1080, 1920), (1920, 1080), (800, 480)]

TALKING = (Phase.HEARING, Phase.THINKING, Phase.SPEAKING)
UP = Snapshot(Phase.READY, None, None, None, "ptt", False, -20.0, (Caption("avatar", "word " * 120),) * 4)
STATES: dict[str, Snapshot] = {
    **{f"out: {trouble}": Snapshot(Phase.WAITING, trouble, "code", 4.2, "ptt", False, None, ()) for trouble in Trouble},
    "up: network": Snapshot(Phase.READY, Trouble.NETWORK, "link_lost", 4.2, "ptt", False, -20.0, UP.captions),
    "starting": Snapshot(Phase.STARTING, None, None, None, "ptt", False, None, ()),
    "ready": UP,
    "muted": Snapshot(Phase.READY, None, None, None, "ptt", True, -20.0, ()),
    **{phase: Snapshot(phase, None, None, None, "ptt", False, -20.0, ()) for phase in TALKING},
}
STUB = """<script>window.EventSource = class {
  constructor() { setInterval(() => this.onmessage({data: JSON.stringify(STATE)}), 100); }
  addEventListener() {} };</script>"""
HEAD = "<!DOCTYPE html><meta charset='utf-8'><style>iframe { border: 0 }</style><body>"
MEASURE = """
function found(frame) {
  const page = frame.contentDocument, cut = [];
  for (const item of page.querySelectorAll("#state, #sentence, #retry, button, meter, .bar")) {
    const box = item.getBoundingClientRect();
    const isWide = box.left < -1 || box.right > frame.clientWidth + 1;
    if (box.width && (isWide || box.top < -1 || box.bottom > frame.clientHeight + 1))
      cut.push(item.id || item.className);
  }
  const item = (id) => page.getElementById(id);
  const shown = (id) => item(id).getBoundingClientRect().width ? item(id).textContent : "";
  return {cut, sentence: shown("sentence"), state: shown("state"), talk: shown("talk"), mute: shown("mute")};
}
"""


def measured(tmp_path: Path, language: str) -> dict[str, dict[str, str]]:
    """What each state shows, for each size of screen."""
    needs(BROWSER)
    texts = json.dumps(load_texts(language))
    page = (resources.files("ravatar_audio.kiosk") / "page.html").read_text(encoding="utf-8").replace("TEXTS", texts)
    frames = ""
    for name, state in STATES.items():
        stub = STUB.replace("STATE", json.dumps(state.as_plain()))
        source = html.escape(page.replace("<style", stub + "<style", 1))
        frames += "".join(
            f'<iframe id="{name} {wide}x{tall}" width="{wide}" height="{tall}" srcdoc="{source}"></iframe>'
            for wide, tall in SIZES
        )
    script = f"""{MEASURE}
addEventListener("load", () => setTimeout(() => {{
  const all = [...document.querySelectorAll("iframe")].map((frame) => [frame.id, found(frame)]);
  document.body.innerHTML = "<pre>" + btoa(unescape(encodeURIComponent(JSON.stringify(all)))) + "</pre>";
}}, 800));"""
    file = tmp_path / "frames.html"
    file.write_text(
        f"{HEAD}{frames}<script>{script}</script>",
        encoding="utf-8",
    )
    command = [BROWSER, *OPTIONS, f"--user-data-dir={tmp_path / 'profile'}", file.as_uri()]
    shown = subprocess.run(command, capture_output=True, timeout=HANG_LIMIT_S, check=True, text=True).stdout
    result = re.search(r"<pre>([A-Za-z0-9+/=]+)</pre>", shown)
    assert result, f"the browser measured nothing: {shown[-300:]}"
    return dict(json.loads(base64.b64decode(result[1])))


@pytest.mark.parametrize("language", [language for language in LANGUAGES if language in ("en", "uk")])
def test_each_state_says_its_sentence_and_nothing_is_cut_off(tmp_path: Path, language: str) -> None:
    texts, found = load_texts(language), measured(tmp_path, language)
    assert len(found) == len(STATES) * len(SIZES)
    for name, state in STATES.items():
        is_up = state.phase not in (Phase.WAITING, Phase.STARTING)
        for wide, tall in SIZES:
            shown = found[f"{name} {wide}x{tall}"]
            assert not shown["cut"], f"{name} at {wide}x{tall}"
            words = texts[state.trouble] if state.trouble else "" if is_up else texts["starting"]
            assert shown["sentence"] == words
            word = "muted" if state.is_muted else "ready_ptt" if state.phase == "ready" else str(state.phase)
            if is_up:
                assert shown["state"] == texts[word]
            assert shown["talk"] == (texts["talk"] if is_up else "")
            assert shown["mute"] == ("" if not is_up else texts["unmute" if state.is_muted else "mute"])


async def test_the_packages_browser_is_led_to_the_page(tmp_path: Path) -> None:
    """By the script of the Debian package: the page's own script asks for the state."""
    needs(BROWSER)
    is_shown = trio.Event()

    def state() -> Mapping[str, Any]:
        is_shown.set()
        return UP.as_plain()

    server = KioskServer(state, lambda: None, lambda _: None, load_texts("en"))
    options = " ".join(OPTIONS[:3])
    environment = os.environ | {"CREDENTIALS_DIRECTORY": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    environment |= {"HOME": str(tmp_path), "RAVATAR_BROWSER": BROWSER, "RAVATAR_BROWSER_OPTIONS": options}
    script = ROOT / "packaging" / "debian" / "browser"
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        (tmp_path / "address").write_text(server.address, encoding="ascii")
        with (tmp_path / "log").open("wb") as log:
            browser = await trio.lowlevel.open_process(
                ["sh", str(script)], env=environment, stdout=log, stderr=log, start_new_session=True
            )
        try:
            with trio.fail_after(LED_S):
                await is_shown.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(browser.pid, signal.SIGKILL)
            with trio.CancelScope(shield=True):
                await browser.wait()
            nursery.cancel_scope.cancel()
