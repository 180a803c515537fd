"""Sound files of every kind that tests play: WAV in all its containers, written byte by byte, and compressed ones."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

GUID = bytes.fromhex("000000001000800000aa00389b71")
SAMPLES = 3_000
COARSE = np.random.default_rng(8).integers(-128, 128, SAMPLES)
"""Eight bits a sample, so that every encoding of PCM has the same sound."""
PCM = (COARSE << 8).astype("<i2").tobytes()


class SoundFile(NamedTuple):
    """A file's bytes, and what is to be heard of it: PCM of 16 bits, or a word of the refusal."""

    name: str
    data: bytes
    heard: bytes | str


def chunk(kind: bytes, data: bytes, size: int | None = None, *, is_padded: bool = True) -> bytes:
    padding = b"\0" * (len(data) % 2) if is_padded else b""
    return kind + struct.pack("<I", len(data) if size is None else size) + data + padding


def riff(*chunks: bytes, size: int | None = None, magic: bytes = b"RIFF") -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return magic + struct.pack("<I", len(body) if size is None else size) + body


def format_chunk(
    code: int = 1,
    bits: int = 16,
    *,
    channels: int = 1,
    rate_hz: int = 16_000,
    sample_bytes: int | None = None,
    extensible: int | None = None,
    valid_bits: int | None = None,
) -> bytes:
    stride = channels * (bits // 8 if sample_bytes is None else sample_bytes)
    data = struct.pack("<HHIIHH", code, channels, rate_hz & 0xFFFF_FFFF, 0, stride & 0xFFFF, bits)
    if extensible is not None:
        data += struct.pack("<HHIH", 22, valid_bits or bits, 0, extensible) + GUID
    return chunk(b"fmt ", data)


def rf64(magic: bytes, data_bytes: int, *behind: bytes) -> bytes:
    long = chunk(b"ds64", struct.pack("<QQQI", 0, data_bytes, SAMPLES, 0))
    return riff(long, format_chunk(), chunk(b"data", PCM, 0xFFFF_FFFF), *behind, size=0xFFFF_FFFF, magic=magic)


def wavs() -> Iterator[SoundFile]:
    """Each container and encoding of WAV."""
    data, fmt = chunk(b"data", PCM), format_chunk()
    trailing = chunk(b"LIST", b"INFO" + b"\x7f\x7f" * 2_000)
    yield SoundFile("plain", riff(fmt, data), PCM)
    for name, before in (
        ("list", chunk(b"LIST", b"INFOISFT\x0e\0\0\0Lavf59.27.100\0")),
        ("long list", chunk(b"LIST", b"INFO" + b"A" * 100_000)),
        ("odd list", chunk(b"LIST", b"INFOx")),
        ("odd list without padding", chunk(b"LIST", b"INFOx", is_padded=False)),
        ("bext and junk", chunk(b"bext", bytes(602)) + chunk(b"JUNK", bytes(28))),
    ):
        yield SoundFile(name + " before", riff(before, fmt, data), PCM)
        yield SoundFile(name + " between", riff(fmt, before, data), PCM)
    yield SoundFile("chunks behind", riff(fmt, data, trailing), PCM)
    for size in (0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0x7FFFF000, 0xFFFFFFFE, 0xFFFFFF00, 0x7FFFEFFF, 10 * len(PCM)):
        yield SoundFile(f"size {size:#x}", riff(fmt, chunk(b"data", PCM, size), size=0xFFFFFFFF), PCM)
    for riff_size in (0, 36, 0xFFFFFFFF, 36 + len(PCM)):
        yield SoundFile(f"size 0 in {riff_size:#x}", riff(fmt, chunk(b"data", PCM, 0), size=riff_size), PCM)
    yield SoundFile("size 0, chunks behind", riff(fmt, chunk(b"data", b""), trailing), "no sound in it")
    yield SoundFile("only a header", riff(fmt, chunk(b"data", b"")), "no sound in it")
    for magic in (b"RF64", b"BW64"):
        yield SoundFile(magic.decode(), rf64(magic, len(PCM)), PCM)
        yield SoundFile(f"{magic.decode()}, chunks behind", rf64(magic, len(PCM), trailing), PCM)
        yield SoundFile(f"{magic.decode()}, size unknown", rf64(magic, 0), PCM)
    bytes3 = (COARSE << 16).astype("<i4").view("u1").reshape(-1, 4)[:, :3].tobytes()
    low = ((COARSE << 16) & 0xFFFFFF).astype("<u4").tobytes()
    high = (COARSE << 24).astype("<i4").tobytes()
    for name, form, body in (
        ("8 bits", format_chunk(1, 8), (COARSE + 128).astype("u1").tobytes()),
        ("12 bits in 2 bytes", format_chunk(1, 12, sample_bytes=2), PCM),
        ("24 bits", format_chunk(1, 24), bytes3),
        ("20 bits in 3 bytes", format_chunk(0xFFFE, 24, extensible=1, valid_bits=20), bytes3),
        ("24 bits in 4 bytes", format_chunk(1, 24, sample_bytes=4), low),
        ("24 bits in 4 bytes, extensible", format_chunk(0xFFFE, 32, extensible=1, valid_bits=24), high),
        ("32 bits", format_chunk(1, 32), high),
        ("float", format_chunk(3, 32), (COARSE / 128).astype("<f4").tobytes()),
        ("float, extensible", format_chunk(0xFFFE, 32, extensible=3), (COARSE / 128).astype("<f4").tobytes()),
        ("double", format_chunk(3, 64), (COARSE / 128).astype("<f8").tobytes()),
        ("16 bits, extensible", format_chunk(0xFFFE, 16, extensible=1), PCM),
    ):
        yield SoundFile(name, riff(form, chunk(b"data", body)), PCM)
    codes = bytes(range(256))
    for name, code, table in (("A-law", 6, a_law()), ("mu-law", 7, mu_law())):
        yield SoundFile(name, riff(format_chunk(code, 8), chunk(b"data", codes)), table.astype("<i2").tobytes())
    stereo = np.repeat(np.frombuffer(PCM, "<i2"), 2).tobytes()
    yield SoundFile("stereo", riff(format_chunk(channels=2), chunk(b"data", stereo)), PCM)
    for name, form, why in (
        ("GSM", format_chunk(0x31, 0, sample_bytes=65), r"GSM 6\.10"),
        ("ADPCM", format_chunk(0x11, 4, sample_bytes=512), "IMA ADPCM"),
        ("no channels", format_chunk(channels=0), "0 channels"),
        ("33 channels", format_chunk(channels=33), "33 channels"),
        ("no rate", format_chunk(rate_hz=0), "0 Hz"),
        ("a low rate", format_chunk(rate_hz=7_999), "7999 Hz"),
        ("a high rate", format_chunk(rate_hz=192_001), "192001 Hz"),
        ("no bytes", format_chunk(sample_bytes=0), "0 bytes per step"),
    ):
        yield SoundFile(name, riff(form, data), why)
    yield SoundFile("data before format", riff(data, fmt), "no format chunk")
    yield SoundFile("big-endian", b"RIFX" + riff(fmt, data)[4:], "RIFX")
    yield SoundFile("cut in its header", riff(fmt, data)[:40], "ends within its header")
    yield SoundFile("a format of 4 GB", riff(chunk(b"fmt ", PCM, 0xFFFFFFFF)), "channels at|bytes per step")
    yield SoundFile("a list of 4 GB", riff(chunk(b"LIST", PCM, 0xFFFFFFF0), fmt, data), "ends within its header")
    yield SoundFile("a list without end", riff(chunk(b"LIST", bytes(400_000)), fmt, data), "header does not end")


def mu_law() -> NDArray[np.int16]:
    """After G.711: eight segments, each twice as wide as the one before, of sixteen steps."""
    steps = [33 * (2**segment - 1) * 4 + step * 2 ** (segment + 3) for segment in range(8) for step in range(16)]
    return np.array([*(-size for size in reversed(steps)), *reversed(steps)]).astype(np.int16)


def a_law() -> NDArray[np.int16]:
    """The same of the other law, whose first two segments are of one width; codes have every other bit turned."""
    widths = [16, *(16 * 2 ** max(0, segment - 1) for segment in range(1, 8))]
    begins = [0, *(256 * 2 ** (segment - 1) for segment in range(1, 8))]
    sizes = [begins[n >> 4] + (n & 15) * widths[n >> 4] + widths[n >> 4] // 2 for n in range(128)]
    return np.array([sizes[(c ^ 0x55) & 127] * (1 if c & 128 else -1) for c in range(256)]).astype(np.int16)


def encode(path: Path, codec: str, samples: NDArray[np.float32], rate_hz: int) -> None:
    """Write (samples, channels) by FFmpeg."""
    layout = {1: "mono", 2: "stereo"}[samples.shape[1]]
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate_hz)
        stream.layout = layout
        stream.bit_rate = 192_000
        cut = av.AudioResampler(
            format=stream.format, layout=layout, rate=rate_hz, frame_size=stream.frame_size or 1_024
        )
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.reshape(1, -1)), format="flt", layout=layout)
        frame.sample_rate, frame.pts = rate_hz, 0
        for piece in (*cut.resample(frame), *cut.resample(None)):
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
