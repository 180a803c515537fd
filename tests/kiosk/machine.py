"""A kiosk in QEMU: started, given commands over a virtual serial port, and cut off from its power."""

import base64
import json
import shlex
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from .image import Image


class FailedError(Exception):
    """What a scenario expected and did not see, or a machine that does not answer."""


class Machine:
    """One emulated computer with a disk of its own over an image, which `power_on` boots again as it was left.

    Times are of this machine's clock unless they are called `up_s`, the kiosk's own since its kernel began. With the
    accelerator "icount" the kiosk's time is counted in instructions: a busy host makes all of it slower, none late.
    """

    def __init__(
        self, image: Image, folder: Path, *, accelerator: str = "tcg", memory_mib: int = 1024, processors: int = 2
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._image = folder, image
        self.disk = folder / "disk.qcow2"
        self._accelerator, self._memory_mib, self._processors = accelerator, memory_mib, processors
        self._process: subprocess.Popen[bytes] | None = None
        self._agent: socket.socket | None = None
        self._rest = b""
        self._number = 0
        self.up_s = 0.0
        """The kiosk's time at its last answer."""
        self.new_disk()

    def new_disk(self) -> None:
        """As it came from the image."""
        self.disk.unlink(missing_ok=True)
        base = str(self._image.disk.resolve())
        command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", str(self.disk)]
        subprocess.run(command, check=True)

    def power_on(self, *, script: str = "", clock: str = "", limit_s: float = 600.0) -> float:
        """Boot; returns after how many seconds the hand answers.

        `script` is for sh, early in the boot, when the disk can be written to; `clock` the hardware's, as
        2001-01-01T00:00:00.
        """
        self._number += 1000
        for name in ("agent.sock", "serial.sock"):
            (self.folder / name).unlink(missing_ok=True)
        accelerator = {"tcg": "tcg,thread=multi,tb-size=512", "icount": "tcg,thread=single,tb-size=512"}
        words = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35"]
        words += [
            "-accel",
            accelerator.get(self._accelerator, self._accelerator),
            "-cpu",
            "max",
            "-smp",
            str(self._processors),
            "-m",
            str(self._memory_mib),
        ]
        words += ["-kernel", str(self._image.kernel / "vmlinuz"), "-initrd", str(self._image.kernel / "initrd")]
        words += ["-append", "root=/dev/vda rw console=ttyS0 quiet loglevel=3 panic=-1 net.ifnames=0"]
        words += [
            "-chardev",
            f"file,id=serial,path={self.folder / 'console.log'},append=on",
            "-serial",
            "chardev:serial",
        ]
        words += [
            "-device",
            "virtio-serial-pci",
            "-chardev",
            f"socket,id=agent,path={self.folder / 'agent.sock'},server=on,wait=off",
        ]
        words += ["-device", "virtserialport,chardev=agent,name=kiosk.agent", "-device", "virtio-rng-pci"]
        words += [
            "-drive",
            f"if=none,id=root,file={self.disk},format=qcow2,cache=writeback",
            "-device",
            "virtio-blk-pci,drive=root",
        ]
        drive = self.folder / "script.raw"
        drive.write_bytes(script.encode().ljust(65_536, b"\0"))
        words += ["-drive", f"if=none,id=script,file={drive},format=raw,readonly=on"]
        words += ["-device", "virtio-blk-pci,drive=script"]
        words += ["-netdev", "user,id=net0,restrict=on", "-device", "virtio-net-pci,netdev=net0,romfile="]
        if self._accelerator == "icount":
            words += ["-icount", "shift=1,sleep=off"]
        if clock or self._accelerator == "icount":
            words += ["-rtc", f"base={clock or time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime())},clock=vm"]
        began_s = time.monotonic()
        log = (self.folder / "qemu.log").open("ab")
        self._process = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        self._await_agent(began_s + limit_s)
        return time.monotonic() - began_s

    def power_off(self) -> None:
        """The plug is pulled: nothing inside hears of it."""
        if self._agent is not None:
            self._agent.close()
            self._agent = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def shut_down(self, limit_s: float = 120.0) -> float:
        """In order, as by its switch; returns how long that took."""
        began_s = time.monotonic()
        self.run("systemctl poweroff --no-block")
        assert self._process is not None
        try:
            self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise FailedError(f"it has not shut down within {limit_s:.0f} s") from None
        finally:
            self.power_off()
        return time.monotonic() - began_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.power_off()

    def run(self, command: str, *, limit_s: float = 120.0, may_fail: bool = False) -> str:
        """A command of bash inside; returns what it wrote. Raises FailedError where it fails, unless it may."""
        self._number += 1
        number = self._number
        self._send({"id": number, "command": command, "limit_s": limit_s})
        answer = self._answer(lambda message: message.get("id") == number, 3 * limit_s + 60.0)
        if answer is None:
            raise FailedError(f"no answer to: {command}")
        out = base64.b64decode(answer["out"]).decode(errors="replace")
        if answer["code"] and not may_fail:
            raise FailedError(f"{command}\n  ended with {answer['code']}: {out.strip()[-1500:]}")
        return out.strip()

    def put(self, path: str, text: str) -> None:
        """A file inside."""
        data = base64.b64encode(text.encode()).decode()
        self.run(f"base64 -d <<<'{data}' >{shlex.quote(path)}")

    def wait_for(self, command: str, *, limit_s: float, what: str) -> float:
        """Until a command inside succeeds, asked four times a second there; returns the kiosk's time then."""
        loop = (
            f"end=$((SECONDS + {int(limit_s)})); until {command}; do [ $SECONDS -lt $end ] || exit 1; sleep 0.25; done"
        )
        try:
            self.run(loop, limit_s=limit_s + 30.0)
        except FailedError:
            state = self.run("systemctl status --no-pager -n 15 ravatar-audio-kiosk", may_fail=True)
            raise FailedError(f"not within {limit_s:.0f} s: {what}\n{state}") from None
        return self.up_s

    def _await_agent(self, end_s: float) -> None:
        self._agent, self._rest = self._connect(end_s), b""
        while time.monotonic() < end_s:
            assert self._process is not None
            if self._process.poll() is not None:
                raise FailedError("qemu has ended: " + (self.folder / "qemu.log").read_text()[-1000:])
            self._number += 1
            number = self._number
            self._send({"ping": number}, end_s - time.monotonic())
            if self._answer(lambda message, number=number: message.get("pong") == number, 1.0):  # type: ignore[misc]
                return
        console = (self.folder / "console.log").read_text(errors="replace")
        raise FailedError(f"the machine does not answer; its console says:\n{console[-2500:]}")

    def _connect(self, end_s: float) -> socket.socket:
        while True:
            agent = socket.socket(socket.AF_UNIX)
            try:
                agent.connect(str(self.folder / "agent.sock"))
            except OSError:
                agent.close()
                if time.monotonic() > end_s or self._process is None or self._process.poll() is not None:
                    raise FailedError(
                        "qemu does not start: " + (self.folder / "qemu.log").read_text()[-1000:]
                    ) from None
                time.sleep(0.1)
            else:
                agent.settimeout(0.5)
                return agent

    def _send(self, order: dict[str, Any], limit_s: float = 60.0) -> None:
        data = json.dumps(order).encode() + b"\n"
        assert self._agent is not None
        end_s = time.monotonic() + limit_s
        while data:
            try:
                data = data[self._agent.send(data) :]
            except TimeoutError:
                if time.monotonic() > end_s:
                    raise FailedError("the machine takes no command") from None

    def _answer(self, is_wanted: Callable[[dict[str, Any]], bool], limit_s: float) -> dict[str, Any] | None:
        end_s = time.monotonic() + limit_s
        assert self._agent is not None
        while True:
            while b"\n" in self._rest:
                line, self._rest = self._rest.split(b"\n", 1)
                try:
                    message: dict[str, Any] = json.loads(line)
                except ValueError:
                    continue
                self.up_s = message.get("up_s", self.up_s)
                if is_wanted(message):
                    return message
            if time.monotonic() > end_s:
                return None
            try:
                data = self._agent.recv(65_536)
            except TimeoutError:
                continue
            if not data:
                raise FailedError("the machine has gone")
            self._rest += data
