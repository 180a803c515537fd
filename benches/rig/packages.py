"""What Debian has of a bench's peers: whether it is there, and installing it where that is allowed."""

import os
import shutil
import subprocess
from collections.abc import Mapping


def has_header(header: str) -> bool:
    """Whether the C++ compiler finds it, which takes C's headers too."""
    command = ["c++", "-E", "-x", "c++", "-"]
    return not subprocess.run(command, input=f"#include <{header}>\n", text=True, capture_output=True).returncode


def install(packages: Mapping[str, bool]) -> None:
    """Install those that are not there ({package: is it there}), as root on a Debian system; elsewhere do nothing."""
    missing = [package for package, is_there in packages.items() if not is_there]
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(command, capture_output=True, env=environment, check=False)
