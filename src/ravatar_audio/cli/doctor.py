"""`ravatar-audio doctor`: walks through everything that must work, and says what to do about what does not."""

import dataclasses
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import click
import trio

from ravatar_audio.api.http import Platform
from ravatar_audio.capture import Microphone, list_devices
from ravatar_audio.cli.checks import Finding, FindingError, PlatformChecks, attempt
from ravatar_audio.cli.live import PLATFORM, REST, SOUND
from ravatar_audio.cli.run import load_settings, run, settings_options
from ravatar_audio.session.state import stable_user_id
from ravatar_audio.settings import Settings

MARKS = {"fine": "ok  ", "warning": "warn", "problem": "FAIL", "skipped": "-   "}
LISTEN_S = 2.0


@click.command(name="doctor")
@click.option("--slot", is_flag=True, help="Take a live slot as well, give it back, and look at its streaming page.")
@click.option("--no-mic", is_flag=True, help="Leave the microphone out.")
@click.option("--json", "as_json", is_flag=True, help="All findings as one JSON object.")
@settings_options(*PLATFORM, *SOUND, *REST)
def command(slot: bool, no_mic: bool, as_json: bool, settings_file: str | None, **given: Any) -> None:
    """Check settings, network, platform and microphone in the order in which they must work.

    For each it says what is fine, what is not, and what to do. The exit code is the first problem's.
    """
    settings = load_settings(settings_file, given)
    findings: list[Finding] = []

    async def work() -> None:
        async for finding in all_checks(settings, with_slot=slot, with_microphone=not no_mic):
            findings.append(finding)
            if not as_json:
                click.echo(shown(finding))

    run(work)
    exit_code = next((finding.exit_code for finding in findings if finding.state == "problem"), 0)
    if as_json:
        click.echo(json.dumps({"exit_code": exit_code, "findings": [dataclasses.asdict(item) for item in findings]}))
    sys.exit(exit_code)


async def all_checks(settings: Settings, *, with_slot: bool, with_microphone: bool) -> AsyncIterator[Finding]:
    """Every finding, as it is made."""
    user_id = stable_user_id(settings)
    yield Finding("settings", "fine", f"{settings.api_url}, user {user_id}, project {settings.project_id or '(none)'}")
    async with Platform(settings, user_id) as platform:
        async for finding in PlatformChecks(platform, with_slot=with_slot).run():
            yield finding
    if with_microphone:
        found = await attempt("devices", check_devices)
        yield found
        if found.state == "problem":
            yield Finding("microphone", "skipped", "needs devices")
        else:
            yield await attempt("microphone", lambda: check_microphone(settings))


async def check_devices() -> str:
    devices = await trio.to_thread.run_sync(list_devices)
    if not devices:
        raise FindingError(
            "no microphone was found",
            "Connect one; on Linux the user must be in the group 'audio', or a sound server must run.",
            exit_code=3,
        )
    return ", ".join(f"{device.name} ({device.host_api}, {device.rate_hz} Hz)" for device in devices)


async def check_microphone(settings: Settings) -> str:
    peak_dbfs, silent = -200.0, True
    async with Microphone.from_settings(settings) as microphone:
        with trio.move_on_after(LISTEN_S):
            async for frame in microphone:
                peak_dbfs = max(peak_dbfs, frame.peak_dbfs)
                silent = silent and frame.peak == 0
        heard, rate_hz, channels = microphone.statistics(), microphone.rate_hz, microphone.channels
    what = f"{microphone.name}: {rate_hz} Hz, {channels} channels, {microphone.format}, by {microphone.backend}"
    if silent:
        raise FindingError(
            f"{what}; it sends nothing but zeros", "It is muted, in software or by a switch on it, or it is dead."
        )
    if heard.device_overruns:
        raise FindingError(
            f"{what}; it lost sound {heard.device_overruns} times in {LISTEN_S:g} s",
            "The machine is too busy, or the microphone's power or USB connection is bad.",
        )
    if heard.clipped:
        raise FindingError(f"{what}; {heard.clipped} samples are clipped", "Turn the microphone's gain down.")
    return f"{what}; peak {peak_dbfs:.1f} dBFS in {LISTEN_S:g} s, nothing lost"


def shown(finding: Finding) -> str:
    """A finding for people: one line, and the advice below it."""
    line = f"{MARKS[finding.state]} {finding.name:<16} {finding.text}"
    return f"{line}\n{'':21} {finding.advice}" if finding.advice else line
