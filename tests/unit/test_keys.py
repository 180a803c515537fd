"""The space bar as a button: what a terminal sends, in the old way and in the kitty protocol's."""

import math

import pytest

from ravatar_audio.cli.keys import FIRST_REPEAT_S, HeldKey, Key, KeyReader, Kind

DOWN, UP, ANSWER = Kind.DOWN, Kind.UP, Kind.ANSWER


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b" m", [Key(" "), Key("m")]),
        (b"\x1b[32u", [Key(" ")]),
        (b"\x1b[32;1:1u\x1b[32;1:2u\x1b[32;1:3u", [Key(" "), Key(" "), Key(" ", UP)]),
        (b"\x1b[32;;32u\x1b[32;129:3u", [Key(" "), Key(" ", UP)]),  # with text; with num lock
        (b"\x1b[109;1:3u", [Key("m", UP)]),
        (b"\x1b[99;5u\x03", [Key("ctrl-c"), Key("ctrl-c")]),
        (b"\x1b[27u", [Key("escape")]),
        (b"\x1b", [Key("escape")]),
        (b"\x1b[?11u\x1b[?62;22c", [Key("", ANSWER)]),
        (b"\x1b[A\x1bOP\x1b[1;2B x", [Key(" "), Key("x")]),
        (b"\x1b[99999999999u\x1b[;u\x1b[uy", [Key("y")]),
        ("é\x1b[32u".encode(), [Key("é"), Key(" ")]),
        (b"\xff\xfe ", [Key(" ")]),
    ],
)
def test_what_a_terminal_sends_is_read(data: bytes, keys: list[Key]) -> None:
    assert KeyReader().feed(data) == keys


def test_a_sequence_may_come_in_pieces() -> None:
    reader = KeyReader()
    assert [reader.feed(part) for part in (b"\x1b[32", b";1:", b"3u ", b"\x1bO", b"P")] == [
        [],
        [],
        [Key(" ", UP), Key(" ")],
        [],
        [],
    ]


@pytest.mark.parametrize(("delay_s", "interval_s"), [(0.25, 0.092), (0.66, 0.04), (0.5, 0.033), (0.3, 0.02)])
def test_a_held_key_is_let_go_soon_after_its_repeats_have_ceased(delay_s: float, interval_s: float) -> None:
    """The Linux console's, X's, macOS's and a quick typist's repeats, held for two seconds."""
    key = HeldKey()
    assert key.down(100.0)
    now_s = 100.0 + delay_s
    while now_s < 102.0:
        assert now_s < key.deadline_s, "let go while it is held"
        assert not key.down(now_s)
        last_s = now_s
        now_s += interval_s
    assert key.deadline_s - last_s <= 0.3
    assert last_s < key.give_up() <= last_s + 0.1, "told as of when the next repeat did not come"
    assert not key.is_down
    assert key.deadline_s == math.inf
    assert key.down(103.0)


def test_a_key_without_repeats_counts_as_held_until_they_should_have_come() -> None:
    key = HeldKey()
    key.down(5.0)
    assert key.deadline_s == 5.0 + FIRST_REPEAT_S
    assert key.give_up() == 5.0 + FIRST_REPEAT_S


def test_a_terminal_that_tells_releases_is_believed() -> None:
    key = HeldKey()
    key.tells_release = True
    assert key.down(5.0)
    assert not key.down(9.0)
    assert key.deadline_s == math.inf
    assert key.up()
    assert not key.up()
    assert key.down(9.5)
