"""Every fault on every kind of stream has its test: see faults.py."""

import pytest

from tests.device.faults import FAULTS, KINDS
from tests.marks import marked


def covered() -> set[tuple[str, str]]:
    return {(fault, kind) for fault, *kinds in marked("fault") for kind in kinds}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_kind_of_stream_has_a_test_of_it_or_a_reason(fault: str) -> None:
    assert [kind for kind in KINDS if kind not in FAULTS[fault] and (fault, kind) not in covered()] == []


def test_each_mark_names_a_cell_that_is_to_be_had() -> None:
    assert {
        (fault, kind) for fault, kind in covered() if kind not in KINDS or kind in FAULTS.get(fault, KINDS)
    } == set()
