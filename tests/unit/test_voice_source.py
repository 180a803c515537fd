"""A microphone without the loudspeaker's echo: frames as the microphone's, the reference late, gone and back."""

from typing import Any

import numpy as np
import pytest
import trio

from ravatar_audio.capture import PushSource
from ravatar_audio.frames import FRAME_SAMPLES, HOP_SAMPLES, RATE_HZ, Frame
from ravatar_audio.processing import LinearCanceller, VoiceSource
from ravatar_audio.testing import FakeDevice, FakeMicrophone
from tests.unit.test_echo_canceller import echo_of, gone_db, pcm, speech_like


def world(seconds: float, delay: int = 900) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """What the loudspeaker plays and what of it comes to the microphone, at 16 kHz."""
    rng = np.random.default_rng(1)
    far = speech_like(seconds, rng)
    return pcm(far), pcm(echo_of(far, np.random.default_rng(2), delay) + rng.normal(size=len(far)) * 3)


def heard_by(sound: np.ndarray[Any, Any], **options: Any) -> FakeDevice:
    return FakeDevice(sound, rate_hz=RATE_HZ, **options)


def sound_of(frames: list[Frame]) -> np.ndarray[Any, Any]:
    return np.concatenate([np.frombuffer(frame.pcm, "<i2")[: frame.length_samples] for frame in frames])


async def all_of(source: VoiceSource) -> list[Frame]:
    async with source:
        return [frame async for frame in source]


async def test_the_echo_goes_and_frames_stay_the_microphones(autojump_clock: object) -> None:
    played, echo = world(20)
    async with FakeMicrophone(heard_by(echo), duration_s=18) as alone:
        raw_frames = [frame async for frame in alone]
    voice = VoiceSource(FakeMicrophone(heard_by(echo), duration_s=18), FakeMicrophone(heard_by(played)))
    frames = await all_of(voice)
    assert [f.seq for f in frames] == list(range(len(frames)))
    for frame, raw in zip(frames, raw_frames, strict=True):
        assert (frame.position_samples, frame.length_samples) == (raw.position_samples, raw.length_samples)
        assert len(frame.pcm) == len(raw.pcm)
        assert len(frame.hops) == len(raw.hops)
        energies = (np.frombuffer(frame.pcm, "<i2").astype(np.int64) ** 2).reshape(-1, HOP_SAMPLES).sum(axis=1)
        assert [hop.energy for hop in frame.hops] == list(energies[: len(frame.hops)])
        assert frame.peak == max(hop.peak for hop in frame.hops)
    noisy, clean = sound_of(raw_frames), sound_of(frames)
    late = slice(10 * RATE_HZ, 17 * RATE_HZ)
    assert gone_db(noisy[late], clean[late]) > 25.0
    statistics = voice.voice_statistics()
    assert statistics.is_settled
    assert statistics.reference_ppm == 0.0  # corrections are tested in test_echo_placing.py
    assert statistics.moves == 0
    assert statistics.reference_lost_samples == 0
    assert voice.statistics().delivered_samples == len(clean)
    kinds = [event.kind async for event in voice.events()]
    assert "echo_settled" in kinds
    assert not {"reference_lost", "echo_path_changed"} & set(kinds)


async def test_a_silent_reference_passes_the_microphone_bit_for_bit(autojump_clock: object) -> None:
    sound = pcm(speech_like(6, np.random.default_rng(3)))
    frames = await all_of(VoiceSource(FakeMicrophone(heard_by(sound), duration_s=5), FakeMicrophone("silence")))
    clean = sound_of(frames)
    assert np.array_equal(clean[HOP_SAMPLES:], sound[: len(clean) - HOP_SAMPLES])


async def test_a_lost_reference_is_told_and_no_frame_waits_for_it_or_is_lost(autojump_clock: object) -> None:
    played, echo = world(20)
    reference = FakeMicrophone(heard_by(played, script={4 * RATE_HZ: "stall", 10 * RATE_HZ: "ok"}), recover_s=60)
    voice = VoiceSource(FakeMicrophone(heard_by(echo), duration_s=18), reference)
    async with voice:
        frames = []
        async for frame in voice:
            frames.append(frame)
            assert -1e-3 < voice._now_s() - frame.captured_s < 0.05 + 0.1  # the wait; a block, the filter
    assert sum(frame.length_samples for frame in frames) == voice.statistics().captured_samples
    kinds = [event.kind async for event in voice.events()]
    assert kinds.count("reference_lost") == kinds.count("reference_back") == 1
    assert gone_db(echo[15 * RATE_HZ : 17 * RATE_HZ], sound_of(frames)[15 * RATE_HZ : 17 * RATE_HZ]) > 20.0


async def test_a_reference_that_the_program_pushes_in_pieces_with_pauses(autojump_clock: object) -> None:
    """A player that is silent between two answers pushes nothing then; times tell where its sound belongs."""
    played, echo = world(16)
    quiet = slice(5 * RATE_HZ, 8 * RATE_HZ)
    played[quiet] = 0
    echo = pcm(echo_of(played.astype(float), np.random.default_rng(2), 900))
    reference = PushSource()
    voice = VoiceSource(FakeMicrophone(heard_by(echo), duration_s=15), reference)

    async def play() -> None:
        begun_s = trio.current_time()
        for at in range(0, len(played), 800):
            await trio.sleep_until(begun_s + at / RATE_HZ)
            if not quiet.start <= at < quiet.stop:
                reference.push_nowait(played[at : at + 800], voice._now_s() + 0.05)

    async with voice, trio.open_nursery() as nursery:
        nursery.start_soon(play)
        frames = [frame async for frame in voice]
        nursery.cancel_scope.cancel()
    clean = sound_of(frames)
    # What was pushed last before the pause may still be in an open frame of the reference: see VoiceSource.
    for begin_s, end_s in ((3.0, 4.7), (9.0, 14.0)):
        part = slice(int(begin_s * RATE_HZ), int(end_s * RATE_HZ))
        assert gone_db(echo[part], clean[part]) > 20.0


async def test_a_flush_ends_a_frame_at_a_hop(autojump_clock: object) -> None:
    voice = VoiceSource(FakeMicrophone("speech", duration_s=3), FakeMicrophone("silence"), LinearCanceller())
    async with voice:
        first = await anext(voice)
        voice.flush_at(first.length_samples + 1_000)
        second = await anext(voice)
        voice.request_flush()
        third = await anext(voice)
    assert second.length_samples == 4 * HOP_SAMPLES
    assert third.length_samples % HOP_SAMPLES == 0
    assert third.length_samples < FRAME_SAMPLES
    assert third.position_samples == first.length_samples + second.length_samples


async def test_a_frame_that_was_taken_when_the_taker_was_cancelled_is_the_next_one(autojump_clock: object) -> None:
    reference = PushSource()  # nothing comes: each frame waits
    voice = VoiceSource(FakeMicrophone("speech", duration_s=3), reference)
    seqs = []
    async with voice:
        while True:
            with trio.move_on_after(0.030) as scope:
                try:
                    seqs.append((await anext(voice)).seq)
                except StopAsyncIteration:
                    break
            if scope.cancelled_caught:
                await trio.sleep(0.01)
    assert seqs == list(range(len(seqs)))
    assert len(seqs) >= 11


@pytest.mark.parametrize("early_s", [-0.2, -0.1, -0.03, 0.03, 0.056, 0.08, 0.15, 0.4, 1.2])
async def test_a_reference_whose_first_times_are_wrong_is_found_nevertheless(
    autojump_clock: object, early_s: float
) -> None:
    """As PipeWire's are in its first seconds: said to be captured earlier than it was, it would come too late for ever.

    One that is said to be later than it is, so that the echo would come before it, is found by the sounds.
    """
    played, echo = world(20, delay=300)
    reference = PushSource()
    voice = VoiceSource(FakeMicrophone(heard_by(echo), duration_s=18), reference)

    async def play() -> None:
        begun_s = trio.current_time()
        for at in range(0, len(played), 160):
            await trio.sleep_until(begun_s + (at + 160) / RATE_HZ)
            reference.push_nowait(played[at : at + 160], voice._now_s() - early_s)

    async with voice, trio.open_nursery() as nursery:
        nursery.start_soon(play)
        frames = [frame async for frame in voice]
        nursery.cancel_scope.cancel()
    clean = sound_of(frames)
    late = slice(10 * RATE_HZ, 17 * RATE_HZ)
    assert gone_db(echo[late], clean[late]) > 25.0
    assert voice.voice_statistics().reference_lost_samples < 2 * RATE_HZ
    assert "reference_lost" not in [event.kind async for event in voice.events()]
