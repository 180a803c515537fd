"""The command line: one file per command, loaded when it is called."""

import contextlib
import importlib
import io
import os
import signal
import sys
from typing import NoReturn

import click

from ravatar_audio import _loading
from ravatar_audio._version import __version__
from ravatar_audio.cli.output import echo
from ravatar_audio.errors import RavatarError

COMMANDS = {
    "chat": "Write to the avatar, or talk, and see and hear what it answers.",
    "bench": "Measure this machine: latency, cost, losses, beside what one would write otherwise.",
    "demo": "Stream speech-like sound, or the microphone, to a local platform, and show that it arrives.",
    "devices": "List the microphones.",
    "doctor": "Find out what is wrong: settings, network, platform, microphone.",
    "emulator": "Run a local RAVATAR platform to develop against.",
    "explain": "Say what happened in a flight recording, with a picture.",
    "kiosk": "Run live sessions as a service, with a page for the screen.",
    "live": "Stream the microphone to the platform in Live Mode.",
    "load": "Run thousands of simulated clients against a platform, and judge it.",
    "record": "Record one turn to a file.",
    "replay": "Send a flight recording again, with its timing.",
    "say": "Send a sound file as a recorded voice message.",
    "support-bundle": "Collect what is needed to find out what is wrong, without secrets.",
}
EXIT_CODES = """\b
Exit codes:
  0    done
  1    unexpected failure
  2    wrong use or settings
  3    microphone (missing, busy, refused, failed)
  4    network (unreachable, time-out, connection lost)
  5    platform refused (token, payment, busy, protocol)
  6    the sound library hangs: ended by force, after the session was ended; start again
  7    nothing was recorded: nobody spoke, or no button was held
  8    load: a requirement was not met, or a worker was lost
  130  interrupted (143: terminated, 129: terminal closed); the session was ended"""

STUCK_EXIT_CODE = 6


class LazyGroup(click.Group):
    """A group whose commands are imported only when they are called, so that --help and --version are quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command = importlib.import_module(f"ravatar_audio.cli.{name.replace('-', '_')}").command
        assert isinstance(command, click.Command)
        _loading.end()
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="ravatar-audio")
def cli() -> None:
    """Takes a microphone's sound to the RAVATAR platform: 16 kHz PCM over a WebSocket, unbroken."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Entry point: an expected failure becomes one line, advice, and its family's exit code; never a traceback."""
    _prepare()
    code = _run(arguments)
    try:
        sys.stdout.flush()
    except OSError as error:
        code = code or _not_written(error)
    worker = sys.modules.get("ravatar_audio.capture.host.blocking_call")
    if worker is not None and worker.stuck_calls():
        # Its threads may keep the interpreter from ending. Whoever supervises the program starts it again.
        echo("ravatar-audio: the sound library hangs; the process is ended by force (6)", err=True)
        sys.stdout.flush()
        os._exit(STUCK_EXIT_CODE)
    sys.exit(code)


def _prepare() -> None:
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # the program was started with it closed
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - for the process's life
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a reply may hold what the terminal's encoding has not
            stream.reconfigure(errors="backslashreplace")
    for name in ("SIGUSR1", "SIGUSR2"):  # a button that is pressed before anybody listens must not end the program
        if number := getattr(signal, name, None):
            signal.signal(number, signal.SIG_IGN)


def _run(arguments: list[str] | None) -> int | str | None:
    try:
        cli.main(arguments, prog_name="ravatar-audio", standalone_mode=False)
    except RavatarError as error:
        _say(failure_text(error))
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except OSError as error:
        return _not_written(error)
    except SystemExit as exit:
        return exit.code
    return 0


def failure_text(error: RavatarError) -> str:
    """What a failed command says: what happened, and below it what to do."""
    return f"ravatar-audio: {error.message}\n  {error.advice}"


def _not_written(error: OSError) -> int:
    """The exit code after what the system refused; nothing is left that would be written, and fail, at the end."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):  # the reader of our output has gone, as `head` does
        return 0
    name = f" {error.filename!r}" if error.filename else ""
    _say(f"ravatar-audio: {error.strerror or error}{name}: an output, or a file, could not be read or written")
    return 1


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # nobody can read it then
        echo(text, err=True)
