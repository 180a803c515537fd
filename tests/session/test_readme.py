"""The README's examples, executed as they stand."""

from pathlib import Path

import numpy as np
import pytest
import trio
import trio.testing

import ravatar_audio
from ravatar_audio import Emulator, EmulatorSettings
from tests.session.conftest import until
from tests.session.examples import ShortMicrophone, defined, examples, fragment, page

PRODUCT, LAYERS, TESTS = examples(page("README.md"))


async def test_the_product_example_streams_and_prints_replies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Emulator(EmulatorSettings(wav_dir=tmp_path, reply_every_s=0.5)) as emulator:
        monkeypatch.setenv("RAVATAR_API_URL", emulator.api_url)
        monkeypatch.setenv("RAVATAR_STATE_DIR", str(tmp_path / "state"))
        monkeypatch.setattr(ravatar_audio, "Microphone", ShortMicrophone)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(defined(PRODUCT, "main"))
            await until(lambda: emulator.statistics().samples >= 40_000, "all sound")
            await until(lambda: capsys.readouterr().out.strip(), "a reply")
            nursery.cancel_scope.cancel()
        assert emulator.statistics().live[0].end_calls == 1
        assert emulator.statistics().violation_count == 0


async def test_the_layers_example_runs() -> None:
    given = {"Microphone": ShortMicrophone, "samples": np.zeros((44_100, 2), np.float32)}
    with trio.fail_after(20):
        frames, settings = await fragment(LAYERS, "frames, settings", **given)()
    assert sum(frame.length_samples for frame in frames) == 16_000
    assert settings.api_url.startswith("https://127.0.0.1:")


async def test_the_example_of_a_products_test_passes(autojump_clock: trio.testing.MockClock) -> None:
    await defined(TESTS, "test_an_unplugged_microphone_costs_its_absence_only")(autojump_clock)
