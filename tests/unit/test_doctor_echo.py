"""The doctor's look at echo cancellation."""

from dataclasses import replace

import pytest

from ravatar_audio.capture.servers.sources import ServerAnswer
from ravatar_audio.diagnosis.echo import check_echo
from ravatar_audio.settings import Settings
from tests.unit.test_doctor_parts import SOURCE

MONITOR = replace(SOURCE, name="speaker.monitor", is_default=False, is_monitor=True, is_muted=False)
DEFAULT = replace(MONITOR, name="hdmi.monitor", is_default_monitor=True)
CANCELLER = replace(SOURCE, name="echo-cancel-source", is_default=True)


@pytest.mark.parametrize(
    ("given", "sources", "status", "said"),
    [
        ({}, (MONITOR,), "ok", "speaker.monitor"),
        ({}, (MONITOR, DEFAULT), "ok", "hdmi.monitor"),
        ({}, (SOURCE,), "error", "no sound server has a monitor"),
        ({}, (MONITOR, replace(MONITOR, name="other.monitor")), "error", "no sound server has a monitor"),
        ({}, (replace(MONITOR, is_muted=True),), "warning", "muted"),
        ({}, (CANCELLER, MONITOR), "warning", "two of them fight"),
        ({"device": "echo-cancel-source"}, (MONITOR,), "warning", "two of them fight"),
        ({"reference": "channel:5"}, (), "ok", "channel:5"),
    ],
)
def test_the_reference_is_looked_for(
    given: dict[str, str], sources: tuple[object, ...], status: str, said: str
) -> None:
    finding = check_echo(Settings(echo_cancellation="own", **given), ServerAnswer("pulseaudio", sources))  # type: ignore[arg-type]
    assert finding is not None
    assert finding.status == status
    assert said in finding.message


def test_without_echo_cancellation_nothing_is_said() -> None:
    assert check_echo(Settings(), ServerAnswer("pulseaudio", (MONITOR,))) is None
