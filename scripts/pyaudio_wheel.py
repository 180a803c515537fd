"""Packs PyAudio's wheel from its source and an extension that has PortAudio inside:

pyaudio_wheel.py SOURCE EXTENSION PORTAUDIO_LICENCE cp311 linux_aarch64 aarch64-linux-gnu TARGET
"""

import base64
import hashlib
import os
import sys
import time
import zipfile
from pathlib import Path


def record_line(name: str, data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}"


def main(source: Path, extension: Path, licence: Path, python: str, platform: str, triplet: str, target: Path) -> None:
    metadata = (source / "PKG-INFO").read_bytes()
    fields = dict(line.split(": ", 1) for line in metadata.decode().split("\n\n")[0].splitlines() if ": " in line)
    base = f"{fields['Name']}-{fields['Version']}"
    info = f"{base}.dist-info"
    tag = f"{python}-{python}-{platform}"
    wheel = f"Wheel-Version: 1.0\nGenerator: ravatar-audio\nRoot-Is-Purelib: false\nTag: {tag}\n"
    suffix = f"cpython-{python.removeprefix('cp')}-{triplet}"
    files = {
        "pyaudio/__init__.py": (source / "src/pyaudio/__init__.py").read_bytes(),
        f"pyaudio/_portaudio.{suffix}.so": extension.read_bytes(),
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": wheel.encode(),
        f"{info}/licenses/LICENSE.txt": (source / "LICENSE.txt").read_bytes(),
        f"{info}/licenses/PORTAUDIO-LICENSE.txt": licence.read_bytes(),
        f"{info}/top_level.txt": b"pyaudio\n",
    }
    record = "".join(record_line(name, data) + "\n" for name, data in files.items()) + f"{info}/RECORD,,\n"
    files[f"{info}/RECORD"] = record.encode()
    when = time.gmtime(int(os.environ["SOURCE_DATE_EPOCH"]))[:6]
    with zipfile.ZipFile(target / f"{base}-{tag}.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, when)
            entry.external_attr = (0o100755 if name.endswith(".so") else 0o100644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)


if __name__ == "__main__":
    given_source, given_extension, given_licence, *tags, given_target = sys.argv[1:]
    main(Path(given_source), Path(given_extension), Path(given_licence), tags[0], tags[1], tags[2], Path(given_target))
