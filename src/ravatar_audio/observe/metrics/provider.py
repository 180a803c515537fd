"""OpenTelemetry, and nothing else of the package knows it: instruments over a snapshot, the Prometheus text, OTLP."""

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from ravatar_audio._version import __version__
from ravatar_audio.errors import SettingsError
from ravatar_audio.observe.metrics.readings import Snapshot
from ravatar_audio.observe.metrics.table import METRICS, Metric, MetricKind

try:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from opentelemetry.metrics import CallbackOptions, Histogram, Observation
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricExportResult
    from opentelemetry.sdk.resources import Resource
    from prometheus_client import CollectorRegistry, generate_latest
except ImportError as _missing:
    raise SettingsError(
        f"metrics need OpenTelemetry, and {_missing.name} is not installed",
        advice="Install the extra: pip install 'ravatar-audio[metrics]'; or leave metrics_otlp and metrics_prometheus.",
    ) from _missing

PUSH_LIMIT_S: Final = 10.0
"""Longest push, tries included."""


class Provider:
    """The instruments of METRICS, on their own: no global provider is set.

    `read` gives a snapshot; any thread may call it. `machine` gives more of them, read with each collection.
    """

    def __init__(self, read: Callable[[], Snapshot]) -> None:
        self._read = read
        self._registry = CollectorRegistry()
        self._pushed = InMemoryMetricReader()
        self._lock = threading.Lock()
        readers = [PrometheusMetricReader(registry=self._registry, scope_info_enabled=False), self._pushed]
        self._provider = MeterProvider(readers, Resource.create(_resource()), shutdown_on_exit=False)
        self._exporter: OTLPMetricExporter | None = None
        meter = self._provider.get_meter("ravatar_audio", __version__)
        self._histograms: dict[str, Histogram] = {}
        for metric in METRICS:
            about: dict[str, Any] = {"name": metric.name, "unit": metric.unit, "description": metric.text}
            match metric.kind:
                case MetricKind.HISTOGRAM:
                    bounds = list(metric.bounds)
                    self._histograms[metric.name] = meter.create_histogram(
                        **about, explicit_bucket_boundaries_advisory=bounds
                    )
                case MetricKind.COUNTER:
                    meter.create_observable_counter(callbacks=[self._callback(metric)], **about)
                case MetricKind.SUM:
                    meter.create_observable_up_down_counter(callbacks=[self._callback(metric)], **about)
                case MetricKind.GAUGE:
                    meter.create_observable_gauge(callbacks=[self._callback(metric)], **about)

    def record(self, name: str, value: float) -> None:
        """Record one value of a histogram; any thread may call."""
        self._histograms[name].record(value)

    def prometheus_text(self) -> bytes:
        """Return all metrics, in Prometheus' text format (0.0.4). Takes some milliseconds; any thread may call."""
        with self._lock:
            return generate_latest(self._registry)

    def push(self, endpoint: str) -> bool:
        """Send all metrics to an OTLP receiver over HTTP; whether it has taken them. Blocks, PUSH_LIMIT_S at most.

        Headers, certificates and compression come from the environment, as OpenTelemetry says (OTEL_EXPORTER_OTLP_*).
        """
        with self._lock:
            if self._exporter is None:
                _quiet_exporter()
                self._exporter = OTLPMetricExporter(endpoint=endpoint, timeout=PUSH_LIMIT_S)
            data = self._pushed.get_metrics_data()
            return data is None or self._exporter.export(data) is MetricExportResult.SUCCESS

    def close(self) -> None:
        """Free it; what was not pushed is gone."""
        self._provider.shutdown()
        if self._exporter is not None:
            self._exporter.shutdown()

    def _callback(self, metric: Metric) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(options: CallbackOptions) -> Iterable[Observation]:
            for (name, value), number in self._read().items():
                if name == metric.name:
                    yield Observation(number, {metric.attribute: value} if metric.attribute and value else None)

        return observe


def _resource() -> Mapping[str, str]:
    """Who sends; OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME say otherwise."""
    told = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    name = os.environ.get("OTEL_SERVICE_NAME") or "ravatar-audio"
    ours = {"service.name": name, "service.version": __version__, "service.instance.id": socket.gethostname()}
    return {key: value for key, value in ours.items() if f"{key}=" not in told}


class _Once(logging.Filter):
    """Keeps the exporter's own lines from a log in which this package says on the edge what is wrong."""

    def filter(self, record: logging.LogRecord) -> bool:
        return False


_ONCE: Final = _Once()


def _quiet_exporter() -> None:
    for name in (OTLPMetricExporter.__module__, "opentelemetry.exporter.http.transport", "opentelemetry.exporter.otlp"):
        logging.getLogger(name).addFilter(_ONCE)
