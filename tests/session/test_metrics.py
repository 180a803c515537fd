"""Metrics of real sessions: the page while a fault goes on, what an OTLP receiver gets, and that no secret is in it."""

import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import h11
import pytest
import trio
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from ravatar_audio.capture import open_source
from ravatar_audio.emulator import Emulator, Fault
from ravatar_audio.errors import SettingsError
from ravatar_audio.observe.metrics.service import MetricsService
from ravatar_audio.observe.metrics.table import METRICS
from ravatar_audio.session import LiveSession, TurnSource, observing

from .conftest import Frames, MakeSettings, until
from .examples import defined, examples, page
from .test_kiosk import asked, served

Page = dict[str, float]


async def get(port: int, path: str = "/metrics", *, method: str = "GET", host: str | None = None) -> tuple[int, str]:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        lines = f"{method} {path} HTTP/1.1\r\nHost: {host or f'127.0.0.1:{port}'}\r\n\r\n"
        await stream.send_all(lines.encode())
        data = b"".join([part async for part in stream]).decode()
    head, _, body = data.partition("\r\n\r\n")
    return int(head.split()[1]), body


async def scrape(port: int) -> Page:
    status, body = await get(port)
    assert status == 200
    lines = (line.rpartition(" ") for line in body.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def port_of(observers: object) -> int:
    assert isinstance(observers, tuple)
    (service,) = observers
    assert isinstance(service, MetricsService)
    assert service.port is not None
    return service.port


async def test_a_scrape_during_a_fault_shows_the_fault_and_one_after_it_that_it_is_over(
    settings_for: MakeSettings,
) -> None:
    with trio.fail_after(40):
        async with Emulator() as emulator:
            settings = settings_for(emulator, metrics_prometheus=0, outbox_ms=512)
            async with observing(settings) as observers:
                port = port_of(observers)
                async with LiveSession(settings, Frames(every_s=0.03), observers=observers) as live:
                    await until(lambda: live.statistics().acknowledged_frames > 3, "frames are acknowledged")
                    before = await scrape(port)
                    assert (before["ravatar_sessions"], before["ravatar_session_link_up"]) == (1, 1)
                    assert before['ravatar_samples_lost_total{ravatar_cause="outbox"}'] == 0
                    emulator.faults.add(Fault(at="socket", do="status", status=503, times=6))
                    await emulator.strike(Fault(at="message", do="reset"))
                    await until(lambda: not live.is_linked and sum(live.statistics().dropped_samples.values()), "lost")
                    during = await scrape(port)
                    assert (during["ravatar_sessions"], during["ravatar_session_link_up"]) == (1, 0)
                    assert during['ravatar_samples_lost_total{ravatar_cause="outbox"}'] > 0
                    assert during['ravatar_queue{ravatar_queue_name="outbox"}'] > 0
                    await until(lambda: live.is_linked, "the link is back", 30)
                    after = await scrape(port)
                    assert after["ravatar_session_reconnects_total"] == 1
                    assert after['ravatar_session_link_losses_total{ravatar_close_code="503"}'] >= 1
                final, statistics = await scrape(port), live.statistics()
            lost = sum(value for name, value in final.items() if name.startswith("ravatar_samples_lost"))
            assert lost == sum(statistics.dropped_samples.values())
            assert final['ravatar_samples_total{ravatar_state="taken"}'] == statistics.taken_samples
            assert (final["ravatar_sessions"], final["ravatar_session_link_up"]) == (0, 0)


async def test_turns_levels_and_the_microphones_counters_are_in_the_page(settings_for: MakeSettings) -> None:
    with trio.fail_after(40):
        async with Emulator() as emulator:
            settings = settings_for(emulator, metrics_prometheus=0, mode="ptt")
            async with observing(settings) as observers:
                turns = TurnSource.from_settings(settings, open_source(settings, "synthetic:speech"))
                async with turns, LiveSession(settings, turns, observers=observers) as live:
                    turns.press()
                    await trio.sleep(1.5)
                    turns.release()
                    async for event in live.events():
                        if type(event).__name__ == "Reply":
                            break
                    page = await scrape(port_of(observers))
            assert page["ravatar_turns_total"] >= 1
            assert page['ravatar_turn_events_total{ravatar_kind="ended"}'] >= 1
            assert page["ravatar_reply_latency_seconds_count"] == 1
            assert 0 <= page["ravatar_reply_latency_seconds_sum"] < 10
            assert page["ravatar_frame_headroom_dB_count"] >= 4
            assert page['ravatar_samples_total{ravatar_state="captured"}'] > 0
            assert page["ravatar_microphone_blocks_total"] > 0
            assert page['ravatar_frames_total{ravatar_state="written"}'] == page["ravatar_frame_age_seconds_count"]


class Receiver:
    """An OTLP receiver over HTTP, which keeps what it gets."""

    def __init__(self, status: int = 200) -> None:
        self.requests: list[ExportMetricsServiceRequest] = []
        self.raw: list[bytes] = []
        self.status = status
        self.url = ""

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/v1/metrics"
        task_status.started()
        await trio.serve_listeners(self._answer, [listener])

    async def _answer(self, stream: trio.SocketStream) -> None:
        async with stream:
            connection, body, is_packed = h11.Connection(h11.SERVER), b"", False
            while not isinstance(event := connection.next_event(), (h11.EndOfMessage, h11.ConnectionClosed)):
                if event is h11.NEED_DATA:
                    connection.receive_data(await stream.receive_some())
                elif isinstance(event, h11.Request):
                    is_packed = (b"content-encoding", b"gzip") in event.headers.raw_items()
                    assert event.target == b"/v1/metrics"
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
            data = gzip.decompress(body) if is_packed else body
            self.raw.append(data)
            self.requests.append(ExportMetricsServiceRequest.FromString(data))
            await stream.send_all(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % self.status)


@asynccontextmanager
async def receiving(status: int = 200) -> AsyncIterator[Receiver]:
    receiver = Receiver(status)
    async with trio.open_nursery() as nursery:
        await nursery.start(receiver.run)
        yield receiver
        nursery.cancel_scope.cancel()


async def test_an_otlp_receiver_gets_every_metric_with_unit_and_kind_and_the_last_counts_at_the_end(
    settings_for: MakeSettings,
) -> None:
    with trio.fail_after(40):
        async with Emulator() as emulator, receiving() as receiver:
            settings = settings_for(emulator, metrics_otlp=receiver.url, metrics_interval_ms=1_000, user_id="visitor-7")
            async with LiveSession.open(settings, "synthetic:speech") as live:
                await until(lambda: len(receiver.requests) >= 2, "it is pushed again and again", 20)
                secrets = [live.streaming_url.partition("token=")[2], live._license_id() or ""]
                count = len(receiver.requests)
            assert len(receiver.requests) > count, "what was counted last is pushed at the end"
        (resource,) = receiver.requests[-1].resource_metrics
        attributes = {item.key: item.value.string_value for item in resource.resource.attributes}
        assert attributes["service.name"] == "ravatar-audio"
        (scope,) = resource.scope_metrics
        metrics = {metric.name: metric for metric in scope.metrics}
        units = {metric.name: metric.unit for metric in METRICS}
        assert {name: metric.unit for name, metric in metrics.items()} == {name: units[name] for name in metrics}
        taken = {
            point.attributes[0].value.string_value: point.as_int or point.as_double
            for point in metrics["ravatar.samples"].sum.data_points
        }
        assert taken["taken"] == live.statistics().taken_samples > 0
        assert metrics["ravatar.samples"].sum.is_monotonic
        assert metrics["ravatar.frame.age"].histogram.data_points[0].count == taken["written"] // 4_096
        everything = b"".join(receiver.raw)
        assert all(len(secret) > 5 and secret.encode() not in everything for secret in secrets)
        assert b"visitor-7" not in everything


@pytest.mark.parametrize("status", [400, 503])
async def test_a_receiver_that_refuses_or_is_not_there_ends_no_session_and_is_logged_once(
    settings_for: MakeSettings, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    with trio.fail_after(60):
        async with Emulator() as emulator, receiving(status) as receiver:
            url = receiver.url if status == 400 else "http://127.0.0.1:9/v1/metrics"
            settings = settings_for(emulator, metrics_otlp=url, metrics_interval_ms=1_000)
            async with LiveSession.open(settings, "synthetic:speech") as live:
                await trio.sleep(4)
                assert live.statistics().sent_frames > 5
    lines = [record.getMessage() for record in caplog.records if "metrics_otlp" in record.getMessage()]
    if status == 400:
        assert len(lines) == 1
    assert not [record for record in caplog.records if record.name.startswith("opentelemetry")]


async def test_the_page_answers_its_own_name_and_path_only(settings_for: MakeSettings) -> None:
    with trio.fail_after(20):
        async with Emulator() as emulator, observing(settings_for(emulator, metrics_prometheus=0)) as observers:
            port = port_of(observers)
            assert (await get(port))[0] == 200
            assert (await get(port, host=f"localhost:{port}"))[0] == 200
            assert (await get(port, host="evil.example"))[0] == 403
            assert (await get(port, "/"))[0] == 404
            assert (await get(port, method="POST"))[0] == 405
            status, body = await get(port, method="HEAD")
            assert (status, body) == (200, "")
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            await stream.send_all(b"nonsense\r\n\r\n")
            assert (await get(port))[0] == 200, "whatever somebody else says"
            await stream.aclose()


async def test_a_taken_port_is_a_clear_error(settings_for: MakeSettings) -> None:
    async with Emulator() as emulator, observing(settings_for(emulator, metrics_prometheus=0)) as observers:
        settings = settings_for(emulator, metrics_prometheus=port_of(observers))
        with pytest.raises(SettingsError, match=f"port {port_of(observers)}: Address already in use"):
            async with observing(settings):
                pass


async def test_the_kiosks_address_has_metrics_without_the_secret_but_for_no_other_site() -> None:
    async def text() -> bytes:
        return b"ravatar_sessions 1\n"

    obeyed: list[str] = []
    async with served(obeyed, metrics=text) as server:
        status, headers, body = await asked(server, "/metrics")
        assert (status, body) == (200, "ravatar_sessions 1\n")
        assert headers["content-type"].startswith("text/plain; version=0.0.4")
        for foreign in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"}):
            assert (await asked(server, "/metrics", **foreign))[0] == 403
        assert (await asked(server, "/metrics/status"))[0] == 403
        assert (await asked(server, "/metrics", method="POST"))[0] == 405
    async with served(obeyed) as server:
        status, _, body = await asked(server, "/metrics")
        assert status == 404
        assert "ravatar-audio[metrics]" in body
    assert json.dumps(obeyed) == "[]"


(SHARED,) = examples(page("docs/howto/metrics.md"))


async def test_the_pages_example_counts_over_all_of_its_sessions(settings_for: MakeSettings) -> None:
    serve = defined(SHARED, "serve")
    with trio.fail_after(40):
        async with Emulator() as emulator, receiving() as receiver:
            settings = settings_for(emulator, metrics_otlp=receiver.url)
            await serve(settings, [Frames(every_s=0.01, count=5), Frames(every_s=0.01, count=7)])
    metrics = receiver.requests[-1].resource_metrics[0].scope_metrics[0].metrics
    frames = next(metric for metric in metrics if metric.name == "ravatar.frames")
    counted = {
        point.attributes[0].value.string_value: point.as_double or point.as_int for point in frames.sum.data_points
    }
    assert counted["taken"] == counted["acknowledged"] == 12
