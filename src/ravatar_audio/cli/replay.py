"""`ravatar-audio replay`: a flight recording, sent again with its timing."""

import json
import tempfile
from typing import Any

import click
import trio

from ravatar_audio.api.proxy import NO_PROXY
from ravatar_audio.cli.output import echo
from ravatar_audio.cli.run import SectionedCommand, load_settings, run, settings_options
from ravatar_audio.emulator import Emulator, EmulatorSettings, Fault
from ravatar_audio.frames import RATE_HZ
from ravatar_audio.observe.recorder.timeline import SessionTimeline, read_timeline
from ravatar_audio.session import LiveSession, LiveStatistics
from ravatar_audio.session.replaying import RecordedSource, ReplayedSession, replay_settings

LAST_S = 10.0
"""For what is still under way when the recording is over."""


@click.command(name="replay", cls=SectionedCommand)
@click.argument("files", nargs=-1, required=True, type=click.Path())
@click.option("--api-url", help="A platform to send it to, as it was said then; default: one inside this command.")
@click.option("--no-outages", is_flag=True, help="Do not take the connection away when it was away.")
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON object.")
@settings_options(other=("debug",))
def command(
    files: tuple[str, ...],
    api_url: str | None,
    no_outages: bool,
    as_json: bool,
    settings_file: str | None,
    **given: Any,
) -> None:
    """Send a flight recording (`live --record DIR`) again: the frames of the session with the most sound, each at its
    time. By default to a platform inside this command, whose connections go when they went, and are back when they
    were, so that the same is lost; what was lost then and now is printed.

    With --api-url it goes to that platform: what people have said is heard there, and answered.
    """
    if api_url is not None:
        given["api_url"] = api_url
    configured = load_settings(settings_file, given)
    recorded = read_timeline(files).session

    async def work() -> None:
        with tempfile.TemporaryDirectory(prefix="ravatar-replay-") as scratch:
            more = {"state_dir": scratch, "debug": configured.debug}
            if api_url is not None:
                kept = {name: getattr(configured, name) for name in ("project_id", "proxy", "ca_file", "lenient_ca")}
                settings = replay_settings(recorded, api_url=configured.api_url, **more, **kept)
                source = RecordedSource(recorded)
                source.begin_s = trio.current_time()
                async with LiveSession(settings, source, declare_gaps=True) as live:
                    await live.wait_finished()
                show(live.statistics())
                return
            async with Emulator(EmulatorSettings(wav_dir=f"{scratch}/heard")) as emulator:
                settings = replay_settings(recorded, api_url=emulator.api_url, proxy=NO_PROXY, **more)
                if no_outages:
                    plain = RecordedSource(recorded)
                    plain.begin_s = trio.current_time()
                    async with LiveSession(settings, plain) as live:
                        await live.wait_finished()
                    show(live.statistics())
                else:
                    show(await replayed(emulator, settings, recorded))

    def show(statistics: LiveStatistics) -> None:
        then, now = recorded.lost_samples, lost_samples(statistics, recorded)
        result = {
            "taken_samples": statistics.taken_samples,
            "acknowledged_samples": statistics.acknowledged_samples,
            "reconnects": statistics.reconnects,
            "lost_samples_then": then,
            "lost_samples_now": now,
        }
        if as_json:
            echo(json.dumps(result))
            return
        echo(f"sent {statistics.sent_frames} frames, {statistics.sent_samples} of {statistics.taken_samples} samples")
        for cause in now:
            echo(f"lost {cause:10} then {then[cause] / RATE_HZ:8.3f} s   now {now[cause] / RATE_HZ:8.3f} s")

    run(work)


def lost_samples(statistics: LiveStatistics, recorded: SessionTimeline) -> dict[str, int]:
    """By cause, as SessionTimeline.lost_samples; device and ring are as they were recorded."""
    before = {cause: recorded.lost_samples[cause] for cause in ("device", "ring")}
    return before | {cause: statistics.dropped_samples[cause] for cause in ("outbox", "in_flight")}


async def replayed(emulator: Emulator, settings: Any, recorded: SessionTimeline) -> LiveStatistics:
    """Send it to an emulator whose links go when the recorded ones went; the counters at the end."""
    begun: list[float] = []
    async with trio.open_nursery() as nursery:
        live = ReplayedSession(settings, recorded, on_begin=begun.append)

        async def take_links_away() -> None:
            for outage in recorded.outages():
                await trio.sleep_until(begun[0] + outage.dead_s)
                if outage.close_code is not None and outage.dead_s >= outage.lost_s and outage.close_code != 1006:
                    await emulator.strike(Fault(at="message", do="close", code=outage.close_code))
                    continue
                if outage.dead_s < outage.lost_s:
                    await emulator.strike(Fault(at="message", do="black_hole"))
                    await trio.sleep_until(begun[0] + outage.lost_s)
                await emulator.strike(Fault(at="message", do="reset"))

        async with live:
            nursery.start_soon(take_links_away)
            outages = recorded.outages()
            is_open_ended = bool(outages) and outages[-1].up_s is None
            with trio.move_on_at(begun[0] + recorded.ended_s + (0.0 if is_open_ended else LAST_S)):
                await live.wait_finished()
            found = live.statistics()
        nursery.cancel_scope.cancel()
    return found
