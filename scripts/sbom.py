"""The bill of materials of what a release installs, as CycloneDX 1.6, and the page of licences:

python scripts/sbom.py bom WHEELHOUSE      prints the JSON; hashes are those of the wheels in that folder
python scripts/sbom.py licences            writes docs/reference/licences.md; run where locked/run.txt is installed
"""

import hashlib
import json
import os
import re
import runpy
import sys
import time
import uuid
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCK = runpy.run_path(str(ROOT / "scripts" / "locked.py"))
INSIDE = {"PortAudio": ("19.6.0", "MIT", "inside the wheelhouse's PyAudio")}
"""What wheels bring without being a Python package: version, licence, where."""


def version() -> str:
    text = (ROOT / "src/ravatar_audio/_version.py").read_text(encoding="utf-8")
    found = re.search(r'__version__ = "([^"]+)"', text)
    assert found, "no version in _version.py"
    return found[1]


def runtime() -> list[Any]:
    """What `pip install ravatar-audio` brings: run.txt, and the one of build.txt that the core loads."""
    layers = LOCK["locked"]()
    kept = [entry for entry in layers["build"] if entry.name in {"cffi", "pycparser"}] + layers["run"]
    on_linux = [entry for entry in kept if "sys_platform == 'emscripten'" not in entry.text]
    return sorted(on_linux, key=lambda entry: str(entry.name))


def licence(name: str) -> str:
    """As the package's own metadata says it, in whichever of three ways."""
    try:
        told: Any = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return ""
    classifiers = [
        each.rsplit(" :: ", 1)[1] for each in told.get_all("Classifier") or [] if each.startswith("License ::")
    ]
    short = (told.get("License") or "").strip()
    plain = short if short and "\n" not in short and len(short) < 60 else ""
    return told.get("License-Expression") or " or ".join(classifiers) or plain or "see its files"


def bom(wheelhouse: Path) -> dict[str, Any]:
    components: list[dict[str, Any]] = []
    for entry in runtime():
        wanted = re.sub(r"[-_.]+", "_", str(entry.name)).lower()
        files = sorted(
            file
            for file in wheelhouse.glob("*.whl")
            if re.sub(r"[-_.]+", "_", file.name.split("-")[0]).lower() == wanted
        )
        components.append(
            {
                "type": "library",
                "name": entry.name,
                "version": entry.version,
                "bom-ref": f"pkg:pypi/{entry.name}@{entry.version}",
                "purl": f"pkg:pypi/{entry.name}@{entry.version}",
                "licenses": [{"license": {"name": licence(entry.name) or "unknown"}}],
                "properties": [
                    {"name": f"sha256:{file.name}", "value": hashlib.sha256(file.read_bytes()).hexdigest()}
                    for file in files
                ],
            }
        )
    for name, (release, licensed, where) in INSIDE.items():
        reference = f"pkg:generic/{name.lower()}@{release}"
        components.append(
            {
                "type": "library",
                "name": name,
                "version": release,
                "bom-ref": reference,
                "purl": reference,
                "licenses": [{"license": {"id": licensed}}],
                "description": where,
            }
        )
    me = f"pkg:pypi/ravatar-audio@{version()}"
    content = json.dumps(components, sort_keys=True)
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, me + content)}",
        "version": 1,
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch)),
            "component": {
                "type": "library",
                "name": "ravatar-audio",
                "version": version(),
                "bom-ref": me,
                "purl": me,
                "licenses": [{"license": {"id": "MIT"}}],
            },
        },
        "components": components,
        "dependencies": [{"ref": me, "dependsOn": [each["bom-ref"] for each in components]}],
    }


def page() -> str:
    rows = [
        f"| {entry.name} | {entry.version} | {licence(entry.name) or 'not installed here'} |" for entry in runtime()
    ]
    rows += [f"| {name}, {where} | {release} | {licensed} |" for name, (release, licensed, where) in INSIDE.items()]
    head = (
        "# Licences\n\nOf what an installation brings, as each package says it of itself, at the versions of\n"
        "`locked/` (`python scripts/sbom.py licences`). ravatar-audio itself: MIT.\n\n"
        "| package | version | licence |\n| --- | --- | --- |\n"
    )
    return head + "\n".join(rows) + "\n"


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["bom", folder]:
            print(json.dumps(bom(Path(folder)), indent=2))
        case ["licences"]:
            (ROOT / "docs" / "reference" / "licences.md").write_text(page(), encoding="utf-8")
        case _:
            raise SystemExit(__doc__)
