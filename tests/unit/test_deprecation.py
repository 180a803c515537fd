"""Old public names: each still works, and its warning says the new one, the version that removes it, and the caller."""

import dataclasses
import importlib
from collections.abc import Callable
from types import ModuleType

import click
import pytest

import ravatar_audio
from ravatar_audio import emulator, turns
from ravatar_audio.cli import live
from ravatar_audio.deprecation import REMOVED_IN
from ravatar_audio.settings import Settings
from ravatar_audio.testing import FakeMicrophone
from ravatar_audio.turns import Gate, TurnRules

WORLDS = [importlib.import_module(f"ravatar_audio{world}") for world in ("", ".asyncio", ".blocking", ".turns")]
RENAMED_SETTINGS = [
    (item.name, item.metadata["replaced_by"]) for item in dataclasses.fields(Settings) if item.metadata["replaced_by"]
]
NAMES = {"EventKind": "TurnEventKind", "Mode": "TurnMode"}


def numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def test_old_names_do_not_outlive_the_version_that_removes_them() -> None:
    assert numbers(ravatar_audio.__version__) < numbers(REMOVED_IN), "take out what deprecation.py is asked for"


@pytest.mark.parametrize("module", WORLDS, ids=lambda module: module.__name__)
@pytest.mark.parametrize("old", NAMES)
def test_a_renamed_name_is_the_new_one(module: ModuleType, old: str) -> None:
    said = f"'{module.__name__}.{old}' is now '{module.__name__}.{NAMES[old]}'; the old name goes in {REMOVED_IN}"
    with pytest.warns(DeprecationWarning, match=said.replace(".", r"\.")) as caught:
        found = getattr(module, old)
    assert found is getattr(turns, NAMES[old])
    assert [warning.filename for warning in caught] == [__file__]
    assert old not in module.__all__


@pytest.mark.parametrize("old", ["Avatar", "LiveStatistics"])
def test_the_emulators_own_names_are_told_from_the_platforms(old: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"is now 'ravatar_audio.emulator.Emulated{old}'"):
        found = getattr(emulator, old)
    assert found is getattr(emulator, f"Emulated{old}")


@pytest.mark.parametrize("module", [*WORLDS, emulator], ids=lambda module: module.__name__)
def test_a_name_that_never_was_is_an_attribute_error(module: ModuleType) -> None:
    with pytest.raises(AttributeError, match=f"module '{module.__name__}' has no attribute 'nonsense'"):
        module.nonsense  # noqa: B018 - what is asked for


MICROPHONES: dict[str, Callable[[], FakeMicrophone]] = {
    "stand_in": lambda: FakeMicrophone("tone", "tone", stand_in="Spare"),
    "stand_in_after_s": lambda: FakeMicrophone("tone", stand_in_after_s=7.0),
}


@pytest.mark.parametrize("old", MICROPHONES)
def test_a_renamed_argument_is_taken_for_the_new_one(old: str) -> None:
    new = old.replace("stand_in", "fallback")
    with pytest.warns(DeprecationWarning, match=f"the argument '{old}' is now '{new}'"):
        microphone = MICROPHONES[old]()
    if old == "stand_in":
        assert microphone._opener.has_fallback
    else:
        assert microphone._supervisor._fallback_after_s == 7.0


@pytest.mark.parametrize("value", [2_000, None])
def test_the_old_cap_of_turn_rules_is_the_longest_turn(value: int | None) -> None:
    with pytest.warns(DeprecationWarning, match="'cap_ms' is now 'max_turn_ms'") as caught:
        rules = TurnRules(cap_ms=value)
    assert rules.max_turn_ms == value, "None is no limit, and not the default"
    assert rules == TurnRules(max_turn_ms=value)
    assert [warning.filename for warning in caught] == [__file__]


def test_call_off_is_cancel() -> None:
    gate = Gate("ptt")
    gate.press(1.0)
    with pytest.warns(DeprecationWarning, match="'call_off' is now 'cancel'") as caught:
        outcomes = gate.call_off(2.0)
    other = Gate("ptt")
    other.press(1.0)
    assert outcomes == other.cancel(2.0)
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize(("old", "new"), RENAMED_SETTINGS)
def test_a_renamed_setting_is_an_option_that_help_does_not_show(old: str, new: str) -> None:
    options = {option.name: option for option in live.command.params if isinstance(option, click.Option)}
    assert options[old].hidden
    assert f"--{old.replace('_', '-')}" in options[old].opts
    assert not options[new].hidden
