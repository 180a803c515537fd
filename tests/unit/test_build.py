"""The build: one wheel for every CPython, and what is said when something is missing."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import HANG_LIMIT_S, ROOT, starts_a_process

pytestmark = starts_a_process


def run_builder(tmp_path: Path, compiler: str, code: str = "") -> subprocess.CompletedProcess[str]:
    """The builder as setuptools runs it, or `code` in its folder, with a script for a compiler."""
    script = tmp_path / "compiler"
    script.write_text(f"#!/bin/sh\n{compiler}\n")
    script.chmod(0o755)
    return subprocess.run(
        [sys.executable, *(["-c", code] if code else ["build_ffi.py", tmp_path / "core.c"])],
        cwd=ROOT / "csrc" / "python",
        env=os.environ | {"CC": str(script)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("compiler", "missing"),
    [("exit 1", "no compiler works"), ("! grep -q portaudio probe.c", "portaudio.h is missing")],
)
def test_what_is_missing_is_named_with_the_command_that_installs_it(
    tmp_path: Path, compiler: str, missing: str
) -> None:
    result = run_builder(tmp_path, compiler)
    assert result.returncode == 1
    assert missing in result.stderr
    assert "sudo apt-get install gcc libc6-dev portaudio19-dev" in result.stderr
    assert "Traceback" not in result.stderr
    assert run_builder(tmp_path, "exit 0").returncode == 0


CROSS_COMPILER = "arm-linux-gnueabihf-gcc"


@pytest.mark.skipif(not shutil.which(CROSS_COMPILER), reason=f"no {CROSS_COMPILER} here; scripts/test-arm installs it")
@pytest.mark.parametrize(
    "machine", ["-march=armv6 -mfpu=vfp -marm", "-march=armv7-a -mfpu=vfpv3-d16"], ids=["raspberry-pi-os", "no-neon"]
)
def test_the_core_builds_with_the_compilers_of_32_bit_arm(tmp_path: Path, machine: str) -> None:
    """Each unit without a warning, nothing left undefined, and atomics that take no lock."""
    shutil.copy("/usr/include/portaudio.h", tmp_path)
    compiler = [CROSS_COMPILER, *machine.split(), "-mfloat-abi=hard"]
    environment = os.environ | {
        "CC": " ".join(compiler),
        "CFLAGS": f"-I{tmp_path}",
        "PYTHONPATH": str(ROOT / "csrc" / "python"),
    }
    ask = "import build_ffi, json; print(json.dumps([build_ffi.FLAGS, *build_ffi.for_atomics()]))"
    answer = subprocess.run([sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=True)
    flags, more_flags, libraries = json.loads(answer.stdout)
    assert libraries == []
    # -O1, as the kernels take long at -O3, and nothing of what is asked here depends on it.
    flags += [*more_flags, "-O1", "-Wpedantic", "-Werror", "-shared", "-fPIC", "-Wl,--no-undefined"]
    places = [f"-I{tmp_path}", f"-I{ROOT / 'csrc'}"]
    units = sorted((ROOT / "csrc").rglob("rva_*.c"))
    subprocess.run([*compiler, *flags, *places, *units, "-lm", "-ldl", "-o", tmp_path / "core.so"], check=True)


@pytest.mark.parametrize(
    ("compiler", "needed"),
    [
        ("exit 0", [[], []]),
        ("! grep -q lock_free probe.c || echo $* | grep -q armv6k", [["-march=armv6k+fp"], []]),
        ("! grep -q lock_free probe.c", [[], ["atomic"]]),
    ],
)
def test_a_compiler_without_atomics_of_eight_bytes_is_helped(tmp_path: Path, compiler: str, needed: list[str]) -> None:
    result = run_builder(tmp_path, compiler, "import build_ffi, json; print(json.dumps(build_ffi.for_atomics()))")
    assert json.loads(result.stdout) == needed


def compile_as_on_a_mac(tmp_path: Path, *arguments: str | Path) -> None:
    """What can be said about macOS elsewhere: without Linux's parts, and without an errno that Darwin does not have."""
    (tmp_path / "errno.h").write_text("#include_next <errno.h>\n#undef ESTRPIPE\n")
    (tmp_path / "time.h").write_text("#include_next <time.h>\n#define CLOCK_UPTIME_RAW 8\n")
    system = ["-U__linux__", "-D__APPLE__", "-isystem", str(tmp_path), f"-I{ROOT / 'csrc'}"]
    warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    command: list[str | Path] = [os.environ.get("CC", "cc"), "-std=c11", "-D_GNU_SOURCE", *system, *warnings]
    subprocess.run([*command, *arguments], check=True)


def test_every_unit_compiles_without_what_only_linux_has(tmp_path: Path) -> None:
    units = [unit for unit in sorted((ROOT / "csrc").rglob("rva_*.c")) if "_kernel_" not in unit.name]
    compile_as_on_a_mac(tmp_path, "-fsyntax-only", *units)


def test_on_a_mac_the_cores_clock_is_pythons(tmp_path: Path) -> None:
    """time.monotonic() stands still there while the machine sleeps, and CLOCK_MONOTONIC does not."""
    (tmp_path / "clock.c").write_text("""
        #include <time.h>
        static clockid_t asked;
        static int answer(clockid_t clock, struct timespec *now) {
            asked = clock;
            *now = (struct timespec){.tv_sec = 1};
            return 0;
        }
        #define clock_gettime answer
        #include "core/rva_rt.h"
        int main(void) { return rva_clock_ns() == 1000000000 && asked == CLOCK_UPTIME_RAW ? 0 : 1; }
    """)
    compile_as_on_a_mac(tmp_path, tmp_path / "clock.c", "-o", tmp_path / "clock")
    subprocess.run([tmp_path / "clock"], check=True, timeout=HANG_LIMIT_S)


RELEASED = {"SOURCE_DATE_EPOCH": "1700000000"}


def copied(target: Path, source: Path = ROOT) -> Path:
    """The sources as a fresh clone has them."""
    made = shutil.ignore_patterns(".*", "build", "dist", "*.so", "*.o", "*.egg-info", "__pycache__", "_core.c")
    shutil.copytree(source, target, ignore=made)
    return target


def built(source: Path, target: Path) -> Path:
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(target), "."]
    subprocess.run(command, cwd=source, env=os.environ | RELEASED, check=True)
    (wheel,) = target.glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, built from what a checkout has."""
    folder = tmp_path_factory.mktemp("wheel")
    return built(copied(folder / "source"), folder)


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive of the same, unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    make = "import setuptools.build_meta as backend; backend.build_sdist('..')"
    source = copied(folder / "source")
    subprocess.run([sys.executable, "-c", make], cwd=source, check=True, stdout=subprocess.DEVNULL)
    (archive,) = folder.glob("*.tar.gz")
    shutil.unpack_archive(archive, folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    return unpacked


def test_a_wheel_from_the_source_archive_is_that_from_the_tree_to_the_bit(
    wheel: Path, sdist: Path, tmp_path: Path
) -> None:
    """It was built in another folder, at another time: so this is also that a build can be repeated."""
    other = built(copied(tmp_path / "unpacked", sdist), tmp_path)
    assert other.name == wheel.name
    with zipfile.ZipFile(wheel) as ours, zipfile.ZipFile(other) as theirs:
        assert theirs.namelist() == ours.namelist()
        different = [name for name in ours.namelist() if ours.read(name) != theirs.read(name)]
        assert not different
    assert other.read_bytes() == wheel.read_bytes()


def test_the_released_source_archive_is_the_same_to_the_bit_whenever_it_is_made(tmp_path: Path) -> None:
    archives: list[bytes] = []
    for folder in ("one", "two"):
        tree = copied(tmp_path / folder / "tree")
        for file in tree.rglob("*"):
            os.utime(file, (len(archives) * 1000, len(archives) * 1000))
        tool = [sys.executable, str(ROOT / "scripts" / "source_archive.py"), str(tree), str(tmp_path / folder)]
        subprocess.run(tool, env=os.environ | RELEASED, check=True, stdout=subprocess.DEVNULL)
        (archive,) = (tmp_path / folder).glob("*.tar.gz")
        archives.append(archive.read_bytes())
    assert archives[0] == archives[1]


def test_the_source_archive_can_be_tested_and_holds_nothing_that_was_made(sdist: Path) -> None:
    names = {str(path.relative_to(sdist)) for path in sdist.rglob("*") if path.is_file()}
    tests = {str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("*.py")}
    units = {str(path.relative_to(ROOT)) for path in (ROOT / "csrc").rglob("*.[ch]") if path.name != "_core.c"}
    assert names >= tests | units | {
        "csrc/python/build_ffi.py",
        "scripts/test",
        "locked/run.txt",
        "CHANGELOG.md",
        "LICENSE",
    }
    assert not {name for name in names if name.endswith((".so", ".o", ".pyc", "_core.c"))}


def test_one_wheel_serves_every_python_and_links_to_nothing_but_the_c_library(wheel: Path, tmp_path: Path) -> None:
    assert "-cp311-abi3-" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        assert "ravatar_audio/py.typed" in archive.namelist()
        extension = archive.extract("ravatar_audio/_core.abi3.so", tmp_path)
    needed = subprocess.run(["objdump", "-p", extension], capture_output=True, text=True, check=True).stdout
    libraries = {line.split()[1].split(".so")[0] for line in needed.splitlines() if "NEEDED" in line}
    assert libraries <= {"libc", "libm", "libpthread", "libdl", "ld-linux-aarch64"}


def test_the_wheel_holds_the_package_and_the_benches_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    package = {
        f"ravatar_audio/{path.relative_to(ROOT / 'src' / 'ravatar_audio')}" for path in sources("src/ravatar_audio")
    }
    benches = {f"ravatar_audio/{path.relative_to(ROOT)}" for path in sources("benches")}
    assert {name for name in names if name.endswith(".py")} == package | benches
    assert {"ravatar_audio/benches/report/schema.json", "ravatar_audio/benches/rig/virtual_microphone.c"} <= names


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def test_benches_run_from_the_wheel_outside_the_tree(wheel: Path, tmp_path: Path) -> None:
    """One that runs everywhere, one that needs the source, and then the page."""
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(install, check=True)

    def bench(*words: str) -> str:
        command = [sys.executable, "-m", "ravatar_audio", "bench", *words]
        environment = os.environ | {"PYTHONPATH": str(site)}
        run = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=HANG_LIMIT_S
        )
        assert run.returncode == 0, run.stderr
        return run.stdout

    assert "missing: resample" in bench("turn", "resample", "--quick", "--json", "out")
    found = {path.name: json.loads(path.read_text()) for path in (tmp_path / "out").iterdir()}
    assert set(found) == {"turn.json", "resample.json"}
    assert "checkout" in found["resample.json"]["missing"][0]["why"]
    assert all(row["value"] is not None for row in found["turn.json"]["rows"])
    bench("report", "out")
    assert "Missing here: resample" in (tmp_path / "out" / "report.html").read_text()
