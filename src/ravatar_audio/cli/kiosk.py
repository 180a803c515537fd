"""`ravatar-audio kiosk`: the live session as a service, with a page for the screen."""

import contextlib
import logging
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click
import trio

from ravatar_audio.capture import Source, open_source
from ravatar_audio.cli.demo import local
from ravatar_audio.cli.kiosk_status import status
from ravatar_audio.cli.live import PLATFORM, REST, SOUND, TURNS, WATCH
from ravatar_audio.cli.output import echo
from ravatar_audio.cli.run import SectionedGroup, log_to_stderr, run, settings_options
from ravatar_audio.emulator import Emulator, EmulatorSettings
from ravatar_audio.errors import SettingsError
from ravatar_audio.kiosk.notify import Notifier
from ravatar_audio.kiosk.server import KioskServer
from ravatar_audio.kiosk.service import KioskService
from ravatar_audio.kiosk.texts import load_texts
from ravatar_audio.kiosk.watching import Watching, watching
from ravatar_audio.session import open_voice
from ravatar_audio.settings import Settings

if TYPE_CHECKING:
    from ravatar_audio.observe.metrics.service import MetricsService


@click.group(name="kiosk", cls=SectionedGroup, invoke_without_command=True)
@click.option("--demo", is_flag=True, help="Generated sound, and a platform inside this command.")
@click.option("--port", type=click.IntRange(0, 65_535), default=0, show_default=True, help="Of the page; 0: any.")
@click.option("--address-file", type=click.Path(dir_okay=False), help="File for the page's address, which is a secret.")
@click.option("--page-language", help="Of the page: de, en, es, fr, uk; default: as the setting language, or en.")
@click.option("--texts", type=click.Path(), help="JSON file with words of your own for the page.")
@settings_options(platform=PLATFORM, microphone=SOUND, turns=TURNS, watching=WATCH, other=REST)
def command(
    demo: bool,
    port: int,
    address_file: str | None,
    page_language: str | None,
    texts: str | None,
    settings_file: str | None,
    **given: Any,
) -> None:
    """Run live sessions for ever, with a page for the screen that shows the avatar and what is going on.

    The page answers this machine only, and only at the address that is printed at the start, which holds a secret. It
    shows the avatar, the microphone's level, captions, and for what is wrong a sentence, while it is tried again.

    What fails does not end the command: no network, no microphone, a wrong setting are shown, and tried again. SIGUSR1
    presses the button, SIGUSR2 lets it go; SIGHUP reads the settings again. Under systemd use Type=notify.
    """

    if click.get_current_context().invoked_subcommand:
        return

    def load() -> Settings:
        return Settings.load(settings_file, **given)

    first: Settings | None = None
    with contextlib.suppress(SettingsError):  # the service shows it, and tries again
        first = load()
    log_to_stderr(logging.DEBUG if first and first.debug else logging.INFO)
    words = load_texts(page_language or (first.language if first else None), texts)

    async def serve(service: KioskService, metrics: "MetricsService | None") -> None:
        def state() -> Mapping[str, Any]:
            return service.machine.snapshot(time.monotonic()).as_plain()

        text = None if metrics is None else metrics.text
        server = KioskServer(state, lambda: service.streaming_url, service.obey, words, port=port, metrics=text)
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            with _address_told(server.address, address_file):
                await service.run()

    async def work() -> None:
        async with watching(first or Settings()) as watch:
            if demo:
                await show_demo(watch)
            else:
                await serve(KioskService(load, _microphone, Notifier(), watch.observers), watch.metrics)

    async def show_demo(watch: Watching) -> None:
        with tempfile.TemporaryDirectory(prefix="ravatar-kiosk-") as scratch:
            async with Emulator(EmulatorSettings(wav_dir=f"{scratch}/heard")) as emulator:
                shown = local(first or Settings(), api_url=emulator.api_url, state_dir=scratch)
                await serve(KioskService(lambda: shown, _speech, Notifier(), watch.observers), watch.metrics)

    run(work)


command.add_command(status)


def _microphone(settings: Settings) -> Source:
    return open_voice(settings, open_source(settings))


def _speech(settings: Settings) -> Source:
    return open_source(settings, "synthetic:speech")


@contextlib.contextmanager
def _address_told(address: str, file: str | None) -> Iterator[None]:
    """The page's address on standard output, or in a file that only this user can read, for as long as it holds."""
    if file is None:
        echo(address)
        yield
        return
    draft = f"{file}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(draft)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as out:
        out.write(f"{address}\n")
    os.replace(draft, file)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.unlink(file)
