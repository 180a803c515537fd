"""A slot is given back on every way out, however slow the platform is, and earlier programs' are ended beside."""

import json
import os
import time
from pathlib import Path

import pytest
import trio

from ravatar_audio.emulator import Emulator, EmulatorSettings, Fault
from ravatar_audio.session import LiveSession
from ravatar_audio.session.state_files import FORGOTTEN_AFTER_S, SavedLicense
from ravatar_audio.settings import Settings

from .conftest import Frames, MakeSettings, until


def kept(settings: Settings) -> list[str]:
    """The files of sessions that were not ended."""
    folder = settings.state_path / "unended"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def leave_behind(settings: Settings, number: int, license_id: str | None = None, age_s: float = 0.0) -> Path:
    """As a program that was killed leaves it."""
    folder = settings.state_path / "unended"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{number:032x}.json"
    path.write_text(json.dumps({"api_url": settings.api_url, "LicenseId": license_id}))
    os.utime(path, (time.time() - age_s,) * 2)
    return path


@pytest.mark.parametrize("delay_s", [0.02, 0.15, 1.5, 6.2])
@pytest.mark.link_fault("start interrupted", "live")
async def test_a_start_that_is_interrupted_gives_its_slot_back_before_it_leaves(
    settings_for: MakeSettings, delay_s: float
) -> None:
    """6.2 s: a start of 5 s behind two round trips of 600 ms."""
    fault = Fault(at="startLiveSession", do="delay", delay_s=delay_s)
    with trio.fail_after(30):
        async with Emulator(EmulatorSettings(slots=1, faults=(fault,))) as emulator:
            settings = settings_for(emulator)
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:

                    async def interrupt() -> None:
                        await until(lambda: emulator.faults.fired, "the request")
                        scope.cancel()

                    nursery.start_soon(interrupt)
                    async with LiveSession(settings, Frames()):
                        pytest.fail("it cannot have begun")
            told = emulator.statistics()
            assert scope.cancelled_caught
            assert [(live.state, live.end_calls) for live in told.live] == [("ended", 1)]
            assert told.slots_free == 1
            assert kept(settings) == []


async def test_an_answer_that_never_comes_is_waited_for_only_so_long_and_said_to_be_lost(
    settings_for: MakeSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ravatar_audio.session.slot.GRACE_S", 0.3)
    fault = Fault(at="startLiveSession", do="delay", delay_s=60)
    with trio.fail_after(20):
        async with Emulator(EmulatorSettings(slots=1, faults=(fault,))) as emulator:
            with trio.move_on_after(0.5):
                async with LiveSession(settings_for(emulator), Frames()):
                    pytest.fail("it cannot have begun")
            assert kept(settings_for(emulator)) == []
    assert "its answer is waited for" in caplog.text
    assert "the answer to POST /startLiveSession was lost" in caplog.text


@pytest.mark.parametrize("do", ["hang_up", "reset"])
@pytest.mark.link_fault("answer to the start lost", "live")
async def test_a_start_whose_answer_is_lost_says_so_and_the_session_begins_all_the_same(
    settings_for: MakeSettings, caplog: pytest.LogCaptureFixture, do: str
) -> None:
    with trio.fail_after(20):
        faults = (Fault(at="startLiveSession", do=do),)
        async with (
            Emulator(EmulatorSettings(faults=faults)) as emulator,
            LiveSession(settings_for(emulator), Frames()),
        ):
            pass
    assert caplog.text.count("the answer to POST /startLiveSession was lost") == 1


@pytest.mark.link_fault("sessions left behind", "live")
async def test_sessions_left_behind_are_ended_together_beside_a_start_that_does_not_wait(
    settings_for: MakeSettings,
) -> None:
    fault = Fault(at="endLiveSession", do="delay", delay_s=1.0, times=0)
    with trio.fail_after(30):
        async with Emulator(EmulatorSettings(slots=9)) as emulator:
            settings = settings_for(emulator)
            licenses = []
            async with LiveSession(settings, Frames()) as live:
                for number in range(4):
                    start = await live.platform.start_live("ava")
                    licenses.append(leave_behind(settings, number, start.license_id))
            emulator.faults.add(fault)
            began_s = trio.current_time()
            async with LiveSession(settings, Frames()):
                assert trio.current_time() - began_s < 0.8, "it has waited for the others"
                await until(lambda: not any(path.exists() for path in licenses), "their end")
                assert trio.current_time() - began_s < 2.5, "one after the other"
            assert {live.state for live in emulator.statistics().live} == {"ended"}
            assert kept(settings) == []


async def test_what_cannot_be_read_or_is_older_than_a_day_is_forgotten_and_never_asked_about(
    settings_for: MakeSettings,
) -> None:
    with trio.fail_after(20):
        async with Emulator() as emulator:
            settings = settings_for(emulator)
            leave_behind(settings, 1, "dead", age_s=FORGOTTEN_AFTER_S + 60)
            folder = settings.state_path / "unended"
            for name, content in {
                "a": b"",
                "b": b"\0" * 40,
                "c": b"[1]",
                "d": b'{"api_url": 3',
                "e": b"[" * 9999,
            }.items():
                (folder / f"{name}.json").write_bytes(content)
            other = leave_behind(Settings(api_url="https://other.example", state_dir=settings.state_dir), 7, "theirs")
            async with LiveSession(settings, Frames()):
                await until(lambda: len(kept(settings)) == 2, "the rest")
            assert kept(settings) == [other.name]
            assert sum(emulator.statistics().requests["endLiveSession"].values()) == 1


async def test_a_start_that_was_killed_before_its_answer_is_told_of_by_the_next(
    settings_for: MakeSettings, caplog: pytest.LogCaptureFixture
) -> None:
    with trio.fail_after(20):
        async with Emulator() as emulator:
            settings = settings_for(emulator)
            path = leave_behind(settings, 1)
            async with LiveSession(settings, Frames()):
                await until(lambda: not path.exists(), "the file")
    assert "was ended while the platform started its live session" in caplog.text


def test_a_file_that_was_replaced_before_it_was_locked_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(state_dir=str(tmp_path))
    path = leave_behind(settings, 1, "old")
    flock = __import__("fcntl").flock

    def replace_first(file: int, how: int) -> None:
        monkeypatch.setattr("fcntl.flock", flock)
        path.unlink()
        path.write_text(json.dumps({"api_url": settings.api_url, "LicenseId": "new"}))
        flock(file, how)

    monkeypatch.setattr("fcntl.flock", replace_first)
    assert list(SavedLicense.orphans(settings)) == []
    assert path.exists()
    assert [item.license_id for item in SavedLicense.orphans(settings)] == ["new"]


def test_a_session_of_another_machine_is_not_ended_by_its_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(state_dir=str(tmp_path))
    monkeypatch.setattr("ravatar_audio.session.state_files.machine_mark", lambda: "one")
    saved = SavedLicense.begin(settings)
    saved.note("license-1")
    saved.leave()
    monkeypatch.setattr("ravatar_audio.session.state_files.machine_mark", lambda: "two")
    assert list(SavedLicense.orphans(settings)) == []
    assert kept(settings) == []


def test_a_state_file_is_on_the_disk_before_it_is_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    for name in ("write", "fsync", "replace"):
        real = getattr(os, name)

        def noted(*given: object, real: object = real, name: str = name) -> object:
            steps.append(name)
            return real(*given)  # type: ignore[operator]

        monkeypatch.setattr(os, name, noted)
    saved = SavedLicense.begin(Settings(state_dir=str(tmp_path)))
    assert steps == ["write", "fsync", "replace", "fsync"], "the file, its place, the folder"
    saved.forget()
