"""Echo cancellation as the settings say: which source is made of a microphone, the gate as its fallback, and events."""

import json
from pathlib import Path

import numpy as np
import pytest
import trio

from ravatar_audio import Microphone, Settings, SettingsError, SyntheticSource, TurnEventKind, TurnSource
from ravatar_audio.frames import RATE_HZ
from ravatar_audio.processing import VoiceSource
from ravatar_audio.processing.memory import EchoMemory
from ravatar_audio.session import open_voice
from ravatar_audio.session.open_voice import report_echo
from ravatar_audio.testing import FakeMicrophone
from tests.unit.test_voice_source import heard_by, world


@pytest.mark.parametrize(
    ("given", "name"),
    [(True, "own"), ("true", "own"), ("on", "own"), ("own", "own"), (False, "off"), ("0", "off"), ("webrtc", "webrtc")],
)
def test_the_setting_takes_a_name_or_yes_and_no(given: object, name: str) -> None:
    assert Settings(echo_cancellation=given).echo_cancellation == name  # type: ignore[arg-type]
    assert Settings.load(environ={"RAVATAR_ECHO_CANCELLATION": str(given)}).echo_cancellation == name


def test_a_level_of_noise_suppression_that_there_is_none_of_is_refused() -> None:
    with pytest.raises(SettingsError, match="noise_suppression_db is 7; it is one of 0, 6, 12, 18"):
        Settings(noise_suppression_db=7)


@pytest.mark.parametrize("reference", ["channel:", "channel:x", "channel:-1", "channel:32", "channel:1,2"])
def test_a_channel_that_is_none_is_refused_with_its_value(reference: str) -> None:
    with pytest.raises(SettingsError, match=reference):
        Settings(reference=reference)


@pytest.mark.parametrize(
    ("reference", "device", "channels"),
    [("monitor", "monitor", None), ("hw:Loopback", "hw:Loopback", None), ("channel:5", "USB", (5,))],
)
def test_the_reference_is_what_the_settings_say(
    tmp_path: Path, reference: str, device: str, channels: tuple[int, ...] | None
) -> None:
    settings = Settings(echo_cancellation="own", reference=reference, device="USB", state_dir=str(tmp_path))
    source = open_voice(settings, Microphone.from_settings(settings))
    assert isinstance(source, VoiceSource)
    assert isinstance(source.reference, Microphone)
    opener = source.reference._opener
    assert opener._wanted.selector == device
    assert opener._conversion.channels_heard == channels


def test_without_the_setting_and_for_what_is_no_microphone_nothing_is_put_around() -> None:
    microphone, file = Microphone(), SyntheticSource("speech")
    assert open_voice(Settings(), microphone) is microphone
    assert open_voice(Settings(echo_cancellation="own"), file) is file


async def run(voice: VoiceSource, speaks: list[tuple[float, bool]]) -> tuple[list[str], list[str]]:
    """The turns' events and the echo's, while the avatar is said to speak at times."""
    turns_seen, echo_seen = list[str](), list[str]()
    settings = Settings(mode="open", echo_ms=100)
    turns = TurnSource.from_settings(settings, voice, on_event=lambda event: turns_seen.append(str(event.kind)))
    report_echo(turns, lambda event: echo_seen.append(event.kind))

    async def tell() -> None:
        begun_s, now_s = trio.current_time(), voice._now_s()
        for at_s, is_speaking in speaks:
            await trio.sleep_until(begun_s + at_s)
            (turns.avatar_speaks if is_speaking else turns.avatar_ends)(now_s + at_s)

    async with turns, trio.open_nursery() as nursery:
        nursery.start_soon(tell)
        while await turns.next_outcome() is not None:
            pass
        nursery.cancel_scope.cancel()
    return turns_seen, echo_seen


async def test_a_settled_canceller_leaves_the_gate_open_while_the_avatar_speaks(autojump_clock: object) -> None:
    played, echo = world(20)
    voice = VoiceSource(FakeMicrophone(heard_by(echo), duration_s=18), FakeMicrophone(heard_by(played)))
    turns, echoes = await run(voice, [(8.0, True), (15.0, False)])
    assert str(TurnEventKind.GATED) not in turns
    assert echoes == ["echo_settled"]


async def test_a_lost_reference_closes_the_gate_while_the_avatar_speaks_and_opens_it_again(
    autojump_clock: object,
) -> None:
    played, echo = world(24)
    reference = FakeMicrophone(heard_by(played, script={8 * RATE_HZ: "stall", 14 * RATE_HZ: "ok"}), recover_s=60)
    voice = VoiceSource(FakeMicrophone(heard_by(echo), duration_s=22), reference)
    turns, echoes = await run(voice, [(5.0, True)])
    assert [kind for kind in turns if "gated" in kind] == ["gated", "ungated"]
    assert "reference_lost" in echoes
    assert "reference_back" in echoes


async def test_a_reference_that_is_silent_while_the_avatar_speaks_closes_the_gate(autojump_clock: object) -> None:
    _, echo = world(20)
    voice = VoiceSource(FakeMicrophone(heard_by(echo), duration_s=18), FakeMicrophone("silence"))
    turns, echoes = await run(voice, [(3.0, True)])
    assert [kind for kind in turns if "gated" in kind] == ["gated"]
    assert echoes == ["reference_silent"]


async def test_an_echo_that_stays_is_reported(autojump_clock: object) -> None:
    played, _ = world(50)
    other = np.random.default_rng(9).normal(size=len(played)) * 2_000
    voice = VoiceSource(FakeMicrophone(heard_by(other.astype("<i2")), duration_s=48), FakeMicrophone(heard_by(played)))
    _, echoes = await run(voice, [])
    assert "echo_remains" in echoes


async def test_what_was_found_is_kept_for_the_next_start(autojump_clock: object, tmp_path: Path) -> None:
    played, echo = world(16)
    path = tmp_path / "state" / "echo.json"
    voice = VoiceSource(
        FakeMicrophone(heard_by(echo), duration_s=14),
        FakeMicrophone(heard_by(played)),
        memory=EchoMemory(path, "a | b"),
    )
    async with voice:
        async for _ in voice:
            pass
    kept = EchoMemory(path, "a | b")
    assert kept.ahead_samples is not None
    assert abs(kept.ppm) < 1.0
    assert EchoMemory(path, "another").ahead_samples is None


@pytest.mark.parametrize("text", ["", "[]", "{", '{"p": 3}', '{"p": {"ppm": 1e9, "ahead_samples": 0}}', '{"p": {}}'])
def test_a_memory_of_nonsense_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "echo.json"
    path.write_text(text)
    memory = EchoMemory(path, "p")
    assert (memory.ppm, memory.ahead_samples) == (0.0, None)
    memory.keep(1.5, 20)
    assert json.loads(path.read_text())["p"] == {"ppm": 1.5, "ahead_samples": 20}


async def test_with_gain_control_the_frames_are_louder_and_their_levels_the_microphones(autojump_clock: object) -> None:
    settings = Settings(mode="open", gain_control=True, gain_db=-20)
    microphone = FakeMicrophone("speech", duration_s=8, gain_db=-20)
    sent = 0.0
    async with TurnSource.from_settings(settings, microphone) as turns:
        async for frame in turns:
            pcm = np.frombuffer(frame.pcm, "<i2")[: frame.length_samples].astype(float)
            sent = max(sent, float((pcm**2).mean() / (10 ** (frame.rms_dbfs / 10) * 32_768**2 + 1e-9)))
    assert 10 * np.log10(sent) > 6.0
