"""Recorded voice messages over the real socket, read back by decoders that are not ours: libsndfile and FFmpeg."""

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import trio
from numpy.typing import NDArray

from ravatar_audio.api.link import LinkLimits
from ravatar_audio.api.messages import Reply
from ravatar_audio.emulator import Emulator, EmulatorSettings, Fault
from ravatar_audio.errors import NetworkError, SettingsError
from ravatar_audio.frames import Frame
from ravatar_audio.session import ChatSession, LiveSession, Recordings, TurnSource
from ravatar_audio.session.conversation import Conversation
from ravatar_audio.session.sound_file import read_recording
from ravatar_audio.settings import Settings
from ravatar_audio.turns import Gate, Recording
from tests.session.conftest import Frames, MakeSettings, until
from tests.session.test_turn_source import ScriptedSource
from tests.unit.turns_world import time_of


def voice(samples: int, rate_hz: int = 16_000) -> NDArray[np.int16]:
    """Voice-like: harmonics of 140 Hz under a moving envelope."""
    time_s = np.arange(samples) / rate_hz
    tones = sum(np.sin(2 * np.pi * 140 * n * time_s) / n for n in range(1, 12))
    return np.asarray(tones * np.sin(2 * np.pi * 1.3 * time_s) ** 2 * 6_000).astype("<i2")


def recording_of(sound: NDArray[np.int16], *, is_push_to_talk: bool = False) -> Recording:
    recording = Recording(600.0, is_push_to_talk=is_push_to_talk)
    recording.add_pcm(sound.tobytes())
    return recording


def decoded(data: bytes) -> NDArray[np.float64]:
    """By FFmpeg, at 16 kHz."""
    container: Any
    with av.open(io.BytesIO(data)) as container:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=16_000)
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
        frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray().ravel() for frame in frames if frame.samples]).astype(np.float64)


def likeness(one: NDArray[np.float64], other: NDArray[np.int16], lags: int = 48) -> float:
    """Greatest correlation within so many samples of shift."""
    length = min(len(one), len(other))
    first, second = (np.fft.rfft(sound[:length] - sound[:length].mean(), 2 * length) for sound in (one, other))
    products = np.fft.irfft(first * second.conj())
    shifted = np.concatenate([products[-lags:], products[: lags + 1]])
    return float(shifted.max() / np.sqrt(one[:length].var() * other[:length].var()) / length)


async def reply_to(session: Conversation) -> str:
    async for event in session.events():
        if isinstance(event, Reply):
            return event.text or ""
    raise AssertionError("no reply")


def session_of(mode: str, settings: Settings) -> Conversation:
    return ChatSession(settings) if mode == "chat" else LiveSession(settings, Frames(count=0))


@pytest.mark.parametrize("mode", ["chat", "live"])
async def test_row_a_recorded_message_arrives_bit_for_bit_as_wav_and_alike_as_webm(
    settings_for: MakeSettings, tmp_path: Path, mode: str
) -> None:
    sound = voice(40_123)
    recording = recording_of(sound, is_push_to_talk=True)
    with trio.fail_after(30):
        async with Emulator(EmulatorSettings(wav_dir=tmp_path / "heard")) as emulator:
            async with session_of(mode, settings_for(emulator)) as session:
                await session.send_voice(recording)
                assert "push-to-talk message of 2.5 s" in await reply_to(session)
                await session.send_voice(recording, push_to_talk=False, format="webm")
                assert "voice message" in await reply_to(session)
            told = emulator.statistics()
            assert told.violation_count == 0
            assert [live.voice_messages for live in told.live] == ([2] if mode == "live" else [])
    [wav] = (tmp_path / "heard").glob("voice*.wav")
    heard, rate_hz = soundfile.read(wav, dtype="int16")
    assert rate_hz == 16_000
    assert np.array_equal(heard, sound)
    [webm] = (tmp_path / "heard").glob("voice*.webm")
    heard = decoded(webm.read_bytes())
    assert abs(len(heard) - len(sound)) <= 960, "within Opus's padding"
    assert likeness(heard, sound) > 0.95


async def test_a_message_that_is_cancelled_is_not_sent(settings_for: MakeSettings) -> None:
    with trio.fail_after(20):
        async with Emulator() as emulator, LiveSession(settings_for(emulator), Frames(count=0)) as session:
            with trio.CancelScope() as scope:
                scope.cancel()
                await session.send_voice(recording_of(voice(16_000)))
            assert scope.cancelled_caught
            await session.send_text("instead")
            assert "You wrote: instead" in await reply_to(session)
            assert emulator.statistics().live[0].voice_messages == 0


async def test_a_recording_that_could_not_be_sent_can_be_sent_again(settings_for: MakeSettings, tmp_path: Path) -> None:
    recording = recording_of(voice(16_000))
    with trio.fail_after(30):
        async with Emulator() as emulator:
            with pytest.raises(NetworkError):  # noqa: PT012 - the block is what is tested
                async with ChatSession(settings_for(emulator), reconnect_limit_s=0.2) as chat:
                    emulator.faults.add(Fault(at="socket", do="status", status=503, times=1_000))
                    await emulator.strike(Fault(at="message", do="reset"))
                    await until(lambda: chat._link is None, "the link's end")
                    await chat.send_voice(recording)
            assert emulator.statistics().violation_count == 0
        async with (
            Emulator(EmulatorSettings(wav_dir=tmp_path / "heard")) as emulator,
            ChatSession(settings_for(emulator)) as chat,
        ):
            await chat.send_voice(recording)
            await reply_to(chat)
    [wav] = (tmp_path / "heard").glob("voice*.wav")
    assert np.array_equal(soundfile.read(wav, dtype="int16")[0], voice(16_000))


async def test_a_message_that_is_too_large_is_refused_and_the_conversation_goes_on(settings_for: MakeSettings) -> None:
    with trio.fail_after(20):
        async with Emulator() as emulator, ChatSession(settings_for(emulator)) as chat:
            with pytest.raises(SettingsError, match="8388608 at most"):
                await chat.send_voice(bytes(8 * 1024 * 1024 + 1))
            with pytest.raises(SettingsError, match="wav, webm"):
                await chat.send_voice(recording_of(voice(100)), format="mp3")  # type: ignore[arg-type]
            await chat.send_text("still here")
            assert "still here" in await reply_to(chat)


async def test_a_long_message_over_a_slow_line_is_no_dead_peer(settings_for: MakeSettings) -> None:
    """1.5 s for 4 MB, where a send that gets nothing away is noticed within 0.4 s."""
    limits = LinkLimits(ping_interval_s=0.1, deaf_ping_s=0.2, silence_s=5.0, deaf_s=5.0, stuck_send_s=0.4)
    rate_bytes = 4 * 1024 * 1024 * 2 // 3
    with trio.fail_after(30):
        async with Emulator() as emulator, ChatSession(settings_for(emulator), limits=limits) as chat:
            await until(lambda: emulator.statistics().connections, "the link")
            await emulator.strike(Fault(at="message", do="slow", bytes_per_s=rate_bytes))
            began_s = trio.current_time()
            await chat.send_voice(recording_of(voice(1_572_864 - 22), is_push_to_talk=True))
            assert "push-to-talk message" in await reply_to(chat)
            assert trio.current_time() - began_s > 1.0
            assert len(emulator.statistics().connections) == 1, "one connection from first to last"


async def test_turns_become_recordings_without_those_that_were_called_off() -> None:
    source = ScriptedSource(80_000)
    turns = TurnSource(source, Gate("ptt"))
    source.script = {
        10_000: lambda: turns.press(time_of(10_000)),
        20_000: lambda: turns.release(time_of(20_000)),
        30_000: lambda: turns.press(time_of(30_000)),
        36_000: lambda: turns.cancel(time_of(36_000)),
        37_000: lambda: turns.release(time_of(37_000)),
        50_000: lambda: turns.press(time_of(50_000)),
    }
    with trio.fail_after(10):
        async with turns:
            first, second = [recording async for recording in Recordings(turns)]
    assert first.is_push_to_talk
    for recording, start, end in ((first, 5_200, 23_200), (second, 45_200, 80_000)):
        heard, _ = soundfile.read(io.BytesIO(recording.wav()), dtype="int16")
        # Capture times are exact to a sample.
        assert any(np.array_equal(heard, source.sound[start + s : end + e]) for s in (-1, 0, 1) for e in (-1, 0, 1))


# Files.


def write_av(path: Path, codec: str, sound: NDArray[np.int16]) -> None:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(sound.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = 48_000
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)


@pytest.mark.parametrize("name", ["flac", "ogg", "mp3", "aiff", "webm", "m4a"])
def test_a_file_of_any_common_format_sounds_the_same(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"said.{name}"
    if name in ("webm", "m4a"):
        write_av(path, {"webm": "libopus", "m4a": "aac"}[name], voice(144_000, 48_000))
    else:
        stereo = np.stack([voice(144_000, 48_000)] * 2, axis=1)
        soundfile.write(path, stereo / 32_768, 48_000)
    recording = read_recording(path)
    sound = np.frombuffer(recording.wav()[44:], "<i2")
    assert abs(len(sound) - 48_000) <= 1_500
    assert likeness(sound.astype(np.float64), voice(48_000), lags=1_200) > 0.97


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_a_wav_of_any_depth_is_read(tmp_path: Path, subtype: str) -> None:
    sound = voice(20_000)
    soundfile.write(tmp_path / "said.wav", sound if "PCM" in subtype else sound / 32_768, 16_000, subtype=subtype)
    heard = np.frombuffer(read_recording(tmp_path / "said.wav").wav()[44:], "<i2")
    if subtype == "PCM_U8":
        assert np.abs(heard.astype(int) - sound).max() <= 256
    else:
        assert np.array_equal(heard, sound), "16 kHz mono stays as it is"


def test_resampling_is_clean(tmp_path: Path) -> None:
    tone = np.rint(np.sin(2 * np.pi * 1_000 * np.arange(132_300) / 44_100) * 16_384).astype(np.int16)
    soundfile.write(tmp_path / "tone.wav", np.stack([tone, tone], axis=1), 44_100, subtype="PCM_16")
    heard = np.frombuffer(read_recording(tmp_path / "tone.wav").wav()[44:], "<i2").astype(np.float64)
    spectrum = np.abs(np.fft.rfft(heard[8_000:24_000] * np.hanning(16_000)))
    spectrum[995:1_006] = 0
    assert len(heard) == 48_000
    assert 20 * np.log10(spectrum.max() / (0.5 * 32_768 * 4_000)) < -90


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda path: None, "cannot be read: No such file"),
        (lambda path: path.mkdir(), "cannot be read"),
        (lambda path: path.write_bytes(b""), "no sound in it"),
        (lambda path: path.write_bytes(b"RIFFnonsense" * 10), "cannot be read: it is in no format that is known$"),
        (lambda path: path.write_bytes(b"\0\1garbage" * 500), "cannot be read: it is in no format that is known$"),
        (lambda path: soundfile.write(path, np.zeros(0), 16_000, format="WAV"), "no sound in it"),
        (lambda path: soundfile.write(path, np.zeros(40_000), 16_000, format="WAV"), "longer than 2 s"),
    ],
)
def test_a_file_that_cannot_be_said_is_named(tmp_path: Path, make: Callable[[Path], object], named: str) -> None:
    path = tmp_path / "said.wav"
    make(path)
    with pytest.raises(SettingsError, match=rf"said\.wav.*{named}"):
        read_recording(path, limit_s=2)


def test_without_the_packages_wav_works_and_the_rest_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "said.wav", voice(8_000), 8_000)
    soundfile.write(tmp_path / "said.flac", voice(8_000), 8_000)
    monkeypatch.setitem(sys.modules, "av", None)
    assert read_recording(tmp_path / "said.wav").duration_s == 1.0
    with pytest.raises(SettingsError, match=r"not installed \(av") as caught:
        read_recording(tmp_path / "said.flac")
    assert "ravatar-audio[files]" in caught.value.advice


def test_a_recording_of_frames_knows_their_true_length() -> None:
    frame = Frame(bytes(8_192), 0, 0, 100, 0.0, 0.0, 3, 4, True, True, 0, 0, b"")
    recording = Recording()
    recording.add(frame)
    assert (recording.samples, recording.lost_samples) == (100, 7)
