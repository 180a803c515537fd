"""The soak's own promise, for twelve minutes: what it counts is exact, and nothing grows."""

import pytest

from benches import soak
from benches.rig.harness import Report


def test_twelve_minutes_with_an_unplug_reaches_every_goal() -> None:
    hours = 0.2
    report = Report("soak", "", True)
    soak.tell(report, soak.virtual(hours, 0.032), soak.DRIFT_PPM, soak.expected_gaps(hours))
    missed = [row for row in report.rows if row.reached is False]
    assert not missed
    assert {row.figure: row.value for row in report.rows}["captured"] == pytest.approx(hours, rel=0.01)
