"""Sound and messages under way when something happens to the line: nothing is lost that is not counted."""

import os

import pytest
import trio

from ravatar_audio.emulator import Emulator, EmulatorSettings
from ravatar_audio.emulator.faults import Fault
from ravatar_audio.session import ChatSession, LiveSession, LiveStatistics
from ravatar_audio.turns import Recording

from .conftest import Frames, MakeSettings, until
from .served import tls_of

LINES = [pytest.param(False, id="ws"), pytest.param(True, id="wss")]


def unaccounted(live: LiveStatistics, heard_samples: int) -> int:
    """Samples that are neither heard nor counted as lost; negative where what is counted as lost was heard as well."""
    return live.taken_samples - heard_samples - sum(live.dropped_samples.values()) - live.pending_samples


@pytest.mark.parametrize("secure", LINES)
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(at="message", do="black_hole", after=8), id="black hole"),
        pytest.param(Fault(at="message", do="stop_reading", after=8), id="stops reading"),
        pytest.param(Fault(at="message", do="reset", after=8), id="reset"),
        pytest.param(Fault(at="message", do="hang_up", after=8), id="hang up"),
        pytest.param(Fault(at="message", do="black_hole", after=8, duration_s=1.0), id="short black hole"),
    ],
)
async def test_an_outage_loses_nothing_in_silence(settings_for: MakeSettings, secure: bool, fault: Fault) -> None:
    settings = EmulatorSettings(tls=tls_of(secure), faults=(fault,), receive_buffer_bytes=32_768)
    with trio.fail_after(60):
        async with Emulator(settings) as emulator:
            source = Frames(count=60)
            async with LiveSession(settings_for(emulator), source) as live:
                await live.wait_finished()
                await until(lambda: emulator.statistics().frames, "sound")
                await trio.sleep(0.3)
                sent = live.statistics()
            heard = emulator.statistics().live[0]
    assert sent.taken_samples == sent.sent_samples + sum(sent.dropped_samples.values()) + sent.pending_samples
    assert sent.in_flight_samples == 0
    if fault.do == "stop_reading":  # what its system has acknowledged it never read; no client can know
        assert unaccounted(sent, max(heard.samples, sent.acknowledged_samples)) <= 0
        return
    assert unaccounted(sent, heard.samples) <= 0
    assert heard.declared_lost_samples == sum(sent.dropped_samples.values())
    # What came twice came from what was marked, or from what was thought to be lost under way.
    assert -unaccounted(sent, heard.samples) <= sent.repeated_samples + sent.dropped_samples["in_flight"]
    assert heard.declared_repeated_samples == sent.repeated_samples


@pytest.mark.parametrize("secure", LINES)
async def test_what_was_under_way_at_a_short_outage_arrives_after_it(settings_for: MakeSettings, secure: bool) -> None:
    """The line is cut, and another is there within the age that sound may have: every frame is heard."""
    async with Emulator(EmulatorSettings(tls=tls_of(secure))) as emulator:
        source = Frames(count=20, every_s=0.1)
        async with LiveSession(settings_for(emulator), source) as live:
            await until(lambda: emulator.statistics().frames >= 5, "sound")
            await emulator.strike(Fault(at="message", do="black_hole"))
            await until(lambda: live.statistics().in_flight_frames >= 2, "sound under way")
            await emulator.strike(Fault(at="message", do="reset"))
            await live.wait_finished()
            await trio.sleep(0.2)
            sent = live.statistics()
        heard = emulator.statistics().live[0]
    assert sent.dropped_frames == 0
    assert sent.repeated_frames >= 2
    assert heard.frames == sent.taken_frames
    assert heard.declared_repeated_samples == sent.repeated_samples


@pytest.mark.parametrize("secure", LINES)
async def test_on_a_line_of_200_kbit_s_sound_arrives_no_later_than_the_outbox_allows(
    settings_for: MakeSettings, secure: bool
) -> None:
    # With a small window what is under way is on the line, and not in the peer's system, acknowledged and unread.
    fault = Fault(at="message", do="slow", bytes_per_s=25_000)
    settings = EmulatorSettings(tls=tls_of(secure), faults=(fault,), receive_buffer_bytes=16_384)
    with trio.fail_after(60):
        async with Emulator(settings) as emulator:
            source = Frames()
            async with LiveSession(settings_for(emulator), source) as live:
                await trio.sleep(15)
                sent, heard = live.statistics(), emulator.statistics().live[0]
                assert sent.connects == 1
    # What has been given and is neither heard nor dropped is what is late.
    late_samples = sent.taken_samples - heard.samples - sum(sent.dropped_samples.values())
    assert late_samples / 16_000 < 2.048 + 1.5
    assert heard.frames > 15 * 25_000 / 11_300 * 0.7, "the line is used"


@pytest.mark.parametrize("secure", LINES)
async def test_a_recorded_message_that_takes_much_longer_than_the_limit_of_a_send_gets_through(
    settings_for: MakeSettings, secure: bool
) -> None:
    """Default limits: no byte for 3 s is a stuck send. OpenSSL, given the whole message, showed none for all of it."""
    recording = Recording()
    recording.add_pcm(os.urandom(2 * 16_000 * 10))
    with trio.fail_after(40):
        async with (
            Emulator(EmulatorSettings(tls=tls_of(secure))) as emulator,
            ChatSession(settings_for(emulator)) as chat,
        ):
            await until(lambda: emulator.statistics().connections, "the link")
            await emulator.strike(Fault(at="message", do="slow", bytes_per_s=64_000))
            began_s = trio.current_time()
            await chat.send_voice(recording)
            await until(lambda: emulator.statistics().connections[-1].messages, "the message", 20)
            assert trio.current_time() - began_s > 4.0
            assert len(emulator.statistics().connections) == 1


@pytest.mark.parametrize("secure", LINES)
async def test_a_voice_message_that_is_cancelled_on_its_way_never_arrives(
    settings_for: MakeSettings, secure: bool
) -> None:
    recording = Recording()
    recording.add_pcm(os.urandom(32_000 * 20))
    with trio.fail_after(40):
        async with (
            Emulator(EmulatorSettings(tls=tls_of(secure), receive_buffer_bytes=32_768)) as emulator,
            ChatSession(settings_for(emulator)) as chat,
        ):
            await until(lambda: emulator.statistics().connections, "the link")
            await emulator.strike(Fault(at="message", do="slow", bytes_per_s=400_000))
            with trio.move_on_after(0.5) as scope:
                await chat.send_voice(recording)
            assert scope.cancelled_caught
            await until(lambda: len(emulator.statistics().connections) == 2, "another link")
            await chat.send_text("and now this")
            await until(lambda: emulator.statistics().connections[-1].messages, "the text")
            assert sum(connection.messages for connection in emulator.statistics().connections) == 1


async def test_over_a_link_that_lasts_everything_is_acknowledged_and_nothing_repeated(
    settings_for: MakeSettings,
) -> None:
    async with (
        Emulator() as emulator,
        LiveSession(settings_for(emulator), Frames(count=8, every_s=0.05)) as live,
    ):
        await live.wait_finished()
        statistics = live.statistics()
    assert statistics.acknowledgements_known
    assert (statistics.connects, statistics.repeated_frames, statistics.acknowledged_frames) == (1, 0, 8)
