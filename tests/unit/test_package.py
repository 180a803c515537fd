"""The package's own face: its names, its quick import, and a README whose example runs."""

import hashlib
import importlib.metadata
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import ravatar_audio
from tests.conftest import IS_EMULATED, ROOT, starts_a_process


@pytest.mark.parametrize("name", ravatar_audio.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(ravatar_audio, name)
    if callable(value):
        assert value.__doc__, name


def test_names_and_their_homes_agree() -> None:
    assert {*ravatar_audio._HOME, "__version__"} == set(ravatar_audio.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = ravatar_audio.nonsense


@starts_a_process
def test_importing_the_package_loads_neither_trio_nor_numpy() -> None:
    code = "import sys, ravatar_audio; print(*sorted({'trio', 'numpy', 'httpx2', 'hypercorn'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""


@starts_a_process
def test_a_live_session_from_a_microphone_does_without_numpy() -> None:
    names = "FileSource, LiveSession, Microphone, PipeSource, Settings, TurnSource"
    code = f"import sys; from ravatar_audio import {names}; print('numpy' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"  # it is a fifth of the time to start, and of the memory


def test_documents_tell_the_filters_delays_as_they_are() -> None:
    delay_ms = {}
    for phase in ("linear", "minimum"):
        for profile in ("balanced", "low_latency", "high"):
            with ravatar_audio.Converter(48_000, profile=profile, phase=phase) as converter:
                delay_ms[profile, phase] = converter.group_delay_s * 1e3
    balanced_ms, low_ms = delay_ms["balanced", "linear"], delay_ms["low_latency", "linear"]
    told = {
        "README.md": [f"adds {balanced_ms:.1f} ms of filter delay", f"({low_ms:.1f} ms with `--profile"],
        "docs/explanation/latency.md": [
            f"{balanced_ms:.1f} ms (`balanced`), {low_ms:.1f} ms (`low_latency`)",
            f"low_latency` takes {balanced_ms - low_ms:.1f} ms off",
        ],
    }
    for document, phrases in told.items():
        text = (ROOT / document).read_text(encoding="utf-8")
        for phrase in phrases:
            assert phrase in text, document
    for profile in ("balanced", "low_latency", "high"):
        linear = f"| {delay_ms[profile, 'linear']:.1f} ms |"
        rows = {
            "docs/explanation/resampler.md": linear,
            "csrc/README.md": f"{linear} {delay_ms[profile, 'minimum']:.2f} ms |",
        }
        for document, ending in rows.items():
            lines = (ROOT / document).read_text(encoding="utf-8").replace("`", "").splitlines()
            (row,) = (line for line in lines if line.startswith(f"| {profile} |"))
            assert row.endswith(ending), document


def test_the_licences_page_names_what_an_installation_brings() -> None:
    bill = runpy.run_path(str(ROOT / "scripts" / "sbom.py"))
    rows = (ROOT / "docs" / "reference" / "licences.md").read_text(encoding="utf-8").splitlines()
    listed = {tuple(row.split(" | ")[:2]) for row in rows if row.startswith("| ")}
    assert listed >= {(f"| {entry.name}", entry.version) for entry in bill["runtime"]()}, (
        "python scripts/sbom.py licences"
    )
    assert not [row for row in rows if "see its files" in row or "not installed" in row]


def test_the_bill_of_materials_names_every_wheel_with_its_hash(tmp_path: Path) -> None:
    bill = runpy.run_path(str(ROOT / "scripts" / "sbom.py"))
    for entry in bill["runtime"]():
        (tmp_path / f"{entry.name.replace('-', '_')}-{entry.version}-py3-none-any.whl").write_bytes(entry.name.encode())
    made = bill["bom"](tmp_path)
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")
    assert made["metadata"]["component"]["version"] == ravatar_audio.__version__
    by_name = {component["name"]: component for component in made["components"]}
    assert by_name["PortAudio"]["licenses"]
    for entry in bill["runtime"]():
        (file,) = by_name[entry.name]["properties"]
        assert file["value"] == hashlib.sha256(entry.name.encode()).hexdigest()
    references = {component["bom-ref"] for component in made["components"]}
    assert len(references) == len(made["components"])
    assert set(made["dependencies"][0]["dependsOn"]) == references


@pytest.mark.skipif(IS_EMULATED, reason="no package is installed there")
def test_the_description_on_an_index_has_no_link_that_leads_nowhere() -> None:
    """README.md's links are to files beside it, which an index's page does not have."""
    links = re.compile(r"\]\((?!https?:)[^)]*\)")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert links.search(readme), "or this tests nothing"
    for target in links.findall(readme):
        assert (ROOT / target[2:-1].split("#")[0]).exists(), target
    assert not links.search(importlib.metadata.metadata("ravatar-audio").get_payload())  # type: ignore[attr-defined]
