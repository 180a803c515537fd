"""The emulator's pure parts: tokens, the reading along, hearing, recordings."""

import base64
import json
import math
import resource
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ravatar_audio.emulator.frame_sniffer import FrameSniffer
from ravatar_audio.emulator.platform_state import Live, PlatformState
from ravatar_audio.emulator.settings import EmulatorSettings
from ravatar_audio.emulator.stream_clock import StreamClock
from ravatar_audio.emulator.token_issuer import TokenIssuer, TokenRefused
from ravatar_audio.emulator.turn_detector import TurnDetector
from ravatar_audio.emulator.wav_writer import WavWriter, new_path

# -- tokens --


class Clock:
    now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


def refusal(tokens: TokenIssuer, token: str | None) -> str:
    with pytest.raises(TokenRefused) as refused:
        tokens.check(token)
    return refused.value.code


def test_a_token_is_a_jwt_that_says_when_it_expires() -> None:
    clock = Clock()
    tokens = TokenIssuer(86_400, clock)
    head, claims, _ = tokens.issue("user-1", "p1").split(".")
    assert json.loads(base64.urlsafe_b64decode(head + "==")) == {"alg": "HS256", "typ": "JWT"}
    read = json.loads(base64.urlsafe_b64decode(claims + "=="))
    assert (read["user_id"], read["project_id"], read["exp"] - read["iat"]) == ("user-1", "p1", 86_400)


def test_a_token_holds_until_its_expiry() -> None:
    clock = Clock()
    tokens = TokenIssuer(10, clock)
    token = tokens.issue("user-1", None)
    clock.now_s += 9.9
    assert tokens.check(token) == "user-1"
    clock.now_s += 0.1
    assert refusal(tokens, token) == "token_expired"


def test_expiring_all_tokens_leaves_later_ones_alone() -> None:
    tokens = TokenIssuer(10)
    old = tokens.issue("user-1", None)
    tokens.expire_all()
    assert refusal(tokens, old) == "token_expired"
    assert tokens.check(tokens.issue("user-1", None)) == "user-1"


def test_what_was_not_signed_here_is_refused() -> None:
    tokens = TokenIssuer(10)
    head, claims, signature = tokens.issue("user-1", None).split(".")
    other = base64.urlsafe_b64encode(b'{"user_id":"root","exp":9e9,"n":0}').rstrip(b"=").decode()
    assert refusal(tokens, None) == "missing_token"
    for token in (f"{head}.{other}.{signature}", f"{head}.{claims}.", f"{head}.{claims}", "x", "ü.ü.ü"):
        assert refusal(tokens, token) == "invalid_token"
    assert refusal(TokenIssuer(10), f"{head}.{claims}.{signature}") == "invalid_token"


# -- reading along --

UPGRADE = b"GET /ws/chat HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"
KEY = b"\x01\x02\x03\x04"


def frame(opcode: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    else:
        length = b"\xfe" + size.to_bytes(2, "big") if size < 65_536 else b"\xff" + size.to_bytes(8, "big")
    return bytes([0x80 | opcode]) + length + KEY + bytes(byte ^ KEY[i % 4] for i, byte in enumerate(payload))


@given(st.lists(st.integers(1, 400), max_size=60))
def test_however_the_bytes_are_cut_the_frames_and_the_close_are_seen(cuts: list[int]) -> None:
    data = b"POST /jwt HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}"
    scan = FrameSniffer()
    scan.feed(data)
    data = UPGRADE + frame(1, b"x" * 300) + frame(9, b"") + frame(1, b"y" * 5) + frame(8, b"\x03\xe9why")
    for cut in [*cuts, len(data)]:
        scan.feed(data[:cut])
        data = data[cut:]
    assert (scan.close_code, scan.frames, scan.pings, scan.is_torn) == (1001, 4, 1, False)


def test_a_torn_frame_and_a_close_without_a_code_are_told() -> None:
    scan = FrameSniffer()
    scan.feed(UPGRADE + frame(1, b"x" * 70_000)[:-1])
    assert scan.is_torn
    scan.feed(b"z" + frame(8, b""))
    assert (scan.is_torn, scan.close_code, scan.frames) == (False, 1005, 2)


def test_plain_http_is_not_taken_for_frames() -> None:
    scan = FrameSniffer()
    scan.feed(b"GET /chat HTTP/1.1\r\n\r\n" * 3)
    assert (scan.frames, scan.is_torn, scan.close_code) == (0, False, None)


# -- hearing --


def tone(frames: int, amplitude: float) -> bytes:
    return bytes((amplitude * 32_767 * np.sin(np.arange(4096 * frames) * 0.3)).astype("<i2").tobytes())


def hear(hearing: TurnDetector, pcm: bytes) -> list[str]:
    return [turn.sentence() for start in range(0, len(pcm), 8192) for turn in hearing.hear(pcm[start : start + 8192])]


def test_a_turn_ends_900_ms_after_the_level_fell_below_0_02() -> None:
    hearing = TurnDetector(15)
    assert hear(hearing, tone(8, 0.5)) == []
    assert hear(hearing, tone(3, 0.01)) == []  # 768 ms
    (said,) = hear(hearing, tone(1, 0.01))
    assert "2.0 s of sound, -9.0 dBFS RMS (peak -6.0 dBFS), no gaps." in said
    assert hear(hearing, tone(20, 0.01)) == []


def test_a_level_at_the_threshold_is_speech_and_below_it_is_not() -> None:
    at, below = 0.0203 * math.sqrt(2), 0.0197 * math.sqrt(2)
    assert hear(TurnDetector(0.5), tone(8, at))
    assert not hear(TurnDetector(0.5), tone(8, below))


def test_a_turn_that_goes_on_is_cut_and_says_so() -> None:
    hearing = TurnDetector(1)
    said = hear(hearing, tone(12, 0.5))
    assert len(said) == 3
    assert all("go on" in sentence for sentence in said)


def test_gaps_within_a_turn_are_told_and_zeros_are_counted() -> None:
    hearing = TurnDetector(15)
    hearing.hear(tone(1, 0.5))
    hearing.hear(tone(1, 0.5), lost_samples=4_096)
    (said,) = hear(hearing, bytes(8192 * 4))
    assert "4096 samples were missing" in said
    assert hearing.zero_run_samples == 4 * 4096
    assert hearing.levels_dbfs(since_hops=6 * 16 - 2) == [-math.inf] * 2
    assert hearing.levels_dbfs(0)[0] == pytest.approx(-9, abs=0.1)


# -- pace --


def pace_of(*arrivals_s: float, lost_samples: int = 0) -> StreamClock:
    pace = StreamClock()
    for arrival_s in arrivals_s:
        pace.note_frame(arrival_s, lost_samples)
    return pace


FRAME_S = 0.256


def test_a_stream_in_time_is_not_behind_and_nor_is_one_that_was_late_but_is_whole() -> None:
    assert pace_of(*(index * FRAME_S for index in range(20))).behind_samples == 0
    late = pace_of(0.0, *(max(5.0, index * FRAME_S) for index in range(1, 30)))
    assert (late.behind_samples, late.longest_pause_s) == (0, 5.0)


def test_what_is_missing_by_the_clock_shows_unless_it_was_declared() -> None:
    arrivals_s = [index * FRAME_S for index in range(40) if not 10 <= index < 14]
    assert pace_of(*arrivals_s).behind_samples == 4 * 4096
    pace = StreamClock()
    for arrival_s in arrivals_s:
        pace.note_frame(arrival_s, 4 * 4096 if arrival_s == 14 * FRAME_S else 0)
    assert pace.behind_samples == 0


def test_a_break_between_connections_is_no_pause_of_the_stream() -> None:
    pace = pace_of(0.0, FRAME_S)
    pace.begin_connection()
    pace.note_frame(9.0)
    assert pace.longest_pause_s == FRAME_S


# -- recordings --


def little_endian(samples: bytes) -> bytes:
    """What the library has read into the machine's own order of bytes."""
    return np.frombuffer(samples, np.int16).astype("<i2").tobytes()


def test_a_recording_is_a_valid_wav_after_each_write(tmp_path: Path) -> None:
    path = new_path(tmp_path, "live", 1, ".wav")
    recording = WavWriter(path)
    heard = b""
    for count in range(4):
        with wave.open(str(path)) as file:
            assert file.getparams()[:3] == (1, 2, 16_000)
            assert little_endian(file.readframes(1 << 20)) == heard
        recording.mark("declared", 1, count)
        recording.write(tone(1, 0.1 * (count + 1)))
        heard += tone(1, 0.1 * (count + 1))
    recording.close()
    recording.close()
    recording.write(b"late")
    assert [mark.position_samples for mark in recording.marks] == [0, 4096, 8192, 12288]
    assert path.stat().st_size == 44 + len(heard)


def test_a_full_disk_is_told_the_file_stays_valid_and_samples_are_counted_on(tmp_path: Path) -> None:
    recording = WavWriter(tmp_path / "live-1.wav")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        for _ in range(4):
            recording.write(tone(1, 0.5))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    recording.close()
    assert recording.error == "File too large"
    assert recording.samples == 4 * 4096
    with wave.open(str(recording.path)) as file:
        assert little_endian(file.readframes(1 << 20)) == tone(1, 0.5) * 2


def test_no_recording_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "live-1.wav").write_bytes(b"precious")
    assert new_path(tmp_path, "live", 1, ".wav").name == "live-2.wav"
    recording = WavWriter(tmp_path / "live-1.wav")
    recording.write(tone(1, 0.5))
    assert recording.error == "File exists"
    assert (tmp_path / "live-1.wav").read_bytes() == b"precious"


def test_a_start_and_a_greeting_do_not_walk_every_session_that_ever_was(monkeypatch: pytest.MonkeyPatch) -> None:
    platform = PlatformState(EmulatorSettings(slots=500))
    looked_at: list[int] = []
    is_active = PlatformState.is_active

    def counted(self: PlatformState, live: Live) -> bool:
        looked_at.append(live.number)
        return is_active(self, live)

    monkeypatch.setattr(PlatformState, "is_active", counted)
    lives = [platform.start_live(f"user-{number}", "ava", (640, 480)) for number in range(400)]
    assert all(lives)
    assert looked_at == [], "while there may be room nobody is looked at"
    assert platform.active_of("user-7") == [lives[7]]
    assert looked_at == [8]
    for live in lives[:300]:
        assert live is not None
        live.finish("ended")
    assert platform.slots_free == 400
    looked_at.clear()
    assert platform.slots_free == 400
    assert len(looked_at) == 100, "those that have ended are walked no more"
    assert platform.find_stream(lives[5].stream_id) is lives[5]  # type: ignore[union-attr]
    for number in range(400):
        assert platform.start_live(f"later-{number}", "ava", (640, 480))
    assert platform.start_live("one-more", "ava", (640, 480)) is None, "and slots are exact"
    platform.close()
