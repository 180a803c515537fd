"""docs/turns.md: its examples run as they stand, its defaults are the settings'."""

import dataclasses
import re
import textwrap
from pathlib import Path

import pytest
import soundfile
import trio

import ravatar_audio
from ravatar_audio import Emulator, EmulatorSettings, Settings, SyntheticSource, TurnRules

PAGE = (Path(__file__).parents[2] / "docs" / "turns.md").read_text(encoding="utf-8")
PRODUCT, RECORDED = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


class ShortMicrophone(SyntheticSource):
    """Stands where the example says Microphone, as there is none on every machine; it ends by itself."""

    def __init__(self) -> None:
        super().__init__("speech", duration_s=2.5)

    @classmethod
    def from_settings(cls, settings: Settings) -> "ShortMicrophone":
        return cls()


def test_the_pages_defaults_are_the_settings() -> None:
    defaults = {item.name: item.default for item in dataclasses.fields(Settings)}
    rows = re.findall(r"^\| `(\w+)` \| (-?[\d.]+) \|", PAGE, re.MULTILINE)
    assert {name for name, _ in rows} == {item.name for item in dataclasses.fields(TurnRules)} | {"speech_dbfs"}
    for name, value in rows:
        assert float(value) == defaults[name], name


async def test_the_product_example_takes_a_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Emulator(EmulatorSettings(wav_dir=tmp_path, reply_every_s=0.5)) as emulator:
        monkeypatch.setenv("RAVATAR_API_URL", emulator.api_url)
        monkeypatch.setenv("RAVATAR_STATE_DIR", str(tmp_path / "state"))
        monkeypatch.setattr(ravatar_audio, "Microphone", ShortMicrophone)
        names: dict[str, object] = {}
        exec(compile(PRODUCT, "turns.md", "exec"), names)
        main = names["main"]
        assert callable(main)
        with trio.move_on_after(3.5):
            await main()
        assert emulator.statistics().violation_count == 0
        assert emulator.statistics().samples >= 16_000
    shown = capsys.readouterr().out
    assert "started 0" in shown
    assert "ended 0" in shown


async def test_the_example_of_recorded_messages_sends_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Emulator(EmulatorSettings(wav_dir=tmp_path / "heard")) as emulator:
        names: dict[str, object] = {name: getattr(ravatar_audio, name) for name in ravatar_audio.__all__}
        names["settings"] = Settings(api_url=emulator.api_url, state_dir=str(tmp_path / "state"), mode="open")
        names["microphone"] = ShortMicrophone()
        monkeypatch.chdir(tmp_path)
        soundfile.write("order.flac", [0.1] * 8_000, 8_000)
        body = textwrap.indent(RECORDED + "return recording", "    ")
        exec(compile(f"async def example():\n{body}", "turns.md", "exec"), names)
        example = names["example"]
        assert callable(example)
        with trio.fail_after(20):
            recording = await example()
        assert recording.duration_s == 1.0
        assert len(list((tmp_path / "heard").glob("voice*.webm"))) == 1
