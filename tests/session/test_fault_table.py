"""Every fault of link and platform in every mode has its test: see faults.py."""

import pytest

from tests.marks import marked
from tests.session.faults import FAULTS, MODES


def covered() -> set[tuple[str, str]]:
    return {(fault, mode) for fault, *modes in marked("link_fault") for mode in modes}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_mode_has_a_test_of_it_or_a_reason(fault: str) -> None:
    assert [mode for mode in MODES if mode not in FAULTS[fault] and (fault, mode) not in covered()] == []


def test_each_mark_names_a_cell_that_is_to_be_had() -> None:
    assert {
        (fault, mode) for fault, mode in covered() if mode not in MODES or mode in FAULTS.get(fault, MODES)
    } == set()
