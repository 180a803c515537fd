"""No token and no LicenseId in anything that is shown, through a whole run with faults."""

import json
import logging
import traceback
from typing import Any

import pytest
import trio

from ravatar_audio.api.http import Platform
from ravatar_audio.api.results import LiveStart
from ravatar_audio.emulator import Emulator, EmulatorSettings, Fault
from ravatar_audio.errors import RavatarError, StreamError
from ravatar_audio.session import LinkLost, LiveSession, retries

from .conftest import Frames, MakeSettings, until


async def test_a_full_faulty_run_shows_no_secret(
    settings_for: MakeSettings,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secrets: list[str] = []
    shown: list[str] = []
    request_token, start_live = Platform.request_token, Platform.start_live

    async def watched_token(self: Platform) -> str:
        secrets.append(token := await request_token(self))
        return token

    async def watched_start(self: Platform, *args: Any, **options: Any) -> LiveStart:
        start = await start_live(self, *args, **options)
        secrets.append(start.license_id)
        shown.append(repr(start))
        return start

    monkeypatch.setattr(Platform, "request_token", watched_token)
    monkeypatch.setattr(Platform, "start_live", watched_start)
    faults = (
        Fault(at="connection", do="status", status=403),
        Fault(at="startLiveSession", do="status", status=504),
        Fault(at="socket", do="status", status=403),
        Fault(at="endLiveSession", do="status", status=402),
    )
    caplog.set_level(logging.DEBUG)  # the libraries' logs too, as an application may have it
    monkeypatch.setattr(retries, "FINAL_REFUSALS", 2)
    monkeypatch.setattr(retries, "FINAL_AFTER_S", 0.0)
    with trio.fail_after(30):
        async with Emulator(EmulatorSettings(faults=faults)) as emulator:
            try:
                async with LiveSession(settings_for(emulator), Frames(every_s=0.02)) as live:
                    await until(lambda: live.statistics().sent_frames > 3, "sound")
                    for token in secrets:  # a server that repeats what it should not
                        emulator.send({"type": "system", "message": f"your token is {token}"})
                        emulator.send("not JSON: " + token)
                    for do in ("reset", "close", "garbage", "hang_up"):
                        await emulator.strike(Fault(at="message", do=do))
                        await trio.sleep(0.1)
                    shown += [repr(live), repr(live.platform), repr(live.statistics())]
                    emulator.faults.add(Fault(at="socket", do="status", status=403, times=0))
                    await emulator.strike(Fault(at="message", do="close", code=1008, reason=secrets[0][:100]))
                    async for event in live.events():
                        shown.append(str(event) if isinstance(event, LinkLost) else "")
            except RavatarError as error:
                shown += [str(error), repr(error), json.dumps(error.details, default=repr), error.advice]
                shown.append("".join(traceback.format_exception(error)))
            else:
                pytest.fail("the session should have failed")
    out, err = capfd.readouterr()
    ours = "\n".join(record.getMessage() for record in caplog.records if not record.name.endswith("emulator"))
    assert len(secrets) >= 4
    assert "POST /startLiveSession -> 200" in ours
    assert "sent frame 0: 4096 samples" in ours
    for text in (ours, out, err, *shown):
        for secret in secrets:
            assert secret not in text, text[:2_000]


async def test_looking_at_a_streaming_page_shows_no_token(
    settings_for: MakeSettings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="httpx2")
    with trio.fail_after(20):
        async with Emulator() as emulator, LiveSession(settings_for(emulator), Frames()) as live:
            status, _ = await live.platform.look_at(live.streaming_url)
            token = live.platform.tokens.current
            assert status == 200
            assert token is not None
            assert "/stream/" in caplog.text
            assert token not in caplog.text


async def test_a_stream_error_that_repeats_a_secret_does_not_show_it(settings_for: MakeSettings) -> None:
    with trio.fail_after(20):
        async with Emulator() as emulator:
            with pytest.raises(StreamError) as caught:  # noqa: PT012 - the block is what is tested
                async with LiveSession(settings_for(emulator), Frames()) as live:
                    token = live.platform.tokens.current or "none"
                    emulator.send({"type": "error", "error": "Stream Error", "message": f"no stream for {token}"})
                    await live.wait_finished()
    assert str(caught.value) == "the platform says: no stream for [hidden]"
    assert token not in json.dumps(caught.value.details)
