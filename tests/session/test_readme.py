"""The README's examples, executed as they stand."""

import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
import trio
import trio.testing

import ravatar_audio
from ravatar_audio import Emulator, EmulatorSettings, Settings, SyntheticSource

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
PRODUCT, LAYERS, TESTS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


class ShortMicrophone(SyntheticSource):
    """Stands where the example says Microphone, as there is none on every machine; it ends by itself."""

    def __init__(self, device: str | None = None) -> None:
        assert device in (None, "USB")
        super().__init__("speech", duration_s=1.0)


async def test_the_product_example_streams_and_prints_replies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Emulator(EmulatorSettings(wav_dir=tmp_path, reply_every_s=0.5)) as emulator:
        monkeypatch.setenv("RAVATAR_API_URL", emulator.api_url)
        monkeypatch.setenv("RAVATAR_STATE_DIR", str(tmp_path / "state"))
        monkeypatch.setattr(ravatar_audio, "Microphone", ShortMicrophone)
        names: dict[str, object] = {}
        exec(compile(PRODUCT.replace("trio.run(main)", ""), "README.md", "exec"), names)
        main = names["main"]
        assert callable(main)
        with trio.move_on_after(3):
            await main()
        assert emulator.statistics().live[0].end_calls == 1
        assert emulator.statistics().samples >= 16_000
        assert emulator.statistics().violation_count == 0
    assert capsys.readouterr().out.strip(), "the avatar said something"


async def test_the_layers_example_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, object] = {name: getattr(ravatar_audio, name) for name in ravatar_audio.__all__}
    names |= {"Microphone": ShortMicrophone, "samples": np.zeros((44_100, 2), np.float32), "Settings": Settings}
    body = textwrap.indent(LAYERS + "return frames, settings", "    ")
    exec(compile(f"async def example():\n{body}", "README.md", "exec"), names)
    example = names["example"]
    assert callable(example)
    with trio.fail_after(20):
        frames, settings = await example()
    assert sum(frame.length_samples for frame in frames) == 16_000
    assert settings.api_url.startswith("http://127.0.0.1:")


async def test_the_example_of_a_products_test_passes(autojump_clock: trio.testing.MockClock) -> None:
    names: dict[str, object] = {}
    exec(compile(TESTS, "README.md", "exec"), names)
    (test,) = [value for name, value in names.items() if name.startswith("test_")]
    assert callable(test)
    await test(autojump_clock)
