"""What a microphone does wrong without an error: told when it begins and when it ends, never for a quiet room."""

from collections.abc import Iterator

import numpy as np

from ravatar_audio.capture.microphone.sound_monitor import CaptureEvent, SoundMonitor
from ravatar_audio.frames import FRAME_SAMPLES, Frame
from ravatar_audio.native import Chain

QUIET = np.tile(np.array([0, 1, 0, -1], np.int16), FRAME_SAMPLES // 4)
ZEROS = np.zeros(FRAME_SAMPLES, np.int16)
LOUD = np.where(np.arange(FRAME_SAMPLES) % 40 < 20, 32_767, -32_768).astype(np.int16)


def frames(*blocks: "np.ndarray[tuple[int], np.dtype[np.int16]] | int") -> Iterator[Frame]:
    """Frames of blocks; a number is a loss before the next block."""
    with Chain(rate_hz=16_000) as chain:
        for block in blocks:
            if isinstance(block, int):
                chain.note_loss(block)
            else:
                chain.push(block.tobytes())
                yield from chain.take_all()


def events(*blocks: "np.ndarray[tuple[int], np.dtype[np.int16]] | int") -> list[CaptureEvent]:
    sound_monitor = SoundMonitor()
    return [event for frame in frames(*blocks) for event in sound_monitor.look_at(frame)]


def kinds(*blocks: "np.ndarray[tuple[int], np.dtype[np.int16]] | int") -> list[str]:
    return [event.kind for event in events(*blocks)]


def test_a_quiet_room_is_no_digital_silence() -> None:
    assert kinds(*[QUIET] * 40) == []


def test_digital_silence_begins_after_two_seconds_and_ends_with_the_first_sound() -> None:
    found = events(*[QUIET] * 2, *[ZEROS] * 30, *[QUIET] * 3, *[ZEROS] * 4, QUIET)
    assert [event.kind for event in found] == ["digital_silence", "sound"]
    assert "2." in found[0].message
    assert kinds(*[ZEROS] * 7) == []


def test_overruns_are_told_once_in_ten_seconds_of_calm() -> None:
    found = events(QUIET, 480, QUIET, 480, QUIET, *[QUIET] * 20, 480, *[QUIET] * 41, 480, QUIET)
    assert [event.kind for event in found] == ["overruns", "overruns"]
    assert "480 samples" in found[0].message


def test_clipping_is_told_once_and_a_single_click_is_none() -> None:
    click = QUIET.copy()
    click[100] = 32_767
    assert kinds(click, *[QUIET] * 3) == []
    assert kinds(LOUD, LOUD, QUIET, LOUD) == ["clipping"]
    calm = [QUIET] * 41  # of 256 ms: 10.5 s
    assert kinds(LOUD, *calm[:-3], LOUD, *calm[:-3], LOUD) == ["clipping"], "never ten seconds without"
    assert kinds(LOUD, *calm, LOUD, *calm, LOUD) == ["clipping"] * 3
    assert kinds(*[LOUD] * 200) == ["clipping"], "for as long as it lasts"
