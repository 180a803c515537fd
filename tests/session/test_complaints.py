"""What users of such clients complain about, one test each, with a live session against the emulator.

The numbers are those of the list in rows.py: 9 and 10 are in test_cancel.py, 18 in test_http.py, 19 in test_link.py.
"""

import logging
import random
import socket
import time

import pytest
import trio

from ravatar_audio.api.link import LinkLimits
from ravatar_audio.emulator import Emulator, EmulatorSettings, Fault
from ravatar_audio.errors import AuthenticationError, LinkError, PaymentRequiredError
from ravatar_audio.frames import FRAME_SAMPLES
from ravatar_audio.session import LinkLost, LinkUp, LiveSession, LiveStatistics, retries
from ravatar_audio.session.in_flight import QueuedFrame
from ravatar_audio.session.outbox import MakeText, Outbox

from ..frames import make_frame
from .conftest import Frames, MakeSettings, until

QUICK = LinkLimits(ping_interval_s=0.3, silence_s=0.3, stuck_send_s=0.4)


def conserved(statistics: LiveStatistics) -> bool:
    dropped = sum(statistics.dropped_samples.values())
    return statistics.taken_samples == statistics.sent_samples + dropped + statistics.pending_samples


def client_tasks() -> list[str]:
    """Names of all running tasks that belong to the client or its libraries."""
    root = trio.lowlevel.current_root_task()
    assert root is not None
    waiting, names = [root], []
    while waiting:
        task = waiting.pop()
        names.append(task.name)
        waiting += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    ours = ("ravatar_audio.session", "ravatar_audio.api", "trio_websocket", "httpcore2", "httpx2")
    return [name for name in names if name.startswith(ours)]


async def events_until(live: LiveSession, kind: type, number: int = 1) -> list[object]:
    """Events up to the given one of a kind."""
    seen: list[object] = []
    async for event in live.events():
        seen.append(event)
        if sum(isinstance(item, kind) for item in seen) == number:
            break
    return seen


@pytest.mark.row(
    "complaint 1: a half-open connection is never noticed",
    "complaint 2: a dead link is noticed late, and without an event",
)
@pytest.mark.link_fault("black hole", "live")
async def test_complaints_1_2_a_black_hole_is_told_within_6_s_and_the_link_comes_back(
    settings_for: MakeSettings,
) -> None:
    with trio.fail_after(25):
        async with Emulator() as emulator, LiveSession(settings_for(emulator, outbox_ms=8_000), Frames()) as live:
            await events_until(live, LinkUp)
            await until(lambda: live.statistics().sent_frames >= 2, "sound")
            began_s = trio.current_time()
            await emulator.strike(Fault(at="message", do="black_hole"))
            await events_until(live, LinkLost)
            assert trio.current_time() - began_s <= 6
            await events_until(live, LinkUp)
            sent = live.statistics().sent_frames
            await until(lambda: live.statistics().sent_frames > sent, "sound again")
            assert conserved(live.statistics())


NEVER_S = 60.0
DETECTORS = {
    "the system": LinkLimits(
        user_timeout_s=1.0, ping_interval_s=NEVER_S, deaf_ping_s=NEVER_S, stuck_send_s=NEVER_S, leave_s=0.1
    ),
    "a ping": LinkLimits(
        user_timeout_s=NEVER_S, ping_interval_s=0.5, silence_s=0.5, deaf_ping_s=0.5, deaf_s=0.5, stuck_send_s=NEVER_S
    ),
    "a send": LinkLimits(user_timeout_s=NEVER_S, ping_interval_s=NEVER_S, deaf_ping_s=NEVER_S, stuck_send_s=0.7),
    "acknowledgements": LinkLimits(
        user_timeout_s=1.0, ping_interval_s=NEVER_S, deaf_ping_s=NEVER_S, stuck_send_s=NEVER_S, leave_s=0.1
    ),
}


@pytest.mark.row("complaint 1: a half-open connection is never noticed")
@pytest.mark.parametrize(
    ("detector", "why"),
    [
        pytest.param(
            "the system",
            "1006",
            marks=pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="this system has no such limit"),
        ),
        ("a ping", "no answer to a ping"),
        ("a send", "could not be written"),
        ("acknowledgements", "nothing was acknowledged in 1.0 s"),
    ],
)
async def test_each_detector_by_itself_notices_a_black_hole(
    settings_for: MakeSettings, detector: str, why: str
) -> None:
    every_s = 0.25 if detector == "a ping" else 0.01  # a full socket takes no ping
    with trio.fail_after(15):
        async with (
            Emulator(EmulatorSettings(receive_buffer_bytes=4_096)) as emulator,
            LiveSession(settings_for(emulator), Frames(every_s=every_s), limits=DETECTORS[detector]) as live,
        ):
            await until(lambda: live.statistics().sent_frames >= 2, "sound")
            began_s = trio.current_time()
            assert live._link is not None
            if detector == "acknowledgements":
                live._link.wire.set_user_timeout(0)  # the system's own limit says nothing
            elif detector == "the system":
                live._link.wire.set_user_timeout(0.6)  # before ours, which is the same otherwise
            await emulator.strike(Fault(at="message", do="black_hole"))
            async with trio.open_nursery() as nursery:
                if detector == "a send":  # sound waits while it queues up; a text goes until the socket is full
                    nursery.start_soon(live.send_text, 60_000 * "x")
                lost = (await events_until(live, LinkLost))[-1]
                nursery.cancel_scope.cancel()
            assert isinstance(lost, LinkLost)
            assert why in lost.why
            assert trio.current_time() - began_s < 6


@pytest.mark.row("complaint 3: one failed keep-alive, and later sends are lost silently")
async def test_complaint_3_an_unanswered_ping_is_a_new_connection_and_nothing_is_lost_in_silence(
    settings_for: MakeSettings,
) -> None:
    with trio.fail_after(20):
        async with (
            Emulator() as emulator,
            LiveSession(settings_for(emulator), Frames(every_s=60), limits=QUICK) as live,
        ):
            await events_until(live, LinkUp)
            await emulator.strike(Fault(at="message", do="black_hole"))
            lost = (await events_until(live, LinkLost))[-1]
            assert isinstance(lost, LinkLost)
            assert "no answer to a ping" in lost.why
            await live.send_text("said after the drop")  # waits for the link, and arrives
            await until(lambda: emulator.statistics().connections[-1].messages > 0, "the message")
            assert conserved(live.statistics())


@pytest.mark.row("meet messages not sent")
async def test_a_message_waits_for_the_link_and_fails_with_the_sessions_error(
    settings_for: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_refusals_final(monkeypatch)
    with trio.fail_after(20):
        async with Emulator() as emulator:
            with pytest.raises(PaymentRequiredError):  # noqa: PT012 - the block is what is tested
                async with LiveSession(settings_for(emulator), Frames()) as live:
                    emulator.faults.add(
                        Fault(at="socket", do="status", status=503),
                        Fault(at="socket", do="status", status=402, times=0),
                    )
                    await emulator.strike(Fault(at="message", do="reset"))
                    await events_until(live, LinkLost)
                    await live.send_text("there is no link, and there will be none")


@pytest.mark.row("complaint 4: dropped in mid-session and never connected again", "reconnect again and again")
async def test_complaint_4_a_drop_mid_stream_is_mended_within_100_ms_and_logged_once(
    settings_for: MakeSettings, caplog: pytest.LogCaptureFixture
) -> None:
    with trio.fail_after(20):
        async with Emulator() as emulator, LiveSession(settings_for(emulator), Frames(every_s=0.02)) as live:
            await events_until(live, LinkUp)
            for number, do in enumerate(("hang_up", "reset", "close")):
                await until(lambda: live.statistics().sent_frames > 5, "sound")
                caplog.clear()
                began_s = trio.current_time()
                with caplog.at_level(logging.WARNING, logger="ravatar_audio"):
                    await emulator.strike(Fault(at="message", do=do))
                    up = (await events_until(live, LinkUp))[-1]
                assert isinstance(up, LinkUp)
                # Each drop but the first is a flapping one to the back-off, so only the first has the 50 ms.
                if number == 0:
                    assert trio.current_time() - began_s - up.handshake_s < 0.1
                assert len([record for record in caplog.records if "the link is down" in record.message]) == 1
            assert conserved(live.statistics())


@pytest.mark.row("complaint 5: a drop during a send ends the stream")
@pytest.mark.link_fault("reset", "live")
async def test_complaint_5_a_reset_during_a_blocked_send_is_only_a_reconnect(settings_for: MakeSettings) -> None:
    limits = LinkLimits(ping_interval_s=60, stuck_send_s=60)
    with trio.fail_after(20):
        async with (
            Emulator(EmulatorSettings(receive_buffer_bytes=4_096)) as emulator,
            LiveSession(settings_for(emulator), Frames(every_s=0.005), limits=limits) as live,
        ):
            await events_until(live, LinkUp)
            await emulator.strike(Fault(at="message", do="stop_reading"))
            await until(lambda: live.statistics().dropped_frames > 3, "a blocked send")
            await emulator.strike(Fault(at="message", do="reset"))
            await events_until(live, LinkUp)
            before = live.statistics().sent_frames
            await until(lambda: live.statistics().sent_frames > before + 10, "sound again")
            assert conserved(live.statistics())


@pytest.mark.row("complaint 6: an old token is presented for ever", "reconnect with a new token after a refusal")
async def test_complaint_6_a_refused_token_is_refreshed_once_then_the_session_does_not_begin(
    settings_for: MakeSettings,
) -> None:
    fault = Fault(at="socket", do="status", status=403, times=0)
    with trio.fail_after(20):
        async with Emulator(EmulatorSettings(faults=(fault,))) as emulator:
            with pytest.raises(AuthenticationError):  # noqa: PT012 - the block is what is tested
                async with LiveSession(settings_for(emulator), Frames(every_s=0.01)) as live:
                    async for _ in live.events():
                        pass
            told = emulator.statistics()
            assert told.requests["jwt"] == {200: 2}
            assert sum(told.requests["socket"].values()) == 2
            assert told.live[0].state == "ended"


@pytest.mark.parametrize("do", ["status=403", "close=1008"])
@pytest.mark.row("complaint 6: an old token is presented for ever")
@pytest.mark.link_fault("fresh token refused", "live")
async def test_a_fresh_token_that_is_refused_in_mid_session_is_final_only_again_and_again(
    settings_for: MakeSettings, monkeypatch: pytest.MonkeyPatch, do: str
) -> None:
    make_refusals_final(monkeypatch)
    with trio.fail_after(20):
        async with Emulator() as emulator:
            with pytest.raises(AuthenticationError):  # noqa: PT012 - the block is what is tested
                async with LiveSession(settings_for(emulator), Frames(every_s=0.01)) as live:
                    await until(lambda: live.statistics().sent_frames > 3, "sound")
                    emulator.faults.add(Fault.parse(f"socket {do} times=0"))
                    await emulator.strike(Fault(at="message", do="close", code=1008))
                    await live.wait_finished()
            told = emulator.statistics()
            assert told.requests["jwt"] == {200: 3}, "each is presented once"
            assert told.live[0].state == "ended"


def make_refusals_final(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two in a row are final, at once."""
    monkeypatch.setattr(retries, "FINAL_REFUSALS", 2)
    monkeypatch.setattr(retries, "FINAL_AFTER_S", 0.0)


@pytest.mark.row("reconnect with a valid token")
async def test_an_expired_token_at_a_reconnect_is_refreshed_and_the_stream_goes_on(settings_for: MakeSettings) -> None:
    with trio.fail_after(20):
        async with Emulator() as emulator, LiveSession(settings_for(emulator), Frames(every_s=0.02)) as live:
            await events_until(live, LinkUp)
            emulator.expire_tokens()
            await emulator.strike(Fault(at="message", do="close", code=1012))
            await events_until(live, LinkUp)
            assert emulator.statistics().requests["jwt"] == {200: 2}


async def test_a_token_that_a_link_has_lived_on_may_expire_in_its_turn(settings_for: MakeSettings) -> None:
    """Refused, renewed, dropped for another reason, refused again: no refusal of a fresh token, so not the end."""
    with trio.fail_after(20):
        async with Emulator() as emulator, LiveSession(settings_for(emulator), Frames(every_s=0.02)) as live:
            for code in (1008, 1011, 1008):
                await events_until(live, LinkUp)
                await emulator.strike(Fault(at="message", do="close", code=code))
            await events_until(live, LinkUp)
            assert emulator.statistics().requests["jwt"] == {200: 3}


@pytest.mark.row("complaint 7: no back-off on refusals")
async def test_complaint_7_refusals_are_asked_again_at_the_pace_that_was_asked_for(
    settings_for: MakeSettings,
) -> None:
    with trio.fail_after(20):
        async with Emulator() as emulator, LiveSession(settings_for(emulator), Frames()) as live:
            await events_until(live, LinkUp)
            emulator.faults.add(Fault(at="socket", do="status", status=429, retry_after_s=1, times=0))
            await emulator.strike(Fault(at="message", do="reset"))
            with trio.move_on_after(3.5):
                await trio.sleep_forever()
            assert emulator.statistics().requests["socket"][429] in (3, 4)


@pytest.mark.row("complaint 8: flapping resets the back-off")
async def test_complaint_8_a_flapping_server_does_not_defeat_the_back_off(settings_for: MakeSettings) -> None:
    fault = Fault(at="message", do="close", code=1011, times=0)
    with trio.fail_after(20):
        async with Emulator(EmulatorSettings(faults=(fault,))) as emulator:
            with pytest.raises(LinkError):  # noqa: PT012 - the block is what is tested
                async with LiveSession(settings_for(emulator), Frames(every_s=0.005), reconnect_limit_s=6) as live:
                    async for _ in live.events():
                        pass
            assert live.statistics().connects < 20
            assert emulator.statistics().live[0].state == "ended"


@pytest.mark.row("complaint 11: tasks are left behind")
async def test_complaint_11_no_task_is_left_after_the_exit(settings_for: MakeSettings) -> None:
    with trio.fail_after(20):
        async with Emulator() as emulator:
            for _ in range(3):
                async with LiveSession(settings_for(emulator), Frames(every_s=0.01)) as live:
                    await until(lambda: live.statistics().sent_frames > 3, "sound")
                    assert client_tasks()
                assert client_tasks() == []


@pytest.mark.row(
    "complaint 12: a stall becomes lasting latency",
    "complaint 13: a stalled socket holds ever more sound",
    "complaint 14: capture waits for the network",
)
@pytest.mark.link_fault("peer stops reading", "live")
async def test_complaints_12_13_14_a_peer_that_stops_reading_costs_neither_memory_nor_later_latency(
    settings_for: MakeSettings,
) -> None:
    limits = LinkLimits(ping_interval_s=60, stuck_send_s=60)
    ages: list[float] = []
    with trio.fail_after(25):
        async with Emulator(EmulatorSettings(receive_buffer_bytes=4_096)) as emulator:
            source = Frames(every_s=0.02)
            async with LiveSession(
                settings_for(emulator, outbox_ms=1_024),
                source,
                limits=limits,
                on_sent=lambda frame: ages.append(trio.current_time() - source.given_s[frame.seq]),
            ) as live:
                await until(lambda: live.statistics().sent_frames > 5, "sound")
                await emulator.strike(Fault(at="message", do="stop_reading", duration_s=3))
                most = 0
                deadline_s = trio.current_time() + 3
                while trio.current_time() < deadline_s:
                    most = max(most, live.statistics().pending_samples)
                    await trio.sleep(0.01)
                assert most <= 1.024 * 16_000 + FRAME_SAMPLES
                assert live.statistics().dropped_frames > 10
                assert conserved(live.statistics())
                await trio.sleep(1.0)
                ages.clear()
                await until(lambda: len(ages) > 20, "sound again")
                assert sorted(ages)[10] < 0.05, "the backlog has become latency"
            held_up = sorted(source.lateness_s)
            assert held_up[int(0.9 * len(held_up))] < 0.03  # 1-2 ms on an idle machine; a wait for the network is 3 s
            assert emulator.statistics().live[0].declared_lost_samples == sum(
                live.statistics().dropped_samples.values()
            )


@pytest.mark.row("complaint 15: reconnecting blocks everything else")
async def test_complaint_15_reconnecting_holds_nobody_up(settings_for: MakeSettings) -> None:
    with trio.fail_after(20):
        async with Emulator() as emulator:
            source = Frames(every_s=0.01)
            async with LiveSession(settings_for(emulator), source) as live:
                for _ in range(4):
                    await events_until(live, LinkUp)
                    await emulator.strike(Fault(at="message", do="reset"))
            held_up = sorted(source.lateness_s)
            assert held_up[int(0.9 * len(held_up))] < 0.03
            assert held_up[-1] < 0.25


@pytest.mark.row("complaint 16: each message costs more than the one before")
def test_complaint_16_a_frame_costs_the_same_after_an_hour() -> None:
    async def run() -> list[float]:
        outbox = Outbox(2.0)
        frame = make_frame(0)
        costs = []

        class Wire:
            """Everything is acknowledged at once."""

            sent_bytes = 0
            acknowledged_bytes: int | None = 0
            last_acknowledged_s = round_trip_s = 0.0

            def look(self) -> None:
                pass

        outbox.begin_link(Wire())

        async def send(queued: QueuedFrame) -> None:
            pass

        async def send_text(make: MakeText) -> None:
            pass

        for _ in range(20):
            began_s = time.process_time()
            for _ in range(700):  # 20 x 700 frames are an hour
                outbox.put_nowait(frame)
                await outbox.send_next(send_text, send)
            costs.append(time.process_time() - began_s)
        return costs

    costs = trio.run(run)
    assert min(costs[15:]) < 2 * min(costs[:5])


@pytest.mark.row("complaint 17: a restarted server needs a restarted client")
@pytest.mark.link_fault("platform restarted", "live")
async def test_complaint_17_a_platform_that_was_killed_and_restarted(settings_for: MakeSettings) -> None:
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            kill, stop = trio.Event(), trio.Event()

            async def run(
                port: int, end: trio.Event, task_status: trio.TaskStatus[Emulator] = trio.TASK_STATUS_IGNORED
            ) -> None:
                async with Emulator(EmulatorSettings(port=port)) as emulator:
                    task_status.started(emulator)
                    await end.wait()

            first: Emulator = await nursery.start(run, 0, kill)
            async with LiveSession(settings_for(first), Frames(every_s=0.02), renew=True, limits=QUICK) as live:
                await events_until(live, LinkUp)
                kill.set()
                await events_until(live, LinkLost)
                second: Emulator = await nursery.start(run, first.port, stop)
                await events_until(live, LinkUp)
                # It knows neither the conversation nor the slot, and says so: both are renewed.
                await until(lambda: second.statistics().frames > 5, "sound at the new platform")
                assert conserved(live.statistics())
            stop.set()


async def test_losses_that_nobody_can_know_are_few_and_the_rest_arrives_in_order(settings_for: MakeSettings) -> None:
    draw = random.Random(7)
    with trio.fail_after(20):
        async with Emulator() as emulator:
            async with LiveSession(settings_for(emulator, outbox_ms=200_000), Frames(every_s=0.01, count=400)) as live:
                for _ in range(4):
                    await trio.sleep(draw.uniform(0.1, 0.4))
                    await emulator.strike(Fault(at="message", do=draw.choice(["reset", "hang_up", "close"])))
                await live.wait_finished()
            told, statistics = emulator.statistics(), live.statistics()
        assert conserved(statistics)
        assert statistics.sent_frames == 400
        assert told.violation_count == 0
        assert 400 - told.frames <= 4 * 15
