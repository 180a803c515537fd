"""The outbox: taken = sent + dropped + pending at every step, oldest dropped first, gaps marked."""

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from ravatar_audio.frames import FRAME_SAMPLES
from ravatar_audio.session.outbox import MakeText, Outbox, Parcel

from ..frames import make_frame


def check(outbox: Outbox) -> None:
    assert outbox.taken_samples == outbox.sent_samples + outbox.dropped_samples + outbox.pending_samples
    assert outbox.taken_frames == outbox.sent_frames + outbox.dropped_frames + outbox.pending_frames


class Line:
    """Where frames go; may be told to fail."""

    def __init__(self) -> None:
        self.sent: list[Parcel] = []
        self.is_broken = False

    async def send(self, parcel: Parcel) -> None:
        await trio.lowlevel.checkpoint()
        if self.is_broken:
            raise OSError("broken")
        self.sent.append(parcel)

    async def send_text(self, make: MakeText) -> None:
        await trio.lowlevel.checkpoint()

    def send_now(self, parcel: Parcel) -> bool:
        if not self.is_broken:
            self.sent.append(parcel)
        return not self.is_broken


@given(st.lists(st.sampled_from(["put", "put", "short", "lossy", "send", "fail", "up", "stuck", "down"]), max_size=60))
def test_conservation_and_order_whatever_happens(steps: list[str]) -> None:
    async def run() -> None:
        outbox, line = Outbox(4 * 0.256), Line()
        seq = lost = 0
        for step in steps:
            if step in ("send", "fail") and outbox.pending_frames:
                line.is_broken = step == "fail"
                try:
                    await outbox.send_next(line.send_text, line.send)
                except OSError:
                    assert line.is_broken
            elif step in ("up", "stuck", "down"):
                outbox.send_now = None if step == "down" else line.send_now
                line.is_broken = step == "stuck"
            elif step not in ("send", "fail"):
                length = 100 if step == "short" else FRAME_SAMPLES
                lost += 50 if step == "lossy" else 0
                outbox.put_nowait(make_frame(seq, length_samples=length, lost_samples=50 if step == "lossy" else 0))
                seq += 1
            check(outbox)
        line.is_broken = False
        while outbox.pending_frames:
            await outbox.send_next(line.send_text, line.send)
            check(outbox)
        sequence = [parcel.frame.seq for parcel in line.sent]
        assert sequence == sorted(set(sequence))
        # Every sample that did not arrive is declared by the frame behind the gap.
        assert sum(parcel.lost_samples for parcel in line.sent) == outbox.dropped_samples + lost

    trio.run(run)


async def test_the_oldest_goes_first_and_the_next_one_says_so() -> None:
    outbox, line = Outbox(2 * 0.256), Line()
    assert [outbox.put_nowait(make_frame(seq)) for seq in range(5)] == [0, 0, 4096, 4096, 4096]
    await outbox.send_next(line.send_text, line.send)
    assert (line.sent[0].frame.seq, line.sent[0].lost_samples) == (3, 3 * FRAME_SAMPLES)


async def test_a_frame_goes_at_once_where_nothing_waits_and_in_order_where_something_does() -> None:
    outbox, line = Outbox(1.0), Line()
    outbox.put_nowait(make_frame(0))
    outbox.send_now = line.send_now
    outbox.put_nowait(make_frame(1))
    assert (line.sent, outbox.pending_frames) == ([], 2)
    for _ in range(2):
        await outbox.send_next(line.send_text, line.send)
    outbox.put_nowait(make_frame(2))
    assert [parcel.frame.seq for parcel in line.sent] == [0, 1, 2]
    check(outbox)


async def test_a_frame_that_was_begun_is_finished_before_anything_else_and_is_never_dropped() -> None:
    outbox, line = Outbox(2 * 0.256), Line()
    outbox.send_now, line.is_broken = line.send_now, True
    for seq in range(4):
        outbox.put_nowait(make_frame(seq))
    check(outbox)
    line.is_broken = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.put_text, lambda envelope: "x")
        await trio.testing.wait_all_tasks_blocked()
        sent = [await outbox.send_next(line.send_text, line.send) for _ in range(3)]
    assert [frame.seq if frame else None for frame in sent] == [0, None, 3]


async def test_a_frame_that_could_not_be_sent_is_tried_first_next_time() -> None:
    outbox, line = Outbox(1.0), Line()
    for seq in range(3):
        outbox.put_nowait(make_frame(seq))
    line.is_broken = True
    with pytest.raises(OSError, match="broken"):
        await outbox.send_next(line.send_text, line.send)
    line.is_broken = False
    for _ in range(3):
        await outbox.send_next(line.send_text, line.send)
    assert [parcel.frame.seq for parcel in line.sent] == [0, 1, 2]


async def test_a_cancelled_send_is_tried_again() -> None:
    outbox, line = Outbox(1.0), Line()
    outbox.put_nowait(make_frame(0))

    async def never(parcel: Parcel) -> None:
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
