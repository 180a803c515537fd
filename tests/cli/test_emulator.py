"""The emulator's command: every setting has an option, the page lists them all, and faults come by each way."""

import dataclasses
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import click
import httpx2
import pytest
from click.testing import CliRunner

from ravatar_audio.cli.emulator import command, settings_from
from ravatar_audio.emulator import EmulatorSettings, Fault
from ravatar_audio.errors import SettingsError
from tests.cli.test_commands import COMMAND, LIMIT_S, emulator, ended, environment

__all__ = ["environment"]

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "emulator.md"
NOT_SETTINGS = {"--json", "--faults", "--tls-key", "--load", "--workers"}


def parsed(*arguments: str) -> EmulatorSettings:
    """What the command would make of them."""
    context = command.make_context("emulator", list(arguments))
    return settings_from({name: value for name, value in context.params.items() if name != "as_json"})


def test_without_options_it_is_as_in_python_but_for_port_and_folder() -> None:
    assert parsed() == EmulatorSettings(port=8_642, wav_dir="heard")


def test_every_setting_has_an_option(tmp_path: Path) -> None:
    (tmp_path / "faults.toml").write_text('[[fault]]\nat = "message"\ndo = "close"\nafter = 3\n')
    words: dict[str, Any] = {
        "host": "127.0.0.2",
        "port": 0,
        "wav-dir": str(tmp_path),
        "slots": 2,
        "token-lifetime": 3.0,
        "session-idle": 4.0,
        "session-lifetime": 5.0,
        "reply-every": 6.0,
        "ping-every": 7.0,
        "refusal": '{"error": "no"}',
        "frame-ancestors": "'none'",
        "receive-buffer": 9_000,
        "fault": "chat status=504",
        "faults": str(tmp_path / "faults.toml"),
    }
    arguments = [word for name, value in words.items() for word in (f"--{name}", str(value))]
    several = ["--project", "a", "--project", "b", "--avatar", "x", "--avatar", "y:Why:chat", "--language", "fi:Suomi"]
    settings = parsed(*arguments, *several, "--vad", "--observed-names")
    assert settings.projects == ("a", "b")
    assert [(item.id, item.name, item.has_live_mode) for item in settings.avatars] == [
        ("x", "x", True),
        ("y", "Why", False),
    ]
    assert settings.languages == (("Suomi", "fi"),)
    assert settings.faults == (
        Fault(at="message", do="close", after=3),
        Fault(at="chat", do="status", status=504),
    )
    default = EmulatorSettings()
    same = {
        item.name
        for item in dataclasses.fields(settings)
        if getattr(settings, item.name) == getattr(default, item.name)
    }
    assert same == {"port", "tls"}, "each other setting was given by an option"


def test_the_page_lists_every_option_and_no_other() -> None:
    listed = re.findall(r"^\| `(--[a-z-]+)", PAGE.read_text(encoding="utf-8"), re.M)
    options = [item.opts[0] for item in command.params if isinstance(item, click.Option)]
    assert listed == options
    shown = CliRunner().invoke(command, ["--help"]).output
    assert all(option in shown for option in options)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--avatar", ":Name"], "ID"),
        (["--avatar", "a:b:video"], "chat"),
        (["--language", ":x"], "CODE"),
        (["--fault", "chat explode"], "explode"),
        (["--faults", "/nowhere.toml"], "/nowhere.toml"),
        (["--tls", "/nowhere.pem"], "/nowhere.pem"),
        (["--tls-key", "/nowhere.pem"], "without its certificate"),
        (["--project", "my project!"], "'my project!' cannot exist"),
        (["--project", ""], "'' cannot exist"),
        (["--avatar", "a", "--avatar", "b", "--avatar", "a"], "'a' is there twice"),
        (["--language", "en", "--language", "en:English"], "'en' is there twice"),
        (["--frame-ancestors", ""], "frame_ancestors is ''"),
        (["--frame-ancestors", "'self'\r\nSet-Cookie: a=b"], "frame_ancestors is"),
        (["--frame-ancestors", "'self'; script-src *"], "frame_ancestors is"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_reason(arguments: list[str], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        parsed(*arguments)


def test_a_fault_file_strikes_in_the_running_command(environment: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    file.write_text(json.dumps({"fault": [{"at": "jwt", "do": "status", "status": 402, "times": 1}]}))
    options = ("--faults", str(file), "--fault", "jwt status=504", "--observed-names")
    with emulator(environment, tmp_path / "heard", *options) as (url, process):
        answers = [httpx2.post(f"{url}/jwt", json={"user_id": "u"}) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [402, 504, 200]
        assert "token" in answers[2].json()
        assert ended(process)["faults_fired"] == 2


def test_a_certificate_that_is_missing_is_one_clear_line(environment: dict[str, str]) -> None:
    run = subprocess.run(
        [*COMMAND, "emulator", "--tls", "/nowhere.pem"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert (run.returncode, run.stderr.count("\n")) == (2, 2)
    assert "/nowhere.pem" in run.stderr
