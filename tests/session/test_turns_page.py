"""docs/howto/turns.md: its examples run as they stand, its defaults are the settings'."""

import dataclasses
import re
from pathlib import Path

import pytest
import soundfile
import trio

import ravatar_audio
from ravatar_audio import Emulator, EmulatorSettings, Settings, TurnRules
from tests.session.conftest import until
from tests.session.examples import ShortMicrophone, defined, examples, fragment, page

PAGE = page("docs/howto/turns.md")
PRODUCT, RECORDED = examples(PAGE)


def test_the_pages_defaults_are_the_settings() -> None:
    defaults = {item.name: item.default for item in dataclasses.fields(Settings)}
    rows = re.findall(r"^\| `(\w+)` \| (-?[\d.]+) \|", PAGE, re.MULTILINE)
    assert {name for name, _ in rows} == {item.name for item in dataclasses.fields(TurnRules)} | {
        *("speech_dbfs", "trailing_silence_ms")
    }
    for name, value in rows:
        assert float(value) == defaults[name], name


async def test_the_product_example_takes_a_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Emulator(EmulatorSettings(wav_dir=tmp_path, reply_every_s=0.5)) as emulator:
        monkeypatch.setenv("RAVATAR_API_URL", emulator.api_url)
        monkeypatch.setenv("RAVATAR_STATE_DIR", str(tmp_path / "state"))
        monkeypatch.setattr(ravatar_audio, "Microphone", ShortMicrophone)
        shown = ""

        def has_ended() -> bool:
            nonlocal shown
            shown += capsys.readouterr().out
            return "ended 0" in shown

        async with trio.open_nursery() as nursery:
            nursery.start_soon(defined(PRODUCT, "main"))
            await until(has_ended, "the turn's end")
            await until(lambda: emulator.statistics().samples >= 16_000, "its sound")
            nursery.cancel_scope.cancel()
        assert emulator.statistics().violation_count == 0
    assert "started 0" in shown


async def test_the_example_of_recorded_messages_sends_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Emulator(EmulatorSettings(wav_dir=tmp_path / "heard")) as emulator:
        settings = Settings(api_url=emulator.api_url, state_dir=str(tmp_path / "state"), mode="open")
        monkeypatch.chdir(tmp_path)
        soundfile.write("order.flac", [0.1] * 8_000, 8_000)
        with trio.fail_after(20):
            recording = await fragment(RECORDED, "recording", settings=settings, microphone=ShortMicrophone())()
        assert recording.duration_s == 1.0
        assert len(list((tmp_path / "heard").glob("voice*.webm"))) == 1
