"""What a kiosk lives through, each on a machine that is up. What does not heal by itself raises FailedError."""

import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .machine import FailedError, Machine

SERVICE = "ravatar-audio-kiosk"
FRAME_S = 0.256
UP = "^(ready|hearing|thinking|speaking)$"
STATUS = f"systemctl show -p StatusText --value {SERVICE}"


@dataclass
class Kiosk:
    """A machine with what a scenario asks of it; times are the kiosk's own. `measured` becomes the table."""

    machine: Machine
    chance: random.Random
    measured: dict[str, str] = field(default_factory=dict)

    def show(self, name: str, unit: str = SERVICE) -> str:
        """A property of a unit."""
        return self.machine.run(f"systemctl show -p {name} --value {unit}")

    def await_status(self, pattern: str, *, limit_s: float) -> float:
        """Until the service's status text matches; returns the kiosk's time."""
        what = f"the status {pattern}"
        return self.machine.wait_for(f"{STATUS} | grep -qE '{pattern}'", limit_s=limit_s, what=what)

    def await_up(self, limit_s: float = 60.0) -> float:
        """Until a session is up and its sound arrives at the platform; returns the kiosk's time."""
        self.await_status(UP, limit_s=limit_s)
        return self.await_sound(limit_s)

    def await_sound(self, limit_s: float = 60.0) -> float:
        """Until the newest recording grows."""
        size = "stat -c %s $(ls -t /var/heard/*.wav | head -n 1)"
        before = self.machine.run(f"{size} 2>/dev/null || echo 0", may_fail=True).split()[-1]
        grows = f"[ $({size} 2>/dev/null || echo 0) -gt {int(before) + 8_000} ]"
        return self.machine.wait_for(grows, limit_s=limit_s, what="sound at the platform")

    def heard(self) -> dict[str, Any]:
        """The newest recording, judged."""
        told: dict[str, Any] = json.loads(
            self.machine.run("python3 /opt/test/judge.py $(ls -t /var/heard/*.wav | head -n 1)")
        )
        return told

    def replug(self, away_s: float) -> None:
        """The microphone is unplugged, and plugged again after a while."""
        self.machine.run(f"/opt/test/usb_microphone replug {away_s:.2f}")

    def set(self, **settings: str | None) -> None:
        """Change lines of the settings file; None takes one out."""
        for name, value in settings.items():
            self.machine.run(f"sed -i '/^{name} = /d' /etc/ravatar-audio.toml")
            if value is not None:
                self.machine.run(f"echo '{name} = {value}' >>/etc/ravatar-audio.toml")

    def expect(self, is_so: bool, what: str) -> None:
        """Raise FailedError unless it is so."""
        if not is_so:
            raise FailedError(what)


def power_on(kiosk: Kiosk) -> None:
    """From the kernel's begin to the first frame at the platform; then 20 s without a sample missing silently."""
    machine = kiosk.machine
    started_s = int(kiosk.show("ExecMainStartTimestampMonotonic")) / 1e6
    ready_s = int(kiosk.show("ActiveEnterTimestampMonotonic")) / 1e6
    kiosk.measured["service started, s after the kernel"] = f"{started_s:.1f}"
    kiosk.measured["ready, s after the kernel"] = f"{ready_s:.1f}"
    told = machine.run("f=$(ls -t /var/heard/*.wav | head -n 1); stat -c '%.Y %s' $f; date +%s.%N").split()
    written_s, size, now_s = float(told[0]), int(told[1]), float(told[2])
    begun_s = written_s - (size - 44) / 32_000 - (now_s - machine.up_s)
    kiosk.measured["first frame heard, s after the kernel"] = f"{begun_s + FRAME_S:.1f}"
    kiosk.expect(kiosk.show("NRestarts") == "0", "the service was started again")
    before = kiosk.heard()
    cpu_ns, began_s = int(kiosk.show("CPUUsageNSec")), machine.up_s
    machine.run("sleep 20")
    used_ns, took_s = int(kiosk.show("CPUUsageNSec")) - cpu_ns, machine.up_s - began_s
    after = kiosk.heard()
    kiosk.measured["CPU in a session, % of one (emulated)"] = f"{used_ns / took_s / 1e7:.1f}"
    kiosk.measured["memory, MiB"] = f"{int(kiosk.show('MemoryCurrent')) / 2**20:.0f}"
    new = [jump for jump in after["jumps"] if jump[0] >= before["samples"]]
    lost = sum(missing for _, missing in new)
    log = machine.run(f"journalctl -u {SERVICE} --no-pager -o cat")
    kiosk.expect(not new or "samples were lost" in log, f"samples are missing, and nothing says so: {new[:5]}")
    kiosk.expect(lost < 16_000, f"too much is missing for a machine that stands still at times: {new[:5]}")
    kiosk.expect(after["samples"] > before["samples"] + 16_000 * 12, f"too little was heard: {before} {after}")
    kiosk.measured["samples missing in 20 s, each reported"] = str(lost)


def replugged(kiosk: Kiosk, times: int = 3) -> None:
    """The microphone goes at a random moment and comes back; the page's status says so, and sound goes on."""
    machine, gaps = kiosk.machine, []
    for _ in range(times):
        machine.run(f"sleep {kiosk.chance.uniform(0.5, 4):.2f}")
        kiosk.replug(kiosk.chance.uniform(1.5, 4))
        kiosk.await_status("microphone", limit_s=15.0)
        kiosk.await_up(40.0)
        log = machine.run("journalctl -u test-microphone -o short-monotonic --no-pager | tail -n 12")
        plugged = re.findall(r"\[ *([\d.]+)\].*: [\d.]+ plugged", log)
        started = re.findall(r"\[ *([\d.]+)\].*: [\d.]+ start ", log)
        gaps.append(float(started[-1]) - float(plugged[-1]))
    kiosk.measured["plugged until the first sample is taken, s"] = f"at most {max(gaps):.2f} of {times}"
    kiosk.expect(kiosk.show("NRestarts") == "0", "the service was started again by an unplugged microphone")
    found = kiosk.heard()["jumps"]
    kiosk.expect(len(found) <= 3 * times + 2, f"more gaps than unpluggings: {found}")


def killed(kiosk: Kiosk) -> None:
    """kill -9: started again, and the session that was left behind is ended, as the platform has but one slot."""
    machine = kiosk.machine
    began_s = machine.up_s
    machine.run(f"kill -9 $(systemctl show -p MainPID --value {SERVICE})")
    machine.wait_for(f"[ $(systemctl show -p NRestarts --value {SERVICE}) -ge 1 ]", limit_s=30.0, what="a restart")
    kiosk.measured["kill -9 until sound is heard again, s"] = f"{kiosk.await_up(90.0) - began_s:.1f}"
    left = machine.run("find /var/lib/ravatar-audio/unended -type f | wc -l")
    kiosk.expect(int(left) <= 1, f"{left} sessions are kept, of which one is under way")


def reloaded(kiosk: Kiosk) -> None:
    """A wrong setting is said, by name, and nothing ends; the right one is taken at `systemctl reload`."""
    kiosk.set(project_id='"not possible!"')
    kiosk.machine.run(f"systemctl reload {SERVICE}")
    kiosk.await_status("waiting: settings", limit_s=15.0)
    log = kiosk.machine.run(f"journalctl -u {SERVICE} -n 20 --no-pager")
    kiosk.expect("project_id" in log, "the journal does not name the setting")
    kiosk.set(project_id='"kiosk-test"')
    began_s = kiosk.machine.up_s
    kiosk.machine.run(f"systemctl reload {SERVICE}")
    kiosk.measured["reload until sound is heard, s"] = f"{kiosk.await_up() - began_s:.1f}"


def platform_gone(kiosk: Kiosk) -> None:
    """The platform stops for a while, and has forgotten all when it comes back."""
    kiosk.machine.run("systemctl stop emulator")
    kiosk.await_status("network", limit_s=30.0)
    kiosk.machine.run("sleep 3; systemctl start emulator")
    kiosk.await_up(120.0)


def clock_stepped(kiosk: Kiosk) -> None:
    """The clock is set a year ahead, and a year back: nothing that lasts is measured by it."""
    restarts = kiosk.show("NRestarts")
    before = kiosk.heard()["samples"]
    for step in ("+1 year", "-1 year"):
        kiosk.machine.run(f'date -s "$(date -d "{step}")"; sleep 6')
        kiosk.await_up(30.0)
    kiosk.expect(kiosk.show("NRestarts") == restarts, "the service was started again")
    found = kiosk.heard()
    kiosk.expect(found["samples"] > before, "a new session was begun, or sound has stopped")


def upgraded(kiosk: Kiosk) -> None:
    """The package is installed over itself while it runs."""
    kiosk.machine.run("dpkg -i /opt/test/package.deb", limit_s=600.0)
    kiosk.await_up(90.0)


def disk_full(kiosk: Kiosk) -> None:
    """No byte is left on the disk: a new session begins all the same. The platform's own recordings are elsewhere."""
    machine = kiosk.machine
    machine.run("systemctl stop emulator; mount -t tmpfs tmpfs /var/heard; systemctl start emulator")
    machine.run("fallocate -l $(df --output=avail -B1 / | tail -n 1) /var/full")
    machine.run("dd if=/dev/zero of=/var/full2 bs=4k 2>/dev/null", may_fail=True)  # what is kept for root
    refused = machine.run(
        "setpriv --reuid ravatar-audio dd if=/dev/zero of=/var/lib/ravatar-audio/x bs=64k count=1 2>&1", may_fail=True
    )
    kiosk.expect("No space left" in refused, f"the disk is not full: {refused}")
    machine.run("rm -f /var/lib/ravatar-audio/x")
    machine.run(f"systemctl restart {SERVICE}", limit_s=200.0)
    kiosk.await_up(90.0)
    machine.run("rm /var/full /var/full2; systemctl stop emulator; umount /var/heard; systemctl start emulator")
    kiosk.await_up(120.0)


def without_microphone(kiosk: Kiosk) -> None:
    """Booted without one: ready, with the reason; then one is plugged in."""
    kiosk.await_status("waiting: microphone", limit_s=120.0)
    kiosk.expect(kiosk.show("ActiveState") == "active", "it is not ready, though it waits with a reason")
    began_s = kiosk.machine.up_s
    kiosk.machine.run("/opt/test/usb_microphone plug")
    kiosk.measured["plugged in late until sound is heard, s"] = f"{kiosk.await_up() - began_s:.1f}"


def without_network(kiosk: Kiosk) -> None:
    """Booted without the network on which the platform is; then it comes."""
    kiosk.await_status("waiting: network", limit_s=120.0)
    kiosk.expect(kiosk.show("ActiveState") == "active", "it is not ready, though it waits with a reason")
    began_s = kiosk.machine.up_s
    kiosk.machine.run("ip address add 192.0.2.1/32 dev lo")
    kiosk.measured["network until sound is heard, s"] = f"{kiosk.await_up() - began_s:.1f}"


def without_time(kiosk: Kiosk) -> None:
    """Booted with a clock of 2001: the platform's certificate is not valid yet. Then the clock is set."""
    kiosk.await_status("waiting: clock", limit_s=120.0)
    kiosk.expect(kiosk.show("ActiveState") == "active", "it is not ready, though it waits with a reason")
    began_s = kiosk.machine.up_s
    kiosk.machine.run("date -s @$(cat /etc/test-now)")
    kiosk.measured["time set until sound is heard, s"] = f"{kiosk.await_up(90.0) - began_s:.1f}"


def read_only(kiosk: Kiosk) -> None:
    """Booted from a disk that takes no byte."""
    kiosk.await_up(120.0)
    refused = kiosk.machine.run("touch /var/lib/x 2>&1", may_fail=True)
    kiosk.expect("Read-only file system" in refused, f"the disk can be written to: {refused}")


def little_memory(kiosk: Kiosk) -> None:
    """All of it, the platform too, in 256 MiB."""
    kiosk.await_up(180.0)
    kiosk.measured["memory with 256 MiB in all, MiB"] = f"{int(kiosk.show('MemoryCurrent')) / 2**20:.0f}"


def power_cut(kiosk: Kiosk, times: int = 3) -> None:
    """The plug is pulled at random moments after the beginning of a session: the next start finds its state whole."""
    machine = kiosk.machine
    kiosk.await_up(120.0)
    user = machine.run("cat /var/lib/ravatar-audio/user_id")
    for _ in range(times):
        machine.run(f"systemctl restart {SERVICE} --no-block; sleep {kiosk.chance.uniform(0.2, 9):.2f}")
        machine.power_off()
        machine.power_on()
        kiosk.await_up(120.0)
        kiosk.expect(machine.run("cat /var/lib/ravatar-audio/user_id") == user, "the user id is another one")
        empty = machine.run("find /var/lib/ravatar-audio -type f -empty")
        kiosk.expect(not empty, f"a state file is empty: {empty}")
        left = machine.run("find /var/lib/ravatar-audio/unended -type f | wc -l")
        kiosk.expect(int(left) <= 1, f"{left} sessions are kept, of which one is under way")


Scenario = Callable[[Kiosk], None]


@dataclass(frozen=True)
class Boot:
    """One start of a machine, and what happens then; `script` and `clock` as for Machine.power_on."""

    scenarios: tuple[Scenario, ...]
    script: str = ""
    clock: str = ""
    memory_mib: int = 1024
    begins_up: bool = True
    """Whether a session is waited for before the first scenario."""


QUICK = Boot((power_on, replugged, killed, reloaded, platform_gone, clock_stepped))
TLS = """
echo 'EMULATOR=--tls /etc/test.pem --tls-key /etc/test.key' >/etc/test-emulator
sed -i 's,^api_url.*,api_url = "https://127.0.0.1:8642"\\nca_file = "/etc/test.pem",' /etc/ravatar-audio.toml
"""
NETWORK = """
echo 'EMULATOR=--host 0.0.0.0' >/etc/test-emulator
sed -i 's,^api_url.*,api_url = "http://192.0.2.1:8642",' /etc/ravatar-audio.toml
"""
READ_ONLY = """
mkdir -p /var/heard
mount -t tmpfs tmpfs /var/heard
sync
echo 1 >/proc/sys/kernel/sysrq
echo u >/proc/sysrq-trigger # also where somebody has a file open for writing
"""
WHOLE = (
    QUICK,
    Boot((power_on, upgraded, disk_full)),
    Boot(
        (without_microphone,), "echo 'MICROPHONE=rates=16000 late=0 unplugged' >/etc/test-microphone", begins_up=False
    ),
    Boot((without_network,), NETWORK, begins_up=False),
    Boot((without_time,), TLS, "2001-01-01T00:00:00", begins_up=False),
    Boot((read_only,), READ_ONLY),
    Boot((little_memory,), memory_mib=256),
    Boot((power_cut,)),
)
