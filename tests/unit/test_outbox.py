"""The outbox: taken = sent + dropped + pending at every step, oldest dropped first, gaps marked."""

import contextlib
import math

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from ravatar_audio.frames import FRAME_SAMPLES
from ravatar_audio.session.in_flight import ASSUMED_ACKNOWLEDGED_S, QueuedFrame
from ravatar_audio.session.outbox import MakeText, Outbox

from ..frames import make_frame

FRAME_ON_WIRE_BYTES = 11_258


def check(outbox: Outbox) -> None:
    dropped_samples = sum(outbox.dropped_samples.values())
    assert outbox.taken_samples == outbox.sent_samples + dropped_samples + outbox.pending_samples
    assert outbox.taken_frames == outbox.sent_frames + outbox.dropped_frames + outbox.pending_frames
    assert outbox.sent_samples == outbox.in_flight.acknowledged_samples + outbox.in_flight.samples


class Line:
    """Where frames go; may be told to fail. A long one keeps what is sent under way until `acknowledge`."""

    def __init__(self, *, is_long: bool = False, tells: bool = True, round_trip_s: float = 0.0) -> None:
        self.is_long = is_long
        self.sent: list[QueuedFrame] = []
        self.sent_s: list[float] = []
        self.ended_s = math.inf
        self.sent_texts = 0
        self.is_broken = False
        self.is_slow = False
        self.torn = trio.Event()
        self.round_trip_s = round_trip_s
        self.sent_bytes = 0
        self.acknowledged_bytes: int | None = 0 if tells else None
        self.last_acknowledged_s = 0.0
        self.now_acknowledged = 0

    def look(self) -> None:
        if self.acknowledged_bytes is not None and self.now_acknowledged > self.acknowledged_bytes:
            self.acknowledged_bytes = self.now_acknowledged
            self.last_acknowledged_s = trio.current_time()

    def acknowledge(self, frames: int | None = None) -> None:
        """So many more, or all."""
        more_bytes = self.sent_bytes if frames is None else self.now_acknowledged + frames * FRAME_ON_WIRE_BYTES
        self.now_acknowledged = min(self.sent_bytes, more_bytes)

    def _note(self, queued: QueuedFrame) -> None:
        self.sent.append(queued)
        self.sent_s.append(trio.current_time())
        self.sent_bytes += FRAME_ON_WIRE_BYTES
        if not self.is_long:
            self.acknowledge()

    async def send(self, queued: QueuedFrame) -> None:
        await trio.lowlevel.checkpoint()
        if self.is_broken:
            raise OSError("broken")
        self._note(queued)

    async def send_text(self, make: MakeText) -> None:
        await trio.lowlevel.checkpoint()
        if self.is_slow:
            await self.torn.wait()
        if self.is_torn:
            raise OSError("torn")
        self.sent_texts += 1

    def send_now(self, queued: QueuedFrame) -> bool:
        if not self.is_broken:
            self._note(queued)
        return not self.is_broken

    def kept(self) -> list[QueuedFrame]:
        """What counts as arrived by this line: acknowledged, or old enough at its end where nobody tells."""
        if self.acknowledged_bytes is not None:
            return self.sent[: self.acknowledged_bytes // FRAME_ON_WIRE_BYTES]
        by_s = self.ended_s - ASSUMED_ACKNOWLEDGED_S
        return [queued for queued, sent_s in zip(self.sent, self.sent_s, strict=True) if sent_s <= by_s]

    @property
    def is_torn(self) -> bool:
        return self.torn.is_set()

    def tear(self) -> None:
        self.torn.set()


STEPS = [
    "put",
    "put",
    "short",
    "lossy",
    "send",
    "fail",
    "up",
    "stuck",
    "down",
    "acknowledge",
    "acknowledge all",
    "wait",
]


@given(st.lists(st.sampled_from(STEPS), max_size=60), st.booleans(), st.booleans())
def test_conservation_and_order_whatever_happens(steps: list[str], is_told: bool, is_lossless: bool) -> None:
    async def run() -> None:
        outbox = Outbox(4 * 0.256, is_lossless=is_lossless)
        lines = [Line(is_long=True, tells=is_told)]
        outbox.begin_link(lines[-1])
        seq = lost = 0
        arrived: dict[int, QueuedFrame] = {}
        for step in [*steps, "down", "up"]:
            line = lines[-1]
            if step in ("send", "fail") and outbox.pending_frames:
                line.is_broken = step == "fail"
                with trio.move_on_after(1):  # it may hold the frame back, as what is under way is too old
                    try:
                        await outbox.send_next(line.send_text, line.send)
                    except OSError:
                        assert line.is_broken
            elif step in ("up", "stuck", "down"):
                outbox.end_link()
                line.ended_s = trio.current_time()
                lines.append(line := Line(is_long=True, tells=is_told))
                line.is_broken = step == "stuck"
                outbox.begin_link(line, None if step == "down" else line.send_now)
            elif step == "wait":
                await trio.sleep(0.5)
            elif step.startswith("acknowledge"):
                line.acknowledge(1 if step == "acknowledge" else None)
                outbox.in_flight.settle()
            elif step not in ("send", "fail"):
                length = 100 if step == "short" else FRAME_SAMPLES
                lost += 50 if step == "lossy" else 0
                outbox.put_nowait(make_frame(seq, length_samples=length, lost_samples=50 if step == "lossy" else 0))
                seq += 1
            check(outbox)
        line.is_broken = False
        line.acknowledge()
        outbox.put_nowait(make_frame(seq))  # declares what was lost behind the last one
        seq += 1
        line.acknowledge()
        while outbox.pending_frames:
            await outbox.send_next(line.send_text, line.send)
            line.acknowledge()
            check(outbox)
        outbox.in_flight.settle()
        for line in lines:
            sequence = [queued.frame.seq for queued in line.sent]
            assert sequence == sorted(set(sequence)), "each connection has the frames in order, and once"
            for queued in line.sent:
                assert queued.is_repeated == (queued.frame.seq in arrived), "what may come twice is marked"
            arrived |= {queued.frame.seq: queued for queued in line.sent}
        # Every frame was written at least once, or is counted as dropped; none is neither.
        never = seq - len(arrived)
        assert never <= outbox.dropped_frames
        if is_lossless and is_told:
            assert outbox.dropped_frames == 0
        if is_told:
            assert outbox.in_flight.frames == 0
        # To the sample: each frame is kept once or dropped once, and the kept ones declare all that is lost.
        kept = [queued for line in lines for queued in line.kept()]
        assert len({queued.frame.seq for queued in kept}) == len(kept) == seq - outbox.dropped_frames
        assert sum(queued.lost_samples for queued in kept) == lost + sum(outbox.dropped_samples.values())
        again = [queued for line in lines for queued in line.sent if queued.is_repeated]
        assert sum(queued.frame.length_samples for queued in again) == outbox.repeated_samples
        if not again and not outbox.dropped_samples["in_flight"]:  # every declaration was made once
            declared = sum(queued.lost_samples for line in lines for queued in line.sent)
            assert declared == lost + outbox.dropped_samples["outbox"]

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_the_oldest_goes_first_and_the_next_one_says_so() -> None:
    outbox, line = Outbox(2 * 0.256), Line()
    outbox.begin_link(line)
    assert [outbox.put_nowait(make_frame(seq)) for seq in range(5)] == [0, 0, 4096, 4096, 4096]
    await outbox.send_next(line.send_text, line.send)
    assert (line.sent[0].frame.seq, line.sent[0].lost_samples) == (3, 3 * FRAME_SAMPLES)


async def test_a_frame_goes_at_once_where_nothing_waits_and_in_order_where_something_does() -> None:
    outbox, line = Outbox(1.0), Line()
    outbox.put_nowait(make_frame(0))
    outbox.begin_link(line, line.send_now)
    outbox.put_nowait(make_frame(1))
    assert (line.sent, outbox.pending_frames) == ([], 2)
    for _ in range(2):
        await outbox.send_next(line.send_text, line.send)
    outbox.put_nowait(make_frame(2))
    assert [queued.frame.seq for queued in line.sent] == [0, 1, 2]
    check(outbox)


async def test_a_frame_that_was_begun_is_finished_before_anything_else_and_is_never_dropped() -> None:
    outbox, line = Outbox(2 * 0.256), Line()
    outbox.begin_link(line, line.send_now)
    line.is_broken = True
    for seq in range(4):
        outbox.put_nowait(make_frame(seq))
    check(outbox)
    line.is_broken = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.put_text, lambda envelope: "x")
        await trio.testing.wait_all_tasks_blocked()
        sent = [await outbox.send_next(line.send_text, line.send) for _ in range(3)]
    assert [queued.frame.seq if queued else None for queued in sent] == [0, None, 3]


async def test_a_frame_that_could_not_be_sent_is_tried_first_next_time() -> None:
    outbox, line = Outbox(1.0), Line()
    outbox.begin_link(line)
    for seq in range(3):
        outbox.put_nowait(make_frame(seq))
    line.is_broken = True
    with pytest.raises(OSError, match="broken"):
        await outbox.send_next(line.send_text, line.send)
    line.is_broken = False
    for _ in range(3):
        await outbox.send_next(line.send_text, line.send)
    assert [queued.frame.seq for queued in line.sent] == [0, 1, 2]


async def test_a_cancelled_send_is_tried_again() -> None:
    outbox, line = Outbox(1.0), Line()
    outbox.begin_link(line)
    outbox.put_nowait(make_frame(0))

    async def never(queued: QueuedFrame) -> None:
        await trio.sleep_forever()

    with trio.move_on_after(0.01):
        await outbox.send_next(line.send_text, never)
    check(outbox)
    await outbox.send_next(line.send_text, line.send)
    assert outbox.sent_frames == 1


async def test_who_waits_hears_of_the_failure(autojump_clock: trio.testing.MockClock) -> None:
    outbox = Outbox(0.256)
    outbox.put_nowait(make_frame(0))

    async def wait(call: str) -> None:
        with pytest.raises(ZeroDivisionError):
            await (outbox.put_text(lambda envelope: "x") if call == "text" else getattr(outbox, call)())

    async with trio.open_nursery() as nursery:
        for call in ("wait_room", "wait_empty", "text"):
            nursery.start_soon(wait, call)
        await trio.sleep(1)
        outbox.fail(ZeroDivisionError())


# What is under way.


def filled(line: Line, seconds: float, frames: int, **given: bool) -> Outbox:
    """An outbox that has sent some frames over the line."""
    outbox = Outbox(seconds, **given)
    outbox.begin_link(line, line.send_now)
    for seq in range(frames):
        outbox.put_nowait(make_frame(seq))
    return outbox


async def test_what_a_lost_connection_has_not_acknowledged_goes_again_first_and_is_marked() -> None:
    line, next_line = Line(is_long=True), Line()
    outbox = filled(line, 2.0, 2)
    line.acknowledge(1)
    outbox.put_nowait(make_frame(2))
    outbox.end_link()
    outbox.put_nowait(make_frame(3))
    outbox.begin_link(next_line)
    for _ in range(3):
        await outbox.send_next(next_line.send_text, next_line.send)
    assert [(item.frame.seq, item.is_repeated) for item in next_line.sent] == [(1, True), (2, True), (3, False)]
    assert (outbox.repeated_frames, outbox.repeated_samples) == (2, 2 * FRAME_SAMPLES)
    assert outbox.dropped_frames == 0


@pytest.mark.parametrize("is_lossless", [False, True])
async def test_what_is_too_old_to_go_again_is_lost_in_flight_and_the_next_frame_says_so(
    autojump_clock: trio.testing.MockClock, is_lossless: bool
) -> None:
    line, next_line = Line(is_long=True), Line()
    outbox = filled(line, 2.0, 2, is_lossless=is_lossless)
    outbox.end_link()
    await trio.sleep(2.1)
    outbox.begin_link(next_line, next_line.send_now)
    check(outbox)
    outbox.put_nowait(make_frame(2))
    while outbox.pending_frames:
        await outbox.send_next(next_line.send_text, next_line.send)
    if is_lossless:
        assert [item.frame.seq for item in next_line.sent] == [0, 1, 2]
        assert outbox.dropped_samples == {"outbox": 0, "in_flight": 0}
    else:
        assert [(item.frame.seq, item.lost_samples) for item in next_line.sent] == [(2, 2 * FRAME_SAMPLES)]
        assert outbox.dropped_samples == {"outbox": 0, "in_flight": 2 * FRAME_SAMPLES}


async def test_while_sound_queues_up_on_the_line_nothing_more_is_written(
    autojump_clock: trio.testing.MockClock,
) -> None:
    line = Line(is_long=True)
    outbox = filled(line, 1.0, 3)
    assert (len(line.sent), outbox.pending_frames) == (2, 1)
    with trio.move_on_after(5) as scope:
        await outbox.send_next(line.send_text, line.send)
    assert scope.cancelled_caught
    line.acknowledge()
    with trio.fail_after(0.1):
        await outbox.send_next(line.send_text, line.send)
    assert [item.frame.seq for item in line.sent] == [0, 1, 2]


async def test_a_text_is_not_held_back_by_sound_under_way(autojump_clock: trio.testing.MockClock) -> None:
    line = Line(is_long=True)
    outbox = filled(line, 1.0, 3)
    assert (len(line.sent), outbox.pending_frames) == (2, 1)
    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outbox.put_text, lambda envelope: "x")
            await trio.testing.wait_all_tasks_blocked()
            assert await outbox.send_next(line.send_text, line.send) is None


@pytest.mark.parametrize("limit_s", [0.256, 2.048])
async def test_a_long_way_holds_nothing_back(autojump_clock: trio.testing.MockClock, limit_s: float) -> None:
    """600 ms there and back: each frame is acknowledged that much later, and none has to wait for it."""
    line = Line(is_long=True, round_trip_s=0.6)
    outbox = Outbox(limit_s)
    outbox.begin_link(line, line.send_now)

    async def answer() -> None:
        await trio.sleep(0.6)
        line.acknowledge(1)

    async with trio.open_nursery() as nursery:
        for seq in range(40):
            assert outbox.put_nowait(make_frame(seq)) == 0
            assert outbox.pending_frames == 0
            nursery.start_soon(answer)
            await trio.sleep(0.256)
    assert outbox.dropped_frames == 0


async def test_on_a_line_that_is_too_slow_sound_arrives_no_later_than_the_limit(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A line of half the stream's rate behind a queue without end: what is late is dropped before it is written."""
    line = Line(is_long=True)
    limit_s = 2.048
    outbox = Outbox(limit_s)
    outbox.begin_link(line, line.send_now)
    given_s: list[float] = []
    arrival_s: list[float] = []

    async def carry() -> None:
        while True:
            if len(line.sent) > len(arrival_s):
                await trio.sleep(2 * 0.256)
                line.acknowledge(1)
                queued = line.sent[len(arrival_s)]
                arrival_s.append(trio.current_time() - given_s[queued.frame.seq])
            else:
                await trio.sleep(0.01)

    async def send() -> None:
        while True:
            await outbox.send_next(line.send_text, line.send)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(carry)
        nursery.start_soon(send)
        for seq in range(120):
            given_s.append(trio.current_time())
            outbox.put_nowait(make_frame(seq))
            await trio.sleep(0.256)
        nursery.cancel_scope.cancel()
    assert max(arrival_s) < limit_s + 3 * 0.256
    assert len(arrival_s) > 50, "the line is used all the time"
    check(outbox)


async def test_where_the_system_does_not_tell_only_old_frames_count_as_acknowledged(
    autojump_clock: trio.testing.MockClock,
) -> None:
    line = Line(is_long=True, tells=False)
    outbox = filled(line, 60.0, 1)
    await trio.sleep(ASSUMED_ACKNOWLEDGED_S - 1)
    outbox.put_nowait(make_frame(1))
    await trio.sleep(2)
    outbox.in_flight.settle()
    assert (outbox.in_flight.acknowledged_frames, outbox.in_flight.frames) == (1, 1)
    outbox.end_link()
    outbox.begin_link(Line(is_long=True, tells=False))
    assert outbox.dropped_samples == {"outbox": 0, "in_flight": FRAME_SAMPLES}
    check(outbox)


# Texts.


@pytest.mark.parametrize("moment", ["waiting", "being written", "written"])
async def test_a_text_that_is_cancelled_is_not_sent_and_one_that_is_sent_was_not_cancelled(moment: str) -> None:
    outbox, line = Outbox(1.0), Line()
    outbox.begin_link(line, line.send_now, line.tear)
    line.is_slow = moment == "being written"
    is_through = False
    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def put() -> None:
            nonlocal is_through
            with scope:
                await outbox.put_text(lambda envelope: "x")
                is_through = True

        async def send() -> None:
            with trio.move_on_after(0.1), contextlib.suppress(OSError):
                await outbox.send_next(line.send_text, line.send)

        nursery.start_soon(put)
        await trio.testing.wait_all_tasks_blocked()
        if moment == "written":
            await send()
        elif moment == "being written":
            nursery.start_soon(send)
            await trio.testing.wait_all_tasks_blocked(0.01)
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked(0.05)
        await send()
    assert is_through == (line.sent_texts == 1) == (moment == "written")
    assert line.is_torn == (moment == "being written")


async def test_cancelling_at_any_moment_never_leaves_it_open_whether_a_text_was_sent() -> None:
    """The cancellation and the last byte race, turn by turn of the scheduler."""
    for turns in range(12):
        outbox, line = Outbox(1.0), Line()
        outbox.begin_link(line, line.send_now, line.tear)
        is_through = False
        scope = trio.CancelScope()

        async def put(outbox: Outbox = outbox, scope: trio.CancelScope = scope) -> None:
            nonlocal is_through
            with scope:
                await outbox.put_text(lambda envelope: "x")
                is_through = True

        async def send(outbox: Outbox = outbox, line: Line = line) -> None:
            with trio.move_on_after(0.05), contextlib.suppress(OSError):
                await outbox.send_next(line.send_text, line.send)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(put)
            nursery.start_soon(send)
            for _ in range(turns):
                await trio.lowlevel.checkpoint()
            scope.cancel()
        assert is_through == (line.sent_texts == 1), turns
