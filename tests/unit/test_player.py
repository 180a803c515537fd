"""The player, with a speaker whose clock is the test's: what is heard, in which order, what an interruption cuts."""

import io
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
import trio
from numpy.typing import NDArray

from ravatar_audio.api.messages import Reply, parse_server_message
from ravatar_audio.capture import PushSource
from ravatar_audio.errors import DeviceNotFoundError, SettingsError
from ravatar_audio.playback import Played, Player
from ravatar_audio.playback.decoding import decode
from ravatar_audio.playback.speaker import Fill
from tests.session.conftest import until

BLOCK = 480


class HandSpeaker:
    """Takes 10 ms whenever the test says so; all of it is heard at once."""

    rate_hz = 48_000

    def __init__(self) -> None:
        self.fill: Fill | None = None
        self.heard: list[NDArray[np.int16]] = []
        self.closes = 0

    def open(self, fill: Fill) -> None:
        self.fill = fill

    def close(self) -> None:
        self.closes += 1

    def take(self, blocks: int) -> NDArray[np.int16]:
        assert self.fill is not None
        for _ in range(blocks):
            self.heard.append(np.frombuffer(self.fill(BLOCK, 0.0), np.int16))
        return np.concatenate(self.heard)


def wav(samples: NDArray[np.int16], rate_hz: int = 48_000, channels: int = 1) -> bytes:
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(samples.tobytes())
    return made.getvalue()


def ramp(first: int, count: int) -> NDArray[np.int16]:
    return np.arange(first, first + count, dtype=np.int16)


async def until_playing(player: Player, sounds: int) -> None:
    await until(lambda: player.statistics().sounds >= sounds, f"sound {sounds}")


async def test_samples_come_out_as_they_are_and_silence_behind_them() -> None:
    speaker, results = HandSpeaker(), []
    async with Player(speaker=speaker) as player, trio.open_nursery() as nursery:

        async def play() -> None:
            results.append(await player.play(wav(ramp(1, 1_000))))

        nursery.start_soon(play)
        await until_playing(player, 1)
        heard = speaker.take(4)
    np.testing.assert_array_equal(heard, np.concatenate([ramp(1, 1_000), np.zeros(920, np.int16)]))
    assert results == [Played(1_000 / 48_000, 1_000 / 48_000, False)]
    assert speaker.closes == 1


async def test_one_comes_after_the_other_without_a_hole() -> None:
    speaker = HandSpeaker()
    async with Player(speaker=speaker) as player, trio.open_nursery() as nursery:
        nursery.start_soon(player.play, wav(ramp(1, BLOCK)))
        await until_playing(player, 1)
        nursery.start_soon(player.play, wav(ramp(5_001, BLOCK)))
        assert player.is_playing
        speaker.take(1)
        await until_playing(player, 2)
        heard = speaker.take(1)
    np.testing.assert_array_equal(heard, np.concatenate([ramp(1, BLOCK), ramp(5_001, BLOCK)]))
    assert not player.is_playing


@pytest.mark.parametrize("taken_blocks", [0, 1, 3])
async def test_an_interruption_fades_within_five_milliseconds_and_drops_what_waits(taken_blocks: int) -> None:
    speaker, results = HandSpeaker(), list[Played]()
    loud = np.full(48_000, 20_000, np.int16)
    async with Player(speaker=speaker) as player, trio.open_nursery() as nursery:

        async def play() -> None:
            results.append(await player.play(wav(loud)))

        nursery.start_soon(play)
        await until_playing(player, 1)
        nursery.start_soon(play)
        await trio.sleep(0.05)
        speaker.take(taken_blocks) if taken_blocks else None
        await trio.to_thread.run_sync(player.interrupt)
        heard = speaker.take(3)
        await until_playing(player, 2)
    fade = heard[taken_blocks * BLOCK :]
    assert np.all(np.diff(fade[:240].astype(int)) <= 0)
    assert not fade[240:].any()
    assert [result.was_interrupted for result in results] == [True, True]
    assert results[1].played_s == 0
    assert player.statistics().interrupted == 2


async def test_cancelled_it_stops_and_the_next_can_be_played() -> None:
    speaker = HandSpeaker()
    async with Player(speaker=speaker) as player:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(player.play, wav(np.full(48_000, 9_000, np.int16)))
            await until_playing(player, 1)
            nursery.cancel_scope.cancel()
        assert not speaker.take(2)[BLOCK:].any()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(player.play, wav(ramp(1, BLOCK)))
            await until_playing(player, 2)
            np.testing.assert_array_equal(speaker.take(1)[-BLOCK:], ramp(1, BLOCK))


async def test_a_reply_is_played_by_its_sound_and_one_without_is_refused() -> None:
    import base64
    import json

    text = json.dumps(
        {"type": "incoming", "answer": "hello", "audio_base64": base64.b64encode(wav(ramp(1, BLOCK))).decode()}
    )
    speaker = HandSpeaker()
    async with Player(speaker=speaker) as player, trio.open_nursery() as nursery:
        message = parse_server_message(text)
        assert isinstance(message, Reply)
        nursery.start_soon(player.play, message)
        await until_playing(player, 1)
        np.testing.assert_array_equal(speaker.take(1), ramp(1, BLOCK))
        silent = parse_server_message('{"type": "incoming", "answer": "hello"}')
        assert isinstance(silent, Reply)
        with pytest.raises(SettingsError, match="no sound in it"):
            await player.play(silent)


async def test_what_is_played_goes_to_the_reference_with_its_time() -> None:
    speaker = HandSpeaker()
    reference = PushSource(rate_hz=48_000)
    async with Player(speaker=speaker, reference=reference) as player:
        speaker.take(1)  # the reference is not open yet
        async with reference, trio.open_nursery() as nursery:
            nursery.start_soon(player.play, wav(np.full(48_000, 8_000, np.int16)))
            await until_playing(player, 1)
            speaker.take(100)
            reference.finish()
            frames = [frame async for frame in reference]
    heard = np.concatenate([frame.samples for frame in frames])
    assert abs(int(np.median(heard[4_000:12_000])) - 8_000) <= 9  # of the filter, 0.01 dB


@pytest.mark.parametrize("volume", [-0.1, 1.1, float("nan")])
def test_volumes_out_of_range_are_refused(volume: float) -> None:
    with pytest.raises(SettingsError, match="volume is"):
        Player(speaker=HandSpeaker(), volume=volume)


def test_a_reference_of_another_rate_is_refused_with_the_right_one() -> None:
    with pytest.raises(SettingsError, match="16000 Hz") as caught:
        Player(speaker=HandSpeaker(), reference=PushSource(rate_hz=16_000))
    assert "rate_hz=48000" in caught.value.advice


async def test_a_speaker_that_cannot_be_opened_is_said() -> None:
    class Missing(HandSpeaker):
        def open(self, fill: Fill) -> None:
            raise DeviceNotFoundError("no speaker")

    with pytest.raises(DeviceNotFoundError, match="no speaker"):
        async with Player(speaker=Missing()):
            pass


async def test_it_is_used_in_its_block_only() -> None:
    with pytest.raises(RuntimeError, match="not open"):
        await Player(speaker=HandSpeaker()).play(b"")


@contextmanager
def sound_file(folder: Path, name: str, samples: NDArray[np.float64], rate_hz: int, subtype: str) -> Iterator[Path]:
    path = folder / name
    soundfile.write(path, samples, rate_hz, subtype=subtype or None)
    yield path


@pytest.mark.parametrize(
    ("name", "subtype"),
    [
        *(("a.wav", subtype) for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT")),
        ("a.flac", "PCM_16"),
        ("a.ogg", ""),
        ("a.mp3", ""),
    ],
)
@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 48_000])
def test_every_format_is_decoded_at_its_level_and_length(tmp_path: Path, name: str, subtype: str, rate_hz: int) -> None:
    seconds = np.arange(rate_hz) / rate_hz
    tone = 0.5 * np.sin(2 * np.pi * 440 * seconds)
    with sound_file(tmp_path, name, np.stack([tone, 0 * tone], axis=1), rate_hz, subtype) as path:
        by_path, by_bytes = decode(path, 48_000), decode(path.read_bytes(), 48_000)
    np.testing.assert_array_equal(by_path, by_bytes)
    assert abs(len(by_path) - 48_000) <= 2_400  # MP3's padding
    middle = by_path[12_000:36_000].astype(float) / 32_768
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.25 / np.sqrt(2), rel=0.02)


@pytest.mark.parametrize("sound", [b"", b"RIFF", b"\0" * 4_000, b"no sound at all" * 100])
def test_what_is_no_sound_is_refused(sound: bytes) -> None:
    with pytest.raises(SettingsError):
        decode(sound, 48_000)
