"""The support bundle: whatever a text was written by, no secret is in it, and what cannot be had says so."""

import base64
import io
import json
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ravatar_audio.cli.support_bundle import command
from ravatar_audio.diagnosis.bundle import (
    LEFT_OUT,
    archive,
    collected,
    known_secrets,
    scrubbed,
    settings_text,
    without_conversation,
)
from ravatar_audio.kiosk.machine import Caption, Phase, Snapshot
from ravatar_audio.settings import Settings

JWT = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (b'{"alg":"HS256"}', b'{"u":1}', b"sig"))
SECRET = "s3cr3t-Value"
LINES = [
    "wss://chat.rvtr.ai/ws/chat?token=SECRET",
    "https://stream.example/x?a=1&token=SECRET&b=2",
    '{"jwt": "SECRET"}',
    "{'token': 'SECRET'}",
    '{"LicenseId": "SECRET", "status": 200}',
    "Authorization: Bearer SECRET",
    '"authorization": "Bearer SECRET"',
    "proxy http://kiosk:SECRET@proxy.example:3128 refuses",
    "listening at http://127.0.0.1:4711/SECRETxxxxxxxxxxxxxxxx/status",
    "password=SECRET",
]


@pytest.mark.parametrize("line", LINES)
def test_what_looks_like_a_secret_is_left_out(line: str) -> None:
    text = scrubbed(f"before\n{line.replace('SECRET', SECRET)}\nafter")
    assert SECRET not in text
    assert LEFT_OUT in text
    assert text.startswith("before\n")
    assert text.endswith("\nafter")


@given(st.text(), st.text())
def test_a_token_is_left_out_wherever_it_stands(before: str, after: str) -> None:
    assert JWT not in scrubbed(f"{before} {JWT} {after}")


@given(st.text(min_size=4), st.text())
def test_known_secrets_are_left_out_in_any_text(secret: str, text: str) -> None:
    if secret not in LEFT_OUT:
        assert secret not in scrubbed(text + secret, [secret]).replace(LEFT_OUT, "\0")


def test_ordinary_lines_stay_as_they_are() -> None:
    line = (
        "12:00:01 microphone 'USB': overruns: 3657 samples were lost; tokens live for 24 h; http://127.0.0.1:8642/jwt"
    )
    assert scrubbed(line) == line


def test_settings_are_told_without_their_secrets() -> None:
    settings = Settings(project_id="my-project", user_id="user-7", proxy=f"http://k:{SECRET}@p:1", half_duplex=True)
    text = settings_text(settings)
    assert "half_duplex = true" in text
    assert not [word for word in (SECRET, "my-project", "user-7") if word in text]
    assert set(known_secrets(settings)) == {"my-project", "user-7", settings.proxy}


def test_a_part_that_cannot_be_had_says_why() -> None:
    def hangs() -> str:
        raise subprocess.TimeoutExpired("lsusb", 20)

    def refused() -> str:
        raise PermissionError(13, "Permission denied")

    texts = collected({"a": hangs, "b": refused, "c": lambda: f"token={SECRET}"}, [])
    assert "lsusb" in texts["a"]
    assert "Permission denied" in texts["b"]
    assert texts["c"] == f"token={LEFT_OUT}"


def test_the_conversation_is_left_out() -> None:
    state = Snapshot(Phase.READY, None, None, None, "ptt", False, None, (Caption("avatar", "private"),)).as_plain()
    assert "private" not in json.dumps(without_conversation(state))


@pytest.mark.parametrize("with_sound", [False, True])
def test_the_command_writes_one_file_for_its_user_alone(
    with_sound: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "flight.wav").write_bytes(b"RIFF-and-a-voice")
    (state / "user_id").write_text("user-7")
    settings = tmp_path / "settings.toml"
    settings.write_text(f'project_id = "my-project"\nstate_dir = "{state}"\nproxy = "http://k:{SECRET}@p:1"\n')
    monkeypatch.setenv("RAVATAR_USER_ID", "user-7")
    out = tmp_path / "bundle.tar.gz"
    words = ["--offline", "--settings", str(settings), "--output", str(out), "--address-file", str(tmp_path / "none")]
    told = CliRunner().invoke(command, words + ["--sound"] * with_sound, catch_exceptions=False)
    assert told.exit_code == 0
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    with tarfile.open(out) as tar:
        files = {name: file.read() for name in tar.getnames() if (file := tar.extractfile(name))}
    content = b"\n".join(files.values())
    assert (b"and-a-voice" in content) is with_sound
    assert not [word for word in (b"my-project", SECRET.encode(), b"user-7") if word in content]
    assert {"about.json", "journal.txt", "settings.toml", "state.txt", "kiosk.json"} <= {
        Path(name).name for name in files
    }
    assert b"user_id" in files["ravatar-audio-support/state.txt"]
    again = CliRunner().invoke(command, words)
    assert isinstance(again.exception, FileExistsError)  # nobody's file is written over


def test_the_archive_lists_what_is_in_it() -> None:
    with tarfile.open(fileobj=io.BytesIO(archive({"x.txt": "abc"}))) as tar:
        file = tar.extractfile("ravatar-audio-support/CONTENTS.txt")
        assert file
        assert "x.txt: 3 bytes" in file.read().decode()
