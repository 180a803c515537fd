"""Histograms that are counted apart and merged are those of one process, to the count."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ravatar_audio.load.result import LoadResult
from ravatar_audio.load.tally import PHASES, Tally, total
from ravatar_audio.observe.histogram import Histogram

EVENTS = st.lists(
    st.tuples(
        st.floats(0, 20),  # when
        st.sampled_from(PHASES),
        st.floats(0, 1e5) | st.floats(0, 1e-5),  # how long
        st.integers(0, 4),  # in which worker
    ),
    max_size=200,
)


@given(EVENTS, st.integers(1, 7))
def test_workers_that_tell_each_second_come_to_what_one_process_counts(
    events: list[tuple[float, str, float, int]], seed: int
) -> None:
    chance = random.Random(seed)
    one = Tally()
    workers = [Tally() for _ in range(5)]
    merged = LoadResult({}, 1)
    for at_s, phase, value_s, worker in events:
        for tally in (one, workers[worker]):
            tally.at(at_s).record(phase, value_s)
            tally.at(at_s).counts[phase] += 1
        if chance.random() < 0.1:  # what is told early comes again with more
            merged.note_seconds(json.loads(json.dumps(workers[worker].take(chance.uniform(0, 20)))))
    chance.shuffle(workers)
    for tally in workers:
        merged.note_seconds(json.loads(json.dumps(tally.take())))
    expected = LoadResult({}, 1)
    expected.note_seconds(one.take())
    assert merged.seconds.keys() == expected.seconds.keys()
    for number, second in expected.seconds.items():
        assert merged.seconds[number].as_dict() == second.as_dict()
    assert merged.whole().as_dict() == total(expected.seconds.values()).as_dict()
    assert sum(histogram.count for histogram in merged.whole().times.values()) == len(events)


@given(st.lists(st.floats(0, 1e4), max_size=50), st.lists(st.floats(0, 1e4), max_size=50))
def test_a_sum_is_as_if_all_had_been_recorded_in_one(first: list[float], second: list[float]) -> None:
    both, one, other = Histogram(), Histogram(), Histogram()
    for value_s in first:
        both.record(value_s)
        one.record(value_s)
    for value_s in second:
        both.record(value_s)
        other.record(value_s)
    one.add(Histogram.from_dict(json.loads(json.dumps(other.as_dict()))))
    assert one.as_dict() == both.as_dict()
    assert one.distribution() == both.distribution()
    assert one.count == len(first) + len(second)


@pytest.mark.parametrize(
    "data", [{"counts": {"5000": 1}, "max_s": 1}, {"counts": {"3": -1}, "max_s": 1}, {"counts": {}}]
)
def test_what_no_histogram_has_told_is_refused(data: dict[str, object]) -> None:
    with pytest.raises((ValueError, KeyError)):
        Histogram.from_dict(data)


def test_a_percentile_is_never_below_the_value_and_at_most_a_bucket_above() -> None:
    for exponent in range(-50, 30):
        value_s = 1.3**exponent
        histogram = Histogram()
        histogram.record(value_s)
        histogram.record(value_s * 1_000)
        assert value_s <= histogram.percentile_s(0.5) <= max(1.1e-6, value_s * 1.0222)
