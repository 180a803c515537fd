"""Makes the source archive of a tree, the same to the bit whenever and wherever: source_archive.py TREE TARGET

setuptools writes the times of files and of the packing, and who packed; here all have SOURCE_DATE_EPOCH and nobody.
"""

import gzip
import io
import os
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

from setuptools import build_meta


def main(tree: Path, target: Path) -> None:
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch, "source")
        shutil.copytree(tree, copy)
        os.chdir(copy)
        name = build_meta.build_sdist(scratch)
        packed = io.BytesIO()
        with tarfile.open(Path(scratch, name)) as made, tarfile.open(fileobj=packed, mode="w") as archive:
            for entry in sorted(made.getmembers(), key=lambda each: each.name):
                entry.uid = entry.gid = 0
                entry.uname = entry.gname = ""
                entry.mtime = epoch
                entry.pax_headers = {}  # where the time is once more, to the nanosecond
                entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
                archive.addfile(entry, made.extractfile(entry) if entry.isfile() else None)
    # No file name and no time of packing in the header.
    (target / name).write_bytes(gzip.compress(packed.getvalue(), 9, mtime=epoch))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
