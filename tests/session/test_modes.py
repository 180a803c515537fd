"""Rows of the protocol beyond the plain stream: stream errors, expiry and renewal, slots left over, Chat Mode, TLS."""

from pathlib import Path

import pytest
import trio

from ravatar_audio.api.messages import ConnectionMessage, Reply, StreamFault
from ravatar_audio.emulator import Emulator, EmulatorSettings, Fault
from ravatar_audio.errors import BusyError, RavatarError, SessionExpiredError, SettingsError, StreamError
from ravatar_audio.session import ChatSession, LinkLost, LinkUp, LiveSession, SessionRenewed
from ravatar_audio.session.machine import stable_user_id
from ravatar_audio.session.state_files import SavedLicense
from ravatar_audio.settings import Settings

from .conftest import Frames, MakeSettings, until
from .served import tls_of

STREAM_ERRORS = [
    pytest.param("Stream Error", StreamError, marks=pytest.mark.row("stream Stream Error")),
    pytest.param("Busy", BusyError, marks=pytest.mark.row("stream Busy")),
    pytest.param("Expired", SessionExpiredError, marks=pytest.mark.row("stream Expired")),
]


@pytest.mark.parametrize(("error", "kind"), STREAM_ERRORS)
async def test_row_a_stream_error_is_an_event_and_then_ends_the_session(
    settings_for: MakeSettings, error: str, kind: type[RavatarError]
) -> None:
    fault = Fault(at="message", do="stream_error", error=error, after=3)
    seen: list[object] = []
    with trio.fail_after(20):
        async with Emulator(EmulatorSettings(faults=(fault,))) as emulator:
            with pytest.raises(kind) as caught:  # noqa: PT012 - the block is what is tested
                async with LiveSession(settings_for(emulator), Frames(every_s=0.01)) as live:
                    async for event in live.events():
                        seen += [event]
            assert isinstance(seen[-1], StreamFault)
            assert caught.value.retryable
            assert caught.value.advice
            # Expired: the LicenseId is forgotten, so there is nothing to end.
            assert emulator.statistics().live[0].end_calls == (0 if error == "Expired" else 1)


@pytest.mark.row("stream Timeout")
async def test_row_a_stream_timeout_is_only_a_new_connection(settings_for: MakeSettings) -> None:
    fault = Fault(at="message", do="stream_error", error="Timeout", after=3)
    with trio.fail_after(20):
        async with Emulator(EmulatorSettings(faults=(fault,))) as emulator:
            async with LiveSession(settings_for(emulator), Frames(every_s=0.01, count=60)) as live:
                kinds = []
                async for event in live.events():
                    kinds.append(type(event))
                    if kinds.count(LinkUp) == 2:
                        break
                await live.wait_finished()
            assert StreamFault in kinds
            assert kinds.index(StreamFault) < kinds.index(LinkLost)
            assert emulator.statistics().live[0].state == "ended"


async def test_an_expired_session_is_renewed_when_asked_to_with_the_capture_running_on(
    settings_for: MakeSettings,
) -> None:
    with trio.fail_after(20):
        async with Emulator() as emulator:
            async with LiveSession(settings_for(emulator), Frames(every_s=0.02), renew=True) as live:
                await until(lambda: live.statistics().sent_frames > 3, "sound")
                first_url = live.streaming_url
                emulator.expire_sessions()
                async for event in live.events():
                    if isinstance(event, SessionRenewed):
                        break
                await until(lambda: len(emulator.statistics().live) == 2, "a second live session")
                await until(lambda: emulator.statistics().live[1].frames > 3, "sound in it")
                assert live.streaming_url != first_url
            told = emulator.statistics()
        assert [item.state for item in told.live] == ["expired", "ended"]
        assert told.violation_count == 0


async def test_a_slot_that_could_not_be_given_back_is_ended_at_the_next_start(settings_for: MakeSettings) -> None:
    faults = (Fault(at="endLiveSession", do="status", status=500),)
    with trio.fail_after(20):
        async with Emulator(EmulatorSettings(slots=1, faults=faults)) as emulator:
            settings = settings_for(emulator)
            async with LiveSession(settings, Frames()):
                pass
            assert emulator.statistics().slots_free == 0
            kept = list(SavedLicense.orphans(settings))
            assert len(kept) == 1
            kept[0].leave()
            async with LiveSession(settings, Frames()):
                assert emulator.statistics().live[0].state == "ended"
            assert list(SavedLicense.orphans(settings)) == []
            assert emulator.statistics().slots_free == 1


async def test_a_slot_in_use_is_nobodys_orphan(settings_for: MakeSettings) -> None:
    with trio.fail_after(20):
        async with Emulator() as emulator:
            settings = settings_for(emulator)
            async with LiveSession(settings, Frames()), LiveSession(settings, Frames()):
                assert [live.state for live in emulator.statistics().live] == ["active", "active"]


def test_the_state_files_are_for_this_user_alone(tmp_path: Path) -> None:
    settings = Settings(state_dir=str(tmp_path / "state"))
    kept = SavedLicense.begin(settings)
    kept.note("license-1")
    files = list((tmp_path / "state" / "unended").iterdir())
    assert [path.stat().st_mode & 0o777 for path in files] == [0o600]
    assert "license-1" not in files[0].name
    kept.forget()
    assert list((tmp_path / "state" / "unended").iterdir()) == []


@pytest.mark.parametrize("kept", [b"", b"\0" * 32, b"\xff\xfe", b"not an id!"])
def test_a_damaged_user_id_is_made_anew_and_kept(tmp_path: Path, kept: bytes) -> None:
    (tmp_path / "user_id").write_bytes(kept)
    made = stable_user_id(Settings(state_dir=str(tmp_path)))
    assert len(made) == 32
    assert stable_user_id(Settings(state_dir=str(tmp_path))) == made


def test_a_damaged_state_folder_is_a_clear_error_or_nothing(tmp_path: Path) -> None:
    (tmp_path / "unended").mkdir()
    (tmp_path / "unended" / "x.json").write_text("not JSON")
    assert list(SavedLicense.orphans(Settings(state_dir=str(tmp_path)))) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError):
        stable_user_id(Settings(state_dir=str(tmp_path / "file")))


async def test_a_recorded_voice_message_in_live_mode(settings_for: MakeSettings) -> None:
    with trio.fail_after(20):
        async with Emulator() as emulator, LiveSession(settings_for(emulator), Frames()) as live:
            await live.send_voice(wav(), push_to_talk=True)
            await until(lambda: emulator.statistics().live[0].voice_messages == 1, "the message")
            assert emulator.statistics().violation_count == 0


def wav(samples: int = 1_600) -> bytes:
    """A WAV file of silence: 16 kHz, mono, int16."""
    import io
    import wave

    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(16_000)
        writer.writeframes(bytes(2 * samples))
    return file.getvalue()


@pytest.mark.row("hear a file's address", "GET /chat")
async def test_chat_mode_text_voice_replies_and_history(settings_for: MakeSettings) -> None:
    with trio.fail_after(20):
        async with Emulator() as emulator, ChatSession(settings_for(emulator, avatar_id="clara")) as chat:
            await chat.send_text("good morning")
            await chat.send_voice(wav(), push_to_talk=True)
            replies: list[Reply] = []
            seen: list[type] = []
            async for event in chat.events():
                seen.append(type(event))
                if isinstance(event, Reply):
                    replies.append(event)
                    if len(replies) == 2:
                        break
            assert seen[:2] == [LinkUp, ConnectionMessage]
            assert "good morning" in (replies[0].text or "")
            assert replies[1].file_url is not None
            items = [item async for item in chat.history(per_page=1)]
            assert {item.direction for item in items} == {"incoming", "outgoing"}
            assert "good morning" in [item.text for item in items]
            assert emulator.statistics().violation_count == 0
            assert emulator.statistics().live == ()


@pytest.mark.row("hear inline audio", "observed spelling")
async def test_chat_mode_hears_sound_that_comes_inside_a_message(settings_for: MakeSettings) -> None:
    with trio.fail_after(20):
        async with (
            Emulator(EmulatorSettings(observed_names=True)) as emulator,
            ChatSession(settings_for(emulator, avatar_id="clara")) as chat,
        ):
            await chat.send_voice(wav())
            async for event in chat.events():
                if isinstance(event, Reply):
                    assert event.file_url is None
                    assert event.audio is not None
                    assert event.audio.data.startswith(b"RIFF")
                    assert event.time_s is not None
                    break


async def test_chat_mode_mends_its_link(settings_for: MakeSettings) -> None:
    with trio.fail_after(20):
        async with Emulator() as emulator, ChatSession(settings_for(emulator)) as chat:
            await emulator.strike(Fault(at="message", do="reset"))
            async for event in chat.events():
                if isinstance(event, LinkUp) and event.connects == 2:
                    await chat.send_text("after the drop")
                if isinstance(event, Reply):
                    assert "after the drop" in (event.text or "")
                    break


@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
async def test_live_mode_in_the_clear_and_over_tls(settings_for: MakeSettings, secure: bool) -> None:
    with trio.fail_after(20):
        async with Emulator(EmulatorSettings(tls=tls_of(secure))) as emulator:
            settings = settings_for(emulator, outbox_ms=60_000)
            async with LiveSession(settings, Frames(every_s=0.01, count=50)) as live:
                await until(lambda: live.statistics().sent_frames > 10, "sound")
                await emulator.strike(Fault(at="message", do="reset"))
                await live.wait_finished()
                assert live.streaming_url.startswith("https://" if secure else "http://")
            assert live.statistics().sent_frames == 50
            assert live.statistics().reconnects == 1
            assert emulator.statistics().violation_count == 0


@pytest.mark.row("hear what is not JSON", "bad JSON")
async def test_messages_that_are_none_are_skipped(settings_for: MakeSettings) -> None:
    with trio.fail_after(20):
        async with Emulator() as emulator, LiveSession(settings_for(emulator), Frames(every_s=0.02)) as live:
            await emulator.strike(Fault(at="message", do="garbage"))
            await emulator.strike(Fault(at="message", do="binary"))
            emulator.send({"type": "incoming", "answer": "still here"})
            async for event in live.events():
                if isinstance(event, Reply):
                    break
            assert live.statistics().messages_skipped >= 1
            assert live.statistics().reconnects == 0
