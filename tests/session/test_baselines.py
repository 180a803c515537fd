"""The usual pipelines of the benches do what this package does: the same samples arrive."""

import asyncio
import wave
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import trio

from benches.rivals.baselines import asyncio_pipeline, trio_pipeline
from benches.rivals.baselines.microphones import SamplesSource
from benches.rivals.baselines.ticket import Ticket, take_ticket
from benches.rivals.baselines.timing import Passage
from ravatar_audio.capture import FileSource
from ravatar_audio.emulator import Emulator, EmulatorSettings
from ravatar_audio.frames import FRAME_SAMPLES
from ravatar_audio.session import LiveSession

from .conftest import MakeSettings, until
from .served import tls_of

SECONDS = 1.0
LIMIT_S = 20

Heard = npt.NDArray[np.int16]
Stream = Callable[[SamplesSource, Ticket, Callable[[Passage], None]], Awaitable[None]]


async def on_asyncio(source: SamplesSource, ticket: Ticket, on_sent: Callable[[Passage], None]) -> None:
    """asyncio's pipeline, from a trio program."""
    await trio.to_thread.run_sync(lambda: asyncio.run(asyncio_pipeline.stream(source, ticket, on_sent)))


PIPELINES: dict[str, Stream] = {"asyncio": on_asyncio, "trio": trio_pipeline.stream}


def tones(rate_hz: int, channels: int) -> npt.NDArray[np.int16]:
    """Sound below 6 kHz, different in each channel, that begins and ends softly."""
    at_s = np.arange(round(SECONDS * rate_hz)) / rate_hz
    soft = np.sin(np.pi * at_s / SECONDS) ** 2
    columns = [
        soft * (np.sin(2 * np.pi * (441 + 130 * c) * at_s) + np.sin(2 * np.pi * 5_900 * at_s)) for c in range(channels)
    ]
    return np.round(np.stack(columns, axis=1) * 8_000).astype("<i2")


async def heard_by(emulator: Emulator, samples: int) -> Heard:
    """What the newest live session's WAV file holds, when all of it is there."""
    await until(lambda: emulator.statistics().live[-1].samples >= samples, "the sound arrives")
    live = emulator.statistics().live[-1]
    assert live.wav is not None
    with wave.open(str(live.wav), "rb") as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


async def sent_by_usual(emulator: Emulator, name: str, sound: npt.NDArray[np.int16], rate_hz: int) -> Heard:
    """Through one of the usual pipelines, at full pace."""
    passages: list[Passage] = []
    source = SamplesSource(sound.tobytes(), rate_hz, sound.shape[1], is_real_time=False)
    ticket = await trio.to_thread.run_sync(lambda: take_ticket(emulator.api_url, f"user-{name}"))
    await PIPELINES[name](source, ticket, passages.append)
    frames = -(-round(SECONDS * 16_000) // FRAME_SAMPLES)
    heard = await heard_by(emulator, frames * FRAME_SAMPLES)
    assert len(passages) == frames
    for passage in passages:
        assert passage.came_s <= passage.awake_s <= passage.framed_s <= passage.encoded_s <= passage.written_s
    return heard


async def sent_by_ours(
    emulator: Emulator,
    sound: npt.NDArray[np.int16],
    rate_hz: int,
    settings_for: MakeSettings,
    folder: Path,
) -> Heard:
    """Through a live session of this package."""
    path = folder / "sound.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(sound.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(sound.tobytes())
    async with (
        FileSource(path, pace="full") as source,
        LiveSession(settings_for(emulator), source) as live,
    ):
        await live.wait_finished()
    return await heard_by(emulator, round(SECONDS * 16_000))


@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
async def test_all_pipelines_bring_the_same_samples(tmp_path: Path, settings_for: MakeSettings, secure: bool) -> None:
    settings = EmulatorSettings(slots=20, wav_dir=tmp_path / "heard", tls=tls_of(secure))
    with trio.fail_after(LIMIT_S):
        async with Emulator(settings) as emulator:
            for rate_hz, channels in ((16_000, 1), (48_000, 2)):
                sound = tones(rate_hz, channels)
                ours = await sent_by_ours(emulator, sound, rate_hz, settings_for, tmp_path)
                for name in PIPELINES:
                    usual = await sent_by_usual(emulator, name, sound, rate_hz)
                    assert len(ours) == len(usual)
                    if rate_hz == 16_000:
                        assert np.array_equal(usual[: len(sound)], sound[:, 0]), name
                        assert np.array_equal(ours, usual), name
                    else:
                        difference = np.abs(ours.astype(int) - usual.astype(int)).max()
                        assert difference <= 16, f"{name}: {difference}"  # both filters' ripple, of 16,000
        assert emulator.statistics().violation_count == 0
