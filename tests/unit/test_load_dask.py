"""What a scheduler's workers must be, told by their versions; with a client that is played."""

from typing import Any

import pytest

from ravatar_audio._version import __version__
from ravatar_audio.errors import SettingsError
from ravatar_audio.load.dask_workers import _checked


class Client:
    def __init__(self, versions: dict[str, Any]) -> None:
        self._versions = versions

    def run(self, function: Any, *, on_error: str) -> dict[str, Any]:
        assert on_error == "return"
        return self._versions


async def test_workers_of_the_same_version_are_taken_in_one_order() -> None:
    client: Any = Client({"tcp://b": __version__, "tcp://a": __version__})
    assert await _checked(client) == ["tcp://a", "tcp://b"]


@pytest.mark.parametrize(
    ("versions", "named"),
    [
        ({}, "no workers"),
        ({"tcp://a": __version__, "tcp://b": "0.0.9"}, r"tcp://b has 0\.0\.9"),
        ({"tcp://a": ModuleNotFoundError("ravatar_audio")}, "no ravatar-audio"),
    ],
)
async def test_others_are_refused_before_anything_starts(versions: dict[str, Any], named: str) -> None:
    client: Any = Client(versions)
    with pytest.raises(SettingsError, match=named):
        await _checked(client)
