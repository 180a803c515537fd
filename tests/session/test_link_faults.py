"""What goes wrong with the link, in both modes: a word said before it, and one said after it, are answered."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple

import pytest
import trio

from ravatar_audio.api.link import LinkLimits
from ravatar_audio.api.messages import Reply
from ravatar_audio.emulator import Emulator, EmulatorSettings, Fault
from ravatar_audio.errors import AuthenticationError, SessionExpiredError
from ravatar_audio.session import ChatSession, LinkUp, LiveEvent, LiveSession
from ravatar_audio.settings import Settings
from ravatar_audio.turns import Recording

from ..proxies import open_proxy
from .conftest import Frames, MakeSettings, until
from .test_connecting import loopback, never, resolving

LIMITS = LinkLimits(ping_interval_s=0.4, deaf_ping_s=1.2, silence_s=0.5, deaf_s=1.6)
MODES: dict[str, Callable[[Settings], LiveSession | ChatSession]] = {
    "live": lambda settings: LiveSession(settings, Frames(every_s=0.1), renew=True, limits=LIMITS),
    "chat": lambda settings: ChatSession(settings, limits=LIMITS),
}


class Talk(NamedTuple):
    """A session, and what it has heard."""

    session: LiveSession | ChatSession
    events: list[LiveEvent]

    async def say(self, words: str) -> None:
        """Say it, as often as it takes: what is refused is not answered."""
        with trio.fail_after(15):
            while True:
                await self.session.send_text(words)
                with trio.move_on_after(1.0):
                    await until(lambda: self.has_heard(words), "the answer", 5.0)
                    return

    def has_heard(self, words: str) -> bool:
        return any(isinstance(event, Reply) and words in (event.text or "") for event in self.events)

    @property
    def links(self) -> int:
        return sum(isinstance(event, LinkUp) for event in self.events)


@asynccontextmanager
async def talk(mode: str, settings: Settings) -> AsyncIterator[Talk]:
    """A session in which the first word has been answered."""
    async with MODES[mode](settings) as session, trio.open_nursery() as nursery:
        talk = Talk(session, [])

        async def take() -> None:
            async for event in session.events():
                talk.events.append(event)

        nursery.start_soon(take)
        await talk.say("before it")
        yield talk
        nursery.cancel_scope.cancel()


async def strike(emulator: Emulator, talk: Talk, text: str) -> None:
    await emulator.strike(Fault.parse(f"message {text}"))


async def refuse_now_and_then(emulator: Emulator, talk: Talk) -> None:
    emulator.send('{"type": "system", "error": "something else"}')


async def let_token_run_out(emulator: Emulator, talk: Talk) -> None:
    emulator.expire_tokens()
    await emulator.strike(Fault(at="message", do="close", code=1008))


async def refuse(emulator: Emulator, talk: Talk, place: str) -> None:
    for answer in ("status=402", "status=403 body=html", "status=503 body=html"):
        emulator.faults.add(Fault.parse(f"{place} {answer}"))
    emulator.expire_tokens()
    await emulator.strike(Fault(at="message", do="close", code=1008))
    await until(lambda: emulator.statistics().faults_fired >= 3, "all answers", 20)


BOTH: dict[str, tuple[Callable[[Emulator, Talk], Awaitable[None]], bool | None]] = {
    # what happens, and whether the connection outlives it; None: it may
    "reset": (partial(strike, text="reset"), False),
    "black hole": (partial(strike, text="black_hole=20"), False),
    "refuses now and then": (refuse_now_and_then, True),
    "token runs out": (let_token_run_out, False),
    "refusals and pages at /jwt": (partial(refuse, place="jwt"), False),
    "refusals and pages at /connection": (partial(refuse, place="connection"), False),
    "refusals and pages at the handshake": (partial(refuse, place="socket"), False),
    "no pongs": (partial(strike, text="no_pongs"), None),
    "slow uplink": (partial(strike, text="slow=25000"), True),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fault", BOTH)
@pytest.mark.link_fault("reset", "chat")
@pytest.mark.link_fault("black hole", "chat")
@pytest.mark.link_fault("refuses now and then", "chat")
@pytest.mark.link_fault("token runs out", "chat")
@pytest.mark.link_fault("refusals and pages at /jwt", "chat")
@pytest.mark.link_fault("refusals and pages at /connection", "chat")
@pytest.mark.link_fault("refusals and pages at the handshake", "chat")
@pytest.mark.link_fault("no pongs", "live", "chat")
@pytest.mark.link_fault("slow uplink", "live", "chat")
async def test_a_session_goes_on_after_it(settings_for: MakeSettings, mode: str, fault: str) -> None:
    act, is_outlived = BOTH[fault]
    with trio.fail_after(60):
        async with Emulator() as emulator, talk(mode, settings_for(emulator)) as it:
            await act(emulator, it)
            if is_outlived is False:
                await until(lambda: it.links >= 2, "another link", 20)
            await it.say("after it")
            if is_outlived:
                assert it.links == 1
            assert len({live.state for live in emulator.statistics().live}) <= 1, "in the same live session"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.link_fault("platform restarted", "chat")
async def test_a_platform_that_was_killed_and_is_back(settings_for: MakeSettings, mode: str) -> None:
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            kill = trio.Event()

            async def run(
                port: int, end: trio.Event, task_status: trio.TaskStatus[Emulator] = trio.TASK_STATUS_IGNORED
            ) -> None:
                async with Emulator(EmulatorSettings(port=port)) as emulator:
                    task_status.started(emulator)
                    await end.wait()

            first: Emulator = await nursery.start(run, 0, kill)
            async with talk(mode, settings_for(first)) as it:
                kill.set()
                await trio.sleep(0.5)
                await nursery.start(run, first.port, trio.Event())
                await it.say("after it")
                assert it.links >= 2
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.link_fault("unsent ping", "live", "chat")
async def test_a_ping_that_finds_no_room_in_the_socket_ends_no_link(settings_for: MakeSettings, mode: str) -> None:
    """A message fills it for many times as long as pings may stay away, and goes on all the time."""
    recording = Recording()
    recording.add_pcm(bytes(2 * 16_000 * 10))
    with trio.fail_after(60):
        async with (
            Emulator(EmulatorSettings(receive_buffer_bytes=16_384)) as emulator,
            talk(mode, settings_for(emulator)) as it,
        ):
            await strike(emulator, it, "slow=100000")
            began_s = trio.current_time()
            await it.session.send_voice(recording)
            assert trio.current_time() - began_s > 2 * LIMITS.deaf_s, "pings had room"
            await it.say("after it")
            assert it.links == 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.link_fault("dead name server", "live", "chat")
async def test_a_name_server_that_has_died_keeps_no_session_away(settings_for: MakeSettings, mode: str) -> None:
    with trio.fail_after(60):
        async with Emulator() as emulator, resolving(loopback) as server:
            url = emulator.api_url.replace("127.0.0.1", "localhost")
            async with talk(mode, settings_for(emulator, api_url=url)) as it:
                server.answer = never
                await strike(emulator, it, "reset")
                began_s = trio.current_time()
                await it.say("after it")
                assert it.links == 2
                assert trio.current_time() - began_s < 5.0, "the whole look-up was waited for"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.link_fault("proxy gone", "live", "chat")
async def test_a_proxy_that_is_gone_for_a_while_is_waited_for(settings_for: MakeSettings, mode: str) -> None:
    with trio.fail_after(60):
        async with (
            Emulator() as emulator,
            open_proxy() as proxy,
            talk(mode, settings_for(emulator, proxy=proxy.url)) as it,
        ):

            async def gone(stream: trio.SocketStream) -> None:
                await trio.aclose_forcefully(stream)

            proxy.answer = gone
            await strike(emulator, it, "reset")
            await trio.sleep(1.0)
            assert it.links == 1
            proxy.answer = None
            await it.say("after it")
            assert it.links == 2


@pytest.mark.link_fault("peer stops reading", "chat")
async def test_a_recorded_message_outlives_a_peer_that_stops_reading(settings_for: MakeSettings) -> None:
    recording = Recording()
    recording.add_pcm(bytes(2 * 16_000 * 20))
    with trio.fail_after(60):
        async with (
            Emulator(EmulatorSettings(receive_buffer_bytes=16_384)) as emulator,
            talk("chat", settings_for(emulator)) as it,
        ):
            await strike(emulator, it, "stop_reading")
            await it.session.send_voice(recording)
            await until(lambda: it.has_heard("20.0 s"), "a reply")
            assert it.links == 2


def _two_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ravatar_audio.session.retries.FINAL_REFUSALS", 2)
    monkeypatch.setattr("ravatar_audio.session.retries.FINAL_AFTER_S", 0.0)


async def forget_again_and_again(emulator: Emulator) -> None:
    while True:
        emulator.forget("conversation")
        await trio.sleep(0.01)


async def refuse_fresh_tokens(emulator: Emulator) -> None:
    emulator.faults.add(Fault.parse("socket status=403 times=0"))
    await emulator.strike(Fault(at="message", do="close", code=1008))


FINAL: dict[str, tuple[Callable[[Emulator], Awaitable[None]], type[Exception]]] = {
    "accepts nothing any more": (forget_again_and_again, SessionExpiredError),
    "fresh token refused": (refuse_fresh_tokens, AuthenticationError),
}


@pytest.mark.parametrize("fault", FINAL)
@pytest.mark.link_fault("accepts nothing any more", "chat")
@pytest.mark.link_fault("fresh token refused", "chat")
async def test_what_the_platform_says_again_and_again_ends_a_chat_with_the_typed_error(
    settings_for: MakeSettings, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    _two_in_a_row(monkeypatch)
    act, kind = FINAL[fault]
    with trio.fail_after(60):
        async with Emulator() as emulator, trio.open_nursery() as nursery:
            with pytest.raises(kind):  # noqa: PT012 - the block is what is tested
                async with ChatSession(settings_for(emulator)) as chat:
                    nursery.start_soon(act, emulator)
                    while True:
                        await chat.send_text("is anybody there?")
                        await trio.sleep(0.05)
            nursery.cancel_scope.cancel()
            assert emulator.statistics().slots_free == emulator.settings.slots
