"""Scripted faults as text, file and Python; and when they are due."""

import dataclasses
import re
from pathlib import Path

import pytest

from ravatar_audio.emulator import Fault, FaultScript, read_faults
from ravatar_audio.emulator.faults import ACTIONS
from ravatar_audio.errors import SettingsError


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("startLiveSession status=503 times=2", Fault(at="startLiveSession", do="status", status=503, times=2)),
        ("/startLiveSession status=503 times=2", Fault(at="startLiveSession", do="status", status=503, times=2)),
        ("/ws/chat hang_up=20", Fault(at="socket", do="hang_up", after_bytes=20)),
        ("message close=1012 reason='bye now'", Fault(at="message", do="close", code=1012, reason="bye now")),
        ("message black_hole=2.5 after=9", Fault(at="message", do="black_hole", duration_s=2.5, after=9)),
        ("message stream_error='Busy' times=0", Fault(at="message", do="stream_error", error="Busy", times=0)),
        ("accept reset", Fault(at="accept", do="reset")),
        ("http delay=0.5", Fault(at="http", do="delay", delay_s=0.5)),
    ],
)
def test_a_line_says_what_python_says(line: str, fault: Fault) -> None:
    assert Fault.parse(line) == fault


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "cannot be read"),
        ("jwt", "cannot be read"),
        ("jwt 'status", "cannot be read"),
        ("nowhere reset", "cannot be at 'nowhere'"),
        ("accept status=503", "cannot do 'status'"),
        ("jwt explode", "cannot do 'explode'"),
        ("jwt reset=1", "takes no value"),
        ("jwt status=many", "must be of type int"),
        ("jwt status=99", "200 to 599"),
        ("message close=999", "1000 to 4999"),
        ("jwt status=503 twice", "not of the form"),
        ("jwt status=503 often=2", "has no 'often'"),
        ("jwt status=503 times=-1", "0 or more"),
        ("jwt slow=0", "above 0"),
        ("jwt oversized=-5", "size_bytes is -5; it must be above 0"),
        ("jwt delay=-5", "delay_s is -5.0; it must be 0 or more"),
        ("jwt delay=nan", "delay_s is nan"),
        ("jwt black_hole=inf", "duration_s is inf"),
        ("jwt hang_up=-1", "after_bytes is -1"),
        ("jwt status=503 retry_after_s=-9", "retry_after_s is -9"),
        ("message stream_error=Sad", "is unknown"),
    ],
)
def test_a_line_that_cannot_be_meant_is_refused_with_the_reason(line: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        Fault.parse(line)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("faults.toml", '[[fault]]\nat = "message"\ndo = "close"\ncode = 1011\nafter = 5\n'),
        ("faults.json", '{"fault": [{"at": "message", "do": "close", "code": 1011, "after": 5}]}'),
        ("list.json", '[{"at": "message", "do": "close", "code": 1011, "after": 5}]'),
    ],
)
def test_files_say_the_same(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert read_faults(tmp_path / name) == (Fault(at="message", do="close", code=1011, after=5),)


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("none.toml", None, "cannot be read"),
        ("bad.toml", "fault = [", "not valid"),
        ("bad.json", "{", "not valid"),
        ("bad.json", "\ud800", "not valid"),
        ("other.toml", "x = 1", "no list of tables"),
        ("other.json", "[1]", "no list of tables"),
        ("type.json", '[{"at": "jwt", "do": "status", "status": true}]', "must be of type int"),
        ("type.json", '[{"at": "jwt", "do": "status", "status": 503.5}]', "must be of type int"),
        ("type.json", '[{"at": 1, "do": "status"}]', "must be of type str"),
        ("less.json", '[{"at": "jwt"}]', "needs do"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(tmp_path: Path, name: str, text: str | None, why: str) -> None:
    if text is not None:
        (tmp_path / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(SettingsError, match=why):
        read_faults(tmp_path / name)


def test_each_fault_in_the_documentation_can_be_meant() -> None:
    page = (Path(__file__).parents[2] / "docs" / "howto" / "emulator.md").read_text(encoding="utf-8")
    faults = page[page.index("\n## Faults") :]
    lines = re.findall(r"^\| `([^`]+)` \|", faults, re.MULTILINE) + re.findall(r'--fault "([^"]+)"', page)
    shown = {(fault.at, fault.do) for fault in map(Fault.parse, lines)}
    assert {action for actions in ACTIONS.values() for action in actions} == {action for _, action in shown}
    assert {at for at, _ in shown} >= {"socket", "message", "accept"}


def test_a_fault_strikes_at_number_k_and_n_times() -> None:
    script = FaultScript((Fault(at="message", do="reset", after=2, times=3),))
    assert [script.strike("message") is not None for _ in range(7)] == [False, False, True, True, True, False, False]
    assert script.fired == 3


def test_times_0_means_always_and_clear_ends_it() -> None:
    script = FaultScript((Fault(at="jwt", do="reset", times=0),))
    assert all(script.strike("jwt") for _ in range(100))
    script.clear()
    assert script.strike("jwt") is None


def test_faults_of_one_place_come_one_after_the_other() -> None:
    script = FaultScript((Fault(at="jwt", do="reset"), Fault(at="http", do="garbage"), Fault(at="chat", do="slow")))
    assert [fault and fault.do for fault in (script.strike("jwt", "http") for _ in range(3))] == [
        "reset",
        "garbage",
        None,
    ]


def test_an_added_fault_counts_from_when_it_was_added() -> None:
    script = FaultScript()
    for _ in range(5):
        assert script.strike("message") is None
    script.add(Fault(at="message", do="reset", after=1))
    assert script.strike("message") is None
    assert script.strike("message") is not None


def test_each_field_of_a_fault_can_be_given_on_a_line() -> None:
    plain = Fault(at="chat", do="status")
    names = [item.name for item in dataclasses.fields(Fault)]
    for name in names[2:]:
        value = {"error": "Busy", "reason": "r", "code": "1001", "what": "slot", "body": "html"}.get(name, "404")
        fault = Fault.parse(f"chat status {name}={value}")
        assert [other for other in names if getattr(fault, other) != getattr(plain, other)] == [name]
