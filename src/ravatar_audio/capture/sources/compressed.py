"""Compressed sound, and sound in containers: MP3, FLAC, Ogg, M4A, WebM, ... The only module that decodes with PyAV.

PyAV and not soundfile, as one decoder has to serve all, and soundfile reads neither M4A nor WebM. FFmpeg, which is in
it, takes off what encoders add at both ends (MP3's Xing and LAME headers, edit lists, Opus' pre-skip); not so with Ogg
Vorbis, see there.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from ravatar_audio.capture.sources.regular_file import RegularFile
from ravatar_audio.capture.sources.wav import check_layout
from ravatar_audio.errors import SettingsError
from ravatar_audio.native import SAMPLE_BYTES
from ravatar_audio.observe.log import line_logger

if TYPE_CHECKING:
    import av

log: Final = line_logger(__name__)

_FORMATS = {
    "u8": "uint8",
    "s16": "int16",
    "s32": "int32",
    "flt": "float32",
    "dbl": "float32",
}
"""The core's format for each of FFmpeg's; all of them have a planar kind too, with a p behind the name."""

_BY_SYNC_ALONE = {"mp3", "aac", "ac3", "eac3", "dts", "loas", "truehd", "mlp"}
"""FFmpeg's names of what has no header of its own: it finds these in raw samples as well."""

_SKIP_MANUAL = 1 << 29
"""AV_CODEC_FLAG2_SKIP_MANUAL (libavcodec/avcodec.h)."""

_DAMAGED_MAX = 1_000
"""Most packets that may be left out; a file of more is no sound."""

_ADVICE = "Convert it to a WAV file of 16 bits: ffmpeg -i FILE -c:a pcm_s16le said.wav"


class CompressedReader:
    """Decodes as it is read: see Reader. `is_mpeg_audio`: MPEG audio's frames have been found in it.

    Raises SettingsError for a file that has no sound that FFmpeg can decode, and where PyAV is not installed.
    """

    def __init__(self, file: RegularFile, *, is_mpeg_audio: bool) -> None:
        try:
            import av
        except ImportError as error:
            raise SettingsError(
                f"it is no WAV file, and what reads others is not installed (av: {error})",
                advice="Convert it to a WAV file of 16 bits, or install the extra: pip install 'ravatar-audio[files]'.",
            ) from error
        self.name: str = file.name
        self._file = file
        self._damaged_packets = 0
        self._ffmpeg_error: Any = av.FFmpegError
        try:
            self._container: Any = av.open(file, metadata_errors="ignore", options={"protocol_whitelist": "none"})
        except (av.FFmpegError, ValueError) as error:
            if file.changed:
                raise file.changed from error
            raise SettingsError("it is in no format that is known", advice=_ADVICE) from error
        try:
            self._blocks = self._decoded_blocks(is_mpeg_audio)
            self.rate_hz: int = 0
            self.channels: int = 0
            self.format: str = ""
            self._rest = next(self._blocks, b"")
            if not self._rest:
                raise SettingsError("there is no sound in it that can be decoded", advice=_ADVICE)
        except BaseException:
            self.close()
            raise

    def read(self, samples: int) -> bytes:
        """Read as Reader says."""
        size = samples * self.channels * SAMPLE_BYTES[self.format]
        parts, have = [self._rest], len(self._rest)
        while have < size and (block := next(self._blocks, b"")):
            parts.append(block)
            have += len(block)
        data = b"".join(parts)
        self._rest = data[size:]
        return data[:size]

    def close(self) -> None:
        """Close it; may be called again."""
        self._container.close()
        self._file.close()

    def _decoded_blocks(self, is_mpeg_audio: bool) -> Iterator[bytes]:
        container = self._container
        names = set(container.format.name.split(","))
        if not container.streams.audio or (names & _BY_SYNC_ALONE and not is_mpeg_audio):
            raise SettingsError("it is in no format that is known", advice=_ADVICE)
        stream = container.streams.audio[0]
        if "ogg" in names and "vorbis" in stream.codec_context.name:
            yield from self._ogg_vorbis(stream)
        else:
            yield from map(self._block, self._frames(stream))
        if self._damaged_packets:
            log.warning("the sound file %r is damaged: %d packets were left out", self.name, self._damaged_packets)

    def _ogg_vorbis(self, stream: Any) -> Iterator[bytes]:
        """Without FFmpeg's own cuts: of a stream of one page it takes the first packet's length off the end as well.

        The first packet gives no sound; the last page's position is the length (Vorbis I specification, 1.3.2, A.2).
        """
        stream.codec_context.flags2 |= _SKIP_MANUAL
        frames = self._frames(stream)
        next(frames, None)
        left_samples = stream.duration
        for frame in frames:
            block = self._block(frame)
            stride_bytes = self.channels * SAMPLE_BYTES[self.format]
            if left_samples is not None:
                block = block[: left_samples * stride_bytes]
                left_samples -= len(block) // stride_bytes
            if block:
                yield block

    def _frames(self, stream: Any) -> "Iterator[av.AudioFrame]":
        packets = self._container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                frames = packet.decode()
            except self._ffmpeg_error as error:
                if self._file.changed:
                    raise self._file.changed from error
                self._damaged_packets += 1
                if self._damaged_packets > _DAMAGED_MAX:
                    raise SettingsError(f"it is damaged: {error.strerror or error}", advice=_ADVICE) from error
                continue
            yield from frames

    def _block(self, frame: "av.AudioFrame") -> bytes:
        import numpy as np

        layout = (frame.sample_rate, len(frame.layout.channels), _FORMATS.get(frame.format.name.removesuffix("p"), ""))
        if not self.format:
            check_layout(*layout[:2])
            if not layout[2]:
                raise SettingsError(f"its samples ({frame.format.name}) are not supported", advice=_ADVICE)
            self.rate_hz, self.channels, self.format = layout
        elif layout != (self.rate_hz, self.channels, self.format):
            raise SettingsError(
                f"the sound file {self.name!r} changes from {self.channels} channels at {self.rate_hz} Hz to "
                f"{layout[1]} at {layout[0]} Hz",
                advice=_ADVICE,
            )
        samples = frame.to_ndarray()
        if frame.format.is_planar:
            samples = samples.T
        if frame.format.name.startswith("dbl"):
            samples = samples.astype(np.float32)
        return bytes(np.ascontiguousarray(samples).tobytes())
