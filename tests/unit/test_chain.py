"""The chain through its Python face: conservation, independence of the blocks' sizes, the ring's drops, flushes."""

import math
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ravatar_audio._core import lib
from ravatar_audio.choices import PHASES, PROFILES
from ravatar_audio.errors import SettingsError
from ravatar_audio.frames import FRAME_BYTES, FRAME_SAMPLES, HOP_SAMPLES, RATE_HZ, Frame
from ravatar_audio.native import SAMPLE_BYTES, Chain
from tests.conftest import examples

RATES = [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 88_200, 96_000, 176_400, 192_000]


def noise_bytes(rng: np.random.Generator, samples: int, channels: int, format_: str) -> bytes:
    """Random bits of every kind that the format can hold; for float32 numbers within and beyond full scale."""
    if format_ == "float32":
        return rng.uniform(-1.5, 1.5, samples * channels).astype(np.float32).tobytes()
    return rng.integers(0, 256, samples * channels * SAMPLE_BYTES[format_], dtype=np.uint8).tobytes()


def cut(data: bytes, stride: int, sizes: Iterator[int]) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        size = next(sizes) * stride
        yield data[at : at + size]
        at += size


def convert(chain: Chain, blocks: Iterator[bytes]) -> list[Frame]:
    frames: list[Frame] = []
    for block in blocks:
        chain.push(block, 0.0)
        frames += chain.take_all()
    chain.finish()
    return frames + list(chain.take_all())


def sound(frames: list[Frame]) -> bytes:
    return b"".join(frame.pcm[: 2 * frame.length_samples] for frame in frames)


@examples(60)
@given(
    rate=st.sampled_from(RATES) | st.integers(8_000, 192_000),
    channels=st.sampled_from([1, 2, 3, 4, 6, 8, 32]),
    format_=st.sampled_from(sorted(SAMPLE_BYTES)),
    samples=st.integers(0, 30_000),
    largest=st.sampled_from([1, 7, 480, 8_192]),
    seed=st.integers(0, 2**32 - 1),
)
def test_output_does_not_depend_on_blocks_and_nothing_is_lost(
    rate: int, channels: int, format_: str, samples: int, largest: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    if largest < 100:
        samples = min(samples, 3_000)
    data = noise_bytes(rng, samples, channels, format_)
    stride = SAMPLE_BYTES[format_] * channels
    with Chain(rate_hz=rate, channels=channels, format=format_, capacity_frames=64) as chain:
        whole = convert(chain, iter([data]))
        assert chain.statistics().device_samples == samples
    with Chain(rate_hz=rate, channels=channels, format=format_, capacity_frames=64) as chain:
        pieces = convert(chain, cut(data, stride, iter(lambda: int(rng.integers(1, largest + 1)), -1)))
        statistics = chain.statistics()
    assert sound(pieces) == sound(whole)
    assert [frame.hops for frame in pieces] == [frame.hops for frame in whole] or any(f.clipped for f in whole)
    total = sum(frame.length_samples for frame in pieces)
    assert total == math.ceil(samples * RATE_HZ / rate) == statistics.converted_samples
    assert [frame.position_samples for frame in pieces] == [index * FRAME_SAMPLES for index in range(len(pieces))]


@examples(30)
@given(rate=st.sampled_from(RATES), block=st.integers(1, 4_000), blocks=st.integers(1, 60))
def test_what_is_out_and_what_is_pending_is_what_went_in(rate: int, block: int, blocks: int) -> None:
    with Chain(rate_hz=rate, capacity_frames=256) as chain:
        for _ in range(blocks):
            chain.push(bytes(2 * block), 0.0)
            statistics = chain.statistics()
            pending = statistics.device_samples * RATE_HZ / rate - statistics.converted_samples
            assert 0 <= pending <= chain.group_delay_s * RATE_HZ + 2
            finished = sum(frame.length_samples for frame in chain.take_all())
            assert finished % FRAME_SAMPLES == 0


def test_a_full_ring_drops_the_newest_frame_and_tells_the_next() -> None:
    ramp = np.arange(FRAME_SAMPLES * 8 + 1, dtype=np.uint16).astype(np.int16)
    with Chain(rate_hz=16_000, capacity_frames=3) as chain:
        chain.push(ramp.tobytes())
        statistics = chain.statistics()
        assert (statistics.finished_frames, statistics.ring_dropped_frames, statistics.queued_frames) == (8, 5, 3)
        assert statistics.ring_dropped_samples == 5 * FRAME_SAMPLES
        assert [frame.seq for frame in chain.take_all()] == [0, 1, 2]
        chain.push(ramp[:FRAME_SAMPLES].tobytes())
        after = chain.take()
        assert after is not None
        assert after.seq == 8
        assert after.position_samples == 8 * FRAME_SAMPLES
        assert after.ring_lost_samples == 5 * FRAME_SAMPLES
        assert after.discontinuity
        chain.push(ramp[:FRAME_SAMPLES].tobytes())
        healed = chain.take()
        assert healed is not None
        assert not healed.discontinuity
        assert healed.ring_lost_samples == 0


def test_device_loss_adds_up_in_output_samples() -> None:
    with Chain(rate_hz=44_100) as chain:
        for _ in range(441):
            chain.note_loss(1)
        chain.push(bytes(2 * 44_100))
        first = chain.take()
        assert first is not None
        assert first.device_lost_samples == 160 == chain.statistics().device_lost_samples
        assert first.discontinuity
        assert chain.statistics().device_overruns == 441


def test_flush_pads_the_open_frame_and_keeps_its_true_length() -> None:
    tone = np.full(1_000, 12_345, np.int16)
    with Chain(rate_hz=16_000) as chain:
        chain.request_flush()  # nothing is open: nothing is sent
        chain.push(tone.tobytes())
        assert chain.take() is None
        open_samples = chain.statistics().open_samples
        chain.request_flush()
        chain.push(tone.tobytes())
        frame = chain.take()
        assert frame is not None
        assert frame.flushed
        assert frame.length_samples == open_samples > 0
        assert len(frame.pcm) == FRAME_BYTES
        assert not any(frame.pcm[2 * open_samples :])
        assert sum(hop.length_samples for hop in frame.hops) == open_samples
        chain.finish()
        rest = chain.take()
        assert rest is not None
        assert rest.position_samples == open_samples
        assert sound([frame, rest]) == np.concatenate([tone, tone]).astype("<i2").tobytes()


@examples(30)
@given(
    rate=st.sampled_from([8_000, 16_000, 44_100, 192_000]),
    block_s=st.floats(0.001, 0.2),
    cuts=st.lists(st.integers(1, 15_000), max_size=6, unique=True).map(sorted),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_frame_ends_at_the_position_that_was_asked_for(rate: int, block_s: float, cuts: list[int], seed: int) -> None:
    data = np.random.default_rng(seed).integers(-20_000, 20_000, rate).astype(np.int16).tobytes()
    block_bytes = 2 * round(rate * block_s)
    with Chain(rate_hz=rate, capacity_frames=64) as chain:
        whole = convert(chain, iter([data]))
    with Chain(rate_hz=rate, capacity_frames=64) as chain:
        asked: set[int] = set()
        for at in range(0, len(data), block_bytes):
            here = chain.statistics().converted_samples
            ahead = next((cut for cut in cuts if cut > here), None)
            chain.flush_at(ahead)
            chain.push(data[at : at + block_bytes], 0.0)
            if ahead is not None and ahead <= chain.statistics().converted_samples:
                asked.add(ahead)
        chain.finish()
        frames = list(chain.take_all())
    assert sound(frames) == sound(whole)
    assert asked <= {frame.position_samples + frame.length_samples for frame in frames}
    position = 0
    for frame in frames:
        assert frame.position_samples == position
        position += frame.length_samples
        assert frame.flushed == (frame.length_samples < FRAME_SAMPLES)
        assert sum(hop.length_samples for hop in frame.hops) == frame.length_samples


def test_a_cut_is_exact_and_can_be_taken_back() -> None:
    with Chain(rate_hz=16_000) as chain:
        delay = round(chain.group_delay_s * 16_000)
        chain.push(bytes(2 * 1_000))
        chain.flush_at(1_500)
        chain.flush_at(1_777)  # the newest counts
        chain.push(bytes(2 * (777 + delay + 8)))
        frame = chain.take()
        assert frame is not None
        assert (frame.position_samples, frame.length_samples, frame.flushed) == (0, 1_777, True)
        chain.flush_at(2_000)
        chain.flush_at(None)
        chain.push(bytes(2 * 3_000))
        assert chain.take() is None, "a request that was taken back is not served"
        chain.flush_at(1_777 + FRAME_SAMPLES)  # where the frame ends by itself
        chain.push(bytes(2 * 4_096))
        frame = chain.take()
        assert frame is not None
        assert (frame.position_samples, frame.length_samples, frame.flushed) == (1_777, FRAME_SAMPLES, False)
        open_samples = chain.statistics().open_samples
        chain.flush_at(12)  # long gone: the next block ends the frame first
        chain.push(bytes(2))
        frame = chain.take()
        assert frame is not None
        assert (frame.length_samples, frame.flushed) == (open_samples, True)


def test_levels_of_each_hop() -> None:
    rng = np.random.default_rng(5)
    samples = rng.integers(-20_000, 20_000, FRAME_SAMPLES).astype(np.int16)
    samples[HOP_SAMPLES * 3 - 40 : HOP_SAMPLES * 4] = 0
    samples[700] = -32_768
    with Chain(rate_hz=16_000) as chain:
        chain.push(samples.tobytes())
        chain.finish()
        frame = chain.take()
    assert frame is not None
    assert frame.pcm == samples.astype("<i2").tobytes(), "16 kHz int16 mono passes bit for bit"
    for index, hop in enumerate(frame.hops):
        part = samples[index * HOP_SAMPLES : (index + 1) * HOP_SAMPLES].astype(np.int64)
        assert hop.energy == int((part**2).sum())
        assert hop.peak == int(np.abs(part).max())
    assert frame.hops[3].zero_run_samples == HOP_SAMPLES + 40
    assert frame.hops[4].zero_run_samples == 0
    assert frame.clipped == 1
    assert frame.peak_dbfs == 0.0


@pytest.mark.parametrize("heard", [(0,), (2,), (0, 3), "all", None])
def test_channels_are_picked_or_averaged(heard: tuple[int, ...] | str | None) -> None:
    rng = np.random.default_rng(1)
    samples = rng.integers(-30_000, 30_000, (FRAME_SAMPLES, 4)).astype(np.int16)
    with Chain(rate_hz=16_000, channels=4, channels_heard=heard) as chain:
        chain.push(samples.tobytes())
        chain.finish()
        frame = chain.take()
    assert frame is not None
    picked = (0, 1, 2, 3) if isinstance(heard, str) else heard or (0,)
    expected = samples[:, picked].astype(float).mean(axis=1)
    got = np.frombuffer(frame.pcm, "<i2")
    assert np.abs(got - expected).max() <= 0.5


@pytest.mark.parametrize("format_", sorted(SAMPLE_BYTES))
def test_every_format_carries_the_same_sound(format_: str) -> None:
    """A tone written in each format by numpy comes out the same, within that format's own resolution."""
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(FRAME_SAMPLES) / 16_000)
    match format_:
        case "int24":
            raw = (tone * 2**23).round().astype(np.int32).tobytes()
            low = 0 if sys.byteorder == "little" else 1  # packed: without the most significant byte
            data = b"".join(raw[i + low : i + low + 3] for i in range(0, len(raw), 4))
        case "float32":
            data = tone.astype(np.float32).tobytes()
        case "uint8":
            data = (tone * 128 + 128).round().astype(np.uint8).tobytes()
        case _:
            data = (tone * 2 ** (8 * SAMPLE_BYTES[format_] - 1)).round().astype(f"i{SAMPLE_BYTES[format_]}").tobytes()
    with Chain(rate_hz=16_000, format=format_) as chain:
        chain.push(data)
        chain.finish()
        frame = chain.take()
    assert frame is not None
    error = np.frombuffer(frame.pcm, "<i2") - tone * 32_768
    assert np.abs(error).max() <= (129 if format_ == "uint8" else 1)


def test_hostile_floats_leave_no_trace() -> None:
    bad = np.array([math.nan, math.inf, -math.inf, 1e38, -1e38, 1e-42] * 100, np.float32)
    with Chain(rate_hz=48_000, format="float32") as chain:
        chain.push(bad.tobytes())
        chain.push(bytes(4 * 48_000))
        chain.finish()
        frames = list(chain.take_all())
    assert not any(sound(frames)[2 * 1_000 :])


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"rate_hz": 7_999}, "rate"),
        ({"rate_hz": 192_001}, "rate"),
        ({"rate_hz": -1}, "rate_hz"),
        ({"channels": 0}, "channels"),
        ({"channels": 33}, "channels"),
        ({"format": "int8"}, "int8"),
        ({"channels_heard": (2,), "channels": 2}, "channel 2"),
        ({"channels_heard": "left"}, "'all' or channel numbers"),
        ({"capacity_frames": 0}, "capacity"),
        ({"profile": "best"}, "best"),
        ({"phase": "zero"}, "zero"),
        ({"gain_db": 61.0}, "gain"),
        ({"gain_db": math.nan}, "gain"),
    ],
)
def test_what_cannot_be_opened_says_why(wrong: dict[str, object], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        Chain(**{"rate_hz": 48_000} | wrong)  # type: ignore[arg-type]


def test_bytes_that_are_no_whole_samples_are_refused() -> None:
    with Chain(rate_hz=48_000, channels=2, format="int24") as chain, pytest.raises(ValueError, match="7 bytes"):
        chain.push(bytes(7))


def test_a_closed_chain_says_so() -> None:
    chain = Chain(rate_hz=48_000)
    chain.close()
    chain.close()
    with pytest.raises(ValueError, match="closed"):
        chain.take()


def test_capture_time_of_the_last_sample() -> None:
    """One second of 48 kHz that ended at 100 s: the frame's last sample lies where the arithmetic says."""
    with Chain(rate_hz=48_000) as chain:
        chain.push(bytes(2 * 48_000), 100.0)
        frames = list(chain.take_all())
    for index, frame in enumerate(frames):
        last_sample_s = 99.0 + 1 / 48_000 + ((index + 1) * FRAME_SAMPLES - 1) / RATE_HZ
        assert frame.captured_s == pytest.approx(last_sample_s, abs=1e-4)


@examples(40)
@given(
    rate=st.sampled_from(RATES) | st.integers(8_000, 192_000),
    profile=st.sampled_from(PROFILES),
    phase=st.sampled_from(PHASES),
    before=st.integers(0, 20_000),
    flush=st.none() | st.integers(1, 6_000),
)
def test_the_chain_knows_how_much_sound_completes_the_open_frame(
    rate: int, profile: str, phase: str, before: int, flush: int | None
) -> None:
    with Chain(rate_hz=rate, profile=profile, phase=phase, capacity_frames=64) as chain:
        chain.push(bytes(2 * before))
        if flush is not None:
            chain.flush_at(chain.statistics().converted_samples + flush)
        finished = chain.statistics().finished_frames
        due = lib.rva_chain_due_samples(chain.handle)
        too_few = max(0, due - 4 - rate // 8_000)
        chain.push(bytes(2 * too_few))
        assert chain.statistics().finished_frames == finished, "some 0.1 ms less is not enough"
        chain.push(bytes(2 * (due - too_few)))
        assert chain.statistics().finished_frames == finished + 1
        chain.request_flush()
        assert lib.rva_chain_due_samples(chain.handle) == 1


@pytest.mark.parametrize("format_", sorted(SAMPLE_BYTES))
def test_the_devices_own_samples_can_be_looked_at_and_no_more_than_was_asked_for(format_: str) -> None:
    stride = 6 * SAMPLE_BYTES[format_]
    blocks = [bytes((31 * k + i) % 251 for i in range(stride * 100)) for k in range(4)]
    if format_ == "float32":
        blocks = [np.full(600, k / 8, np.float32).tobytes() for k in range(4)]
    with Chain(rate_hz=16_000, channels=6, format=format_) as chain:
        assert chain.tapped() == b""
        chain.push(blocks[0])
        chain.tap(250)
        assert chain.tapped() == b"", "from the next block on"
        for block in blocks[1:]:
            chain.push(block)
        assert chain.tapped() == b"".join(blocks[1:])[: 250 * stride]
        with pytest.raises(SettingsError, match="being looked at"):
            chain.tap(1)
