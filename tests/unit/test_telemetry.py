"""Traces of a call through two services, as an exporter gets them."""

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from svckit import telemetry

SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = SAMPLED[:-2] + "00"


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    telemetry.trace_with(provider)
    yield exporter
    telemetry.trace_with(None)
    provider.shutdown()


def test_spans_hang_below_the_callers(exporter: InMemorySpanExporter) -> None:
    with (
        telemetry.span("server", SAMPLED, SpanKind.SERVER) as passed_on,
        telemetry.span("client", passed_on, SpanKind.CLIENT) as to_the_next,
    ):
        assert to_the_next != passed_on != SAMPLED
    client, server = exporter.get_finished_spans()
    assert server.parent is not None
    assert client.parent is not None
    assert f"{server.parent.span_id:016x}" == SAMPLED[36:52]
    assert client.parent.span_id == server.context.span_id
    assert f"{client.context.trace_id:032x}" == SAMPLED[3:35]


def test_an_unsampled_call_has_no_span_and_passes_its_trace_on(
    exporter: InMemorySpanExporter,
) -> None:
    with telemetry.span("server", UNSAMPLED, SpanKind.SERVER) as passed_on:
        assert passed_on == UNSAMPLED
    assert not exporter.get_finished_spans()


def test_without_a_parent_the_sdk_decides_and_without_a_tracer_nothing_is_traced(
    exporter: InMemorySpanExporter,
) -> None:
    with telemetry.span("server", None, SpanKind.SERVER):
        pass
    assert len(exporter.get_finished_spans()) == 1
    telemetry.trace_with(None)
    with telemetry.span("server", SAMPLED, SpanKind.SERVER) as passed_on:
        assert passed_on == SAMPLED
    assert len(exporter.get_finished_spans()) == 1


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "00-" + "0" * 32 + "-b7ad6b7169203331-01",
        SAMPLED.upper(),
        SAMPLED + "\n",
        SAMPLED + "-x",
        "01" + SAMPLED[2:],
    ],
)
def test_what_is_no_traceparent_is_dropped(value: str | None) -> None:
    assert telemetry.sane_traceparent(value) is None
