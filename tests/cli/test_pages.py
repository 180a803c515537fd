"""The Python examples of docs/, executed as they stand against an emulator; a source that ends is the microphone."""

import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio
import trio.testing

import ravatar_audio
import ravatar_audio.asyncio
import ravatar_audio.blocking
from ravatar_audio import Player, PushSource, Settings, SyntheticSource
from ravatar_audio.playback.speaker import Fill
from tests.cli.test_commands import emulator, environment, write_wav
from tests.session.examples import defined, examples, fragment, page

__all__ = ["environment"]

ASYNCIO, THREADS, DOOR, PUSHED, DIAGNOSED = examples(page("docs/howto/embedding.md"))
(ECHO,) = examples(page("docs/howto/echo.md"))
(EMULATOR,) = examples(page("docs/howto/emulator.md"))
(DETECTORS,) = examples(page("docs/howto/voice-activity.md"))
(PLAYED,) = examples(page("docs/howto/playing-replies.md"))
PLATFORM, FAKE = examples(page("docs/tutorial/tests.md"))


@pytest.fixture
def platform(environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An emulator that answers soon, whose address the settings of this process find."""
    for name in [name for name in os.environ if name.startswith(("RAVATAR_", "VITE_"))]:
        monkeypatch.delenv(name)
    with emulator(environment, tmp_path / "heard", "--observed-names") as (url, _):  # which answer with sound
        monkeypatch.setenv("RAVATAR_API_URL", url)
        monkeypatch.setenv("RAVATAR_STATE_DIR", str(tmp_path / "state"))
        yield


class EnoughError(Exception):
    """Ends a program that goes on for ever."""


def execute(program: str, **given: Any) -> dict[str, Any]:
    """Runs a whole program with these names; the names that it has then."""
    names: dict[str, Any] = {"__name__": "__main__"} | given
    exec(compile(program, "example", "exec"), names)
    return names


@pytest.mark.usefixtures("platform")
@pytest.mark.parametrize(
    ("program", "world"),
    [(ASYNCIO, ravatar_audio.asyncio), (THREADS, ravatar_audio.blocking)],
    ids=["asyncio", "threads"],
)
def test_the_short_programs_print_replies(program: str, world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def end(text: str) -> None:
        raise EnoughError(text)

    monkeypatch.setattr(world, "Microphone", lambda: world.SyntheticSource("speech", duration_s=2.5))
    with pytest.raises(EnoughError, match="I heard"):
        execute(program, print=end)


@pytest.mark.usefixtures("platform")
def test_the_front_door_opens_and_the_button_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        ravatar_audio.Microphone, "from_settings", classmethod(lambda cls, settings: SyntheticSource("speech"))
    )
    execute(DOOR)


def test_pushed_sound_comes_out_as_frames(capsys: pytest.CaptureFixture[str]) -> None:
    execute(PUSHED)
    (seconds,) = re.findall(r"\[([\d.]+)\]", capsys.readouterr().out)
    assert float(seconds) == pytest.approx(0.01)


@pytest.mark.usefixtures("platform")
def test_the_doctors_example_ends() -> None:
    execute(DIAGNOSED)


@pytest.mark.usefixtures("platform")
async def test_the_echo_example_streams_and_shows_what_it_took_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def microphone(device: str) -> SyntheticSource | PushSource:
        return SyntheticSource("speech", duration_s=1.0) if device == "USB" else PushSource(rate_hz=16_000)

    example = ECHO.replace("from ravatar_audio import LiveSession, Microphone, PushSource, VoiceSource", "")
    with trio.fail_after(30):
        await fragment(example, "source", Microphone=microphone, settings=Settings.load())()
    assert "erle_db" in capsys.readouterr().out


async def test_the_emulators_example_shows_what_it_heard(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    session = """
    settings = Settings(api_url=emulator.api_url, state_dir=folder)
    async with SyntheticSource("speech", duration_s=1.0) as source, LiveSession(settings, source) as live:
        await live.wait_finished()
"""
    example = re.sub(r"\n    \.\.\..*\n", session, EMULATOR).replace('"heard"', "folder")
    with trio.fail_after(30):
        await fragment(example, "live", folder=str(tmp_path))()
    assert re.match(r"4 16384 ", capsys.readouterr().out)


def test_the_example_of_detectors_gates() -> None:
    gate = execute(DETECTORS)["gate"]
    assert gate.mode == "vad"


@pytest.mark.usefixtures("platform")
async def test_a_spoken_message_is_answered_and_the_answer_played(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Instant:
        """Hears whatever there is at once, in a thread of its own."""

        rate_hz = 48_000
        is_open = False

        def open(self, fill: Fill) -> None:
            self.is_open = True
            threading.Thread(target=self.run, args=(fill,)).start()

        def run(self, fill: Fill) -> None:
            while self.is_open:
                fill(4_800, time.monotonic())
                time.sleep(0.001)

        def close(self) -> None:
            self.is_open = False

    monkeypatch.chdir(tmp_path)
    write_wav(tmp_path / "order.wav", np.full(16_000, 1_000, np.int16))
    given = {"settings": Settings.load(), "Player": lambda: Player(speaker=Instant())}
    with trio.fail_after(30):
        played = await fragment(PLAYED, "played", **given)()
    assert (played.duration_s, played.was_interrupted) == (pytest.approx(1.0, abs=0.1), False)


async def test_the_tutorials_platform_hears_each_sample(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with trio.fail_after(30):
        await defined(PLATFORM, "main")()
    assert int(capsys.readouterr().out) == 8 * 4_096


async def test_the_tutorials_test_passes(autojump_clock: trio.testing.MockClock) -> None:
    await defined(FAKE, "test_an_unplugged_microphone_is_opened_again")(autojump_clock)
