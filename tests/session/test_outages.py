"""What the platform does for a while, once a session has begun, does not end it: calls beside the link included."""

from collections.abc import AsyncIterator

import pytest
import trio

from ravatar_audio.api.messages import Reply
from ravatar_audio.emulator import Emulator, Fault
from ravatar_audio.errors import BusyError, MediaAbortedError, PaymentRequiredError, RavatarError, ServerError
from ravatar_audio.frames import Frame
from ravatar_audio.session import LinkLost, LinkUp, LiveSession, SessionRenewed
from ravatar_audio.session.live import LAST_FRAMES_S
from ravatar_audio.session.retries import ASKED_WAIT_MAX_S

from ..frames import make_frame
from .conftest import Frames, MakeSettings, until


async def losses_until(live: LiveSession, kind: type) -> list[LinkLost]:
    """What was told of a lost link before the first event of a kind."""
    lost = []
    async for event in live.events():
        if isinstance(event, kind):
            break
        if isinstance(event, LinkLost):
            lost.append(event)
    return lost


async def taken(live: LiveSession, kind: type, count: int) -> object:
    """The event of a kind with that number, from now on."""
    async for event in live.events():
        count -= isinstance(event, kind)
        if not count:
            return event
    raise AssertionError("the session has ended")


@pytest.mark.parametrize("outage_s", [1.0, 30.0], ids=["back in time", "not back"])
async def test_the_last_sound_of_a_source_that_fails_while_the_link_is_down_waits_for_the_next_one(
    settings_for: MakeSettings, outage_s: float
) -> None:
    asked, is_down = trio.Event(), trio.Event()

    async def unplugged() -> AsyncIterator[Frame]:
        yield make_frame(0)
        asked.set()
        await is_down.wait()
        for seq in range(1, 5):
            yield make_frame(seq)
        raise MediaAbortedError("the microphone went away")

    with trio.fail_after(30):
        async with Emulator() as emulator:
            with pytest.raises(MediaAbortedError):  # noqa: PT012 - the block is what is tested
                async with (live := LiveSession(settings_for(emulator), unplugged(), reconnect_limit_s=None)):
                    await asked.wait()
                    await until(lambda: emulator.statistics().frames, "sound")
                    emulator.faults.add(Fault(at="accept", do="delay", delay_s=outage_s, times=0))
                    await emulator.strike(Fault(at="message", do="reset"))
                    await losses_until(live, LinkLost)
                    is_down.set()
                    failed_s = trio.current_time()
                    async for _ in live.events():
                        pass
            took_s = trio.current_time() - failed_s
            await until(lambda: not emulator._app.open, "all is read")
            heard, sent = emulator.statistics().live[0], live.statistics()
    assert sent.taken_frames == 5
    if outage_s < LAST_FRAMES_S:
        assert (heard.frames, sent.pending_frames) == (5, 0)
        assert took_s < LAST_FRAMES_S
    else:
        assert (heard.frames, sent.pending_frames) == (1, 4), "counted as not sent"
        assert took_s == pytest.approx(LAST_FRAMES_S, abs=1.0)


PASSING = ["status=500", "status=503", "status=404", "garbage"]


@pytest.mark.parametrize("what", PASSING)
@pytest.mark.row("complaint 4: dropped in mid-session and never connected again")
async def test_a_token_that_cannot_be_had_for_a_while_is_asked_for_again(settings_for: MakeSettings, what: str) -> None:
    with trio.fail_after(20):
        async with Emulator() as emulator:
            async with LiveSession(settings_for(emulator), Frames(every_s=0.02), reconnect_limit_s=None) as live:
                await losses_until(live, LinkUp)
                emulator.faults.add(Fault.parse(f"jwt {what} times=2"))
                await emulator.strike(Fault(at="message", do="close", code=1008))
                lost = await losses_until(live, LinkUp)
            assert emulator.statistics().violation_count == 0
        assert [event.close_code for event in lost] == [1008, None, None]
        assert "POST /jwt" in lost[1].why


@pytest.mark.parametrize(("place", "status"), [("connection", 500), ("startLiveSession", 503)])
@pytest.mark.row("complaint 4: dropped in mid-session and never connected again")
async def test_a_session_that_expires_in_an_outage_is_renewed_after_it(
    settings_for: MakeSettings, place: str, status: int
) -> None:
    with trio.fail_after(20):
        async with Emulator() as emulator:
            frames = Frames(every_s=0.02)
            async with LiveSession(settings_for(emulator), frames, renew=True, reconnect_limit_s=None) as live:
                await losses_until(live, LinkUp)
                emulator.faults.add(Fault(at=place, do="status", status=status, times=3))
                emulator.expire_sessions()
                assert len(await losses_until(live, SessionRenewed)) == 4
                sent = live.statistics().sent_frames
                await until(lambda: live.statistics().sent_frames > sent, "sound in the new session")
            assert [item.state for item in emulator.statistics().live] == ["expired", "ended"]


@pytest.mark.parametrize(("status", "kind"), [(500, ServerError), (503, BusyError), (402, PaymentRequiredError)])
async def test_an_outage_that_outlasts_the_limit_ends_the_session_with_the_platforms_own_error(
    settings_for: MakeSettings, status: int, kind: type[RavatarError]
) -> None:
    with trio.fail_after(20):
        async with Emulator() as emulator:
            with pytest.raises(kind, match=f"POST /jwt answered {status}"):  # noqa: PT012 - the block is tested
                async with LiveSession(settings_for(emulator), Frames(every_s=0.02), reconnect_limit_s=1.0) as live:
                    await losses_until(live, LinkUp)
                    emulator.faults.add(Fault(at="jwt", do="status", status=status, times=0))
                    await emulator.strike(Fault(at="message", do="close", code=1008))
                    await live.wait_finished()
            assert emulator.statistics().requests["jwt"][200] == 1


@pytest.mark.row("hear the time")
async def test_a_message_with_a_time_that_no_float_holds_ends_nothing(settings_for: MakeSettings) -> None:
    with trio.fail_after(20):
        async with Emulator() as emulator, LiveSession(settings_for(emulator), Frames(every_s=0.02)) as live:
            await losses_until(live, LinkUp)
            emulator.send('{"type": "incoming", "answer": "later", "date": 1' + "0" * 400 + "}")
            reply = await taken(live, Reply, 1)
            assert isinstance(reply, Reply)
            assert (reply.text, reply.time_s) == ("later", None)
            sent = live.statistics().sent_frames
            await until(lambda: live.statistics().sent_frames > sent, "sound after it")


@pytest.mark.row("complaint 4: dropped in mid-session and never connected again")
async def test_a_wait_of_weeks_that_a_server_asks_for_is_one_of_a_minute(settings_for: MakeSettings) -> None:
    with trio.fail_after(20):
        async with Emulator() as emulator:
            settings = settings_for(emulator)
            async with LiveSession(settings, Frames(every_s=0.02), reconnect_limit_s=None) as live:
                await losses_until(live, LinkUp)
                emulator.faults.add(Fault(at="socket", do="status", status=503, retry_after_s=1_814_400))
                await emulator.strike(Fault(at="message", do="reset"))
                lost = await taken(live, LinkLost, 2)
                assert isinstance(lost, LinkLost)
                assert lost.retry_in_s == ASKED_WAIT_MAX_S
