"""The Debian packages' parts, as far as no root is needed: scripts/test-debs installs them."""

import re
import runpy
import shutil
import subprocess
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import pytest

from ravatar_audio.cli import COMMANDS, cli
from ravatar_audio.settings import Settings
from tests.conftest import ROOT

DEBIAN = ROOT / "packaging" / "debian"
UNIT = ROOT / "src/ravatar_audio/kiosk/ravatar-audio-kiosk.service"


@pytest.fixture(scope="module")
def tree() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts" / "debian_tree.py"))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("man")
    runpy.run_path(str(ROOT / "scripts" / "manual_pages.py"))["main"](folder)
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


@pytest.mark.parametrize("name", COMMANDS)
def test_each_commands_page_has_each_option(pages: dict[str, str], name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    page = pages[f"ravatar-audio-{name}.1"].replace(r"\-", "-")
    shown = [item for item in command.params if isinstance(item, click.Option) and not item.hidden]
    missing = [flag for item in shown for flag in item.opts if flag not in page]
    assert not missing
    assert "--help" in page


def test_the_settings_page_has_each_setting(pages: dict[str, str]) -> None:
    named = set(re.findall(r"^\\fB([a-z_]+) = ", pages["ravatar-audio.toml.5"], re.MULTILINE))
    assert named == {item.name for item in fields(Settings) if not item.metadata["replaced_by"]}


def test_no_line_of_a_page_is_a_troff_command_by_accident(pages: dict[str, str]) -> None:
    ours = {"TH", "SH", "TP", "PP", "RS", "RE", "nf", "fi"}
    for name, page in pages.items():
        found = set(re.findall(r"^[.']([A-Za-z]*)", page, re.MULTILINE))
        assert found <= ours, name
    escaped = runpy.run_path(str(ROOT / "scripts" / "manual_pages.py"))["escaped"]
    assert escaped(".x \\n -y\n'z") == "\\&.x \\en \\-y\n\\&'z"


def test_the_settings_file_as_it_comes_names_only_what_there_is(tmp_path: Path) -> None:
    text = (DEBIAN / "ravatar-audio.toml").read_text(encoding="utf-8")
    assert tomllib.loads(text) == {}
    chosen = "\n".join(re.findall(r"^# ([a-z_]+ = .*)$", text, re.MULTILINE))
    file = tmp_path / "settings.toml"
    file.write_text(chosen, encoding="utf-8")
    assert Settings.load(file, environ={}).project_id == "my-project"


def test_the_packaged_unit_runs_the_systems_program_as_a_user_that_stays(tree: dict[str, Any]) -> None:
    text = tree["packaged_unit"](UNIT.read_text(encoding="utf-8"))
    assert "\nExecStart=/usr/bin/ravatar-audio kiosk " in text
    assert "/opt/" not in text
    assert "DynamicUser" not in text
    assert "\nUser=ravatar-audio\n" in text
    assert "u ravatar-audio " in (DEBIAN / "ravatar-audio.sysusers").read_text(encoding="utf-8")
    with pytest.raises(SystemExit, match="ExecStart"):
        tree["packaged_unit"]("[Service]\n")


def test_each_known_array_stays_awake(tree: dict[str, Any]) -> None:
    arrays = tomllib.loads((ROOT / "src/ravatar_audio/capture/devices/arrays.toml").read_text(encoding="utf-8"))
    rules = [line for line in tree["udev_rules"]().splitlines() if not line.startswith("#")]
    for usb_id in {array["usb_id"] for array in arrays["array"]}:
        vendor, product = usb_id.split(":")
        matching = [rule for rule in rules if f'idVendor}}=="{vendor}"' in rule and f'idProduct}}=="{product}"' in rule]
        assert len(matching) == 1
        assert matching[0].endswith('ATTR{power/control}="on"')


@pytest.mark.parametrize("path", [*sorted(DEBIAN.glob("*.p[or]*")), DEBIAN / "browser"], ids=lambda path: path.name)
def test_scripts_of_the_packages_are_read_by_sh(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith("#!/bin/sh\n")
    subprocess.run(["sh", "-n", path], check=True)


def test_the_browser_gets_the_address_by_a_file_of_its_own(tmp_path: Path) -> None:
    """Nothing secret in an argument list, which all can read; and the file is the user's alone."""
    credentials, runtime = tmp_path / "credentials", tmp_path / "runtime"
    credentials.mkdir()
    runtime.mkdir()
    address = "http://127.0.0.1:4711/the-secret/"
    (credentials / "address").write_text(f"{address}\n", encoding="ascii")
    shown = tmp_path / "arguments"
    stand_in = tmp_path / "stand-in"
    stand_in.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{shown}\n', encoding="ascii")
    stand_in.chmod(0o755)
    environment = {"CREDENTIALS_DIRECTORY": str(credentials), "XDG_RUNTIME_DIR": str(runtime), "HOME": str(tmp_path)}
    environment |= {"PATH": "/usr/bin:/bin", "RAVATAR_BROWSER": str(stand_in)}
    subprocess.run(["sh", DEBIAN / "browser"], env=environment, check=True)
    told = shown.read_text(encoding="utf-8")
    assert "the-secret" not in told
    page = Path(told.splitlines()[-1].removeprefix("file://"))
    assert address in page.read_text(encoding="ascii")
    assert page.stat().st_mode & 0o777 == 0o600
    refused = subprocess.run(
        ["sh", DEBIAN / "browser"], env={"PATH": "/usr/bin:/bin"}, capture_output=True, check=False
    )
    assert refused.returncode == 2


def test_completion_names_the_commands(tree: dict[str, Any]) -> None:
    if shutil.which("bash") is None:
        pytest.skip("no bash")
    script = tree["completion"]("bash")
    assert "_RAVATAR_AUDIO_COMPLETE=bash_complete" in script
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
