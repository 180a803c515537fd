"""asyncio and threads: the same sessions, in programs that run no trio. Everything over a real WebSocket."""

import asyncio
import inspect
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import trio

import ravatar_audio
import ravatar_audio.asyncio as for_asyncio
import ravatar_audio.blocking as for_threads
from ravatar_audio import EmulatorSettings, Frame, LinkUp, RavatarError, Reply, Settings
from ravatar_audio.errors import BusyError, UnreachableError

WORLDS = {"asyncio": for_asyncio, "blocking": for_threads}
SECONDS = 3
SAMPLES = SECONDS * 16_000


def threads() -> set[threading.Thread]:
    """All but trio's own for blocking calls, which it keeps for ten seconds, to use them again."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith("Trio thread")}


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = threads()
    yield
    assert threads() == before


def settings_for(emulator: Any, folder: Path) -> Settings:
    return Settings(api_url=emulator.api_url, state_dir=str(folder / "state"))


def files(folder: Path) -> EmulatorSettings:
    return EmulatorSettings(wav_dir=str(folder / "heard"), slots=1)


# A whole session.


def test_asyncio_streams_a_source_and_hears_the_replies(tmp_path: Path) -> None:
    sent: list[Frame] = []

    async def main() -> None:
        loop_thread = threading.current_thread()

        def note(frame: Frame) -> None:
            assert threading.current_thread() is loop_thread
            sent.append(frame)

        async with for_asyncio.Emulator(files(tmp_path)) as emulator:
            source = for_asyncio.SyntheticSource(duration_s=SECONDS, pace="full")
            async with source, for_asyncio.LiveSession(settings_for(emulator, tmp_path), source, on_sent=note) as live:
                assert isinstance(await anext(live.events()), LinkUp)
                await live.wait_finished()
                await live.send_text("Good morning")
                async for event in live.events():
                    if isinstance(event, Reply):
                        break
                assert live.statistics().sent_samples == source.statistics().captured_samples == SAMPLES
                assert live.avatar.name
                assert "token=" in live.streaming_url
            heard = emulator.statistics()
            assert heard.live[0].samples >= SAMPLES
            assert heard.slots_free == 1
            assert not heard.violations
        assert sum(frame.length_samples for frame in sent) == SAMPLES

    asyncio.run(main())


def test_threads_stream_a_source_and_hear_the_replies(tmp_path: Path) -> None:
    with for_threads.Emulator(files(tmp_path)) as emulator:
        source = for_threads.SyntheticSource(duration_s=SECONDS, pace="full")
        with source, for_threads.LiveSession(settings_for(emulator, tmp_path), source) as live:
            assert isinstance(next(live.events()), LinkUp)
            live.wait_finished()
            live.send_text("Good morning")
            assert any(isinstance(event, Reply) for event in live.events())
            assert live.statistics().sent_samples == SAMPLES
        assert emulator.statistics().slots_free == 1


def test_frames_can_be_taken_by_iterating() -> None:
    async def count() -> int:
        async with for_asyncio.SyntheticSource(duration_s=SECONDS, pace="full") as source:
            return sum([frame.length_samples async for frame in source])

    assert asyncio.run(count()) == SAMPLES
    with for_threads.SyntheticSource(duration_s=SECONDS, pace="full") as source:
        assert sum(frame.length_samples for frame in source) == SAMPLES


def test_a_callback_of_another_thread_pushes_its_own_sound(tmp_path: Path) -> None:
    """As a WebRTC or SIP library does: stereo float of 48 kHz, 10 ms at a time, from a thread of its own."""
    block = np.zeros((480, 2), np.float32)

    async def main() -> None:
        async with for_asyncio.Emulator(files(tmp_path)) as emulator:
            source = for_asyncio.PushSource(rate_hz=48_000, channels=2, format="float32")

            def call_back() -> None:
                for _ in range(100):
                    source.push_nowait(block)
                    time.sleep(0.002)
                source.finish()

            async with source, for_asyncio.LiveSession(settings_for(emulator, tmp_path), source) as live:
                thread = threading.Thread(target=call_back)
                thread.start()
                await live.wait_finished()
                thread.join()
            assert emulator.statistics().live[0].samples >= 16_000
            assert source.statistics().ring_dropped_samples == 0

    asyncio.run(main())


# Cancellation and errors, in both directions.


def test_a_cancelled_task_loses_no_frame() -> None:
    async def main() -> list[Frame]:
        frames: list[Frame] = []
        async with for_asyncio.SyntheticSource(duration_s=SECONDS) as source:
            while True:
                try:
                    frames.append(await asyncio.wait_for(anext(source), 0.05))
                except TimeoutError:
                    continue
                except StopAsyncIteration:
                    return frames

    frames = asyncio.run(main())
    assert [frame.seq for frame in frames] == list(range(len(frames)))
    assert sum(frame.length_samples for frame in frames) == SAMPLES


def test_a_cancelled_block_gives_its_slot_back(tmp_path: Path) -> None:
    async def stream(settings: Settings, source: for_asyncio.SyntheticSource) -> None:
        async with source, for_asyncio.LiveSession(settings, source) as live:
            async for _ in live.events():
                pass

    async def main() -> None:
        async with for_asyncio.Emulator(files(tmp_path)) as emulator:
            source = for_asyncio.SyntheticSource()
            settings = settings_for(emulator, tmp_path)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(stream(settings, source), 0.7)
            assert emulator.statistics().slots_free == 1
            assert len(emulator.statistics().live) == 1

    asyncio.run(main())


@pytest.mark.parametrize("world", WORLDS)
def test_the_blocks_own_error_comes_out_and_the_slot_is_given_back(world: str, tmp_path: Path) -> None:
    class OwnError(Exception):
        pass

    async def main() -> None:
        async with for_asyncio.Emulator(files(tmp_path)) as emulator:
            source = for_asyncio.SyntheticSource()
            with pytest.raises(OwnError):
                async with source, for_asyncio.LiveSession(settings_for(emulator, tmp_path), source):
                    raise OwnError
            assert emulator.statistics().slots_free == 1

    if world == "asyncio":
        asyncio.run(main())
        return
    with for_threads.Emulator(files(tmp_path)) as emulator:
        source = for_threads.SyntheticSource()
        with pytest.raises(OwnError), source, for_threads.LiveSession(settings_for(emulator, tmp_path), source):
            raise OwnError
        assert emulator.statistics().slots_free == 1


@pytest.mark.parametrize("world", WORLDS)
def test_what_cannot_begin_raises_the_typed_error(world: str, tmp_path: Path) -> None:
    settings = Settings(api_url="https://127.0.0.1:9", state_dir=str(tmp_path))

    async def main() -> None:
        with pytest.raises(UnreachableError):
            async with for_asyncio.ChatSession(settings):
                pass

    if world == "asyncio":
        asyncio.run(main())
    else:
        with pytest.raises(UnreachableError), for_threads.ChatSession(settings):
            pass


@pytest.mark.parametrize("world", WORLDS)
def test_a_session_that_fails_says_so_at_the_end_of_its_block(world: str, tmp_path: Path) -> None:
    async def in_asyncio(settings: Settings, expire: Callable[[], None]) -> None:
        source = for_asyncio.SyntheticSource()
        async with source, for_asyncio.LiveSession(settings, source) as live:
            expire()
            async for _ in live.events():
                pass

    def in_threads(settings: Settings, expire: Callable[[], None]) -> None:
        source = for_threads.SyntheticSource()
        with source, for_threads.LiveSession(settings, source) as live:
            expire()
            for _ in live.events():
                pass

    with for_threads.Emulator(files(tmp_path)) as emulator:
        settings = settings_for(emulator, tmp_path)
        runs = {"asyncio": lambda *given: asyncio.run(in_asyncio(*given)), "blocking": in_threads}
        with pytest.raises(RavatarError, match="expired"):
            runs[world](settings, emulator.expire_sessions)


def test_two_sessions_share_the_thread(tmp_path: Path) -> None:
    async def main() -> None:
        async with for_asyncio.Emulator(files(tmp_path)) as emulator:
            settings = settings_for(emulator, tmp_path)
            source, other = for_asyncio.SyntheticSource(), for_asyncio.SyntheticSource()
            async with source, for_asyncio.LiveSession(settings, source):
                with pytest.raises(BusyError):
                    async with other, for_asyncio.LiveSession(settings, other):
                        pass
                assert sum(thread.name == "ravatar-audio" for thread in threading.enumerate()) == 1

    asyncio.run(main())


# A loop that stands still.


@pytest.mark.parametrize("runner", [asyncio.run, "uvloop"], ids=["asyncio", "uvloop"])
def test_a_blocked_loop_loses_no_sound(runner: Any, tmp_path: Path) -> None:
    if runner == "uvloop":
        runner = pytest.importorskip("uvloop").run

    async def main() -> None:
        async with for_asyncio.Emulator(files(tmp_path)) as emulator:
            source = for_asyncio.SyntheticSource(duration_s=SECONDS)
            async with source, for_asyncio.LiveSession(settings_for(emulator, tmp_path), source) as live:
                finished = asyncio.ensure_future(live.wait_finished())
                while not finished.done():
                    time.sleep(0.2)  # noqa: ASYNC251 - the fault
                    await asyncio.sleep(0.01)
                statistics, heard = live.statistics(), emulator.statistics().live[0]
                before_samples = source.statistics().discarded_samples  # captured before the session was entered
                assert statistics.sent_samples == SAMPLES - before_samples
                assert statistics.source_lost_samples == 0
                assert heard.samples >= SAMPLES - before_samples

    runner(main())


# Controls, from any thread and from callbacks.


def test_push_to_talk_from_threads(tmp_path: Path) -> None:
    kinds: list[str] = []
    rules = Settings(mode="ptt")
    turns = for_threads.TurnSource.from_settings(
        rules, for_threads.SyntheticSource(), on_event=lambda event: kinds.append(event.kind)
    )
    with turns:
        threading.Timer(0.4, turns.press).start()
        threading.Timer(1.0, turns.release).start()
        recording = next(for_threads.Recordings(turns))
    assert kinds[0] == "started"
    assert 0.5 <= recording.duration_s <= 2.5


# The wrong world.


def in_trio(use: Callable[[], Any]) -> None:
    async def main() -> None:
        use()

    trio.run(main)


def in_asyncio(use: Callable[[], Any]) -> None:
    async def main() -> None:
        use()

    asyncio.run(main())


def run_alone(use: Callable[[], Any]) -> None:
    use()


def enter(module: ModuleType) -> Callable[[], Any]:
    """What entering a source of this module does at its first step."""

    def use() -> Any:
        source = module.SyntheticSource(duration_s=0.1)
        if module is for_threads:
            return source.__enter__()
        step = source.__aenter__()
        try:
            return step.send(None)
        finally:
            step.close()

    return use


@pytest.mark.parametrize(
    ("module", "run", "right"),
    [
        (ravatar_audio, in_asyncio, "use ravatar_audio.asyncio"),
        (ravatar_audio, run_alone, "use ravatar_audio.blocking"),
        (for_asyncio, in_trio, "use ravatar_audio itself"),
        (for_asyncio, run_alone, "use ravatar_audio.blocking"),
        (for_threads, in_trio, "use ravatar_audio itself"),
        (for_threads, in_asyncio, "use ravatar_audio.asyncio"),
    ],
)
def test_the_wrong_world_names_the_right_module(module: Any, run: Callable[[Any], None], right: str) -> None:
    with pytest.raises(RuntimeError, match=right):
        run(enter(module))


# The same names, and the same methods.

ELSEWHERE = {"Converter", "PipeSource", "Source", "open_source", "__version__"}
"""What has no face: it needs no loop, or (open_source) gives a thing that has one."""

TRIO_ALONE = {"HttpCall", "Platform", "LinkLimits", "Shared", "Observer", "Proxy", "LiveStart", "ChatPage"} | {
    "ObservedSession"
}
"""What belongs to arguments that the faces do not have: a platform of one's own, limits, observers."""

LEFT_OUT = {"platform", "source", "call_off", "follow", "note", "aclose", "block_durations_s"} | {
    *("tap", "tapped", "reference", "canceller", "is_linked", "observed", "redact")
}
"""Plumbing of the trio classes, deprecated names, and what has another name for threads (aclose: close)."""


@pytest.mark.parametrize("world", WORLDS)
def test_the_same_names(world: str) -> None:
    module = WORLDS[world]
    missing = set(ravatar_audio.__all__) - set(module.__all__) - TRIO_ALONE
    assert not missing
    for name in module.__all__:
        assert getattr(module, name) is not None


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


FACES = [  # all but the base class, and what is not made by a program itself
    name
    for name in for_asyncio.__all__
    if name not in ("Source", "Tee")
    and inspect.isclass(getattr(for_asyncio, name))
    and getattr(for_asyncio, name).__module__.startswith("ravatar_audio.asyncio")
]


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", FACES)
def test_the_same_methods(world: str, name: str) -> None:
    inner, face = getattr(ravatar_audio, name), getattr(WORLDS[world], name)
    assert public(inner) - LEFT_OUT <= public(face)
    for method in public(face) & public(inner):
        assert inspect.getdoc(getattr(face, method)), method


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", FACES)
def test_the_same_arguments(world: str, name: str) -> None:
    def arguments(kind: type) -> list[str]:
        return [
            name
            for name in inspect.signature(kind).parameters
            if name not in ("platform", "plain", "limits", "observers")
        ]

    assert arguments(getattr(WORLDS[world], name)) == arguments(getattr(ravatar_audio, name))


# Programs that are interrupted, or forget to close.

PROGRAMS = {
    "asyncio": """
        import asyncio, sys
        from ravatar_audio.asyncio import LiveSession, Settings, SyntheticSource

        async def main():
            source = SyntheticSource()
            async with source, LiveSession(Settings(api_url=sys.argv[1], state_dir=sys.argv[2]), source) as live:
                async for event in live.events():
                    print(type(event).__name__, flush=True)

        asyncio.run(main())
    """,
    "blocking": """
        import sys
        from ravatar_audio.blocking import LiveSession, Settings, SyntheticSource

        source = SyntheticSource()
        with source, LiveSession(Settings(api_url=sys.argv[1], state_dir=sys.argv[2]), source) as live:
            for event in live.events():
                print(type(event).__name__, flush=True)
    """,
    "forgotten": """
        import sys
        from ravatar_audio.blocking import LiveSession, Settings, SyntheticSource

        source = SyntheticSource().__enter__()
        live = LiveSession(Settings(api_url=sys.argv[1], state_dir=sys.argv[2]), source).__enter__()
        print(type(next(live.events())).__name__, flush=True)
    """,
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_that_is_interrupted_or_forgets_gives_its_slot_back(program: str, tmp_path: Path) -> None:
    with for_threads.Emulator(files(tmp_path)) as emulator:
        command = [sys.executable, "-c", textwrap.dedent(PROGRAMS[program]), emulator.api_url, str(tmp_path / "state")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == "LinkUp"
            if program != "forgotten":
                process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=20)
        assert process.returncode == (0 if program == "forgotten" else -signal.SIGINT), errors
        heard = emulator.statistics()
        assert (len(heard.live), heard.slots_free) == (1, 1)
