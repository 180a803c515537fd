"""A kiosk's disk: Debian with systemd, a kernel with USB sound, the package, and what the test has inside.

Nothing of this machine is changed, and nothing is mounted; needs to be root.
"""

import gzip
import io
import lzma
import os
import re
import shutil
import stat
import subprocess
import tarfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGES = (
    "systemd-sysv,udev,dbus,kmod,libnss-systemd,python3,python3-numpy,python3-cffi-backend,libpulse0,alsa-utils,iproute2,procps,"
    "ca-certificates,netbase,openssl"
)
"""Beside Debian's essential ones: what the package needs, and what the scenarios look with."""

BOOT_MODULES = [
    *("virtio_pci", "virtio_blk", "virtio_mmio", "virtio_net", "virtio_console", "virtio-rng", "ext4", "overlay"),
    *("crc32c_generic", "crc32c-intel", "crc32_pclmul"),
]
MODULES = [
    *("snd-usb-audio", "vhci-hcd", "usbip-core", "autofs4", "fuse", "tun", "configfs", "af_packet", "rtc-cmos"),
    *("efivarfs", "loop", "nf_tables"),
]

INIT = r"""#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /run /root /ro /rw /bin /sbin
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mount -t tmpfs -o mode=755 run /run
root= mode=ro
for word in $(cat /proc/cmdline); do
    case $word in root=*) root=${word#root=} ;; rw) mode=rw ;; ro) mode=ro ;; esac
done
for module in $(cat /modules); do insmod /m/$module 2>/dev/null; done
n=0; while [ ! -b "$root" ] && [ $n -lt 200 ]; do sleep 0.1; n=$((n+1)); done
mount -o $mode $root /root || exec sh
mount --move /proc /root/proc; mount --move /sys /root/sys; mount --move /dev /root/dev; mount --move /run /root/run
exec switch_root /root /sbin/init
"""

AGENT_UNIT = """[Unit]
Description=the test's hand
DefaultDependencies=no
After=systemd-udevd.service systemd-udev-trigger.service local-fs.target
Conflicts=final.target
[Service]
ExecStart=/usr/bin/python3 /opt/test/agent.py /dev/virtio-ports/kiosk.agent
Restart=always
RestartSec=1
KillMode=process
[Install]
WantedBy=sysinit.target
"""
SCRIPT_UNIT = """[Unit]
Description=what is different in this boot
DefaultDependencies=no
After=systemd-remount-fs.service
Before=systemd-journal-flush.service test-microphone.service sysinit.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c "tr -d '\\\\0' </dev/vdb | sh -ex"
RemainAfterExit=yes
[Install]
WantedBy=sysinit.target
"""
MICROPHONE_UNIT = """[Unit]
Description=a USB microphone
DefaultDependencies=no
After=systemd-udevd.service systemd-udev-trigger.service local-fs.target
Before=basic.target
[Service]
EnvironmentFile=-/etc/test-microphone
ExecStartPre=/sbin/modprobe -a vhci-hcd snd-usb-audio
ExecStart=/opt/test/usb_microphone serve $MICROPHONE
[Install]
WantedBy=sysinit.target
"""
EMULATOR_UNIT = """[Unit]
Description=a platform
[Service]
EnvironmentFile=-/etc/test-emulator
ExecStart=/usr/bin/ravatar-audio emulator --slots 1 --wav-dir /var/heard --json $EMULATOR
WorkingDirectory=/var
[Install]
WantedBy=multi-user.target
"""
BOTH = ("emulator.service", "ravatar-audio-kiosk.service")
SETTINGS = """project_id = "kiosk-test"
api_url = "http://127.0.0.1:8642"
device = "usb:2886:0018"
mode = "open"
"""


def run(*command: str | Path, **options: object) -> None:
    """A command that must succeed; its output is shown only when it does not."""
    done = subprocess.run([str(word) for word in command], capture_output=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode:
        raise SystemExit(
            f"test-kiosk: {' '.join(map(str, command[:4]))} ...: {(done.stdout + done.stderr).decode()[-3000:]}"
        )


def mirror() -> str:
    """This machine's own Debian mirror."""
    told = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"],
        capture_output=True,
        check=True,
        text=True,
    ).stdout.split()
    return min(site for site in set(told) if "security" not in site and "debian" in site)


@dataclass(frozen=True)
class Image:
    """What is booted: a kernel with its initrd, and a raw disk that stays as it is."""

    kernel: Path
    disk: Path


def prepare_root(cache: Path, suite: str) -> Path:
    """A folder with root.tar, kernel.deb and busybox.deb; made once for each suite and list of packages."""
    folder = cache / suite
    stamp = folder / "packages"
    if stamp.exists() and stamp.read_text() == PACKAGES:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    alsa = "libasound2" if suite == "bookworm" else "libasound2t64"
    take = f"""
        cd "$1/var/tmp"
        name=$(chroot "$1" apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: //p' | head -n 1)
        chroot "$1" sh -c "cd /var/tmp && apt-get download -qq $name busybox-static"
        cp busybox-static_*.deb {folder}/busybox.deb
        cp linux-image-*.deb {folder}/kernel.deb
        rm ./*.deb"""
    run(
        "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={PACKAGES},{alsa}",
        "--aptopt=APT::Install-Recommends false", "--aptopt=APT::Sandbox::User root",
        "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--dpkgopt=path-exclude=/usr/share/man/*", f"--customize-hook=set -e{take}",
        suite, folder / "root.tar", f"deb {mirror()} {suite} main",
    )  # fmt: skip
    stamp.write_text(PACKAGES)
    return folder


def prepare_kernel(folder: Path) -> Path:
    """vmlinuz, initrd and modules/ out of the packages, which are not installed."""
    out = folder / "kernel"
    if (out / "ready").exists():
        return out
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    tree, tools = out / "tree", out / "busybox"
    run("dpkg-deb", "-x", folder / "kernel.deb", tree)
    run("dpkg-deb", "-x", folder / "busybox.deb", tools)
    version = next((tree / "boot").glob("vmlinuz-*")).name.removeprefix("vmlinuz-")
    shutil.copy(tree / "boot" / f"vmlinuz-{version}", out / "vmlinuz")
    base = next(path for path in (tree / "usr/lib/modules" / version, tree / "lib/modules" / version) if path.exists())
    modules = Modules(base)
    boot, every = modules.with_needs(BOOT_MODULES), modules.with_needs(BOOT_MODULES + MODULES)
    target = out / "modules" / "usr/lib/modules" / version
    for name in every:
        path = target / modules.paths[name].relative_to(base)
        path = path.with_name(re.sub(r"\.ko.*", ".ko", path.name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(modules.content(name))
    for name in ("modules.builtin", "modules.order", "modules.builtin.modinfo"):
        shutil.copy(base / name, target / name)
    run("depmod", "-b", out / "modules" / "usr", version)
    binary = next(path for path in tools.rglob("busybox") if path.is_file() and "bin" in path.parts)
    files = {f"m/{name}.ko": modules.content(name) for name in boot}
    files |= {"modules": "".join(f"{name}.ko\n" for name in boot).encode()}
    programs = {"init": INIT.encode(), "bin/busybox": binary.read_bytes()}
    (out / "initrd").write_bytes(gzip.compress(cpio(["bin", "m", "dev"], programs, files), 6))
    shutil.rmtree(tree)
    shutil.rmtree(tools)
    (out / "ready").touch()
    return out


class Modules:
    """A kernel's modules, and what each needs before it; uncompressed, as busybox's insmod knows no xz."""

    def __init__(self, base: Path) -> None:
        self.paths = {re.sub(r"\.ko.*", "", path.name).replace("-", "_"): path for path in sorted(base.rglob("*.ko*"))}
        self._needs: dict[str, list[str]] = {}

    def content(self, name: str) -> bytes:
        path = self.paths[name]
        return lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()

    def with_needs(self, names: Iterable[str]) -> list[str]:
        """In the order of loading; what this kernel has built in, or not at all, is left out."""
        return list(dict.fromkeys(each for name in names for each in self._order(name.replace("-", "_"))))

    def _order(self, name: str) -> list[str]:
        if name not in self.paths:
            return []
        if name not in self._needs:
            data = self.content(name)
            found = re.search(rb"\0depends=([^\0]*)\0", b"\0" + data)
            words = found[1].decode().split(",") if found else []
            words += [
                word
                for soft in re.findall(rb"\0softdep=pre: ([^\0]*)\0", b"\0" + data)
                for word in soft.decode().split()
            ]
            self._needs[name] = [word.replace("-", "_") for word in words if word]
        return [each for need in self._needs[name] for each in self._order(need)] + [name]


def cpio(folders: list[str], programs: dict[str, bytes], files: dict[str, bytes]) -> bytes:
    """An archive as the kernel unpacks it ("newc")."""
    out = io.BytesIO()
    entries = [(name, stat.S_IFDIR | 0o755, b"") for name in folders]
    entries += [(name, stat.S_IFREG | 0o755, data) for name, data in programs.items()]
    entries += [(name, stat.S_IFREG | 0o644, data) for name, data in files.items()]
    for number, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], start=1):
        text = name.encode() + b"\0"
        fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(text), 0]
        head = b"070701" + b"".join(b"%08x" % field for field in fields) + text
        out.write(head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4))
    return out.getvalue()


def make_image(cache: Path, suite: str, debs: Path) -> Image:
    """The disk of a kiosk with the packages of `debs`, settings for the platform inside, both services enabled."""
    folder = prepare_root(cache, suite)
    kernel = prepare_kernel(folder)
    root = folder / "root"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    try:
        fill_root(root, folder, kernel, debs)
        disk = folder / "disk.img"
        disk.unlink(missing_ok=True)
        run("mke2fs", "-q", "-t", "ext4", "-d", root, "-L", "kiosk", disk, "2500M")
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return Image(kernel, disk)


def fill_root(root: Path, folder: Path, kernel: Path, debs: Path) -> None:
    with tarfile.open(folder / "root.tar") as tar:
        tar.extractall(root, filter=lambda member, _: None if member.ischr() or member.isblk() else member)
    package = next(debs.glob("ravatar-audio_*_amd64.deb"))
    shutil.copy(package, root / "var/tmp/package.deb")
    run(
        "chroot", root, "dpkg", "-i", "/var/tmp/package.deb", env=os.environ | {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    )
    (root / "var/tmp/package.deb").unlink()
    run("cp", "-a", f"{kernel}/modules/usr/.", root / "usr")
    test = root / "opt/test"
    test.mkdir()
    for name in ("agent.py", "judge.py"):
        shutil.copy(HERE / name, test)
    shutil.copy(package, test / "package.deb")
    run(
        "cc",
        "-std=c11",
        "-D_GNU_SOURCE",
        "-O2",
        "-static",
        "-o",
        test / "usb_microphone",
        *sorted(HERE.glob("usb/*.c")),
        "-lm",
    )
    files = {
        "etc/hostname": "kiosk\n",
        "etc/hosts": "127.0.0.1 localhost kiosk\n",
        "etc/fstab": "/dev/vda / ext4 defaults,noatime 0 1\n",
        "etc/machine-id": "",
        "etc/ravatar-audio.toml": SETTINGS,
        "etc/test-microphone": "MICROPHONE=rates=16000 late=0\n",
        "etc/systemd/system/test-agent.service": AGENT_UNIT,
        "etc/systemd/system/test-microphone.service": MICROPHONE_UNIT,
        "etc/systemd/system/test-script.service": SCRIPT_UNIT,
        "etc/systemd/system/emulator.service": EMULATOR_UNIT,
    }
    files["etc/test-now"] = f"{int(time.time())}\n"
    run(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", root / "etc/test.key", "-days", "30",
        "-out", root / "etc/test.pem", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
    )  # fmt: skip
    for name, text in files.items():
        (root / name).write_text(text)
    (root / "var/log/journal").mkdir(exist_ok=True)
    units = root / "etc/systemd/system"
    for target, names in {
        "sysinit.target.wants": ("test-agent.service", "test-script.service", "test-microphone.service"),
        "multi-user.target.wants": BOTH,
    }.items():
        (units / target).mkdir(exist_ok=True)
        for name in names:
            place = "/usr/lib/systemd/system" if name.startswith("ravatar") else ".."
            (units / target / name).symlink_to(f"{place}/{name}")
    for name in ("getty@tty1.service", "apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer"):
        (units / name).symlink_to("/dev/null")
