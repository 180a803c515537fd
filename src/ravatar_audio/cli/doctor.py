"""`ravatar-audio doctor`: walks through everything that must work, and says what to do about what does not."""

import dataclasses
import json
import logging
import sys
from collections.abc import AsyncIterator
from typing import Any

import click

from ravatar_audio.api.http import Platform
from ravatar_audio.capture.host.blocking_call import stuck_calls
from ravatar_audio.cli import STUCK_EXIT_CODE
from ravatar_audio.cli.checks import Finding, PlatformChecks
from ravatar_audio.cli.live import PLATFORM, REST, SOUND
from ravatar_audio.cli.output import echo
from ravatar_audio.cli.run import Seconds, SectionedCommand, load_settings, run, settings_options
from ravatar_audio.cli.sound import microphone_checks
from ravatar_audio.errors import RavatarError
from ravatar_audio.session.machine import stable_user_id
from ravatar_audio.settings import Settings

MARKS = {"fine": "ok  ", "warning": "warn", "problem": "FAIL", "skipped": "-   "}


@click.command(name="doctor", cls=SectionedCommand)
@click.option("--slot", is_flag=True, help="Take a live slot as well, give it back, and look at its streaming page.")
@click.option("--no-mic", is_flag=True, help="Leave the microphone out.")
@click.option("--no-platform", is_flag=True, help="Leave the network and the platform out.")
@click.option(
    "--listen",
    "listen_s",
    type=Seconds(1, 3600),
    default=2.0,
    show_default=True,
    help="Seconds to listen; the longer, the better the clock is known.",
)
@click.option("--json", "as_json", is_flag=True, help="All findings as one JSON object.")
@settings_options(platform=PLATFORM, microphone=SOUND, other=REST)
def command(
    slot: bool,
    no_mic: bool,
    no_platform: bool,
    listen_s: float,
    as_json: bool,
    settings_file: str | None,
    **given: Any,
) -> None:
    """Check settings, network, platform and microphone in the order in which they must work.

    For each it says what is fine, what is not, and what to do. The exit code is the first problem's.
    """
    findings: list[Finding] = []

    def note(finding: Finding) -> None:
        findings.append(finding)
        if not as_json:
            echo(shown(finding))

    async def work() -> None:
        checks = all_checks(
            settings,
            user_id,
            with_platform=not no_platform,
            with_slot=slot,
            with_microphone=not no_mic,
            listen_s=listen_s,
        )
        async for finding in checks:
            note(finding)

    try:
        settings = load_settings(settings_file, given, log_level=logging.ERROR)  # warnings are findings
        user_id = stable_user_id(settings)
    except RavatarError as error:
        note(Finding("settings", "problem", error.message, error.advice, error.exit_code))
    else:
        run(work)
    exit_code = next((finding.exit_code for finding in findings if finding.state == "problem"), 0)
    if stuck_calls():
        exit_code = STUCK_EXIT_CODE  # as main() will see to
    if as_json:
        echo(json.dumps({"exit_code": exit_code, "findings": [dataclasses.asdict(item) for item in findings]}))
    sys.exit(exit_code)


async def all_checks(
    settings: Settings, user_id: str, *, with_platform: bool, with_slot: bool, with_microphone: bool, listen_s: float
) -> AsyncIterator[Finding]:
    """Every finding, as it is made."""
    yield Finding("settings", "fine", f"{settings.api_url}, user {user_id}, project {settings.project_id or '(none)'}")
    if with_platform:
        async with Platform(settings, user_id) as platform:
            async for finding in PlatformChecks(platform, with_slot=with_slot).run():
                yield finding
    if with_microphone:
        async for finding in microphone_checks(settings, listen_s=listen_s):
            yield finding


def shown(finding: Finding) -> str:
    """A finding for people: its lines, and the advice below them."""
    first, *further = finding.text.splitlines() or [""]
    lines = [f"{MARKS[finding.state]} {finding.name:<15} {first}", *(f"{'':20} {line}" for line in further)]
    return "\n".join([*lines, f"{'':20} -> {finding.advice}"] if finding.advice else lines)
