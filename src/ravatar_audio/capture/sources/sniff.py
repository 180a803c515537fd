"""What a stream of bytes begins as, by tests that raw samples do not pass by chance. Pure."""

from typing import Final, NamedTuple

WAV: Final = "WAV"
BIG_ENDIAN_WAV: Final = "big-endian WAV (RIFX)"
RAW: Final = ""
"""No format that is known: raw samples, or nothing."""

_MAGICS: Final = (
    (0, b"fLaC", "FLAC"),
    (0, b"OggS", "Ogg"),
    (0, b".snd", "AU"),
    (0, b"caff", "CAF"),
    (0, b"\x1a\x45\xdf\xa3", "WebM or Matroska"),
    (0, b"wvpk", "WavPack"),
    (0, b"riff\x2e\x91\xcf\x11", "Wave64"),
    (0, b"#!AMR", "AMR"),
    (0, b"NIST_1A", "NIST SPHERE"),
    (0, b"Creative Voice File", "VOC"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "WMA"),
    (4, b"ftyp", "MP4"),
)
"""Where, what, and the format's name. Four bytes are met by chance once in 4,000,000,000 streams."""

_FORMS: Final = {b"RIFF": {b"WAVE": WAV}, b"RF64": {b"WAVE": WAV}, b"BW64": {b"WAVE": WAV}, b"RIFX": {}, b"FORM": {}}
_FORM_NAMES: Final = {b"RIFX": BIG_ENDIAN_WAV, b"FORM": "AIFF", b"RIFF": "RIFF of another kind"}

_CHAIN: Final = 3
"""Headers in a row, each where the one before says, that make MPEG audio: of raw samples one in 2**33 has them."""

_BIT_RATES_KBPS: Final = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""By version (2: also 2.5) and layer, of the index from 1: ISO/IEC 11172-3 and 13818-3, 2.4.2.3."""
_RATES_HZ: Final = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_ADTS_RATES: Final = 13


class _MpegHeader(NamedTuple):
    kind: tuple[int, ...]
    """What does not change from frame to frame."""
    name: str
    frame_bytes: int


def begins_as(data: bytes, *, is_all: bool = False) -> str | None:
    """Return the name of the format: WAV, RAW, "FLAC", ...; None when more of the stream is needed (`is_all`: there is
    none).

    A stream that ends before the test does is RAW, unless it is too short for anything else.
    """
    for at, magic, name in _MAGICS:
        if data[at : at + len(magic)] == magic:
            return name
        if not is_all and len(data) < at + len(magic) and at == 0 and data and magic.startswith(data):
            return None
    if data[:4] in _FORMS:
        if len(data) >= 12:
            return _form(data)
        return WAV if is_all else None
    if not is_all and len(data) < 8:
        return None
    if data[:3] == b"ID3":
        if len(data) < 10:
            return RAW if is_all else None
        # A version, flags, and a size of four times seven bits.
        return "MP3" if data[3] < 0x10 and max(data[6:10]) < 0x80 else RAW
    return _mpeg(data, 0, is_all=is_all)


def mpeg_audio_within(data: bytes) -> bool:
    """Return whether MPEG audio begins somewhere in `data`, as in a recording of a broadcast, which begins within a
    frame.
    """
    at = data.find(b"\xff")
    while at >= 0 and not _mpeg(data, at, is_all=True):
        at = data.find(b"\xff", at + 1)
    return at >= 0


def _form(data: bytes) -> str:
    kind, form = data[:4], data[8:12]
    if form in _FORMS[kind]:
        return _FORMS[kind][form]
    is_text = all(0x20 <= byte < 0x7F for byte in form)  # as in all that are known: samples would not be
    return _FORM_NAMES.get(kind, _FORM_NAMES[b"RIFF"]) if is_text else RAW


def _mpeg(data: bytes, at: int, *, is_all: bool) -> str | None:
    found = 0
    first: _MpegHeader | None = None
    while found < _CHAIN:
        if len(data) < at + 7:
            # A whole file of fewer frames than are asked for ends where its last frame does.
            return first.name if is_all and first and len(data) == at else RAW if is_all else None
        header = _mpeg_header(data[at : at + 7])
        if header is None or (first is not None and header.kind != first.kind):
            return RAW
        first = first or header
        at += header.frame_bytes
        found += 1
    assert first is not None
    return first.name


def _mpeg_header(data: bytes) -> _MpegHeader | None:
    if data[0] != 0xFF or data[1] < 0xE0:
        return None
    version, layer = data[1] >> 3 & 3, 4 - (data[1] >> 1 & 3)
    if layer == 4:
        return _adts_header(data)
    bit_rate, rate, has_padding = data[2] >> 4, data[2] >> 2 & 3, data[2] >> 1 & 1
    if version == 1 or bit_rate in (0, 15) or rate == 3 or data[3] & 3 == 2:
        return None
    major, rate_hz = 1 if version == 3 else 2, _RATES_HZ[version][rate]
    bps = 1_000 * _BIT_RATES_KBPS[major, layer][bit_rate - 1]
    if layer == 1:
        frame_bytes = (12 * bps // rate_hz + has_padding) * 4
    else:
        frame_bytes = (72 if layer == 3 and major == 2 else 144) * bps // rate_hz + has_padding
    return _MpegHeader((version, layer, rate), f"MP{layer}", frame_bytes)


def _adts_header(data: bytes) -> _MpegHeader | None:
    rate, frame_bytes = data[2] >> 2 & 15, (data[3] & 3) << 11 | data[4] << 3 | data[5] >> 5
    if data[1] & 0xF6 != 0xF0 or rate >= _ADTS_RATES or frame_bytes < 7:
        return None
    return _MpegHeader((data[1], data[2], data[3] >> 6), "AAC", frame_bytes)
