"""What `pactl` prints, read: whose stream it is, from which source it takes, and which sources sleep."""

from ravatar_audio.capture.pactl import Listed, parse_outputs, parse_sources

OUTPUTS = """\
Source Output #3
\tDriver: module-remap-source.c
\tOwner Module: 2
\tClient: n/a
\tSource: 0
\tProperties:
\t\tmedia.name = "Remapped Stream"

Source Output #17
\tDriver: protocol-native.c
\tClient: 9
\tSource: 4
\tProperties:
\t\tmedia.name = "ALSA Capture"
\t\tapplication.process.id = "4711"

Source Output #18
\tSource: 5
\tProperties:
\t\tapplication.process.id = "47"
"""


def test_only_this_processs_streams_are_its_own() -> None:
    assert parse_outputs(OUTPUTS, 4711) == {"17": "4"}
    assert parse_outputs(OUTPUTS, 47) == {"18": "5"}
    assert parse_outputs(OUTPUTS, 4) == parse_outputs("", 4711) == {}


def test_sources_have_their_names_and_states() -> None:
    text = "0\tspeaker.monitor\tmodule-null-sink.c\ts16le 2ch 48000Hz\tSUSPENDED\n4\tusbmic\tmodule-remap-source.c\n"
    assert parse_sources(text) == {"0": Listed("speaker.monitor", True), "4": Listed("usbmic", False)}
    assert parse_sources("") == {}
