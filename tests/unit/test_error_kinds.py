"""Errors are caught by Python's own words as well, and no handler of ours takes them for something else by that."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ravatar_audio import errors
from ravatar_audio.cli.record import writing

KINDS: dict[type[errors.RavatarError], tuple[type[Exception], ...]] = {
    errors.SettingsError: (ValueError,),
    errors.PermissionDeniedError: (PermissionError,),
    errors.AuthenticationError: (PermissionError,),
    errors.NetworkError: (ConnectionError,),
    errors.GatewayTimeoutError: (TimeoutError, ConnectionError),
}


def tree(kind: type[errors.RavatarError] = errors.RavatarError) -> Iterator[type[errors.RavatarError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from tree(child)


ALL = list(dict.fromkeys(tree()))


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_what_python_calls_them(kind: type[errors.RavatarError]) -> None:
    for builtin in KINDS[kind]:
        with pytest.raises(builtin, match="what happened"):
            raise kind("what happened", status=5)


@pytest.mark.parametrize("kind", ALL)
def test_all_are_made_and_shown_alike(kind: type[errors.RavatarError]) -> None:
    error = kind("what happened", advice="what to do", retryable=True, status=5)
    assert (str(error), error.message, error.advice) == ("what happened", "what happened", "what to do")
    assert (error.retryable, error.details) == (True, {"status": 5})
    assert str(error.replaced(message="more")) == "more"


@pytest.mark.parametrize("kind", ALL)
def test_a_file_that_is_being_written_is_not_blamed_for_them(kind: type[errors.RavatarError], tmp_path: Path) -> None:
    with pytest.raises(kind, match="what happened"), writing(tmp_path / "sound.wav"):
        raise kind("what happened")
