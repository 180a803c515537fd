"""One live session after the other, for ever: what fails is shown, and tried again; nothing ends the service."""

import signal
import time
from collections.abc import Callable, Sequence
from typing import Final

import trio

from ravatar_audio.capture import Source
from ravatar_audio.errors import RavatarError, RecorderError
from ravatar_audio.frames import Frame, dbfs
from ravatar_audio.groups import single_error
from ravatar_audio.kiosk import clock
from ravatar_audio.kiosk.machine import KioskMachine, Trouble, trouble_of
from ravatar_audio.kiosk.notify import Notifier
from ravatar_audio.observe.journal import FIELDS
from ravatar_audio.observe.log import line_logger
from ravatar_audio.observe.observer import Observer
from ravatar_audio.session import LiveSession, StreamingUrlChanged, TurnSource
from ravatar_audio.settings import Settings
from ravatar_audio.turns import TurnEvent

log: Final = line_logger(__name__)

_LOOK_S: Final = 0.25
_STATUS_S: Final = 5.0
"""The status text is said again at the latest after so long."""


class KioskService:
    """Runs sessions. `load` gives the settings, anew for each session; `open_microphone` the source for them;
    `observers` hear of all of them."""

    def __init__(
        self,
        load: Callable[[], Settings],
        open_microphone: Callable[[Settings], Source],
        notifier: Notifier,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._load = load
        self._open_microphone = open_microphone
        self._notifier = notifier
        self._observers = observers
        self.machine: KioskMachine = KioskMachine(time.monotonic())
        self.streaming_url: str | None = None
        """Where the avatar is seen, while there is a session. It holds a secret."""
        self._turns: TurnSource | None = None
        self._round = trio.CancelScope()
        """The session or the wait that is under way."""

    def obey(self, command: str) -> None:
        """Obey a word: press, release, mute or unmute; nothing without a session."""
        if (turns := self._turns) is not None:
            {"press": turns.press, "release": turns.release, "mute": turns.mute, "unmute": turns.unmute}[command]()

    async def run(self) -> None:
        """Run until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_notified)
            await nursery.start(self._obey_signals)
            while True:
                with trio.CancelScope() as self._round:
                    await self._run_round()

    async def _run_round(self) -> None:
        self.machine.begin(time.monotonic())
        try:
            await self._run_session()
            raise RecorderError("the microphone's sound has come to an end")
        except RavatarError as error:
            failure = error
        except OSError as error:  # a folder that cannot be read, a descriptor too many
            failure = RavatarError(f"{type(error).__name__}: {error}", advice="It is tried again.")
        finally:
            self._turns = self.streaming_url = None
        is_clock_behind = clock.is_behind(time.time())
        wait_s = self.machine.fail(failure, time.monotonic(), is_clock_behind=is_clock_behind)
        trouble = trouble_of(failure, is_clock_behind=is_clock_behind)
        fields = {"RAVATAR_CODE": failure.code, "RAVATAR_TROUBLE": trouble, "RAVATAR_RETRY_IN_S": f"{wait_s:.0f}"}
        text = "%s (%s); %s Next attempt in %.0f s"
        log.warning(text, failure.message, failure.code, failure.advice, wait_s, extra={FIELDS: fields})
        if trouble is Trouble.CLOCK:
            log.warning("by its clock it is %s: waiting for the time", time.strftime("%F", time.gmtime()))
            with trio.move_on_after(wait_s):
                await clock.wait_set()
            return
        await trio.sleep(wait_s)

    async def _run_session(self) -> None:
        machine = self.machine
        settings = self._load()
        source = self._open_microphone(settings)

        def note_frame(frame: Frame) -> None:
            machine.note_frame(dbfs(frame.peak / 32_768), time.monotonic())

        def note_turn(event: TurnEvent) -> None:
            machine.note_mode(turns.gate.mode.value, is_muted=turns.gate.is_muted)
            machine.note_turn(event, time.monotonic())

        turns = TurnSource.from_settings(settings, source, on_event=note_turn, on_frame=note_frame)
        # A busy platform is shown, and asked again from here; a session that has expired is renewed.
        live = LiveSession(
            settings, turns, slot_wait_s=0.0, renew=True, reconnect_limit_s=None, observers=self._observers
        )
        with single_error(), source.events() as source_events:
            async with turns, live, trio.open_nursery() as nursery:
                self._turns = turns
                self.streaming_url = live.streaming_url
                machine.note_mode(turns.gate.mode.value, is_muted=turns.gate.is_muted)

                async def follow_live() -> None:
                    async for event in live.events():
                        if isinstance(event, StreamingUrlChanged):
                            self.streaming_url = event.streaming_url
                        machine.note_live(event, time.monotonic())

                async def follow_source() -> None:
                    async for event in source_events:
                        machine.note_capture(event)

                nursery.start_soon(follow_live)
                nursery.start_soon(follow_source)
                await live.wait_finished()
                nursery.cancel_scope.cancel()

    async def _obey_signals(self, *, task_status: "trio.TaskStatus[None]") -> None:
        """SIGUSR1 presses the button, SIGUSR2 lets it go, SIGHUP begins anew with the settings as they are now."""
        names = ("SIGUSR1", "SIGUSR2", "SIGHUP")
        numbers = {number: name for name in names if (number := getattr(signal, name, None)) is not None}
        with trio.open_signal_receiver(*numbers) as received:
            task_status.started()
            async for number in received:
                match numbers[signal.Signals(number)]:
                    case "SIGUSR1":
                        self.obey("press")
                    case "SIGUSR2":
                        self.obey("release")
                    case _:
                        log.info("SIGHUP: the settings are read again")
                        self._round.cancel()

    async def _keep_notified(self) -> None:
        """Say when the service is ready, what it does, and that it is alive; at most half the watchdog's time apart."""
        notifier, sent, sent_s, fed_s = self._notifier, "", 0.0, 0.0
        watchdog_s = notifier.watchdog_s
        is_ready = False
        while True:
            now_s = time.monotonic()
            snapshot = self.machine.snapshot(now_s)
            status = snapshot.phase.value + (f": {snapshot.trouble} ({snapshot.code})" if snapshot.trouble else "")
            if not is_ready and self.machine.is_ready:
                is_ready = True
                notifier.send(READY=1)
            if status != sent or now_s >= sent_s + _STATUS_S:
                notifier.send(STATUS=status)
                sent, sent_s = status, now_s
            if watchdog_s is not None and now_s >= fed_s + watchdog_s / 4 and self.machine.is_alive(now_s):
                notifier.send(WATCHDOG=1)
                fed_s = now_s
            await trio.sleep(_LOOK_S if watchdog_s is None else min(_LOOK_S, watchdog_s / 4))
