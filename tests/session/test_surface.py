"""What a session shows and lets be done while it runs: state, mute, who speaks, how long an answer takes, tokens."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

import ravatar_audio.asyncio as for_asyncio
import ravatar_audio.blocking as for_threads
from ravatar_audio import (
    AvatarSilent,
    AvatarSpeaks,
    ChatSession,
    Emulator,
    EmulatorSettings,
    LinkLost,
    LinkUp,
    LiveSession,
    Platform,
    Recordings,
    Reply,
    SessionState,
    Settings,
    SettingsError,
    SyntheticSource,
    TurnAnswered,
    TurnSource,
)
from ravatar_audio.api.token_source import fetch_own_token
from ravatar_audio.emulator import Fault
from ravatar_audio.errors import (
    AuthenticationError,
    DeviceNotFoundError,
    GatewayTimeoutError,
    ProtocolError,
    RavatarError,
    UnreachableError,
)
from ravatar_audio.testing import FakeDevice, FakeMicrophone

PROJECT = "the-project"


@pytest.fixture
async def emulator(tmp_path: Path) -> AsyncIterator[Emulator]:
    async with Emulator(EmulatorSettings(wav_dir=str(tmp_path / "heard"), slots=1)) as emulator:
        yield emulator


def settings_for(emulator: Any, folder: Path, **values: Any) -> Settings:
    given = {"api_url": emulator.api_url, "state_dir": str(folder / "state"), "user_id": "kiosk", "linger_s": 0.5}
    return Settings(**given | values)


async def until(session: LiveSession | ChatSession, *kinds: type) -> list[Any]:
    """The events up to the first of such kinds."""
    seen = []
    async for event in session.events():
        seen.append(event)
        if isinstance(event, kinds):
            break
    return seen


async def sent(live: LiveSession, frames: int) -> None:
    """Until so many frames were sent; nothing is emitted for one."""
    while live.statistics().sent_frames < frames:  # noqa: ASYNC110
        await trio.sleep(0.05)


# State.


async def test_the_state_follows_the_link(emulator: Emulator, tmp_path: Path) -> None:
    source = SyntheticSource()
    live = LiveSession(settings_for(emulator, tmp_path), source)
    states = [live.state]
    with trio.fail_after(30):
        async with source, live:
            states.append(live.state)
            await until(live, LinkUp)
            await emulator.strike(Fault(at="message", do="reset"))
            await until(live, LinkLost)
            states.append(live.state)
            await until(live, LinkUp)
            states.append(live.state)
        states.append(live.state)
    assert states == ["new", "connected", "reconnecting", "connected", "ended"]
    assert [state.is_over for state in states] == [False, False, False, False, True]


async def test_a_session_that_fails_says_so(emulator: Emulator, tmp_path: Path) -> None:
    refused = ChatSession(settings_for(emulator, tmp_path, avatar_id="nobody"))
    with pytest.raises(SettingsError):
        await refused.__aenter__()
    assert refused.state is SessionState.FAILED

    with trio.fail_after(30):
        async with LiveSession.open(settings_for(emulator, tmp_path), "synthetic:tone") as live:
            emulator.expire_sessions()
            with pytest.raises(RavatarError):
                await until(live)
        assert live.state is SessionState.FAILED


# Mute.


async def test_a_session_is_muted_and_heard_again(emulator: Emulator, tmp_path: Path) -> None:
    with trio.fail_after(30):
        async with LiveSession.open(settings_for(emulator, tmp_path), SyntheticSource(duration_s=60)) as live:
            assert not live.is_muted
            live.mute()
            assert live.is_muted
            with trio.move_on_after(0.6):
                await trio.sleep_forever()
            sent_frames = live.statistics().sent_frames
            assert sent_frames <= 2
            live.unmute()
            assert not live.is_muted
            await sent(live, sent_frames + 1)
    bare = LiveSession(settings_for(emulator, tmp_path), SyntheticSource())
    for control in (bare.mute, bare.unmute, lambda: bare.is_muted):
        with pytest.raises(SettingsError, match="no gate"):
            control()


# Who speaks, and how long an answer takes.


async def test_that_the_avatar_speaks_is_an_event_without_half_duplex(emulator: Emulator, tmp_path: Path) -> None:
    with trio.fail_after(30):
        async with ChatSession(settings_for(emulator, tmp_path)) as chat:
            emulator.send({"type": "event", "event": "speech_started"})
            emulator.send({"type": "event", "event": "speech_started"})
            emulator.send({"type": "event", "event": "speech_ended"})
            events = await until(chat, AvatarSilent)
    spoken = [event for event in events if isinstance(event, AvatarSpeaks | AvatarSilent)]
    assert spoken == [AvatarSpeaks(is_estimated=False), AvatarSilent(is_estimated=False)]


async def test_where_no_event_ever_says_so_a_reply_is_taken_to_be_spoken(emulator: Emulator, tmp_path: Path) -> None:
    with trio.fail_after(30):
        async with ChatSession(settings_for(emulator, tmp_path)) as chat:
            emulator.send({"type": "incoming", "answer": "x" * 15})  # a second
            await until(chat, AvatarSpeaks)
            began_s = trio.current_time()
            events = await until(chat, AvatarSilent)
            assert events[-1] == AvatarSilent(is_estimated=True)
            assert 0.8 <= trio.current_time() - began_s < 3.0


async def test_the_wait_for_an_answer_is_measured(emulator: Emulator, tmp_path: Path) -> None:
    with trio.fail_after(30):
        async with ChatSession(settings_for(emulator, tmp_path)) as chat:
            assert chat.statistics().first_reply.count == 0
            began_s = time.monotonic()
            await chat.send_text("Good morning")
            events = await until(chat, TurnAnswered)
            answered = events[-1]
            assert isinstance(events[-2], Reply | AvatarSpeaks)
            assert 0 < answered.after_s <= time.monotonic() - began_s
            assert answered.turn is None
            emulator.send({"type": "incoming", "answer": "one more"})
            with trio.move_on_after(0.5):
                assert not isinstance((await until(chat, TurnAnswered))[-1], TurnAnswered)
            first_reply = chat.statistics().first_reply
            assert first_reply.count == 1
            assert first_reply.max_s == answered.after_s


async def test_the_wait_counts_from_the_end_of_the_turn(emulator: Emulator, tmp_path: Path) -> None:
    """Push-to-talk: the turn ends `tail_ms` after the release, and the emulator answers some time later."""
    settings = settings_for(emulator, tmp_path, mode="ptt", tail_ms=200)
    with trio.fail_after(30):
        async with LiveSession.open(settings, SyntheticSource(duration_s=60)) as live:
            live.turns.press()
            await trio.sleep(0.8)
            live.turns.release()
            released_s = time.monotonic()
            answered = (await until(live, TurnAnswered))[-1]
            waited_s = time.monotonic() - released_s
        assert answered.turn == 0
        assert abs(answered.after_s - (waited_s - 0.2)) < 0.3
        assert live.statistics().first_reply.count == 1


# A token of the product's own back end.


def own_backend(emulator: Any) -> tuple[Callable[[], Awaitable[str]], list[str]]:
    """What a product's server does: it knows the project, and the device does not."""
    given: list[str] = []

    async def fetch_token() -> str:
        async with Platform(Settings(api_url=emulator.api_url, project_id=PROJECT), "kiosk") as platform:
            given.append(await platform.request_token())
        return given[-1]

    return fetch_token, given


async def test_a_token_of_ones_own_needs_no_project_on_the_device_and_is_asked_for_again(tmp_path: Path) -> None:
    with trio.fail_after(30):
        async with Emulator(EmulatorSettings(projects=(PROJECT,))) as emulator:
            settings = settings_for(emulator, tmp_path)
            with pytest.raises(AuthenticationError):
                await ChatSession(settings).__aenter__()
            fetch_token, given = own_backend(emulator)
            async with ChatSession(settings, fetch_token=fetch_token) as chat:
                await chat.send_text("with the back end's token")
                await until(chat, Reply)
                assert len(given) == 1
                emulator.expire_tokens()
                assert [item async for item in chat.history()]  # refused once, and asked for again
                assert len(given) == 2
            async with LiveSession.open(settings, "synthetic:tone", fetch_token=fetch_token) as live:
                await until(live, LinkUp)
            assert given[-1] in live.streaming_url
            with pytest.raises(SettingsError, match="fetch_token"):
                ChatSession(settings, platform=chat.platform, fetch_token=fetch_token)


def raises(error: Exception) -> Callable[[], Awaitable[str]]:
    async def fetch_token() -> str:
        raise error

    return fetch_token


def returns(value: Any) -> Callable[[], Awaitable[str]]:
    async def fetch_token() -> str:
        return value  # type: ignore[no-any-return]

    return fetch_token


async def never() -> str:
    await trio.sleep_forever()
    raise AssertionError


@pytest.mark.parametrize(
    ("fetch_token", "expected"),
    [
        (raises(OSError("secret-token")), UnreachableError),
        (raises(ConnectionResetError("secret-token")), UnreachableError),
        (raises(PermissionError("secret-token")), AuthenticationError),
        (raises(TimeoutError("secret-token")), GatewayTimeoutError),
        (raises(KeyError("secret-token")), AuthenticationError),
        (raises(DeviceNotFoundError("passes as it is")), DeviceNotFoundError),
        (returns(None), ProtocolError),
        (returns(b"secret-token"), ProtocolError),
        (returns(""), ProtocolError),
        (returns("secret-token\n"), ProtocolError),
        (returns("secret token"), ProtocolError),
        (returns("x" * 16_385), ProtocolError),
        (never, GatewayTimeoutError),
    ],
)
async def test_what_goes_wrong_with_a_token_of_ones_own_is_typed_and_shows_none(
    fetch_token: Callable[[], Awaitable[str]], expected: type[RavatarError]
) -> None:
    with pytest.raises(expected) as caught:
        await fetch_own_token(fetch_token, 0.1)
    assert "secret" not in str(caught.value) + caught.value.advice


async def test_the_setting_token_url_is_asked_in_place_of_the_platform(emulator: Emulator, tmp_path: Path) -> None:
    with trio.fail_after(30):
        async with Emulator() as backend:  # its tokens are not the platform's: they are refused, but it was asked
            settings = settings_for(emulator, tmp_path, token_url=f"{backend.api_url}/jwt")
            with pytest.raises(AuthenticationError):
                await ChatSession(settings).__aenter__()
            assert backend.statistics().requests["jwt"][200] >= 1
            assert "jwt" not in emulator.statistics().requests
        own = settings_for(emulator, tmp_path, token_url=f"{emulator.api_url}/jwt")
        async with ChatSession(own) as chat:
            assert chat.state is SessionState.CONNECTED
    for url in ("back end", "ftp://example.com/jwt", "https://example.com/jwt?key=secret"):
        with pytest.raises(SettingsError, match="token_url") as caught:
            Settings(token_url=url)
        assert "secret" not in str(caught.value)
    assert Settings(token_url="http://example.com/jwt").in_the_clear == "http://example.com"


# Another microphone, while it runs.


async def test_the_microphone_is_changed_without_a_break_in_the_session(emulator: Emulator, tmp_path: Path) -> None:
    desk, head = FakeDevice("tone", name="Desk"), FakeDevice("noise", name="Head", rate_hz=44_100)
    microphone = FakeMicrophone(desk, head, device="Desk")
    with trio.fail_after(30):
        async with LiveSession.open(settings_for(emulator, tmp_path, mode="open"), microphone) as live:
            await until(live, LinkUp)
            await sent(live, 2)
            with pytest.raises(DeviceNotFoundError):
                await live.change_microphone("Nowhere")
            assert microphone.device is not None
            assert microphone.device.name == "Desk"
            await live.change_microphone("Head")
            events = microphone.events()
            while (await anext(events)).kind != "reopened":
                pass
            assert microphone.device.name == "Head"
            await sent(live, live.statistics().sent_frames + 2)
            assert live.statistics().connects == 1
        counts = microphone.statistics()
        taken = counts.delivered_samples + counts.pending_samples + counts.discarded_samples
        assert counts.captured_samples == taken + counts.ring_dropped_samples
        async with LiveSession.open(settings_for(emulator, tmp_path), "synthetic:tone") as other:
            with pytest.raises(SettingsError, match="no microphone"):
                await other.change_microphone("Head")


# The same in the other worlds.


def test_the_other_worlds_have_all_of_it(tmp_path: Path) -> None:
    platform_settings = EmulatorSettings(wav_dir=str(tmp_path / "heard"), projects=(PROJECT,))
    given: list[str] = []

    async def in_asyncio(emulator: for_threads.Emulator, settings: Settings) -> None:
        async def fetch_token() -> str:
            await asyncio.sleep(0)  # in the program's own loop
            given.append(await asyncio.to_thread(trio.run, own_backend(emulator)[0]))
            return given[-1]

        async with for_asyncio.LiveSession.open(settings, "synthetic:tone", fetch_token=fetch_token) as live:
            assert live.state is SessionState.CONNECTED
            live.mute()
            assert live.is_muted
            live.unmute()
            with pytest.raises(SettingsError, match="no microphone"):
                await live.change_microphone("USB")
        assert live.state.is_over
        async with for_asyncio.ChatSession(settings, fetch_token=fetch_token) as chat:
            await chat.send_text("Good morning")
            async for event in chat.events():
                if isinstance(event, TurnAnswered):
                    break
            assert chat.statistics().first_reply.count == 1

    def fetch_token() -> str:
        given.append(trio.run(own_backend(emulator)[0]))
        return given[-1]

    with for_threads.Emulator(platform_settings) as emulator:
        settings = settings_for(emulator, tmp_path)
        asyncio.run(in_asyncio(emulator, settings))
        assert len(given) == 2
        with for_threads.LiveSession.open(settings, "synthetic:tone", fetch_token=fetch_token) as live:
            assert live.state is SessionState.CONNECTED
            live.mute()
            assert live.is_muted
            with pytest.raises(SettingsError, match="no microphone"):
                live.change_microphone("USB")
        with for_threads.ChatSession(settings, fetch_token=fetch_token) as chat:
            chat.send_text("Good morning")
            assert any(isinstance(event, TurnAnswered) for event in chat.events())
            assert chat.statistics().first_reply.count == 1
        assert len(given) == 4


# Arguments are checked where they are given.


@pytest.mark.parametrize("value", [-1, -0.001, math.nan, "5", True])
@pytest.mark.parametrize(
    "make",
    [
        lambda value: LiveSession(Settings(), SyntheticSource(), slot_wait_s=value),
        lambda value: LiveSession(Settings(), SyntheticSource(), linger_s=value),
        lambda value: LiveSession(Settings(), SyntheticSource(), reconnect_limit_s=value),
        lambda value: ChatSession(Settings(), reconnect_limit_s=value),
        lambda value: TurnSource(SyntheticSource(), TurnSource.from_settings(Settings(), SyntheticSource()).gate,
                                 trailing_silence_s=value),
        lambda value: Recordings(TurnSource.from_settings(Settings(), SyntheticSource()), limit_s=value),
    ],
)  # fmt: skip
def test_a_time_that_is_none_is_refused_by_the_constructor(make: Callable[[Any], Any], value: Any) -> None:
    with pytest.raises(SettingsError, match="_s is"):
        make(value)
