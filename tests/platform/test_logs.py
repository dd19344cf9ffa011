"""The lines of the log: ids, JSON, and no secret in either format."""

import io
import json
import logging
import logging.config
import re

import pytest

from promptops.platform.requests import RunFacts, facts, facts_of, run_facts


@pytest.fixture
def line(settings):
    """`line(format, write)`: what the configured handler writes for the lines that `write` logs."""

    def written(format: str, write) -> str:
        made = logging.config.DictConfigurator(settings.LOGGING)
        config = made.config["handlers"]["stderr"]
        handler = logging.StreamHandler(stream := io.StringIO())
        handler.setFormatter(made.configure_formatter(made.config["formatters"][format]))
        for name in config["filters"]:
            handler.addFilter(made.configure_filter(made.config["filters"][name]))
        log = logging.Logger("promptops.tests")
        log.addHandler(handler)
        write(log)
        return stream.getvalue()

    return written


def fail(log: logging.Logger) -> None:
    password = "correct horse"
    try:
        raise ValueError("bad link /join/secret-token")
    except ValueError:
        log.exception("It failed at /join/secret-token %s.", "日本 \n", extra={"length": len(password)})


def within_a_run(write):
    def inside(log: logging.Logger) -> None:
        with facts_of({"headers": [(b"x-request-id", b"job-17")]}):
            facts().token, facts().person = "gpu\nfleet", 7
            marker = run_facts.set(RunFacts("b1946ac9", 12))
            write(log)
            run_facts.reset(marker)

    return inside


def test_a_json_line_has_the_ids_and_no_secret(line):
    text = line("json", within_a_run(fail))
    assert text.count("\n") == 1
    values = json.loads(text)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", values.pop("ts"))
    exception = values.pop("exception")
    assert values == {
        "level": "ERROR",
        "logger": "promptops.tests",
        "message": "It failed at /join/[one-time link] 日本 \n.",
        "request": "job-17",
        "run": "b1946ac9",
        "revision": 12,
        "token": "gpu fleet",
        "person": 7,
    }
    assert exception.startswith("Traceback")
    assert "ValueError: bad link /join/[one-time link]" in exception
    assert not {"correct horse", "secret-token"} & set(re.split(r"[/ ]", text))


def test_a_json_line_leaves_out_what_is_unknown(line):
    values = json.loads(line("json", lambda log: log.error("Down.")))
    assert set(values) == {"ts", "level", "logger", "message"}


@pytest.mark.parametrize(
    ("wrapped", "end"),
    [
        (within_a_run, "Down. [request job-17, run b1946ac9, revision 12, token gpu fleet, person 7]\n"),
        (lambda write: write, "ERROR promptops.tests: Down.\n"),
    ],
)
def test_a_line_of_text_ends_with_the_ids(line, wrapped, end):
    assert line("text", wrapped(lambda log: log.error("Down."))).endswith(end)


def test_a_request_on_a_used_connection_has_facts_of_its_own():
    first, second = {"headers": [(b"x-request-id", b"first")]}, {"headers": []}
    with facts_of(first), facts_of(second) as own:
        assert own.id != "first"
        with facts_of(first) as again:
            assert again.id == "first"
