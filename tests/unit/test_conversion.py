"""One object says how sound is converted: each constructor's arguments reach the core, and both names of one do."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from ravatar_audio import Converter, PipeSource, PushSource, SyntheticSource
from ravatar_audio.capture import FileSource, Microphone
from ravatar_audio.conversion import CaptureOptions, Conversion
from ravatar_audio.errors import SettingsError
from ravatar_audio.native import Chain, channels_averaged

OTHER: dict[str, Any] = {
    "channels_heard": (1,),
    "profile": "high",
    "phase": "minimum",
    "gain_db": 6.0,
    "dc_block": True,
    "dither": True,
    "ring_s": 1.0,
}
"""Of each field, another value than it has by itself."""

SOURCES: dict[str, Callable[..., Any]] = {
    "Microphone": lambda **options: Microphone(**options)._opener._conversion,
    "PipeSource": lambda **options: PipeSource(0, **options)._conversion,
    "PushSource": lambda **options: PushSource(channels=2, **options)._conversion,
    "FileSource": lambda **options: FileSource("none.wav", **options)._conversion,
    "SyntheticSource": lambda **options: SyntheticSource(**options)._conversion,
}


def test_every_field_has_another_value_here_and_is_an_argument() -> None:
    names = {field.name for field in fields(Conversion)}
    assert names == set(OTHER)
    assert names | {"heard"} == set(CaptureOptions.__annotations__)
    assert all(getattr(Conversion(), name) != value for name, value in OTHER.items())


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", OTHER)
def test_a_sources_argument_is_its_conversions(source: str, name: str) -> None:
    assert SOURCES[source](**{name: OTHER[name]}) == Conversion(**{name: OTHER[name]})


@pytest.mark.parametrize("source", SOURCES)
def test_the_old_name_of_the_channels_is_theirs(source: str) -> None:
    with pytest.warns(DeprecationWarning, match="'heard' is now 'channels_heard'"):
        assert SOURCES[source](heard=[1]).channels_heard == (1,)


@pytest.mark.parametrize("name", OTHER)
def test_each_field_reaches_the_core(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    init = Chain.__init__

    def noted(self: Chain, **options: Any) -> None:
        asked.append(options)
        init(self, **options)

    monkeypatch.setattr(Chain, "__init__", noted)
    for conversion in (Conversion(), Conversion(**{name: OTHER[name]})):
        with conversion.chain(48_000, 2, "int16") as chain:
            assert chain.channels_heard == channels_averaged(conversion.channels_heard, 2)
    changed = {key for key in asked[0] if asked[0][key] != asked[1][key]}
    assert changed == {"capacity_frames" if name == "ring_s" else name}


@pytest.mark.parametrize(("ring_s", "frames"), [(0.0, 1), (0.256, 1), (0.257, 2), (2.048, 8), (2.05, 9)])
def test_the_ring_is_whole_frames_and_as_many_as_its_user_needs(ring_s: float, frames: int) -> None:
    assert Conversion(ring_s=ring_s).capacity_frames == frames


def test_what_it_cannot_be_is_refused() -> None:
    with pytest.raises(SettingsError, match="'most'"):
        Conversion(channels_heard="most")
    with pytest.raises(SettingsError, match="profile 'best'"):
        Converter(48_000, profile="best")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="nonsense"):
        Microphone(nonsense=1)  # type: ignore[call-arg]
