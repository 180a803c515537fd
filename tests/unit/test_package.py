"""The package's own face: its names, its quick import, and a README whose example runs."""

import subprocess
import sys

import pytest

import ravatar_audio


@pytest.mark.parametrize("name", ravatar_audio.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(ravatar_audio, name)
    if callable(value):
        assert value.__doc__, name


def test_names_and_their_homes_agree() -> None:
    assert {*ravatar_audio._HOME, "__version__"} == set(ravatar_audio.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = ravatar_audio.nonsense


def test_importing_the_package_loads_neither_trio_nor_numpy() -> None:
    code = "import sys, ravatar_audio; print(*sorted({'trio', 'numpy', 'httpx2', 'hypercorn'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""
