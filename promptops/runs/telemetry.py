"""Traces and metrics of runs for a collector that speaks OTLP over HTTP (OpenTelemetry). docs/watch.md has the rules.

Only this module imports OpenTelemetry, which is the extra `telemetry`. It observes ended runs and makes their spans
with the times that the engine recorded. Batches wait in bounded queues and are sent by threads of the SDK, so a
collector that is slow or dead delays no run.
"""

import atexit
import json
import logging
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.conf import settings

import promptops
from promptops.engine.judged_runs import Outcome
from promptops.engine.judging import ENFORCE, masks
from promptops.engine.snapshot import ProviderSpec
from promptops.engine.types import Attempt
from promptops.platform import background
from promptops.platform.requests import facts
from promptops.runs.ended import OBSERVERS
from promptops.runs.machines import MachinePlan
from promptops.runs.plans import RunPlan

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

log = logging.getLogger(__name__)

MISSING = (
    "OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry is not installed, so no traces are sent. "
    'Run: pip install "$(echo promptops-*.whl)[server,telemetry]" (docs/install.md, More packages).'
)
CLOSING_SECONDS = 2.0
"""The time that the end of the process waits for the collector."""
# The boundaries of the convention.
SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS = tuple(4**power for power in range(14))


class Telemetry:
    """Sends the spans and the metrics of ended runs. With `captures_texts`, spans have the texts that pages show."""

    def __init__(self, tracers: "TracerProvider", meters: "MeterProvider", *, captures_texts: bool) -> None:
        self._tracers, self._meters = tracers, meters
        self._tracer = tracers.get_tracer("promptops", promptops.__version__)
        meter = meters.get_meter("promptops", promptops.__version__)
        self._seconds = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="GenAI operation duration.",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=TOKENS,
        )
        self._captures_texts = captures_texts

    def __call__(self, plan: RunPlan, outcome: Outcome) -> None:
        """Make the spans of an ended run: one for the run, and in it one for each call to a provider."""
        from opentelemetry import trace
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        ended = outcome.at.timestamp() if outcome.at else time.time()
        began = ended - outcome.latency_ms / 1000
        known = facts()
        caller = {"traceparent": known.traceparent, "tracestate": known.tracestate}
        span = self._tracer.start_span(
            f"invoke_workflow {plan.operation}",
            context=TraceContextTextMapPropagator().extract({name: text for name, text in caller.items() if text}),
            kind=SpanKind.INTERNAL,
            start_time=_nanoseconds(began),
            attributes=_run_attributes(plan, outcome),
        )
        if self._captures_texts and span.is_recording():
            span.set_attributes(_texts(plan, outcome))
        _set_error(span, outcome.error_kind if outcome.status in ("failed", "blocked") else "")
        # The chain starts once the input is judged, and the times of its calls count from there.
        judged_input = sum(check.seconds for check in outcome.checks if check.side == "input")
        chain_began = began + (judged_input if plan.snapshot.safety.mode == ENFORCE else 0.0)
        specs = {spec.name: spec for spec in plan.providers}
        context = trace.set_span_in_context(span)
        for attempt in outcome.attempts:
            attributes = _call_attributes(attempt, specs.get(attempt.provider))
            call_began = chain_began + attempt.started_ms / 1000
            call = self._tracer.start_span(
                f"chat {attempt.model}".rstrip(),
                context=context,
                kind=SpanKind.CLIENT,
                start_time=_nanoseconds(call_began),
                attributes=attributes | _result_attributes(attempt),
            )
            _set_error(call, attempt.error_kind or "")
            call.end(_nanoseconds(call_began + attempt.latency_ms / 1000))
            if not plan.drill:
                self._measure(attempt, attributes)
        span.end(_nanoseconds(ended))

    def close(self, seconds: float = CLOSING_SECONDS) -> None:
        """Send what waits and end the SDK's threads; return after `seconds` at the latest.

        The SDK alone may take half a minute.
        """
        closing = threading.Thread(target=self._close, daemon=True)
        closing.start()
        closing.join(seconds)

    def _close(self) -> None:
        self._tracers.shutdown()
        self._meters.shutdown()

    def _measure(self, attempt: Attempt, attributes: Mapping[str, Any]) -> None:
        if attempt.answered_model:
            attributes = {**attributes, "gen_ai.response.model": attempt.answered_model}
        error = {"error.type": attempt.error_kind} if attempt.error_kind else {}
        self._seconds.record(attempt.latency_ms / 1000, {**attributes, **error})
        if attempt.usage is None or attempt.usage_estimated:  # the convention wants counted tokens only
            return
        for kind, number in (("input", attempt.usage.input_tokens), ("output", attempt.usage.output_tokens)):
            if number is not None:
                self._tokens.record(number, {**attributes, "gen_ai.token.type": kind})


def _run_attributes(plan: RunPlan, outcome: Outcome) -> dict[str, Any]:
    live = plan.live if isinstance(plan, MachinePlan) else None
    template = live.name if live else plan.template.name if plan.template else ""
    version = live.version_number if live else plan.version.number if plan.version else 0
    costs = [attempt.cost for attempt in outcome.attempts if attempt.cost is not None]
    values = {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.workflow.name": plan.operation,
        "gen_ai.prompt.name": template,
        "gen_ai.prompt.version": str(version) if version else "",
        "promptops.run.id": str(plan.public_id or ""),
        "promptops.request.id": plan.request_id,
        "promptops.source": str(plan.source),
        "promptops.revision": plan.snapshot.revision,
        "promptops.epoch": plan.snapshot.epoch,
        "promptops.outcome": outcome.status,
        "promptops.fallback_used": bool(outcome.response and outcome.response.fallback_used),
        "promptops.safety.mode": plan.snapshot.safety.mode,
        "promptops.cost_usd": sum(costs) if costs else None,
        "promptops.drill": str(plan.drill or ""),
    }
    return {name: value for name, value in values.items() if value not in ("", None)}


def _call_attributes(attempt: Attempt, spec: ProviderSpec | None) -> dict[str, Any]:
    """Return the attributes that the span and the metrics of a call share."""
    values: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": spec.kind if spec else "unknown",
        "gen_ai.request.model": attempt.model,
    }
    if spec and (host := urlsplit(spec.base_url).hostname):
        values["server.address"] = host
        values["server.port"] = _port(spec.base_url)
    return {name: value for name, value in values.items() if value not in ("", None)}


def _port(address: str) -> int:
    parts = urlsplit(address)
    return parts.port or (80 if parts.scheme == "http" else 443)


def _result_attributes(attempt: Attempt) -> dict[str, Any]:
    usage = None if attempt.usage_estimated else attempt.usage
    first_text = None if attempt.first_text_ms is None else max(0.0, attempt.first_text_ms - attempt.started_ms) / 1000
    values = {
        "gen_ai.response.model": attempt.answered_model,
        "gen_ai.response.finish_reasons": [attempt.finish_reason] if attempt.finish_reason else None,
        "gen_ai.response.time_to_first_chunk": first_text,
        "gen_ai.usage.input_tokens": usage.input_tokens if usage else None,
        "gen_ai.usage.output_tokens": usage.output_tokens if usage else None,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens if usage else None,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens if usage else None,
        "http.response.status_code": attempt.status,
        "promptops.provider": attempt.provider,
        "promptops.attempt.outcome": attempt.outcome,
        "promptops.attempt.hedge": attempt.hedge or None,
        "promptops.attempt.repair": attempt.repair or None,
    }
    return {name: value for name, value in values.items() if value is not None}


def _texts(plan: RunPlan, outcome: Outcome) -> dict[str, str]:
    """Return the messages of the run as JSON of the convention. A text that pages mask is left out."""
    masked = {check.side for check in outcome.checks if masks(check)}
    values = {}
    if "input" not in masked:
        messages = [(message.role, message.content) for message in plan.request().messages]
        values["gen_ai.system_instructions"] = [_part(text) for role, text in messages if role == "system"]
        values["gen_ai.input.messages"] = [_message(role, text) for role, text in messages if role != "system"]
    if outcome.response and not masked:
        reason = outcome.response.finish_reason or "stop"
        values["gen_ai.output.messages"] = [_message("assistant", outcome.response.content) | {"finish_reason": reason}]
    return {name: json.dumps(value, ensure_ascii=False) for name, value in values.items()}


def _message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [_part(text)]}


def _part(text: str) -> dict[str, str]:
    return {"type": "text", "content": text}


def _set_error(span: "Span", kind: str) -> None:
    """Mark a span as failed. The message of an error is left out: it may quote a text."""
    from opentelemetry.trace import StatusCode

    if kind:
        span.set_attribute("error.type", kind)
        span.set_status(StatusCode.ERROR)


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000)


def make_telemetry() -> Telemetry:
    """Return the telemetry that sends to OTEL_EXPORTER_OTLP_ENDPOINT. Raises ImportError without the extra."""
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": settings.OTEL_SERVICE_NAME, "service.version": promptops.__version__})
    tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    meters = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
    return Telemetry(tracers, meters, captures_texts=settings.OTEL_CAPTURES_TEXTS)


@background.at_start
def start() -> None:
    """Send telemetry from now on, if OTEL_EXPORTER_OTLP_ENDPOINT is set."""
    if not settings.OTEL_EXPORTER_OTLP_ENDPOINT or any(isinstance(each, Telemetry) for each in OBSERVERS):
        return
    try:
        sender = make_telemetry()
    except ImportError:
        log.error(MISSING)
        return
    OBSERVERS.append(sender)
    atexit.register(sender.close)
