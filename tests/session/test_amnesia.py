"""A platform that was started again and has forgotten what it gave out: the session goes on, or ends and says so."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from ravatar_audio.api.messages import Reply
from ravatar_audio.emulator import Emulator, EmulatorSettings, EmulatorStatistics, Fault
from ravatar_audio.emulator.faults import MEMORIES
from ravatar_audio.errors import SessionExpiredError, SettingsError
from ravatar_audio.frames import FRAME_SAMPLES
from ravatar_audio.session import (
    ChatSession,
    ConversationRenewed,
    LinkUp,
    LiveEvent,
    LiveSession,
    LiveStatistics,
    SendingAccepted,
    SendingRefused,
    SessionRenewed,
    StreamingUrlChanged,
)
from ravatar_audio.session.conversation import Conversation

from .conftest import Frames, MakeSettings, until

FORGOTTEN = [memories for count in range(1, len(MEMORIES) + 1) for memories in itertools.combinations(MEMORIES, count)]
WORDINGS = {
    "the emulator's own": None,
    "an error of the kind system": '{"type": "system", "error": "unbekannt", "message": "Sitzung nicht gefunden"}',
    "an error kind of its own": '{"type": "error", "error": "no such conversation"}',
    "an error object": '{"error": {"code": "E42", "detail": "?"}}',
    "an unknown kind": '{"kind": "nack", "status": 404}',
    "an event": '{"type": "event", "errorCode": 17, "content": "session missing"}',
    "a flag": '{"success": false, "message": "who are you?"}',
    "an answer without an answer": '{"type": "incoming", "error": "invalid session", "answer": ""}',
    "a result": '{"result": "failure"}',
    "a status in words": '{"direction": "system", "status": "rejected"}',
}


def conserved(statistics: LiveStatistics) -> bool:
    dropped = sum(statistics.dropped_samples.values())
    return statistics.taken_samples == statistics.sent_samples + dropped + statistics.pending_samples


@asynccontextmanager
async def heard(session: Conversation) -> AsyncIterator[list[LiveEvent]]:
    """The session's events, as they come."""
    events: list[LiveEvent] = []

    async def take() -> None:
        async for event in session.events():
            events.append(event)  # noqa: PERF401 - as they come, not when all have

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        yield events
        nursery.cancel_scope.cancel()


def count(events: list[LiveEvent], kind: type) -> int:
    return sum(isinstance(event, kind) for event in events)


def refused_messages(told: EmulatorStatistics) -> int:
    """How many messages the platform has refused, by its own account."""
    return sum(item.where == "message" for item in told.violations)


async def restart(emulator: Emulator, *memories: str) -> None:
    """As a platform does that is started again: all connections are gone, and so is what it knew."""
    emulator.forget(*memories)
    await emulator.strike(Fault(at="message", do="reset"))


@pytest.mark.parametrize("is_reset", [True, False], ids=["restarted", "in mid-connection"])
@pytest.mark.parametrize("memories", FORGOTTEN, ids="+".join)
@pytest.mark.link_fault("forgets the token", "live")
@pytest.mark.link_fault("forgets the conversation", "live")
@pytest.mark.link_fault("forgets the slot", "live")
async def test_a_live_session_is_renewed_and_what_was_refused_counts_as_lost(
    settings_for: MakeSettings, memories: tuple[str, ...], is_reset: bool
) -> None:
    with trio.fail_after(30):
        async with Emulator(EmulatorSettings(slots=1)) as emulator:
            source = Frames(every_s=0.02)
            live = LiveSession(settings_for(emulator), source, renew=True, reconnect_limit_s=None)
            async with live, heard(live) as events:
                await until(lambda: emulator.statistics().frames > 5, "sound")
                if is_reset:
                    await restart(emulator, *memories)
                    await until(lambda: live.statistics().connects > 1, "a new connection")
                else:
                    emulator.forget(*memories)
                frames = emulator.statistics().frames
                is_refused = is_reset is False and memories != ("token",)
                if is_refused or "slot" in memories:
                    await until(lambda: count(events, SendingRefused), "refusals")
                    await until(lambda: count(events, SendingAccepted), "the end of the refusals")
                await until(lambda: emulator.statistics().frames > frames + 45, "sound again")
                source.count = 0
                await live.wait_finished()
            told, statistics = emulator.statistics(), live.statistics()
        assert conserved(statistics)
        assert count(events, SendingRefused) == count(events, SendingAccepted) <= 1, "one of each for each edge"
        assert count(events, SessionRenewed) == ("slot" in memories)
        assert told.live[-1].state == "ended"
        assert told.slots_free == 1
        refused = refused_messages(told)
        assert statistics.dropped_samples["refused"] == refused * FRAME_SAMPLES
        # What a reset connection had not acknowledged may have come all the same: it comes twice, or is "in_flight".
        unsure_frames = statistics.repeated_frames + statistics.dropped_samples["in_flight"] // FRAME_SAMPLES
        assert told.frames <= statistics.sent_frames + unsure_frames
        if not is_reset:
            assert told.frames == statistics.sent_frames, "what was refused does not count as sent"
            declared_samples = sum(item.declared_lost_samples for item in told.live)
            assert declared_samples == sum(statistics.dropped_samples.values())
        if is_reset and memories == ("token", "conversation"):
            assert refused == 0, "a refused token already says that the conversation is to be asked for"


@pytest.mark.parametrize("every_s", [0.02, 0.2])
async def test_what_was_sent_between_a_sessions_expiry_and_the_news_of_it_counts_as_refused(
    settings_for: MakeSettings, every_s: float
) -> None:
    with trio.fail_after(30):
        async with Emulator(EmulatorSettings(slots=1)) as emulator:
            source = Frames(every_s=every_s, count=30)
            async with LiveSession(settings_for(emulator), source, renew=True) as live:
                for sessions in (1, 2):
                    await until(lambda sessions=sessions: len(emulator.statistics().live) == sessions, "a session")  # type: ignore[misc]
                    await until(lambda: emulator.statistics().live[-1].frames > 4, "sound")
                    emulator.expire_sessions()
                await live.wait_finished()
                await trio.sleep(0.2)
            sent, told = live.statistics(), emulator.statistics()
            assert [item.state for item in told.live] == ["expired", "expired", "ended"]
            assert conserved(sent)
            assert sent.dropped_samples["refused"] >= 2 * FRAME_SAMPLES, "counted as sent"
            lost_samples = sum(sent.dropped_samples.values())
            assert sum(item.declared_lost_samples for item in told.live) == lost_samples
            # All is heard or counted; what is sent again may have come twice.
            assert sent.taken_samples <= sum(item.samples for item in told.live) + lost_samples
            assert sum(item.samples for item in told.live) <= sent.sent_samples + sent.repeated_samples


async def test_without_renew_the_session_ends_with_the_typed_error_when_its_slot_is_forgotten(
    settings_for: MakeSettings,
) -> None:
    with trio.fail_after(30):
        async with Emulator(EmulatorSettings(slots=1)) as emulator:
            with pytest.raises(SessionExpiredError, match="forgotten"):  # noqa: PT012 - the block is what is tested
                async with LiveSession(settings_for(emulator), Frames(every_s=0.02)) as live:
                    await until(lambda: emulator.statistics().frames > 5, "sound")
                    await restart(emulator)
                    await live.wait_finished()
            statistics = live.statistics()
            assert conserved(statistics)
            refused = refused_messages(emulator.statistics())
            assert statistics.dropped_samples["refused"] == refused * FRAME_SAMPLES > 0


@pytest.mark.parametrize("wording", WORDINGS.values(), ids=WORDINGS.keys())
@pytest.mark.link_fault("refuses in other words", "live")
async def test_no_wording_of_a_refusal_matters(settings_for: MakeSettings, wording: str | None) -> None:
    with trio.fail_after(30):
        async with Emulator(EmulatorSettings(slots=1, refusal=wording)) as emulator:
            live = LiveSession(settings_for(emulator), Frames(every_s=0.02), renew=True, reconnect_limit_s=None)
            async with live, heard(live) as events:
                await until(lambda: emulator.statistics().frames > 5, "sound")
                await restart(emulator)
                await until(lambda: count(events, SendingAccepted), "sound is accepted again")
                assert count(events, SendingRefused) == count(events, SessionRenewed) == 1
                assert conserved(live.statistics())
            assert [item.state for item in emulator.statistics().live] == ["forgotten", "ended"]


def said(events: list[LiveEvent]) -> int:
    """How many replies there were that say something."""
    return sum(isinstance(event, Reply) and event.text is not None for event in events)


def answered(emulator: Emulator, number: int) -> bool:
    """Whether as many messages as that were answered since the first one, with a reply or a refusal."""
    told = emulator.statistics()
    greetings = sum(connection.closed_s is None or connection.replies > 0 for connection in told.connections)
    return sum(connection.replies for connection in told.connections) - greetings > number


@pytest.mark.parametrize("wording", WORDINGS.values(), ids=WORDINGS.keys())
@pytest.mark.parametrize("memories", [item for item in FORGOTTEN if item != ("slot",)], ids="+".join)
@pytest.mark.link_fault("forgets the token", "chat")
@pytest.mark.link_fault("forgets the conversation", "chat")
@pytest.mark.link_fault("refuses in other words", "chat")
async def test_a_conversation_by_messages_goes_on_with_a_new_id(
    settings_for: MakeSettings, memories: tuple[str, ...], wording: str | None
) -> None:
    with trio.fail_after(30):
        async with Emulator(EmulatorSettings(refusal=wording)) as emulator:
            chat = ChatSession(settings_for(emulator), reconnect_limit_s=None)
            async with chat, heard(chat) as events:
                await chat.send_text("before")
                await until(lambda: said(events) == 1, "a reply")
                await restart(emulator, *memories)
                await until(lambda: count(events, LinkUp) == 2, "a new link")
                number = 0
                while said(events) < 2:
                    number += 1
                    await chat.send_text(f"after it, number {number}")
                    await until(partial(answered, emulator, number), "an answer")
                assert number <= 3, "two refusals are enough"
                assert count(events, SendingRefused) == count(events, SendingAccepted) <= 1
                assert count(events, ConversationRenewed) == 1
                assert refused_messages(emulator.statistics()) == number - 1


@pytest.mark.link_fault("accepts nothing any more", "live")
async def test_a_platform_that_accepts_nothing_any_more_is_asked_ever_more_seldom_and_then_left(
    settings_for: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ravatar_audio.session.retries.FINAL_REFUSALS", 2)
    monkeypatch.setattr("ravatar_audio.session.retries.FINAL_AFTER_S", 0.0)
    with trio.fail_after(60):
        async with Emulator(EmulatorSettings(slots=1)) as emulator, trio.open_nursery() as nursery:
            with pytest.raises(SessionExpiredError, match="a new session did not help"):  # noqa: PT012
                async with LiveSession(settings_for(emulator), Frames(every_s=0.02), renew=True) as live:
                    await until(lambda: emulator.statistics().frames > 5, "sound")
                    nursery.start_soon(forget_again_and_again, emulator)
                    await live.wait_finished()
            nursery.cancel_scope.cancel()
            assert conserved(live.statistics())
            told = emulator.statistics()
            assert {item.state for item in told.live} == {"forgotten"}
            assert told.slots_free == 1


async def forget_again_and_again(emulator: Emulator) -> None:
    while True:
        emulator.forget("conversation", "slot")
        await trio.sleep(0.01)


@pytest.mark.link_fault("refuses now and then", "live")
async def test_a_refusal_now_and_then_is_told_and_changes_nothing(settings_for: MakeSettings) -> None:
    with trio.fail_after(30):
        async with Emulator() as emulator:
            live = LiveSession(settings_for(emulator), Frames(every_s=0.02))
            async with live, heard(live) as events:
                for _ in range(4):
                    before = count(events, SendingAccepted)
                    emulator.send('{"type": "system", "error": "something else"}')
                    await until(lambda: count(events, SendingRefused) > count(events, SendingAccepted), "the refusal")
                    await until(lambda: count(events, SendingRefused) == count(events, SendingAccepted), "40 messages")
                    assert count(events, SendingAccepted) == before + 1
                assert live.statistics().connects == 1
                assert emulator.statistics().requests["connection"] == {200: 1}
                assert conserved(live.statistics())


@pytest.mark.link_fault("token runs out", "live")
async def test_the_streaming_url_that_changes_is_an_event_with_the_new_one(settings_for: MakeSettings) -> None:
    with trio.fail_after(30):
        async with Emulator(EmulatorSettings(token_lifetime_s=1.0)) as emulator:
            live = LiveSession(settings_for(emulator), Frames(every_s=0.02))
            async with live, heard(live) as events:
                urls = [live.streaming_url]
                while len(urls) < 4:
                    await until(lambda: count(events, StreamingUrlChanged) == len(urls), "the next one")
                    assert live.streaming_url not in urls
                    urls.append(live.streaming_url)
                    status, _ = await live.platform.look_at(live.streaming_url)
                    assert status == 200
                changed = [event for event in events if isinstance(event, StreamingUrlChanged)]
                assert [event.streaming_url for event in changed] == urls[1:]
                assert live.statistics().connects == 1, "the link does not suffer"
                assert not any(url in repr(changed) for url in urls)


async def test_a_platform_cannot_forget_what_it_does_not_know(settings_for: MakeSettings) -> None:
    async with Emulator() as emulator:
        with pytest.raises(SettingsError, match="'name'"):
            emulator.forget("name")
    with pytest.raises(SettingsError, match="'slots'"):
        Fault.parse("message forget=slots")
    assert Fault.parse("http forget").memories == MEMORIES
    assert Fault.parse("message forget=slot,token after=3").memories == ("slot", "token")
