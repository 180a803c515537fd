"""What comes is noticed, and what others do in the same folders is not taken for it."""

import os
import socket
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import trio
import trio.testing

from ravatar_audio.capture.microphone.hotplug_watch import HotplugWatch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")


def serve(path: Path) -> socket.socket:
    """As a sound server does."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    return server


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture(params=["told", "polled"])
def is_told(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if request.param == "polled":
        monkeypatch.setattr(HotplugWatch, "_watch", lambda self: -38)  # no inotify here
    return bool(request.param == "told")


async def test_a_server_is_noticed_wherever_its_folders_begin(tmp_path: Path, is_told: bool) -> None:
    folder = tmp_path / "run" / "user" / "pulse"
    with closing(HotplugWatch(tmp_path / "snd", [folder / "native"])) as arrivals:
        for made in (*reversed(folder.parents[:2]), folder):
            made.mkdir()
            if is_told:  # or the folder in it would never be heard of
                with trio.fail_after(5):
                    await arrivals.wait()
            assert not arrivals.have_come(), "a folder is no server"
        with serve(folder / "native"):
            if is_told:
                with trio.fail_after(5):
                    await arrivals.wait()
            assert arrivals.have_come()
            assert not arrivals.have_come()


async def test_a_server_that_comes_again_is_noticed_and_one_that_goes_is_not(tmp_path: Path, is_told: bool) -> None:
    path = tmp_path / "native"
    with serve(path), closing(HotplugWatch(tmp_path / "snd", [path])) as arrivals:
        assert not arrivals.have_come(), "it was there before"
        path.unlink()
        assert not arrivals.have_come()
        with serve(path):
            assert arrivals.have_come()
        path.unlink()
        with serve(path):
            assert arrivals.have_come(), "both happened before anybody looked"
            path.chmod(0)
            assert arrivals.have_come(), "others may use it now"


async def test_what_clients_and_others_do_in_a_servers_folder_is_no_arrival(tmp_path: Path, is_told: bool) -> None:
    def connect() -> None:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))

    path = tmp_path / "native"
    others: list[Callable[[], object]] = [
        connect,
        (tmp_path / "cookie").touch,
        lambda: (tmp_path / "cookie").chmod(0o600),
        lambda: (tmp_path / "cookie").rename(tmp_path / "pid"),
        (tmp_path / "dconf").mkdir,
        (tmp_path / "pid").unlink,
    ]
    with serve(path), closing(HotplugWatch(tmp_path / "snd", [path])) as arrivals:
        for act in others:
            act()
            assert not arrivals.have_come()


async def test_a_devices_folder_that_comes_goes_and_comes_is_watched_each_time(tmp_path: Path, is_told: bool) -> None:
    folder = tmp_path / "snd"
    with closing(HotplugWatch(folder)) as arrivals:
        for _ in range(3):
            folder.mkdir()
            assert not arrivals.have_come()
            (folder / "pcmC1D0c").touch()
            assert arrivals.have_come()
            (folder / "pcmC1D0c").unlink()
            folder.rmdir()
            assert not arrivals.have_come()


async def test_closing_gives_the_files_back_and_lets_a_waiter_go(tmp_path: Path) -> None:
    before = open_files()
    arrivals = HotplugWatch(tmp_path / "snd", [tmp_path / "pulse" / "native", tmp_path / "pipewire-0"])
    assert open_files() == before + 1
    assert not os.get_inheritable(arrivals._fd)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(arrivals.wait)
            await trio.testing.wait_all_tasks_blocked()
            arrivals.close()
    arrivals.close()
    with trio.fail_after(5):
        while open_files() != before:  # noqa: ASYNC110 - a thread closes it, and says nothing
            await trio.sleep(0.005)


async def test_closing_lets_go_of_a_waiter_that_has_just_begun(tmp_path: Path) -> None:
    for turns in 20 * [1, 2]:  # trio shuffles who comes first
        arrivals = HotplugWatch(tmp_path / "snd")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(arrivals.wait)
            for _ in range(turns):
                await trio.lowlevel.checkpoint()
            arrivals.close()
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()


async def test_looking_again_keeps_the_descriptor_as_closing_it_would_hold_up_everything(tmp_path: Path) -> None:
    folder = tmp_path / "snd"
    with closing(HotplugWatch(folder)) as arrivals:
        descriptor = os.fstat(arrivals._fd)
        closed: list[int] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "close", closed.append)
            for _ in range(2):
                folder.mkdir()
                arrivals.have_come()
                folder.rmdir()
                arrivals.have_come()
        assert not closed
        assert os.fstat(arrivals._fd) == descriptor
