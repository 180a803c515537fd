"""Why a microphone cannot be had: who holds it, which group may open it, which sound server does not answer."""

import errno
from pathlib import Path

import pytest

from ravatar_audio.capture.devices.cards import list_capture_devices
from ravatar_audio.capture.devices.holders import Holder, holders_of, list_holders
from ravatar_audio.capture.devices.permissions import look_at_access
from ravatar_audio.capture.servers.status import (
    Process,
    Server,
    Servers,
    look_at_servers,
    socket_paths,
)
from ravatar_audio.capture.streams.open_errors import explained, of_servers, with_holders
from ravatar_audio.errors import DeviceInUseError, DeviceNotFoundError, PermissionDeniedError

ARRAY = "hw:CARD=Array,DEV=0"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine with one USB microphone, which nobody has open."""
    card = tmp_path / "proc/asound/card2"
    write(card / "id", "Array\n")
    write(card / "usbid", "2886:0018\n")
    write(card / "pcm0c/info", "card: 2\ndevice: 0\nname: USB Audio\n")
    write(card / "pcm0c/sub0/status", "closed\n")
    write(tmp_path / "dev/snd/pcmC2D0c", "")
    return tmp_path


def program(root: Path, pid: int, name: str, *files: str) -> None:
    write(root / f"proc/{pid}/comm", f"{name}\n")
    for number, file in enumerate(files):
        link = root / f"proc/{pid}/fd/{number}"
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(file)


def test_the_kernel_tells_whose_thread_has_the_device(root: Path) -> None:
    assert holders_of(ARRAY, root) == []
    write(root / "proc/asound/card2/pcm0c/sub0/status", "state: RUNNING\nowner_pid   : 4711\ntrigger_time: 1.0\n")
    write(root / "proc/4711/status", "Name:\tworker\nTgid:\t4700\n")
    program(root, 4700, "arecord")
    (device,) = list_capture_devices(root)
    assert list_holders(device, root) == [Holder(4700, "arecord")]


def test_open_files_tell_who_has_the_device(root: Path) -> None:
    program(root, 10, "vlc", "/dev/null", "/dev/snd/pcmC2D0p")
    program(root, 11, "pulseaudio", "/dev/null", "/dev/snd/pcmC2D0c")
    (root / "proc/12").mkdir()  # another user's: its files cannot be seen
    assert holders_of(ARRAY, root) == [Holder(11, "pulseaudio")]


def test_a_busy_device_names_who_has_it(root: Path) -> None:
    program(root, 11, "arecord", "/dev/snd/pcmC2D0c")
    error = explained(DeviceInUseError("it is busy", errno="EBUSY"), ARRAY, root)
    assert isinstance(error, DeviceInUseError)
    assert "held by arecord (pid 11)" in error.message
    assert error.advice == "Close what records from it: arecord (pid 11)."
    assert error.details["errno"] == "EBUSY"


def test_a_device_that_the_sound_server_has_is_to_be_taken_through_it() -> None:
    error = with_holders(DeviceInUseError("it is busy"), [Holder(7, "pipewire")])
    assert "--device default" in error.advice
    assert "pipewire (pid 7)" in error.advice


def test_a_busy_device_of_an_unknown_holder_keeps_the_general_advice() -> None:
    assert with_holders(DeviceInUseError("it is busy"), []).advice == DeviceInUseError("").advice


def test_forbidden_nodes_name_the_group_that_may(root: Path) -> None:
    free = look_at_access(root, may_open=lambda node: True)
    assert (free.nodes, free.forbidden) == (("pcmC2D0c",), ())
    access = look_at_access(root, may_open=lambda node: False)
    assert access.forbidden == access.nodes
    group = (root / "dev/snd").group()
    assert (access.group, group in access.groups) == (group, True)
    assert f"usermod -aG {group} {access.user}" in access.advice
    assert f"SupplementaryGroups={group}" in access.advice


REFUSED = DeviceNotFoundError("the device 'default' cannot be opened: Connection refused", errno="ECONNREFUSED")
SOCKET = Path("/run/user/1000/pulse/native")


def test_a_sound_server_that_is_not_there_is_to_be_started() -> None:
    error = of_servers(REFUSED, Servers((), (Server("PulseAudio", SOCKET, errno.ENOENT),)))
    assert isinstance(error, DeviceNotFoundError)
    assert "systemctl --user start" in error.advice


def test_a_sound_server_of_another_user_is_a_matter_of_permission() -> None:
    error = of_servers(REFUSED, Servers((), (Server("PulseAudio", SOCKET, errno.EACCES),)))
    assert isinstance(error, PermissionDeniedError)
    assert str(SOCKET) in error.message
    assert "as the user" in error.advice


@pytest.mark.parametrize(
    ("processes", "said", "advised"),
    [
        ([], "no sound server answers", "systemctl --user start"),
        (
            [Process("pipewire", 5, "kiosk", "/run/user/7")],
            "PipeWire (pid 5) runs for another user (kiosk)",
            "/user/7)",
        ),
        ([Process("pipewire", 5, "kiosk")], "no sound server answers; PipeWire", "XDG_RUNTIME_DIR=/run/user/UID"),
        ([Process("pulseaudio", 5, "", "/run/user/9")], "in another session", "XDG_RUNTIME_DIR=/run/user/9 "),
        ([Process("pulseaudio", 5, "", "/run/user/1")], "answers, though PulseAudio (pid 5) runs", "pulseaudio -k"),
        ([Process("jackd", 5), Process("pipewire", 6)], "though JACK (pid 5), PipeWire (pid 6) run", "restart"),
        ([Process("jackd", 5), Process("pipewire", 6, "kiosk")], "though JACK (pid 5) runs", "restart"),
    ],
)
def test_a_sound_server_that_runs_for_somebody_else_is_not_to_be_started_again(
    processes: list[Process], said: str, advised: str
) -> None:
    servers = Servers(tuple(processes), (Server("PulseAudio", SOCKET, errno.ENOENT),), "/run/user/1")
    why, advice = servers.why_none_answers
    assert said in why
    assert advised in advice
    error = of_servers(REFUSED, servers)
    assert error.message == f"{REFUSED.message}; {why}"
    assert error.advice == advice


def test_whose_a_sound_server_is_and_where_its_sockets_are(tmp_path: Path) -> None:
    program(tmp_path, 900, "pipewire")
    write(tmp_path / "proc/900/environ", "HOME=/home/kiosk\0XDG_RUNTIME_DIR=/run/user/1000\0LANG=C\0")
    owner = (tmp_path / "proc/900").stat().st_uid
    (own,) = look_at_servers(tmp_path, {}, owner, lambda path: errno.ENOENT).processes
    assert own == ("pipewire", 900, "", "/run/user/1000")
    (foreign,) = look_at_servers(tmp_path, {}, owner + 1, lambda path: errno.ENOENT).processes
    assert foreign.user == (tmp_path / "proc/900").owner()


def test_a_container_without_its_devices_is_seen(root: Path) -> None:
    assert look_at_access(root).missing == ()
    (root / "dev/snd/pcmC2D0c").unlink()
    assert look_at_access(root).missing == ("pcmC2D0c",)


def test_a_sound_server_that_answers_is_not_blamed() -> None:
    assert of_servers(REFUSED, Servers((), (Server("PulseAudio", SOCKET, 0),))) is REFUSED


def test_running_servers_are_found_by_their_programs_and_their_sockets(tmp_path: Path) -> None:
    program(tmp_path, 900, "pipewire")
    program(tmp_path, 901, "pipewire-pulse")
    program(tmp_path, 902, "bash")
    asked = []

    def connect(path: Path) -> int:
        asked.append(path)
        return 0 if path.name == "native" else errno.ENOENT

    found = look_at_servers(tmp_path, {"XDG_RUNTIME_DIR": "/run/user/1000"}, 1000, connect)
    assert [process[:2] for process in found.processes] == [("pipewire", 900), ("pipewire-pulse", 901)]
    assert [server.protocol for server in found.answering] == ["PulseAudio"]
    assert asked == [tmp_path / "run/user/1000/pulse/native", tmp_path / "run/user/1000/pipewire-0"]


@pytest.mark.parametrize(
    ("environ", "pulse", "pipewire"),
    [
        ({}, "/run/user/7/pulse/native", "/run/user/7/pipewire-0"),
        ({"PULSE_SERVER": "unix:/a/native"}, "/a/native", "/run/user/7/pipewire-0"),
        ({"PULSE_SERVER": "/b/native", "PIPEWIRE_REMOTE": "pw"}, "/b/native", "/run/user/7/pw"),
        ({"PULSE_SERVER": "tcp:desk:4713"}, None, "/run/user/7/pipewire-0"),
        ({"PULSE_RUNTIME_PATH": "/c", "PIPEWIRE_RUNTIME_DIR": "/d"}, "/c/native", "/d/pipewire-0"),
    ],
)
def test_where_a_sound_servers_clients_look(environ: dict[str, str], pulse: str | None, pipewire: str) -> None:
    found = {protocol: str(path) for protocol, path in socket_paths(environ, 7).items()}
    assert found == ({"PulseAudio": pulse} if pulse else {}) | {"PipeWire": pipewire}
