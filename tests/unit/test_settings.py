"""Settings: what wins over what, what is refused, and that a refusal says what was wrong."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from ravatar_audio.deprecation import REMOVED_IN
from ravatar_audio.errors import SettingsError
from ravatar_audio.setting_values import plain_type
from ravatar_audio.settings import Settings


def test_arguments_win_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "ravatar.toml"
    file.write_text('width = 640\nheight = 360\nlanguage = "de"\n')
    environ = {"RAVATAR_SETTINGS": str(file), "RAVATAR_HEIGHT": "480", "RAVATAR_LANGUAGE": "fr"}
    settings = Settings.load(environ=environ, language="uk", device=None)
    assert (settings.width, settings.height, settings.language) == (640, 480, "uk")
    assert settings.client_name == "ravatar-audio"
    assert settings.device is None


def test_every_setting_can_come_from_the_environment() -> None:
    texts = {"int": "16000", "float": "3.5", "bool": "yes", "str": "x"}
    special = {
        "api_url": "http://localhost:1",
        "ws_url": "ws://localhost:1",
        "metrics_otlp": "http://localhost:1",
        "metrics_prometheus": "9464",
        "token_url": "https://example.com/jwt",
        "record_hours": "48",
        "backend": "alsa",
        "format": "int24",
        "channels_heard": "0",
        "profile": "high",
        "ca_file": __file__,
        "width": "800",
        "height": "600",
        "channels": "2",
        "mode": "vad",
        "pre_roll_ms": "250",
        "tail_ms": "150",
        "trailing_silence_ms": "500",
        "shortest_press_ms": "0",
        "hangover_ms": "700",
        "onset_ms": "48",
        "detector": "neural",
        "speech_dbfs": "-40.0",
        "barge_in_dbfs": "-20.0",
        "echo_ms": "100",
        "echo_cancellation": "webrtc",
        "noise_suppression_db": "12",
    }
    for item in dataclasses.fields(Settings):
        kind = next(name for name in texts if name in str(plain_type(item.type)))
        text = special.get(item.name, texts[kind])
        name = item.metadata["replaced_by"] or item.name
        loaded = getattr(Settings.load(environ={f"RAVATAR_{item.name.upper()}": special.get(name, text)}), name)
        text = special.get(name, text)
        assert str(loaded) == {"yes": "True"}.get(text, text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_settings_file_may_begin_with_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "ravatar.toml"
    file.write_text('client_name = "Foyer Süd"\n', encoding=encoding)
    assert Settings.load(file, environ={}).client_name == "Foyer Süd"


def test_a_settings_file_in_another_encoding_is_a_clear_refusal(tmp_path: Path) -> None:
    file = tmp_path / "ravatar.toml"
    file.write_text('client_name = "x"\n', encoding="utf-16")
    with pytest.raises(SettingsError, match="is not UTF-8 text: byte 0 is 0xff") as caught:
        Settings.load(file, environ={})
    assert caught.value.advice == "Save it as UTF-8."


@pytest.mark.parametrize("name", ["RAVATAR_DEBUG_LOGS", "VITE_DEBUG_LOGS"])
@pytest.mark.row("meet the debug switch")
def test_the_platforms_own_debug_switches_work(name: str) -> None:
    assert Settings.load(environ={name: "true"}).debug
    assert not Settings.load(environ={name: "false"}).debug


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"width": 1_921}, "width is 1921; it must be 1 to 1920"),
        ({"height": 0}, "1 to 1080"),
        ({"height": "tall"}, "'tall'.*int"),
        ({"width": True}, "True.*int"),
        ({"width": 1.5}, "1.5.*int"),
        ({"gain_db": float("nan")}, "-60 to 60"),
        ({"user_id": "a b"}, "user_id is 'a b'"),
        ({"user_id": "x" * 129}, "1 to 128"),
        ({"project_id": "under_score"}, "project_id"),
        ({"project_id": ""}, "1 to 64"),
        ({"format": "int8"}, "int16, int24"),
        ({"channels_heard": "left"}, "channels_heard is 'left'"),
        ({"api_url": "chat.rvtr.ai"}, "https://chat.rvtr.ai"),
        ({"api_url": "https://"}, "api_url"),
        ({"api_url": "https://chat..rvtr.ai"}, "api_url"),
        ({"api_url": "https://\u2603.rvtr.ai"}, "api_url"),
        ({"ws_url": "wss://chat rvtr.ai"}, "ws_url"),
        ({"ws_url": "wss://xn--\u2603.rvtr.ai"}, "ws_url"),
        ({"slot_wait_s": float("nan")}, "slot_wait_s"),
        ({"linger_s": -1}, "linger_s"),
        ({"ws_url": f"wss://{'a' * 64}.rvtr.ai"}, "ws_url"),
        ({"api_url": "https://host:99999"}, "api_url"),
        ({"ws_url": "https://chat.rvtr.ai/ws/chat"}, "wss://"),
        ({"ca_file": "/nowhere.pem"}, "/nowhere.pem"),
        ({"client_name": None}, "client_name is None"),
        ({"debug": "maybe"}, "maybe"),
    ],
)
@pytest.mark.row("bad settings", "bad user or project id")
def test_a_value_that_cannot_be_used_is_refused(given: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        Settings(**given)


def test_a_token_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings(ws_url="wss://chat.rvtr.ai/ws/chat?token=SECRET")
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("width = ", "TOML"),
        ("colour = 1", "colour"),
        ("width = '1'\nzzz = 2", "zzz"),
        ("hight = 1", "height"),
        (None, "read"),
    ],
)
@pytest.mark.row("bad settings")
def test_a_bad_file_is_named(tmp_path: Path, text: str | None, named: str) -> None:
    file = tmp_path / "bad.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SettingsError, match=rf"bad\.toml.*{named}"):
        Settings.load(file, environ={})


def test_a_misspelt_variable_is_warned_of_and_others_are_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    others = {"RAVATAR_AUDIO_KERNEL": "portable", "RAVATAR_DEBUG_LOGS": "1", "RAVATAR_COLOUR_OF_THE_KIOSK": "red"}
    Settings.load(environ={"RAVATAR_DEVCE": "USB", "RAVATAR_SETTING": "a.toml"} | others)
    assert [record.getMessage() for record in caplog.records] == [
        "RAVATAR_DEVCE in the environment is no setting; did you mean RAVATAR_DEVICE?",
        "RAVATAR_SETTING in the environment is no setting; did you mean RAVATAR_SETTINGS?",
    ]


@pytest.mark.parametrize(
    ("api_url", "websocket_url"),
    [
        ("https://chat.rvtr.ai", "wss://chat.rvtr.ai/ws/chat"),
        ("http://127.0.0.1:8080/", "ws://127.0.0.1:8080/ws/chat"),
        ("https://host/base", "wss://host/base/ws/chat"),
    ],
)
def test_the_websocket_follows_the_api(api_url: str, websocket_url: str) -> None:
    assert Settings(api_url=api_url).websocket_url == websocket_url
    assert Settings(api_url=api_url, ws_url="ws://else/x").websocket_url == "ws://else/x"


@pytest.mark.parametrize(
    "host",
    ["a-b.example", "a_b.example", "10.0.0.1", "[::1]:80", "[fe80::1%25eth0]", "\u65e5\u672c.jp", "xn--wgv71a.jp"],
)
def test_every_host_that_can_be_looked_up_is_taken(host: str) -> None:
    assert Settings(api_url=f"https://{host}").api_url == f"https://{host}"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("HTTPS://CHAT.rvtr.AI", "https://chat.rvtr.ai"),
        ("Https://host:8443/Base", "https://host:8443/Base"),
        ("https://host/a b", "https://host/a%20b"),
        ("https://host/\xfc", "https://host/%C3%BC"),
        ("https://host/%C3%BC%zz", "https://host/%C3%BC%25zz"),
        ("https://[2001:DB8::1]:8443", "https://[2001:db8::1]:8443"),
    ],
)
def test_an_address_is_kept_as_every_library_reads_it(given: str, meant: str) -> None:
    settings = Settings(api_url=given)
    assert settings.api_url == meant
    assert settings.websocket_url == meant.replace("https", "wss") + "/ws/chat"
    assert Settings(api_url=meant).api_url == meant
    assert Settings(ws_url=given.lower().replace("https", "WSS")).websocket_url.startswith("wss://")


@pytest.mark.parametrize("bad", ["\r", "\n", "\t", "\x1b", "\0", "\x7f", "\u2028"])
@pytest.mark.parametrize("where", ["https://chat.rvtr.ai{}", "https://chat{}.rvtr.ai", "https://h/a{}b", "{}https://h"])
def test_control_characters_in_an_address_are_refused(where: str, bad: str) -> None:
    with pytest.raises(SettingsError, match="api_url has a space at an end, or a line end, tab or other control"):
        Settings(api_url=where.format(bad))
    with pytest.raises(SettingsError, match="ws_url"):
        Settings(ws_url=where.format(bad).replace("https", "wss"))


@pytest.mark.parametrize("url", ["https://host/?", "https://host/#", "https://@host", "https://:@host", "https://h:0"])
def test_an_empty_query_user_or_fragment_is_one_too(url: str) -> None:
    with pytest.raises(SettingsError, match="no address of the form"):
        Settings(api_url=url)


def test_a_proxys_password_is_not_in_what_settings_show() -> None:
    settings = Settings(proxy="http://user:geheim@p:3128")
    assert "geheim" not in repr(settings)
    with pytest.raises(SettingsError) as caught:
        Settings(proxy=b"http://user:geheim@p:3128")  # type: ignore[arg-type]
    assert "geheim" not in f"{caught.value} {caught.value.details}"


def test_heard_channels() -> None:
    assert Settings().heard_channels is None
    assert Settings(channels_heard="0,2").heard_channels == (0, 2)
    assert Settings(channels_heard="all").heard_channels == "all"
    assert Settings().heard_channels is None


OLD_VALUES = {"heard": "0,2", "stand_in": "card:Spare", "stand_in_after_ms": "500", "cap_ms": "2000"}
RENAMED = [(item.name, item.metadata["replaced_by"]) for item in dataclasses.fields(Settings)]


@pytest.mark.parametrize("where", ["argument", "environment", "file"])
@pytest.mark.parametrize(("old", "new"), [names for names in RENAMED if names[1]])
def test_the_old_name_of_a_setting_still_works_and_says_the_new_one(
    where: str, old: str, new: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = OLD_VALUES[old]
    value: Any = int(text) if text.isdigit() else text
    (tmp_path / "settings.toml").write_text(f"{old} = {value!r}\n")
    settings = {
        "argument": lambda: Settings.load(environ={}, **{old: value}),
        "environment": lambda: Settings.load(environ={f"RAVATAR_{old.upper()}": text}),
        "file": lambda: Settings.load(tmp_path / "settings.toml", environ={}),
    }[where]()
    assert getattr(settings, new) == value
    assert getattr(settings, old) is None, "so that it can be given on"
    assert f"'{old}' is now '{new}'" in caplog.text
    assert REMOVED_IN in caplog.text


def test_a_value_under_an_old_name_is_checked_as_under_the_new_one() -> None:
    with pytest.raises(SettingsError, match="max_turn_ms is 5; it must be 1000 to 600000"):
        Settings(cap_ms=5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"width = {'1' * 5_000}", "is not valid TOML"),
        (f"width = 0x{'f' * 5_000}", "width is an integer of 20000 bits; it must be 1 to 1920"),
        (f"device = 0x{'f' * 5_000}", "device is an integer of 20000 bits; it must be of type str"),
        (f"device = [0x{'f' * 5_000}]", "device is of another type; it must be of type str"),
    ],
    ids=["decimal", "hexadecimal", "for a text", "in a list"],
)
def test_a_number_of_more_digits_than_python_reads_is_a_settings_error(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "settings.toml").write_text(f"{text}\n")
    with pytest.raises(SettingsError, match=said):
        Settings.load(tmp_path / "settings.toml", environ={})
