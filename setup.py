"""What pyproject.toml cannot say: the C core's builder, one wheel for every CPython from 3.11 on, and that the benches,
which are benches/ in a checkout, are installed as ravatar_audio.benches."""

from setuptools import find_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel


class StableAbiWheel(bdist_wheel):  # type: ignore[misc]  # setuptools ships no type for it
    """Tags the wheel cp311-abi3, as the extension uses only the limited API."""

    def finalize_options(self) -> None:
        self.py_limited_api = "cp311"
        super().finalize_options()


setup(
    cffi_modules=["csrc/build_ffi.py:ffi"],
    cmdclass={"bdist_wheel": StableAbiWheel},
    packages=[*find_packages("src"), *(f"ravatar_audio.{name}" for name in find_packages(include=["benches*"]))],
    package_dir={"": "src", "ravatar_audio.benches": "benches"},
)
