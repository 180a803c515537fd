"""`ravatar-audio kiosk status`: what the kiosk of this machine does, for a person or a supervisor."""

import http.client
import json
import sys
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click

from ravatar_audio.cli.output import echo
from ravatar_audio.errors import RavatarError, UnreachableError
from ravatar_audio.kiosk.machine import Trouble

ADDRESS_FILE: Final = "/run/ravatar-audio/address"
"""Where the packaged service writes its page's address."""
_ANSWER_S: Final = 5.0
_EXIT_CODES: Final = {Trouble.SETTINGS: 2, Trouble.MICROPHONE: 3, Trouble.NETWORK: 4, Trouble.CLOCK: 4}
"""As those of the other commands; every other trouble is the platform's, 5."""


@click.command(name="status")
@click.option(
    "--address-file",
    default=ADDRESS_FILE,
    show_default=True,
    type=click.Path(dir_okay=False),
    help="What the kiosk was given as --address-file.",
)
@click.option("--json", "as_json", is_flag=True, help="All of it as one JSON object.")
def status(address_file: str, as_json: bool) -> None:
    """Say what the kiosk of this machine does, and exit with 0 where nothing is wrong.

    To be run by root or the service's user, who alone may know the page's address. Else the exit code is that of
    what is wrong: 2 settings, 3 microphone, 4 network or clock, 5 platform; and 4 where no kiosk answers.
    """
    state = asked(address_file)
    echo(json.dumps(state) if as_json else as_text(state))
    trouble = state["trouble"]
    sys.exit(0 if trouble is None else _EXIT_CODES.get(Trouble(trouble), 5))


def asked(address_file: str) -> dict[str, Any]:
    """Return the state that the kiosk's server tells. Raises RavatarError or UnreachableError where there is none."""
    advice = "Is the service running (systemctl status ravatar-audio-kiosk), and is this root?"
    try:
        parts = urlsplit(Path(address_file).read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise UnreachableError(
            f"no kiosk is known here: {address_file!r} cannot be read: {error}", advice=advice
        ) from error
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_ANSWER_S)
    try:
        connection.request("GET", f"{parts.path}status")
        answer = connection.getresponse()
        if answer.status != 200:
            raise RavatarError(f"the kiosk at port {parts.port} answers with {answer.status}", advice=advice)
        state = json.loads(answer.read())
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise UnreachableError(f"the kiosk at port {parts.port} does not answer: {error}", advice=advice) from error
    finally:
        connection.close()
    if not isinstance(state, dict) or "trouble" not in state:
        raise RavatarError(f"what answers at port {parts.port} is no kiosk", advice=advice)
    return state


def as_text(state: dict[str, Any]) -> str:
    """Return it as lines for a person."""
    lines = [f"phase: {state['phase']}"]
    if state["trouble"]:
        lines.append(f"trouble: {state['trouble']} ({state['code']})")
    if state["retry_in_s"] is not None:
        lines.append(f"next attempt: in {state['retry_in_s']:.0f} s")
    level = state["level_dbfs"]
    heard = "nothing" if level is None else f"{level:.0f} dBFS"
    return "\n".join([*lines, f"microphone: {heard}{', muted' if state['is_muted'] else ''}"])
