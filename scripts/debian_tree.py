"""What scripts/debs packs: the files of one Debian package, in a folder.

python scripts/debian_tree.py PACKAGE ARCHITECTURE VERSION WHEELHOUSE DIR

PACKAGE is ravatar-audio or ravatar-audio-kiosk; DIR gets the files and DEBIAN/. Run where the project is installed.
"""

import dataclasses
import email.utils
import gzip
import hashlib
import os
import re
import runpy
import shutil
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "packaging" / "debian"
MODULES = "usr/lib/ravatar-audio"
FROM_THE_SYSTEM = {"numpy", "cffi", "pycparser", "pyaudio"}
"""Debian's own, as these are compiled for one Python each; PyAudio is needed only for what PortAudio alone reaches."""
NOT_USED = {"soxr"}
"""Only the benches compare with it."""
MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "armhf": "armv7l"}


def runtime() -> list[Any]:
    """The packages of locked/ that go into the package's own folder."""
    entries = runpy.run_path(str(ROOT / "scripts" / "sbom.py"))["runtime"]()
    return [entry for entry in entries if entry.name not in FROM_THE_SYSTEM | NOT_USED]


def wheel_of(wheelhouse: Path, name: str, version: str) -> Path:
    """The pure wheel of a package; one that is not pure would serve one Python and one processor only."""
    plain = name.replace("-", "_")
    found = [file for file in wheelhouse.glob(f"*-{version}-py*-none-any.whl") if same_name(file.name, plain)]
    if len(found) != 1:
        raise SystemExit(
            f"debs: the wheelhouse has {len(found)} pure wheels of {name} {version}; scripts/wheels makes it"
        )
    return found[0]


def same_name(file: str, plain: str) -> bool:
    return re.sub(r"[-_.]+", "_", file.split("-")[0]).lower() == plain


def ours(wheelhouse: Path, architecture: str) -> Path:
    found = list(wheelhouse.glob(f"ravatar_audio-*_{MACHINES[architecture]}.whl"))
    if len(found) != 1:
        raise SystemExit(
            f"debs: {len(found)} wheels of ours for {architecture} in {wheelhouse}; scripts/wheels makes it"
        )
    return found[0]


def write(path: Path, text: str | bytes, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)


def put(tree: Path, source: str, target: str, mode: int = 0o644) -> None:
    write(tree / target, (SOURCE / source).read_bytes(), mode)


def pack(path: Path) -> None:
    """A file as gzip makes it, without its name and time."""
    write(path.with_name(path.name + ".gz"), gzip.compress(path.read_bytes(), 9, mtime=0))
    path.unlink()


@dataclasses.dataclass(frozen=True)
class Build:
    """One package under way."""

    package: str
    architecture: str
    version: str
    wheelhouse: Path
    tree: Path

    def make(self) -> None:
        """All of it."""
        if self.package == "ravatar-audio":
            licences = self.add_modules()
            self.add_program()
        else:
            licences = ""
            self.add_screen()
        self.add_documents(licences)
        self.add_control()

    def add_modules(self) -> str:
        """Our package and what it uses, into a folder of its own; returns the licences of the latter."""
        target = self.tree / MODULES
        texts = []
        for entry in runtime():
            with zipfile.ZipFile(wheel_of(self.wheelhouse, entry.name, entry.version)) as wheel:
                wheel.extractall(target)
            texts.append(self.take_licences(target, entry.name, entry.version))
        with zipfile.ZipFile(ours(self.wheelhouse, self.architecture)) as wheel:
            wheel.extractall(target)
        for folder in target.glob("*.dist-info"):
            for name in ("RECORD", "WHEEL", "top_level.txt", "entry_points.txt"):
                (folder / name).unlink(missing_ok=True)
            for path in (folder / "licenses", folder / "license_files"):
                shutil.rmtree(path, ignore_errors=True)
            for path in [*folder.glob("LICEN[CS]E*"), *folder.glob("COPYING*")]:
                path.unlink()
        shutil.rmtree(target / "bin", ignore_errors=True)
        return "\n".join(texts)

    @staticmethod
    def take_licences(target: Path, name: str, version: str) -> str:
        """The texts of a package's licences, as it brings them."""
        plain = name.replace("-", "_")
        folder = next(path for path in target.glob("*.dist-info") if same_name(path.name, plain))
        pattern = re.compile(r"(?i)licen[cs]e|copying|notice|authors")
        files = sorted(path for path in folder.rglob("*") if path.is_file() and pattern.search(path.name))
        sbom = runpy.run_path(str(ROOT / "scripts" / "sbom.py"))
        lines = [f"{name} {version}: {sbom['licence'](name)}", "=" * 60, ""]
        for file in files:
            text = file.read_text(encoding="utf-8", errors="replace").rstrip()
            if "Version 2.0, January 2004" in text and len(text) > 5_000:
                text = "The Apache License 2.0, which every Debian system has as /usr/share/common-licenses/Apache-2.0."
            lines += [text, ""]
        return "\n".join(lines)

    def add_program(self) -> None:
        """The command with its pages and completions, the service, its user, settings and rules."""
        put(self.tree, "launcher", "usr/bin/ravatar-audio", 0o755)
        man = self.tree / "usr/share/man"
        runpy.run_path(str(ROOT / "scripts" / "manual_pages.py"))["main"](man / "all")
        for path in sorted((man / "all").iterdir()):
            section = man / f"man{path.suffix[1:]}"
            section.mkdir(exist_ok=True)
            pack(path.rename(section / path.name))
        (man / "all").rmdir()
        for shell, place in (
            ("bash", "bash-completion/completions/ravatar-audio"),
            ("zsh", "zsh/vendor-completions/_ravatar-audio"),
            ("fish", "fish/vendor_completions.d/ravatar-audio.fish"),
        ):
            write(self.tree / "usr/share" / place, completion(shell))
        unit = (ROOT / "src/ravatar_audio/kiosk/ravatar-audio-kiosk.service").read_text(encoding="utf-8")
        write(self.tree / "usr/lib/systemd/system/ravatar-audio-kiosk.service", packaged_unit(unit))
        put(self.tree, "ravatar-audio.sysusers", "usr/lib/sysusers.d/ravatar-audio.conf")
        put(self.tree, "ravatar-audio.toml", "etc/ravatar-audio.toml", 0o600)
        write(self.tree / "usr/lib/udev/rules.d/60-ravatar-audio.rules", udev_rules())

    def add_screen(self) -> None:
        """The browser with its units and its user."""
        put(self.tree, "browser", "usr/lib/ravatar-audio-kiosk/browser", 0o755)
        for unit in ("ravatar-audio-browser.service", "ravatar-audio-browser.path"):
            put(self.tree, unit, f"usr/lib/systemd/system/{unit}")
        put(self.tree, "ravatar-audio-kiosk.sysusers", "usr/lib/sysusers.d/ravatar-audio-kiosk.conf")

    def add_documents(self, licences: str) -> None:
        """Licences, changes, and the lintian overrides with their reasons."""
        place = self.tree / "usr/share/doc" / self.package
        own = (ROOT / "LICENSE").read_text(encoding="utf-8")
        brought = f"\nWhat lies beside it in /{MODULES}, with its licences:\n\n{licences}" if licences else ""
        write(place / "copyright", f"ravatar-audio\n\n{own}{brought}")
        write(place / "changelog", (ROOT / "CHANGELOG.md").read_bytes())
        pack(place / "changelog")
        epoch = int(os.environ["SOURCE_DATE_EPOCH"])
        maintainer = re.search(r"^Maintainer: (.*)$", self.control_template(), re.MULTILINE)
        assert maintainer
        debian = (
            f"{self.package} ({self.version}) unstable; urgency=medium\n\n  * See changelog.gz.\n\n"
            f" -- {maintainer[1]}  {email.utils.formatdate(epoch)}\n"
        )
        write(place / "changelog.Debian", debian)
        pack(place / "changelog.Debian")
        overrides = SOURCE / f"{self.package}.lintian-overrides"
        if overrides.exists():
            put(self.tree, overrides.name, f"usr/share/lintian/overrides/{self.package}")

    def control_template(self) -> str:
        return (SOURCE / f"{self.package}.control").read_text(encoding="utf-8")

    def add_control(self) -> None:
        """DEBIAN/: last, as it has sizes and sums."""
        for path in self.tree.rglob("*"):
            if path.is_dir():
                path.chmod(0o755)
            elif not path.is_symlink() and path.relative_to(self.tree).parts[0] == "usr":
                is_program = path.name == "browser" or path.parent.name == "bin"
                path.chmod(0o755 if is_program else 0o644)
        files = sorted(path for path in self.tree.rglob("*") if path.is_file())
        size_kib = sum(-(-path.stat().st_size // 1024) for path in files) + len(list(self.tree.rglob("*")))
        text = self.control_template()
        values = {
            "VERSION": self.version,
            "ARCHITECTURE": self.architecture,
            "SIZE_KIB": str(size_kib),
            "GLIBC": self.glibc(),
        }
        for name, value in values.items():
            text = text.replace(f"@{name}@", value)
        control = self.tree / "DEBIAN"
        write(control / "control", text)
        sums = [
            f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(self.tree)}"
            for path in files
            if path.relative_to(self.tree).parts[0] != "etc"
        ]
        write(control / "md5sums", "\n".join(sums) + "\n")
        if conffiles := [
            f"/{path.relative_to(self.tree)}" for path in files if path.relative_to(self.tree).parts[0] == "etc"
        ]:
            write(control / "conffiles", "\n".join(conffiles) + "\n")
        for script in ("postinst", "prerm", "postrm"):
            write(control / script, (SOURCE / f"{self.package}.{script}").read_bytes(), 0o755)
        control.chmod(0o755)

    def glibc(self) -> str:
        """The oldest C library that our wheel runs with, as auditwheel found it."""
        if self.architecture == "all":
            return ""
        told = re.search(r"manylinux_(\d+)_(\d+)", ours(self.wheelhouse, self.architecture).name)
        assert told, "the wheel's name says no C library"
        return f"{told[1]}.{told[2]}"


def completion(shell: str) -> str:
    """What click prints for this shell; bash itself is not asked for its version."""
    from click.shell_completion import get_completion_class

    from ravatar_audio.cli import cli

    kind = get_completion_class(shell)
    assert kind is not None
    completer = kind(cli, {}, "ravatar-audio", "_RAVATAR_AUDIO_COMPLETE")
    return str(completer.source_template % completer.source_vars())


def packaged_unit(text: str) -> str:
    """The service as a package runs it: the system's program, and a user that is there before and after."""
    changes = {
        "ExecStart=/opt/ravatar-audio/bin/ravatar-audio": "ExecStart=/usr/bin/ravatar-audio",
        "DynamicUser=yes\n": "User=ravatar-audio\nGroup=ravatar-audio\nRemoveIPC=yes\n",
        "# See docs/howto/kiosk.md. ": "# ",
    }
    for old, new in changes.items():
        if text.count(old) != 1:
            raise SystemExit(f"debs: the unit file has {old.strip()!r} {text.count(old)} times")
        text = text.replace(old, new)
    return text


def udev_rules() -> str:
    """Known microphone arrays stay awake: one that slept loses the beginning of what is said, or does not come back."""
    arrays = tomllib.loads((ROOT / "src/ravatar_audio/capture/devices/arrays.toml").read_text(encoding="utf-8"))[
        "array"
    ]
    names: dict[str, str] = {}
    for array in arrays:
        names.setdefault(array["usb_id"], array["name"].partition(",")[0])
    lines = ["# Microphone arrays that ravatar-audio knows are not put to sleep: waking takes away the first words."]
    for usb_id, name in sorted(names.items()):
        vendor, product = usb_id.split(":")
        match = f'ACTION=="add", SUBSYSTEM=="usb", ENV{{DEVTYPE}}=="usb_device", ATTR{{idVendor}}=="{vendor}"'
        lines += [
            f"# {name}",
            f'{match}, ATTR{{idProduct}}=="{product}", TEST=="power/control", ATTR{{power/control}}="on"',
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if len(sys.argv) != 6:
        raise SystemExit(__doc__)
    Build(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]), Path(sys.argv[5])).make()
