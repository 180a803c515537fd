"""The house's rules that a machine can check: no callback into Python, and no room that reaches above itself."""

import ast
import re
from pathlib import Path

import pytest

import ravatar_audio

PACKAGE = Path(ravatar_audio.__file__).parent
CSRC = PACKAGE.parent.parent / "csrc"

# From the ground up; a room uses rooms on floors below its own, and its own.
FLOORS = [
    {
        "_version",
        "_loading",
        "arguments",
        "choices",
        "addresses",
        "deprecation",
        "errors",
        "frames",
        "printable",
        "setting_values",
    },
    {"settings", "worlds", "groups"},
    {"_core", "native", "conversion", "converter", "energy"},
    {"capture", "observe"},
    {"processing"},
    {"turns"},
    {"api"},
    {"playback"},
    {"session"},
    {"diagnosis"},
    {"emulator", "testing"},
    {"embedding"},
    {"asyncio", "blocking"},
    {"kiosk"},
    {"load"},
    {"cli", "__main__"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

# Rooms within a room, from the ground up, by the same rule; no module lies beside them.
INNER_FLOORS = {
    "capture": ["host", "devices", "servers", "streams", "microphone", "sources"],
}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_names(path: Path) -> set[str]:
    """The package's modules, or names in them, that a module imports anywhere, without "ravatar_audio."."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            names = [f"{module}.{alias.name}" for alias in node.names]
        found |= {name.removeprefix("ravatar_audio.") for name in names if name.startswith("ravatar_audio.")}
    return found


def imported_rooms(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported_names(path)}


MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.name != "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_room_uses_a_room_above_it(path: Path) -> None:
    here = FLOOR[room_of(path)]
    above = {room for room in imported_rooms(path) if FLOOR[room] > here}
    assert not above, f"{path.relative_to(PACKAGE)} on floor {here} uses {sorted(above)}"


INNER_MODULES = [
    path for path in MODULES if room_of(path) in INNER_FLOORS and path.relative_to(PACKAGE).parts[1] != "__init__.py"
]


@pytest.mark.parametrize("path", INNER_MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_room_within_a_room_uses_one_above_it(path: Path) -> None:
    room, inner, *_ = path.relative_to(PACKAGE).parts
    floors = INNER_FLOORS[room]
    assert inner in floors, f"{path.relative_to(PACKAGE)} belongs into one of {floors}"
    used = {name.split(".")[1] for name in imported_names(path) if name.startswith(f"{room}.")}
    allowed = floors[: floors.index(inner) + 1]
    above = used - set(allowed)
    assert not above, f"{path.relative_to(PACKAGE)} uses {sorted(above)}; it may use {allowed}"


BENCHES = CSRC.parent / "benches"
BENCH_ROOMS = ["report", "rig", "rivals", ""]
"""From the ground up; "" are the questions and commands themselves, as `python -m benches.NAME`."""


@pytest.mark.parametrize("path", sorted(BENCHES.rglob("*.py")), ids=lambda path: str(path.relative_to(BENCHES)))
def test_no_room_of_the_benches_uses_one_above_it(path: Path) -> None:
    folders = path.relative_to(BENCHES).parts[:-1]
    here = folders[0] if folders else ""
    allowed = BENCH_ROOMS[: BENCH_ROOMS.index(here) + 1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level > len(folders):
            names = [node.module] if node.module else [alias.name for alias in node.names]
            for name in names:
                first = name.partition(".")[0]
                assert (first if first in BENCH_ROOMS else "") in allowed, f"{path.name} uses {name}"


def imported_packages(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = {
        alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    return found | {(node.module or "").split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}


PURE = [
    *(
        PACKAGE / f"{name}.py"
        for name in ("addresses", "deprecation", "errors", "frames", "printable", "setting_values", "settings")
    ),
    *(PACKAGE / "api" / f"{name}.py" for name in ("answers", "backoff", "link_end", "messages", "proxy", "results")),
    *(PACKAGE / "session" / f"{name}.py" for name in ("avatar_speech", "message_limits", "refusals", "selection")),
    *(PACKAGE / "load" / f"{name}.py" for name in ("draws", "machine_clock", "requirements", "schedule", "tally")),
    *(PACKAGE / "turns").glob("*.py"),
]


@pytest.mark.parametrize("path", PURE, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_is_pure_knows_neither_trio_nor_the_core(path: Path) -> None:
    known = imported_packages(path) & {"trio", "socket", "threading"} - (
        {"threading"} if path.stem == "gate" else set()
    )
    assert not known, "a gate alone has a lock, for a button's thread"
    assert not imported_rooms(path) & {"_core", "native", "converter"}


OUTER = ["trio_websocket", "httpx2", "pyaudio", "opentelemetry", "prometheus_client", "distributed", "mcap"]


@pytest.mark.parametrize("package", OUTER)
def test_one_module_knows_each_outer_library(package: str) -> None:
    users = [str(path.relative_to(PACKAGE)) for path in MODULES if package in imported_packages(path)]
    assert len(users) <= 1, users


FACES = {"asyncio", "blocking"}
"""They have the names of what they are the faces of, and each other's."""


def test_a_class_name_means_one_thing() -> None:
    found: dict[str, list[str]] = {}
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and room_of(path) not in FACES:
                found.setdefault(node.name, []).append(str(path.relative_to(PACKAGE)))
    assert {name: paths for name, paths in found.items() if len(paths) > 1} == {}


def test_the_interpreter_cannot_be_called_from_the_core() -> None:
    """The cdef that the extension was built from declares no function that Python would implement."""
    for path in [*CSRC.rglob("*.h"), *CSRC.rglob("*.c"), CSRC / "python" / "build_ffi.py"]:
        code = path.read_text(encoding="utf-8").replace('`extern "Python"`', "")
        assert 'extern "Python' not in code, path.name


MAY_INCLUDE = {
    "os": set[str](),
    "core": {"resample"},
    "resample": {"core", "voice"},  # its kernels compile the inner loops of both rooms, once for each processor
    "voice": {"core", "resample"},
    "streams": {"core", "os"},
    "wire": {"core"},
    "python": {"core", "wire"},
}
"""Which rooms of csrc/ the files of a room include headers of, beside their own."""


def test_the_rooms_of_the_core_include_only_what_they_may() -> None:
    assert {path.name for path in CSRC.iterdir() if path.is_dir()} - {"__pycache__"} == set(MAY_INCLUDE)
    for path in [*CSRC.rglob("*.h"), *CSRC.rglob("*.c")]:
        room = path.relative_to(CSRC).parts[0]
        for name in re.findall(r'^ *# *include "([^"]+)"', path.read_text(encoding="utf-8"), re.MULTILINE):
            assert name.split("/")[0] in MAY_INCLUDE[room] | {room}, f"{path.name} includes {name}"


def test_the_terminal_is_written_to_by_one_function() -> None:
    """So that nothing foreign acts on it; what writes for itself draws the meter, or asks the keyboard."""
    callers = [
        path.name
        for path in sorted((PACKAGE / "cli").glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and (
            (isinstance(node.func, ast.Attribute) and node.func.attr in ("echo", "secho"))
            or (isinstance(node.func, ast.Name) and node.func.id == "print")
        )
    ]
    assert set(callers) == {"output.py"}


def test_every_log_of_the_package_is_one_line_for_each_record() -> None:
    others = [
        str(path.relative_to(PACKAGE)) for path in MODULES if "getLogger(__name__)" in path.read_text(encoding="utf-8")
    ]
    assert others == [], "use observe.log.line_logger"
