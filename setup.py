"""What pyproject.toml cannot say: the C core's builder, one wheel for every CPython from 3.11 on, a description whose
links lead somewhere, and that the benches, which are benches/ in a checkout, are installed as ravatar_audio.benches."""

import re
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel


class StableAbiWheel(bdist_wheel):  # type: ignore[misc]  # setuptools ships no type for it
    """Tags the wheel cp311-abi3, as the extension uses only the limited API."""

    def finalize_options(self) -> None:
        self.py_limited_api = "cp311"
        super().finalize_options()


def description() -> str:
    """README.md for an index's page, where links to files of the source archive would lead nowhere: names, then."""
    text = (Path(__file__).parent / "README.md").read_text(encoding="utf-8")
    return re.sub(r"\[`?([^]`]+)`?\]\((?!https?:)[^)]*\)", r"`\1`", text)


setup(
    long_description=description(),
    long_description_content_type="text/markdown",
    cffi_modules=["csrc/python/build_ffi.py:ffi"],
    cmdclass={"bdist_wheel": StableAbiWheel},
    packages=[*find_packages("src"), *(f"ravatar_audio.{name}" for name in find_packages(include=["benches*"]))],
    package_dir={"": "src", "ravatar_audio.benches": "benches"},
)
