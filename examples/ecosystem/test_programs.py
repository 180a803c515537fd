"""The programs here run with the real classes of the packages that they are for; `scripts/ecosystem` runs this."""

import asyncio
import json
import os
import random
import re
import struct
import subprocess
import sys
import sysconfig
import wave
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
SAMPLES = 24_000


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """A second and a half of noise at 16 kHz."""
    path, chance = tmp_path / "noise.wav", random.Random(1)  # noqa: S311
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(struct.pack(f"<{SAMPLES}h", *(chance.randint(-8_000, 8_000) for _ in range(SAMPLES))))
    return path


def run(name: str, *words: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(HERE / name), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603


@pytest.mark.parametrize("name", ["pipecat_input.py", "livekit_source.py"])
def test_every_sample_gets_there(name: str, sound: Path) -> None:
    done = run(name, sound)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"\b{SAMPLES} samples", done.stdout), done.stdout + done.stderr


@pytest.mark.parametrize("name", ["pipecat_input.py", "livekit_source.py"])
def test_a_source_that_cannot_be_opened_ends_it_and_says_why(name: str, tmp_path: Path) -> None:
    done = run(name, tmp_path / "none.wav")
    assert "cannot be read" in done.stdout + done.stderr


def test_livekit_gets_the_same_samples_in_blocks_of_ten_milliseconds(sound: Path) -> None:
    from livekit import rtc
    from livekit_source import feed

    from ravatar_audio.asyncio import FileSource

    class Heard(rtc.AudioSource):
        def __init__(self) -> None:
            super().__init__(16_000, 1)
            self.blocks: list[bytes] = []

        async def capture_frame(self, frame: rtc.AudioFrame) -> None:
            self.blocks.append(bytes(frame.data))
            await super().capture_frame(frame)

    async def main() -> list[bytes]:
        heard = Heard()
        assert await feed(FileSource(sound, pace="full"), heard) == SAMPLES
        await heard.aclose()
        return heard.blocks

    blocks = asyncio.run(main())
    with wave.open(str(sound)) as file:
        assert b"".join(blocks) == file.readframes(SAMPLES)
    assert {len(block) for block in blocks[:-1]} == {320}


def pyright(*words: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable, "--outputjson", *words]
    packages = os.environ | {"PYTHONPATH": sysconfig.get_path("purelib")}  # it does not ask an environment in .cache
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=packages)  # noqa: S603
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_the_types_of_the_public_names_are_complete() -> None:
    told = pyright("--verifytypes", "ravatar_audio", "--ignoreexternal")["typeCompleteness"]
    exported = [
        symbol
        for symbol in told["symbols"]
        if symbol["isExported"] and not symbol["name"].startswith("ravatar_audio.benches")  # programs, not names to use
    ]
    assert len(exported) > 1_000
    assert [symbol["name"] for symbol in exported if not symbol["isTypeKnown"] or symbol["isTypeAmbiguous"]] == []


def test_the_examples_are_clean_in_strict_mode(tmp_path: Path) -> None:
    config = tmp_path / "pyrightconfig.json"
    settings = {"include": [str(HERE.parent)], "exclude": [str(HERE)], "typeCheckingMode": "strict"}
    config.write_text(json.dumps(settings), encoding="utf-8")
    found = pyright("-p", str(config))["generalDiagnostics"]
    assert [f"{each['file']}:{each['range']['start']['line'] + 1}: {each['message']}" for each in found] == []


def test_it_runs_with_what_is_installed_and_not_with_the_checkout() -> None:
    import ravatar_audio

    assert not Path(ravatar_audio.__file__).is_relative_to(HERE.parent.parent / "src")
    assert os.path.exists(Path(ravatar_audio.__file__).with_name("py.typed"))
