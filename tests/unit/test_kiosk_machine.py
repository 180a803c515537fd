"""What the kiosk's screen shows, event by event, without I/O; its words; what the service manager hears."""

import os
import shutil
import socket
import string
import subprocess
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pytest

from ravatar_audio import errors
from ravatar_audio.api.messages import Reply
from ravatar_audio.capture import CaptureEvent
from ravatar_audio.errors import (
    AuthenticationError,
    BusyError,
    PaymentRequiredError,
    RavatarError,
    SettingsError,
    UnreachableError,
)
from ravatar_audio.kiosk import machine as module
from ravatar_audio.kiosk.machine import KioskMachine, Phase, Trouble, retry_in_s, trouble_of
from ravatar_audio.kiosk.notify import Notifier
from ravatar_audio.kiosk.texts import LANGUAGES, load_texts
from ravatar_audio.session import LinkLost, LinkUp, SendingAccepted, SendingRefused
from ravatar_audio.turns import TurnEvent, TurnEventKind

UP, LOST = LinkUp(1, 0.1), LinkLost("gone", 3.0, 5.0)


def reply(text: str) -> Reply:
    return Reply(text=text)


def talking(mode: str = "ptt") -> KioskMachine:
    machine = KioskMachine(0.0)
    machine.note_mode(mode, is_muted=False)
    machine.note_live(UP, 0.0)
    return machine


def all_errors(kind: type[RavatarError] = RavatarError) -> list[type[RavatarError]]:
    return [kind, *(leaf for child in kind.__subclasses__() for leaf in all_errors(child))]


def test_a_conversation_goes_through_its_phases() -> None:
    machine = talking()
    seen = [machine.phase]
    for at_s, event in enumerate([TurnEventKind.STARTED, TurnEventKind.ENDED], start=1):
        machine.note_turn(TurnEvent(event, 0, 0), float(at_s))
        seen.append(machine.phase)
    machine.note_live(reply("a" * 150), 3.0)  # 10 s at the pace of speech
    seen.append(machine.snapshot(12.9).phase)
    seen.append(machine.snapshot(13.0).phase)
    assert seen == [Phase.READY, Phase.HEARING, Phase.THINKING, Phase.SPEAKING, Phase.READY]
    assert [caption.text for caption in machine.snapshot(13.0).captions] == ["a" * 150]


def test_without_an_answer_it_listens_again() -> None:
    machine = talking("vad")
    machine.note_turn(TurnEvent(TurnEventKind.STARTED, 0, 0), 1.0)
    machine.note_turn(TurnEvent(TurnEventKind.CAPPED, 0, 0), 2.0)
    assert machine.snapshot(2.0 + module.THINKING_LIMIT_S - 0.01).phase is Phase.THINKING
    assert machine.snapshot(2.0 + module.THINKING_LIMIT_S).phase is Phase.READY


def test_an_open_microphones_turn_and_a_tap_are_nobody_who_speaks() -> None:
    machine = talking("open")
    machine.note_turn(TurnEvent(TurnEventKind.STARTED, 0, 0), 1.0)
    assert machine.phase is Phase.READY
    machine = talking("ptt")
    machine.note_turn(TurnEvent(TurnEventKind.STARTED, 0, 0), 1.0)
    machine.note_turn(TurnEvent(TurnEventKind.CANCELLED, 0, 0), 1.1)
    assert machine.phase is Phase.READY


@pytest.mark.parametrize("kind", all_errors(), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("before", list(Phase))
def test_every_error_is_a_trouble_with_a_sentence_and_a_next_attempt(kind: type[RavatarError], before: Phase) -> None:
    machine = talking()
    machine.phase = before
    wait_s = machine.fail(kind("it broke"), 10.0)
    shown = machine.snapshot(11.0)
    assert shown.phase is Phase.WAITING
    assert shown.trouble is trouble_of(kind("it broke"))
    assert (shown.code, shown.retry_in_s) == (kind.code, wait_s - 1.0)
    assert all(load_texts(language)[shown.trouble.value] for language in LANGUAGES)
    assert machine.is_ready, "it waits with a reason"
    machine.begin(12.0)
    assert machine.snapshot(12.0).trouble is shown.trouble, "the screen does not flicker with each attempt"
    machine.note_live(UP, 13.0)
    assert (machine.snapshot(13.0).trouble, machine.failures) == (None, 0)


def test_attempts_become_rarer_and_a_session_ends_the_row() -> None:
    machine = KioskMachine(0.0)
    waits = [machine.fail(errors.BusyError("no slot"), 0.0) for _ in range(6)]
    assert waits == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert retry_in_s(10**6) == 30.0
    machine.note_live(UP, 1.0)
    assert machine.fail(errors.BusyError("no slot"), 2.0) == 2.0


Step = Callable[[KioskMachine], None]
PASSING: dict[str, tuple[Step, Trouble, Step]] = {
    "link": (lambda m: m.note_live(LOST, 1.0), Trouble.NETWORK, lambda m: m.note_live(UP, 2.0)),
    "refusals": (
        lambda m: m.note_live(SendingRefused("no"), 1.0),
        Trouble.PLATFORM,
        lambda m: m.note_live(SendingAccepted(3), 2.0),
    ),
} | {
    begin: (
        lambda m, begin=begin: m.note_capture(CaptureEvent(begin, 1.0, "")),
        Trouble.MICROPHONE,
        lambda m, end=end: m.note_capture(CaptureEvent(end, 2.0, "")),
    )
    for begin, end in [
        ("stalled", "recovered"),
        ("reopening", "reopened"),
        ("hanging", "stand_in"),
        ("digital_silence", "sound"),
    ]
}


@pytest.mark.parametrize("name", PASSING)
def test_a_trouble_that_the_session_lives_through_is_shown_until_it_is_over(name: str) -> None:
    begin, trouble, end = PASSING[name]
    machine = talking()
    begin(machine)
    assert (machine.snapshot(1.0).trouble, machine.phase) == (trouble, Phase.READY)
    end(machine)
    assert machine.snapshot(2.0).trouble is None


def test_it_is_alive_while_frames_move_or_a_reason_is_known() -> None:
    limit_s = module.FRAMES_LIMIT_S
    machine = talking()
    machine.note_frame(-20.0, 5.0)
    assert machine.is_alive(5.0 + limit_s - 0.1)
    assert not machine.is_alive(5.0 + limit_s)
    machine.note_capture(CaptureEvent("reopening", 6.0, ""))
    assert machine.is_alive(5.0 + 100 * limit_s)
    machine.fail(errors.DeviceNotFoundError("no microphone"), 7.0)
    assert machine.is_alive(1e6)
    machine.begin(8.0)
    assert machine.is_alive(8.0 + module.STARTING_LIMIT_S - 1)
    assert not machine.is_alive(8.0 + module.STARTING_LIMIT_S), "a start that hangs"


def test_a_start_is_not_ready_before_sound_or_a_reason() -> None:
    machine = KioskMachine(0.0)
    assert not machine.is_ready
    machine.note_live(UP, 1.0)
    assert machine.is_ready


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_has_every_word(language: str) -> None:
    texts, english = load_texts(language), load_texts("en")
    assert set(texts) == set(english)
    assert texts["lang"] == language
    for name, text in english.items():
        assert texts[name].strip()
        fields = [field for _, field, _, _ in string.Formatter().parse(text) if field]
        assert [field for _, field, _, _ in string.Formatter().parse(texts[name]) if field] == fields
    assert {f"ready_{mode}" for mode in ("open", "ptt", "vad")} < set(texts)
    assert {*Trouble} < set(texts)


def test_words_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "texts.json"
    file.write_text('{"dir": "rtl", "talk": "דבר"}', encoding="utf-8")
    assert load_texts("de-AT", str(file)) == {**load_texts("de"), "dir": "rtl", "talk": "דבר"}
    for bad in ("[1]", '{"talk": 1}', '{"tlak": "x"}', "{", "[" * 100_000):
        file.write_text(bad, encoding="utf-8")
        with pytest.raises(SettingsError, match="texts"):
            load_texts("en", str(file))
    assert load_texts("xx") == load_texts(None) == load_texts("en")


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_the_service_manager_hears_states(kind: str, tmp_path: Path) -> None:
    name = str(tmp_path / "notify") if kind == "path" else f"@ravatar-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name.replace("@", "\0", 1))
        manager.settimeout(5)
        notifier = Notifier({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "5000000"})
        notifier.send(READY=1, STATUS="waiting: network\nREADY=0")
        lines = manager.recv(4_096).decode().split("\n")
    assert lines[0] == "READY=1"
    assert len(lines) == 2, "a value cannot begin a line of its own"
    assert notifier.watchdog_s == 5.0
    notifier.send(WATCHDOG=1)  # nobody is there any more: no error


@pytest.mark.parametrize(
    "environment",
    [{}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "5", "WATCHDOG_PID": "1"}],
    ids=str,
)
def test_without_a_service_manager_nothing_is_sent(environment: dict[str, str]) -> None:
    notifier = Notifier(environment)
    notifier.send(READY=1)
    assert notifier.watchdog_s is None


def test_the_unit_has_no_right_that_it_does_not_need(tmp_path: Path) -> None:
    name = "ravatar-audio-kiosk.service"
    text = (resources.files("ravatar_audio.kiosk") / name).read_text(encoding="utf-8")
    assert "Type=notify" in text
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    (tmp_path / name).write_text(text, encoding="utf-8")
    limit = ["--offline=true", "--threshold=20"]  # in tenths
    command = ["systemd-analyze", "security", "--no-pager", *limit, str(tmp_path / name)]
    judged = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert judged.returncode == 0, judged.stdout[-300:] + judged.stderr


@pytest.mark.parametrize(
    ("error", "longest_s"),
    [
        (PaymentRequiredError("402"), 300.0),
        (AuthenticationError("403"), 300.0),
        (BusyError("503"), 30.0),
        (UnreachableError("no route"), 30.0),
        (BusyError("503", retry_after_s=120.0), 120.0),
        (BusyError("503", retry_after_s=1e9), 300.0),
        (PaymentRequiredError("402", retry_after_s=1.0), 300.0),
    ],
)
def test_what_only_somebody_can_change_is_asked_for_seldom(error: RavatarError, longest_s: float) -> None:
    waits_s = [retry_in_s(failures, error) for failures in range(1, 40)]
    assert waits_s == sorted(waits_s)
    assert waits_s[-1] == longest_s
    requests, day_s = 0, 0.0
    while day_s < 86_400:
        requests += 1
        day_s += retry_in_s(requests, error)
    assert requests < 3_000
