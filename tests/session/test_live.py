"""Live Mode against the emulator, over real sockets: the way in, the stream, and every way out."""

import socket
import time
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from ravatar_audio.api.messages import ConnectionMessage, Reply
from ravatar_audio.emulator import EmulatedAvatar, Emulator, EmulatorSettings, Fault
from ravatar_audio.errors import (
    BusyError,
    MediaAbortedError,
    PaymentRequiredError,
    ProtocolError,
    RavatarError,
    SettingsError,
    UnreachableError,
)
from ravatar_audio.frames import FRAME_SAMPLES, Frame
from ravatar_audio.session import LinkLost, LinkUp, LiveSession
from ravatar_audio.settings import Settings

from ..frames import frame_pcm, make_frame
from .conftest import Frames, MakeSettings


def heard(wav: Path | None) -> bytes:
    assert wav is not None
    with wave.open(str(wav)) as file:
        return bytes(file.readframes(100_000_000))


@pytest.mark.parametrize("plain", [False, True], ids=["core", "plain"])
@pytest.mark.row("say live PCM voice", "voice samples")
async def test_what_is_captured_arrives_sample_for_sample_and_the_slot_is_given_back(
    settings_for: MakeSettings, plain: bool
) -> None:
    with trio.fail_after(20):
        async with Emulator(EmulatorSettings(slots=1)) as emulator:
            source = Frames(every_s=0.01, count=40)
            sent: list[int] = []
            began_s = time.monotonic()
            settings = settings_for(emulator, outbox_ms=20_000)
            async with LiveSession(settings, source, plain=plain, on_sent=lambda frame: sent.append(frame.seq)) as live:
                await live.wait_finished()
            told, statistics = emulator.statistics(), live.statistics()
            assert heard(told.live[0].wav) == b"".join(frame_pcm(seq) for seq in range(40))
        assert sent == list(range(40))
        assert (statistics.taken_frames, statistics.sent_frames, statistics.pending_frames) == (40, 40, 0)
        assert statistics.sent_samples == statistics.taken_samples == 40 * FRAME_SAMPLES
        assert statistics.age_newest.count == 40
        assert 0 < statistics.age_newest.p50_s <= statistics.age_newest.max_s < time.monotonic() - began_s
        assert statistics.age_oldest.p50_s > 0.25
        assert told.violation_count == 0
        assert told.close_codes == (1000,)
        assert (told.live[0].state, told.live[0].end_calls, told.slots_free) == ("ended", 1, 1)


async def test_events_tell_of_the_link_the_greeting_and_the_reply(settings_for: MakeSettings) -> None:
    with trio.fail_after(20):
        async with Emulator() as emulator, LiveSession(settings_for(emulator), Frames()) as live:
            await live.send_text("good morning")
            seen: list[type] = []
            async for event in live.events():
                seen.append(type(event))
                if isinstance(event, Reply):
                    assert "good morning" in (event.text or "")
                    break
            assert seen == [LinkUp, ConnectionMessage, Reply]
            assert live.avatar.id == "ava"
            assert live.language.code == "en-US"
            assert "token=" in live.streaming_url


@pytest.mark.row("reconnect in the same live session")
async def test_a_dropped_connection_is_made_again_and_nothing_written_later_is_lost(
    settings_for: MakeSettings,
) -> None:
    with trio.fail_after(20):
        fault = Fault(at="message", do="close", code=1011, after=9)
        async with Emulator(EmulatorSettings(faults=(fault,))) as emulator:
            async with LiveSession(settings_for(emulator), Frames(every_s=0.02, count=60)) as live:
                lost = None
                async for event in live.events():
                    if isinstance(event, LinkLost):
                        lost = event
                    if isinstance(event, LinkUp) and event.connects == 2:
                        break
                await live.wait_finished()
            told, statistics = emulator.statistics(), live.statistics()
        assert lost is not None
        assert (lost.close_code, lost.retry_in_s <= 0.05) == (1011, True)
        assert statistics.reconnects == 1
        assert statistics.taken_samples == statistics.sent_samples
        assert told.live[0].state == "ended"
        assert len(told.live[0].connections) == 2


@pytest.mark.parametrize("way_out", ["return", "exception", "cancellation"])
async def test_the_live_session_is_ended_on_every_way_out(settings_for: MakeSettings, way_out: str) -> None:
    with trio.fail_after(20):
        async with Emulator() as emulator:
            began_s = 0.0
            with trio.CancelScope() as scope:
                try:
                    some_sent = trio.Event()
                    async with LiveSession(
                        settings_for(emulator), Frames(every_s=0.02), on_sent=lambda frame: some_sent.set()
                    ):
                        await some_sent.wait()
                        began_s = trio.current_time()
                        if way_out == "exception":
                            raise ZeroDivisionError
                        if way_out == "cancellation":
                            scope.cancel()
                            await trio.sleep_forever()
                except ZeroDivisionError:
                    assert way_out == "exception"
            assert trio.current_time() - began_s < 0.5
            told = emulator.statistics()
        assert told.live[0].state == "ended"
        assert told.close_codes == (1000,)
        assert not any(item.is_torn for item in told.connections)
        assert scope.cancelled_caught == (way_out == "cancellation")


async def test_an_error_of_the_source_comes_out_as_it_is(settings_for: MakeSettings) -> None:
    async def unplugged() -> AsyncIterator[Frame]:
        yield make_frame(0)
        raise MediaAbortedError("the microphone went away")

    with trio.fail_after(20):
        async with Emulator() as emulator:
            with pytest.raises(MediaAbortedError):  # noqa: PT012 - the block is what is tested
                async with LiveSession(settings_for(emulator), unplugged()) as live:
                    async for _ in live.events():
                        pass
            assert emulator.statistics().live[0].state == "ended"


REFUSALS = [
    pytest.param(
        Fault(at="jwt", do="status", status=402), PaymentRequiredError, marks=pytest.mark.row("HTTP 402", "meet no JWT")
    ),
    pytest.param(Fault(at="connection", do="garbage"), ProtocolError, marks=pytest.mark.row("meet no connection data")),
    pytest.param(Fault(at="startLiveSession", do="status", status=503), BusyError, marks=pytest.mark.row("HTTP 503")),
    pytest.param(
        Fault(at="socket", do="status", status=402, times=0),
        PaymentRequiredError,
        marks=pytest.mark.row("meet a refused WebSocket"),
    ),
]


@pytest.mark.parametrize(("fault", "kind"), REFUSALS, ids=lambda item: getattr(item, "at", ""))
async def test_a_refusal_on_the_way_in_is_one_typed_error_and_leaves_nothing_behind(
    settings_for: MakeSettings, fault: Fault, kind: type[RavatarError]
) -> None:
    with trio.fail_after(20):
        async with Emulator(EmulatorSettings(slots=1, faults=(fault,))) as emulator:
            with pytest.raises(kind) as caught:
                async with LiveSession(settings_for(emulator), Frames()):
                    pytest.fail("the session began in spite of the refusal")
            assert caught.value.message
            assert caught.value.advice
            assert emulator.statistics().slots_free == 1


@pytest.mark.row("bad host")
async def test_no_server_is_one_typed_error_with_the_address(tmp_path: Path, unused_port: int) -> None:
    settings = Settings(api_url=f"https://127.0.0.1:{unused_port}", state_dir=str(tmp_path))
    with trio.fail_after(30), pytest.raises(UnreachableError, match=str(unused_port)):
        async with LiveSession(settings, Frames()):
            pytest.fail("there is no server")


@pytest.mark.row("bad avatar for Live Mode")
async def test_an_avatar_without_live_mode_is_refused_with_the_ones_that_have_it(settings_for: MakeSettings) -> None:
    with trio.fail_after(20):
        async with Emulator() as emulator:
            with pytest.raises(SettingsError, match="ava"):
                async with LiveSession(settings_for(emulator, avatar_id="clara"), Frames()):
                    pass
        async with Emulator(EmulatorSettings(avatars=(EmulatedAvatar("clara", "Clara", False, ""),))) as emulator:
            with pytest.raises(SettingsError, match="Live Mode"):
                async with LiveSession(settings_for(emulator), Frames()):
                    pass


async def test_the_user_id_is_made_once_and_kept(settings_for: MakeSettings) -> None:
    with trio.fail_after(20):
        async with Emulator() as emulator:
            for _ in range(2):
                async with LiveSession(settings_for(emulator), Frames()):
                    pass
            ids = {live.user_id for live in emulator.statistics().live}
        assert len(ids) == 1


async def test_a_source_that_can_wait_loses_nothing_to_a_slow_network(settings_for: MakeSettings) -> None:
    with trio.fail_after(20):
        fault = Fault(at="message", do="stop_reading", after=5, duration_s=1.0)
        async with Emulator(EmulatorSettings(faults=(fault,))) as emulator:
            source = Frames(every_s=0.0, count=120)
            source.is_real_time = False
            async with LiveSession(settings_for(emulator, outbox_ms=512), source) as live:
                await live.wait_finished()
            statistics = live.statistics()
            assert statistics.sent_frames == 120
            assert statistics.dropped_frames == 0
            assert heard(emulator.statistics().live[0].wav) == b"".join(frame_pcm(seq) for seq in range(120))


async def test_finished_means_that_the_other_sides_system_has_it(settings_for: MakeSettings) -> None:
    fault = Fault(at="message", do="stop_reading", duration_s=1.5)
    with trio.fail_after(20):
        async with Emulator(EmulatorSettings(receive_buffer_bytes=4_096, faults=(fault,))) as emulator:
            async with LiveSession(settings_for(emulator), Frames(every_s=0.1, count=2)) as live:
                await live.wait_finished()
            assert emulator.statistics().frames == 2
            assert emulator.statistics().violation_count == 0


@pytest.fixture
def unused_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
