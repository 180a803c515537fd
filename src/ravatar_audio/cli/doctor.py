"""`ravatar-audio doctor`: walks through everything that must work, and says what to do about what does not."""

import json
import logging
import sys
from typing import Any

import click

from ravatar_audio.capture.host.blocking_call import stuck_calls
from ravatar_audio.cli import STUCK_EXIT_CODE
from ravatar_audio.cli.live import PLATFORM, REST, SOUND
from ravatar_audio.cli.output import echo
from ravatar_audio.cli.run import Seconds, SectionedCommand, load_settings, run, settings_options
from ravatar_audio.diagnosis import Finding, diagnose
from ravatar_audio.diagnosis.finding import failed
from ravatar_audio.errors import RavatarError

MARKS = {"ok": "ok  ", "warning": "warn", "error": "FAIL", "skipped": "-   "}
STATES = {"ok": "fine", "warning": "warning", "error": "problem", "skipped": "skipped"}


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
        await diagnose(
            settings,
            platform=not no_platform,
            slot=slot,
            microphone=not no_mic,
            listen_s=listen_s,
            on_finding=note,
        )

    try:
        settings = load_settings(settings_file, given, log_level=logging.ERROR)  # warnings are findings
    except RavatarError as error:
        note(failed("settings", error))
    else:
        run(work)
    exit_code = next((finding.exit_code for finding in findings if finding.status == "error"), 0)
    if stuck_calls():
        exit_code = STUCK_EXIT_CODE  # as main() will see to
    if as_json:
        echo(json.dumps({"exit_code": exit_code, "findings": [as_json_object(item) for item in findings]}))
    sys.exit(exit_code)


def as_json_object(finding: Finding) -> dict[str, Any]:
    """Return it with the words and keys that programs know from the first version on."""
    return {
        "name": finding.name,
        "state": STATES[finding.status],
        "text": finding.message,
        "advice": finding.advice,
        "exit_code": finding.exit_code,
        "code": finding.code,
    }


def shown(finding: Finding) -> str:
    """Return a finding for people: its lines, and the advice below them."""
    first, *further = finding.message.splitlines() or [""]
    lines = [f"{MARKS[finding.status]} {finding.name:<15} {first}", *(f"{'':20} {line}" for line in further)]
    return "\n".join([*lines, f"{'':20} -> {finding.advice}"] if finding.advice else lines)
