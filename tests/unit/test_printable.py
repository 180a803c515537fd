"""What others say is made fit for a terminal and a log, wherever it comes out: a table of texts, and any text."""

import io
import json
import logging
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ravatar_audio.api.link_end import Cause, LinkDown
from ravatar_audio.api.messages import Reply, StreamFault
from ravatar_audio.capture import Device
from ravatar_audio.cli import failure_text
from ravatar_audio.cli.devices import described
from ravatar_audio.cli.doctor import shown
from ravatar_audio.cli.live import as_text
from ravatar_audio.cli.run import LineFormatter, error_line
from ravatar_audio.diagnosis.finding import Finding
from ravatar_audio.errors import BusyError, DeviceInUseError
from ravatar_audio.observe.log import HidingFilter, Log, line_logger
from ravatar_audio.printable import lines, one_line
from ravatar_audio.session import LinkLost

TITLE = "\x1b]0;owned\x07"
ATTACKS = [
    TITLE,
    "\x1b[2J\x1b[H",
    "\x9b31m",  # the same introducer in one character of C1
    "fine\nok   token           issued",
    "fine\r\nERROR all is lost",
    "\u2028new line",
    "\u202egnirts",
    "nul\0",
    "\x7f\x08\x08",
    "\ud800",
]


def is_harmless(text: str) -> bool:
    return not any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in text)


@given(st.text(st.characters(blacklist_categories=())))
@example("".join(ATTACKS))
def test_any_text_becomes_one_harmless_line_and_stays_so(text: str) -> None:
    line = one_line(text)
    assert is_harmless(line)
    assert one_line(line) == line
    assert is_harmless(lines(text).replace("\n", ""))
    assert lines(text).count("\n") == text.count("\n")


@pytest.mark.parametrize(
    "text", ["", "Grüß Gott, 你好", "a\u200db", "\u0645\u06cc\u200c\u062e\u0648", "👩\u200d👩\u200d👧", "C:\\new"]
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert one_line(text) == text


def logged(text: str) -> str:
    """A line of the log as a command writes it."""
    record = logging.LogRecord("httpx2", logging.WARNING, __file__, 1, "device %s", (text,), None)
    return LineFormatter("%(message)s").format(record)


def hidden(text: str) -> str:
    record = logging.LogRecord("httpx2", logging.INFO, __file__, 1, "GET %s", (text,), None)
    HidingFilter().filter(record)
    return record.getMessage()


def written_by_our_log(text: str) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("ravatar_audio")
    logger.addHandler(handler)
    try:
        Log().warning("the platform says %s", text)
    finally:
        logger.removeHandler(handler)
    return stream.getvalue().removesuffix("\n")


def device(name: str) -> Device:
    return Device(index=1, name=name, host_api="ALSA", channels=2, rate_hz=48_000, is_default=False)


def written_by_a_module(text: str) -> str:
    """As a program that embeds the package gets it, with a handler of its own."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[assignment, method-assign]
    logger = line_logger("ravatar_audio.capture.example")
    logger.addHandler(handler)
    try:
        logger.warning("the microphone %s is gone", text)
    finally:
        logger.removeHandler(handler)
    return records[0].getMessage()


EDGES: dict[str, Callable[[str], str | None]] = {
    "a reply": lambda text: as_text(Reply(text=text)),
    "a close reason": lambda text: as_text(LinkLost(str(LinkDown(Cause.CLOSED, text, close_code=1011)), 1.0, 1.0)),
    "why a link was lost": lambda text: as_text(LinkLost(text, 1.0, 1.0)),
    "the error after it": lambda text: str(LinkDown(Cause.CLOSED, text, close_code=1009).error()),
    "a stream error": lambda text: str(StreamFault(kind="stream", text=text).error()),
    "an error of the platform": lambda text: failure_text(BusyError(f"says {text}", advice=text)).replace("\n  ", ""),
    "an error with --json": lambda text: json.dumps(error_line(BusyError(text, advice=text))),
    "a microphone's error": lambda text: str(DeviceInUseError(f"{text!s} is held", advice=f"close {text}")),
    "a finding's advice": lambda text: shown(Finding("x", "error", "it", BusyError("", advice=text).advice)).replace(
        "\n", ""
    ),
    "a log of another package": logged,
    "a log of the HTTP library": hidden,
    "our own log": written_by_our_log,
    "a module's log": written_by_a_module,
    "a device's line": lambda text: described(device(text), [device(text)]).replace("\n    ", ""),
}


@pytest.mark.parametrize("text", ATTACKS, ids=ascii)
@pytest.mark.parametrize("edge", EDGES)
def test_no_edge_lets_a_command_or_a_line_end_through(edge: str, text: str) -> None:
    shown_text = EDGES[edge](text)
    assert shown_text
    assert is_harmless(shown_text)
