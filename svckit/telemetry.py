"""Metrics and traces of a process.

Metrics are prometheus-client's, served on a port of their own. Traces cost nothing until an OTLP
endpoint is configured; then calls whose parent is sampled (or that the SDK's own sampler picks)
become spans. All `OTEL_*` variables are the SDK's business.
"""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import prometheus_client
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

CALLS = prometheus_client.Counter(
    "newsfeed_rpc_calls", "Calls that ended, by method and status code", ["method", "code"]
)
CALL_SECONDS = prometheus_client.Histogram(
    "newsfeed_rpc_seconds",
    "Seconds from a call's arrival to its answer",
    ["method"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
CALLS_IN_PROGRESS = prometheus_client.Gauge(
    "newsfeed_rpc_in_progress", "Calls that are being served", ["kind"]
)

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_propagator = TraceContextTextMapPropagator()
_tracer: trace.Tracer | None = None


def start_metrics(host: str, port: int) -> None:
    """Serves /metrics of this process; 0 = off."""
    if port:
        prometheus_client.start_http_server(port, addr=host)


def configure_traces(service: str, endpoint: str) -> TracerProvider | None:
    """Exports spans when an OTLP endpoint is configured. The caller shuts the provider down."""
    if not endpoint:
        return None
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: service}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace_with(provider)
    return provider


def trace_with(provider: TracerProvider | None) -> None:
    """From now on the spans of this process are the provider's; None = there are no spans."""
    global _tracer  # noqa: PLW0603 one tracer a process, as in the SDK itself
    _tracer = provider.get_tracer("newsfeed") if provider else None


def sane_traceparent(value: str | None) -> str | None:
    """`value` when it is a W3C traceparent, else None: what callers send is not to be trusted."""
    return value if value and _TRACEPARENT.fullmatch(value) else None


@contextmanager
def span(name: str, parent: str | None, kind: trace.SpanKind) -> Iterator[str]:
    """A span below `parent`; yields the traceparent to pass on. No span object when not sampled."""
    if _tracer is None or (parent is not None and not _is_sampled(parent)):
        yield parent or _new_traceparent()
        return
    above = _propagator.extract({"traceparent": parent}) if parent else Context()
    with _tracer.start_as_current_span(name, context=above, kind=kind):
        carrier: dict[str, str] = {}
        _propagator.inject(carrier)
        yield carrier["traceparent"]


def _is_sampled(traceparent: str) -> bool:
    return int(traceparent[-2:], 16) & 1 == 1


def _new_traceparent() -> str:
    """A fresh, unsampled trace: it joins the logs of one request even when nothing is traced."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"
