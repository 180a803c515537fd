"""How a session behaves as a context manager: what goes through it, and what it says when it is used wrongly."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from ravatar_audio.api.messages import Reply
from ravatar_audio.capture import PipeSource, SyntheticSource
from ravatar_audio.emulator import Emulator, EmulatorSettings, Fault
from ravatar_audio.errors import MediaAbortedError, SettingsError
from ravatar_audio.frames import FRAME_SAMPLES, Frame
from ravatar_audio.session import ChatSession, LiveSession, event_queue
from ravatar_audio.session.conversation import Conversation
from ravatar_audio.settings import Settings
from ravatar_audio.turns import Recording

from ..frames import make_frame
from .conftest import Frames, MakeSettings, until


async def test_what_several_tasks_of_the_block_raise_comes_out_whole(settings_for: MakeSettings) -> None:
    async def fail(error: Exception) -> None:
        raise error

    with trio.fail_after(20):
        async with Emulator() as emulator:
            with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012 - the block is what is tested
                async with LiveSession(settings_for(emulator), Frames()), trio.open_nursery() as nursery:
                    nursery.start_soon(fail, ValueError("one"))
                    nursery.start_soon(fail, KeyError("two"))
            assert {type(error) for error in caught.value.exceptions} == {ValueError, KeyError}
            assert emulator.statistics().live[0].state == "ended"


async def test_cancelled_around_both_the_session_ends_before_the_platform_does(settings_for: MakeSettings) -> None:
    with trio.fail_after(20):
        emulator = Emulator(EmulatorSettings(slots=1))
        with trio.CancelScope() as scope:
            async with emulator, LiveSession(settings_for(emulator), Frames()):
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        told = emulator.statistics()
        assert (told.live[0].state, told.live[0].end_calls) == ("ended", 1)
        assert told.close_codes == (1000,)


KINDS: dict[str, Callable[[Settings], Conversation]] = {
    "live": lambda settings: LiveSession(settings, Frames()),
    "chat": ChatSession,
}
USES: dict[str, Callable[[Any], Awaitable[object]]] = {
    "send_text": lambda session: session.send_text("hello"),
    "send_voice": lambda session: session.send_voice(recording(1_600)),
    "wait_finished": lambda live: live.wait_finished(),
    "history": lambda chat: anext(chat.history()),
}
PAIRS = [("live", use) for use in USES if use != "history"] + [("chat", use) for use in USES if use != "wait_finished"]


def recording(samples: int) -> Recording:
    made = Recording(10)
    made.add_pcm(bytes(2 * samples))
    return made


@pytest.mark.row("meet messages not sent")
async def test_a_session_that_has_not_begun_says_so(settings_for: MakeSettings) -> None:
    settings = Settings(api_url="https://127.0.0.1:9")
    with trio.fail_after(20):
        for kind, use in PAIRS:
            with pytest.raises(RuntimeError, match="enter it with 'async with'"):
                await USES[use](KINDS[kind](settings))
        with pytest.raises(RuntimeError, match="enter it with 'async with'"):
            await anext(ChatSession(settings).events())
        with pytest.raises(RuntimeError, match="enter it with 'async with'"):
            LiveSession(settings, Frames()).streaming_url  # noqa: B018 - asking is what is tested


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.row("meet messages not sent")
async def test_a_session_that_is_over_says_so_to_those_who_wait_and_those_who_come(
    settings_for: MakeSettings, kind: str
) -> None:
    uses = [USES[use] for of, use in PAIRS if of == kind]
    heard: list[Exception] = []

    async def use_it(use: Callable[[Any], Awaitable[object]], session: Conversation) -> None:
        try:
            await use(session)
        except Exception as error:
            heard.append(error)

    with trio.fail_after(20):
        async with Emulator() as emulator, trio.open_nursery() as nursery:
            session = KINDS[kind](settings_for(emulator))
            async with session:
                await anext(session.events())
                emulator.faults.add(Fault(at="socket", do="status", status=503, times=0))
                await emulator.strike(Fault(at="message", do="reset"))
                await until(lambda: session._link is None, "the link's end")
                for use in uses[:2]:
                    nursery.start_soon(use_it, use, session)
                await trio.testing.wait_all_tasks_blocked(0.02)
                assert heard == [], "they wait for a link"
            for use in uses:
                await use_it(use, session)
            await until(lambda: len(heard) == 2 + len(uses), "an answer for all who waited")
            assert {type(error) for error in heard} == {trio.ClosedResourceError}
            with pytest.raises(RuntimeError, match="entered once"):
                await session.__aenter__()


UNSENDABLE: list[tuple[Any, str]] = [
    ("", "empty"),
    (" \n", "empty"),
    (3, "type int"),
    ("Hi \ud83d", "surrogate"),
    ("a" * 65_537, "65536 at most"),
]


@pytest.mark.row("bad size of a message", "bad UTF-8")
async def test_what_the_platform_would_refuse_is_refused_here(settings_for: MakeSettings) -> None:
    with trio.fail_after(20):
        async with Emulator() as emulator, ChatSession(settings_for(emulator)) as chat:
            for text, why in UNSENDABLE:
                with pytest.raises(SettingsError, match=why):
                    await chat.send_text(text)
            with pytest.raises(SettingsError, match="neither a WAV nor a WebM"):
                await chat.send_voice(b"abc")
            with pytest.raises(SettingsError, match="empty"):
                await chat.send_voice(recording(0))
            await chat.send_text("\N{GRINNING FACE} " + "a" * 65_000)
            await until(lambda: emulator.statistics().connections[0].messages == 1, "the one message")
            assert emulator.statistics().violation_count == 0


async def test_a_source_that_nobody_has_opened_is_an_error_and_no_silence(settings_for: MakeSettings) -> None:
    with trio.fail_after(20):
        with pytest.raises(RuntimeError, match="the PipeSource was not opened"):
            await anext(PipeSource(0))
        async with Emulator() as emulator:
            with pytest.raises(RuntimeError, match="the SyntheticSource was not opened"):
                async with LiveSession(settings_for(emulator), SyntheticSource()) as live:
                    await live.wait_finished()


@pytest.mark.row("complaint 12: a stall becomes lasting latency")
async def test_after_the_wait_for_a_slot_the_newest_sound_is_sent_and_the_rest_is_a_gap(
    settings_for: MakeSettings,
) -> None:
    """The source's ring keeps the oldest 2 s: nobody may leave them there while the session is still to begin."""
    fault = Fault(at="startLiveSession", do="status", status=503, retry_after_s=2)
    with trio.fail_after(20):
        async with Emulator(EmulatorSettings(faults=(fault,))) as emulator:
            source = SyntheticSource("speech")
            sent: list[Frame] = []
            async with (
                source,
                LiveSession(settings_for(emulator, outbox_ms=512), source, slot_wait_s=20, on_sent=sent.append) as live,
            ):
                await until(lambda: len(sent) > 10, "sound")
                statistics = live.statistics()
                assert sent[0].position_samples == statistics.dropped_samples["outbox"] > FRAME_SAMPLES
                assert statistics.source_lost_samples == 0
                assert [frame.seq for frame in sent] == list(range(sent[0].seq, sent[0].seq + len(sent)))
                await until(lambda: emulator.statistics().live[0].frames, "sound at the platform")
                assert emulator.statistics().live[0].declared_lost_samples == sent[0].position_samples


async def test_what_came_before_the_sources_error_is_sent(settings_for: MakeSettings) -> None:
    async def unplugged() -> AsyncIterator[Frame]:
        for seq in range(7):
            yield make_frame(seq)
        raise MediaAbortedError("the microphone went away")

    with trio.fail_after(20):
        async with Emulator() as emulator:
            with pytest.raises(MediaAbortedError):
                async with LiveSession(settings_for(emulator), unplugged()) as live:
                    await live.wait_finished()
            assert live.statistics().sent_frames == 7
            await until(lambda: emulator.statistics().live[0].frames == 7, "the frames")


async def test_events_that_nobody_takes_are_bounded_in_size_too(
    settings_for: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_queue, "QUEUED_CHARACTERS", 100_000)
    with trio.fail_after(20):
        async with Emulator() as emulator, ChatSession(settings_for(emulator)) as chat:
            await until(lambda: emulator.statistics().connections, "the link")
            for number in range(50):
                emulator.send({"type": "incoming", "answer": str(number) * 10_000})
            await until(lambda: chat._received > 50, "all messages")
            assert sum(len(getattr(event, "text", None) or "") for event, _ in chat._events._waiting) <= 100_000
            assert chat._events.dropped > 40
            kept = [await anext(chat.events()) for _ in range(len(chat._events))]
            assert isinstance(kept[-1], Reply)
            assert (kept[-1].text or "").startswith("49"), "the oldest are dropped"
            emulator.send({"type": "incoming", "answer": "a" * 200_000})
            assert isinstance(await anext(chat.events()), Reply), "one that is too large by itself is kept"
