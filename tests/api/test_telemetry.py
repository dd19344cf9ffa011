"""The metrics and the traces of runs, through the interface of machines. A collector on loopback decodes what comes."""

import asyncio
import atexit
import json
import subprocess
import sys
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from django.conf import settings
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from promptops.engine.judged_runs import Outcome
from promptops.live import snapshots as live
from promptops.platform import metrics
from promptops.runs import metrics as run_metrics
from promptops.runs import telemetry
from promptops.runs.ended import OBSERVERS
from promptops.runs.machines import Wishes, plan_run
from promptops.runs.plans import Drill
from tests.api.running import BROKEN, FOX, deny, in_database, providers, recorded
from tests.engine.helpers import answer_with, closed_port, completion, http_answer

pytestmark = pytest.mark.django_db(transaction=True)

ENHANCE = "/api/v1/run/enhance"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CALLER = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
FOX_WITH_USAGE = answer_with(
    http_answer(completion("A red fox.") | {"model": "m2-0613", "usage": {"prompt_tokens": 11, "completion_tokens": 4}})
)


def value(name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


def plain(attributes: Any) -> dict[str, Any]:
    """Return the attributes of a span, a point or a resource as a dict."""

    def of(value: Any) -> Any:
        kind = value.WhichOneof("value")
        return [of(each) for each in value.array_value.values] if kind == "array_value" else getattr(value, kind)

    return {each.key: of(each.value) for each in attributes}


class Collector:
    """A collector on loopback that answers after `seconds`, and what it has got."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.bodies: dict[str, list[bytes]] = {"/v1/traces": [], "/v1/metrics": []}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.bodies[self.path].append(self.rfile.read(int(self.headers["Content-Length"])))
                time.sleep(seconds)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=[0.01], daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.socket.close()

    @property
    def spans(self) -> list[Any]:
        """Return the spans, in the order of their start, a run before its calls."""
        resources = [
            each
            for body in self.bodies["/v1/traces"]
            for each in ExportTraceServiceRequest.FromString(body).resource_spans
        ]
        assert {plain(each.resource.attributes)["service.name"] for each in resources} == {"promptops"}
        found = [span for each in resources for scope in each.scope_spans for span in scope.spans]
        return sorted(found, key=lambda span: (span.start_time_unix_nano, span.name.startswith("chat")))

    @property
    def points(self) -> list[tuple[str, dict[str, Any], float]]:
        """Return the newest points of the histograms: name, attributes, sum."""
        newest = ExportMetricsServiceRequest.FromString(self.bodies["/v1/metrics"][-1])
        return [
            (metric.name, plain(point.attributes), point.sum)
            for resource in newest.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.histogram.data_points
        ]


@pytest.fixture
def collector():
    collecting = Collector()
    yield collecting
    collecting.close()


@pytest.fixture
def slow_collector():
    collecting = Collector(30)
    yield collecting
    collecting.close()


@pytest.fixture
def observe(settings, monkeypatch):
    """`observe(url)`: send telemetry there, as the server does from its start. Returns the sender."""
    before = OBSERVERS[:]

    def begin(url: str, *, texts: bool = False) -> telemetry.Telemetry:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
        settings.OTEL_EXPORTER_OTLP_ENDPOINT, settings.OTEL_CAPTURES_TEXTS = url, texts
        telemetry.start()
        telemetry.start()  # of a second event loop
        [sender] = OBSERVERS[len(before) :]
        return sender

    yield begin
    for sender in OBSERVERS[len(before) :]:
        atexit.unregister(sender.close)
    OBSERVERS[:] = before


async def run(machine, *responds: Any, **options: Any) -> httpx.Response:
    caller = await in_database(machine, "run")
    async with providers(*responds):
        answer = await caller.arequest("POST", ENHANCE, json={"input": "a fox"}, **options)
        await recorded()
    return answer


async def test_a_run_counts_in_the_metrics(machine):
    verdict = {"mode": "enforce", "side": "input", "decision": "allow", "blocked": "false"}
    counted = {
        "promptops_runs_total": {"operation": "enhance", "outcome": "succeeded", "source": "api"},
        "promptops_run_duration_seconds_count": {"operation": "enhance"},
        "promptops_attempts_total": {"provider": "p1", "outcome": "failed", "error_kind": "server"},
        "promptops_attempt_duration_seconds_count": {"provider": "p2"},
        "promptops_safety_verdicts_total": verdict,
        "promptops_safety_judge_duration_seconds_count": {"side": "output"},
    }
    before = {name: value(name, **labels) for name, labels in counted.items()}
    sent = value("promptops_tokens_total", provider="p2", type="input")
    await in_database(deny, "zebra")
    assert (await run(machine, BROKEN, FOX_WITH_USAGE)).status_code == 200
    for name, labels in counted.items():
        assert value(name, **labels) == before[name] + 1, name
    assert value("promptops_tokens_total", provider="p2", type="input") == sent + 11
    assert value("promptops_recorder_waiting_runs") == 0


async def test_a_drill_counts_nowhere(machine):
    async with providers(FOX):
        plan = plan_run(await live.acurrent(), "enhance", "a fox", Wishes(), token=1, request_id="")
    name, labels = "promptops_runs_total", {"operation": "enhance", "outcome": "failed", "source": "api"}
    before = value(name, **labels)
    run_metrics.count(replace(plan, drill=Drill("p1", "timeout")), Outcome("failed"))
    assert value(name, **labels) == before
    run_metrics.count(plan, Outcome("failed"))
    assert value(name, **labels) == before + 1


async def test_a_run_is_a_trace_in_that_of_its_caller(machine, observe, collector):
    sender = observe(collector.url)
    answer = (await run(machine, BROKEN, FOX_WITH_USAGE, headers=CALLER | {"X-Request-Id": "job-1"})).json()
    await asyncio.to_thread(sender.close)
    whole, failed, answered = collector.spans
    assert whole.trace_id.hex() == failed.trace_id.hex() == answered.trace_id.hex() == TRACE
    assert whole.parent_span_id.hex() == PARENT
    assert failed.parent_span_id == answered.parent_span_id == whole.span_id
    assert [span.name for span in (whole, failed, answered)] == ["invoke_workflow enhance", "chat m1", "chat m2"]
    facts = plain(whole.attributes)
    assert facts["gen_ai.workflow.name"] == "enhance"
    assert (facts["promptops.run.id"], facts["promptops.request.id"]) == (answer["run"], "job-1")
    assert (facts["promptops.revision"], facts["promptops.outcome"]) == (answer["revision"], "succeeded")
    assert (facts["gen_ai.prompt.name"], facts["gen_ai.prompt.version"]) == ("enhance", "1")
    first, second = plain(failed.attributes), plain(answered.attributes)
    assert (first["error.type"], first["http.response.status_code"], failed.status.code) == ("server", 503, 2)
    assert failed.status.message == ""
    assert {name: second[name] for name in second if name.startswith("gen_ai.")} == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "m2",
        "gen_ai.response.model": "m2-0613",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 11,
        "gen_ai.usage.output_tokens": 4,
    }
    assert whole.start_time_unix_nano <= failed.start_time_unix_nano < answered.start_time_unix_nano
    assert answered.end_time_unix_nano <= whole.end_time_unix_nano
    exported = b"".join(body for bodies in collector.bodies.values() for body in bodies)
    for text in (b"a fox", b"A red fox.", b"The enhance text.", b"down"):
        assert text not in exported, text


async def test_calls_are_metrics_of_the_convention(machine, observe, collector):
    sender = observe(collector.url)
    await run(machine, BROKEN, FOX_WITH_USAGE)
    await asyncio.to_thread(sender.close)
    seconds = {
        attributes["gen_ai.request.model"]: attributes
        for name, attributes, total in collector.points
        if name == "gen_ai.client.operation.duration" and total > 0
    }
    assert {model: facts.get("error.type") for model, facts in seconds.items()} == {"m1": "server", "m2": None}
    tokens = {
        attributes["gen_ai.token.type"]: total
        for name, attributes, total in collector.points
        if name == "gen_ai.client.token.usage" and attributes["gen_ai.response.model"] == "m2-0613"
    }
    assert tokens == {"input": 11, "output": 4}
    assert not [each.name for each in threading.enumerate() if each.name.startswith("Otel")]


async def test_texts_are_sent_on_demand_only_and_never_masked_ones(machine, observe, collector):
    sender = observe(collector.url, texts=True)
    await run(machine, FOX)
    await in_database(deny, "fox")
    caller = await in_database(machine, "run", name="second")
    assert (await caller.arequest("POST", ENHANCE, json={"input": "a fox"})).status_code == 422
    await recorded(2)
    await asyncio.to_thread(sender.close)
    shown, blocked = (plain(span.attributes) for span in collector.spans if span.name.startswith("invoke"))
    assert json.loads(shown["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "a fox"}]}
    ]
    assert json.loads(shown["gen_ai.system_instructions"]) == [{"type": "text", "content": "The enhance text."}]
    [written] = json.loads(shown["gen_ai.output.messages"])
    assert (written["role"], written["parts"][0]["content"]) == ("assistant", "A red fox.")
    assert (blocked["promptops.outcome"], blocked["error.type"]) == ("blocked", "blocked")
    assert not {"gen_ai.input.messages", "gen_ai.output.messages"} & blocked.keys()


@pytest.mark.parametrize("kind", ["dead", "slow"])
async def test_a_collector_that_does_not_answer_harms_no_run(machine, observe, slow_collector, kind):
    sender = observe(f"http://127.0.0.1:{closed_port()}" if kind == "dead" else slow_collector.url)
    caller = await in_database(machine, "run")
    async with providers(FOX):
        for _ in range(3):
            assert (await caller.arequest("POST", ENHANCE, json={"input": "a fox"})).status_code == 200
        closing = asyncio.ensure_future(asyncio.to_thread(sender.close, 0.5))
        assert (await caller.arequest("POST", ENHANCE, json={"input": "a fox"})).status_code == 200
        await recorded(4)
        await closing  # gives up


def test_without_the_extra_the_server_works_and_says_what_is_missing(settings, monkeypatch, caplog):
    settings.OTEL_EXPORTER_OTLP_ENDPOINT = "http://127.0.0.1:4318"
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    before = OBSERVERS[:]
    telemetry.start()
    assert before == OBSERVERS
    assert telemetry.MISSING in caplog.text


def test_the_server_starts_without_the_extra():
    # FastAPI brings the interface of OpenTelemetry without its work.
    blocked = "dict.fromkeys(('opentelemetry.sdk', 'opentelemetry.exporter'))"
    script = f"import sys; sys.modules.update({blocked}); import promptops.asgi"
    assert subprocess.run([sys.executable, "-c", script], cwd=settings.BASE_DIR).returncode == 0
