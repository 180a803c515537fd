"""diagnose() for products: findings as they are made, in trio, asyncio and threads; nothing wrong is raised."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

import ravatar_audio
import ravatar_audio.asyncio as for_asyncio
import ravatar_audio.blocking as for_threads
from ravatar_audio import Finding, Settings, diagnosis
from ravatar_audio.diagnosis import examination
from ravatar_audio.emulator import Emulator, EmulatorSettings, Fault
from ravatar_audio.errors import SettingsError

from .conftest import MakeSettings

PLATFORM = ["settings", "name", "address", "TLS and HTTP", "clock", "token", "connection data", "WebSocket"]
SLOT = ["live slot", "streaming page"]


async def test_a_platform_that_works_is_ok_throughout_and_has_its_slot_back(settings_for: MakeSettings) -> None:
    with trio.fail_after(20):
        async with Emulator(EmulatorSettings(slots=1)) as emulator:
            told: list[Finding] = []
            for _ in range(2):
                told.clear()
                findings = await ravatar_audio.diagnose(
                    settings_for(emulator), slot=True, microphone=False, on_finding=told.append
                )
                assert [finding.name for finding in findings] == [*PLATFORM, *SLOT]
                assert {finding.status for finding in findings} == {"ok"}, findings
                assert told == list(findings)
            assert emulator.statistics().slots_free == 1


@pytest.mark.parametrize(
    ("fault", "failing", "code"),
    [
        (Fault(at="jwt", do="status", status=500, times=9), "token", "server_error"),
        (Fault(at="connection", do="status", status=402, times=9), "connection data", "payment_required"),
    ],
)
async def test_an_error_is_a_finding_with_advice_and_its_code_and_what_needs_it_is_skipped(
    settings_for: MakeSettings, fault: Fault, failing: str, code: str
) -> None:
    with trio.fail_after(20):
        async with Emulator() as emulator:
            emulator.faults.add(fault)
            findings = await ravatar_audio.diagnose(settings_for(emulator), microphone=False)
    at = PLATFORM.index(failing)
    expected = ["ok"] * at + ["error"] + ["skipped"] * (len(PLATFORM) - at - 1)
    assert [finding.status for finding in findings] == expected
    assert findings[at].advice
    assert findings[at].message
    assert findings[at].exit_code
    assert findings[at].code == code


async def test_a_user_id_that_cannot_be_kept_is_the_first_finding_and_the_last(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    findings = await ravatar_audio.diagnose(Settings(state_dir=str(tmp_path / "file" / "state")))
    assert [(finding.name, finding.status) for finding in findings] == [("settings", "error")]


@pytest.mark.parametrize("listen_s", [0.5, 3_601.0, float("nan")])
async def test_so_long_cannot_be_listened(listen_s: float) -> None:
    with pytest.raises(SettingsError, match="listen_s is"):
        await ravatar_audio.diagnose(Settings(), listen_s=listen_s)


async def test_a_cancelled_diagnosis_gives_its_slot_back(settings_for: MakeSettings) -> None:
    with trio.fail_after(20):
        async with Emulator(EmulatorSettings(slots=1)) as emulator:
            with trio.CancelScope() as scope:
                await ravatar_audio.diagnose(
                    settings_for(emulator),
                    slot=True,
                    microphone=False,
                    on_finding=lambda finding: scope.cancel() if finding.name == "WebSocket" else None,
                )
            assert scope.cancelled_caught
            assert emulator.statistics().slots_free == 1


async def test_an_error_of_the_callback_comes_out_alone(settings_for: MakeSettings) -> None:
    def refuse(finding: Finding) -> None:
        raise KeyError(finding.name)

    with trio.fail_after(20):
        async with Emulator() as emulator:
            with pytest.raises(KeyError, match="settings"):
                await ravatar_audio.diagnose(settings_for(emulator), microphone=False, on_finding=refuse)


# The same for other worlds.


def in_asyncio(settings: Settings, **options: Any) -> tuple[Finding, ...]:
    async def main() -> tuple[Finding, ...]:
        return await for_asyncio.diagnose(settings, **options)

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("examine", "is_own_thread"), [(in_asyncio, True), (for_threads.diagnose, False)], ids=["asyncio", "threads"]
)
def test_other_worlds_have_it_too(
    examine: Callable[..., tuple[Finding, ...]], is_own_thread: bool, tmp_path: Path
) -> None:
    told: list[tuple[Finding, bool]] = []
    with for_threads.Emulator(EmulatorSettings(slots=1)) as emulator:
        settings = Settings(api_url=emulator.api_url, state_dir=str(tmp_path))
        here = threading.current_thread()
        findings = examine(
            settings,
            microphone=False,
            on_finding=lambda finding: told.append((finding, threading.current_thread() is here)),
        )
    assert [finding.name for finding in findings] == PLATFORM
    assert told == [(finding, is_own_thread) for finding in findings]


@pytest.mark.parametrize(
    ("use", "right"),
    [
        (lambda: asyncio.run(ravatar_audio.diagnose(Settings())), "use ravatar_audio.asyncio"),
        (lambda: trio.run(for_asyncio.diagnose, Settings()), "use ravatar_audio itself"),
    ],
)
def test_the_wrong_world_names_the_right_module(use: Callable[[], Any], right: str) -> None:
    with pytest.raises(RuntimeError, match=right):
        use()


async def test_without_the_platform_only_the_sound_is_examined(
    monkeypatch: pytest.MonkeyPatch, settings_for: MakeSettings
) -> None:
    async def checks(settings: Settings, *, listen_s: float) -> Any:
        yield Finding("devices", "warning", f"{settings.device}, {listen_s:g} s")

    monkeypatch.setattr(examination, "microphone_checks", checks)
    settings = Settings(device="card:Desk", api_url="https://nowhere.invalid", user_id="u")
    findings = await diagnosis.diagnose(settings, platform=False, listen_s=3)
    assert findings[1:] == (Finding("devices", "warning", "card:Desk, 3 s"),)
