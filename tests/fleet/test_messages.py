"""The messages of servers: which are read, and with which sentence the others are refused."""

import json

import pytest

from promptops.fleet.messages import (
    MOST_BYTES,
    Applied,
    Drifted,
    Heartbeat,
    InvalidMessage,
    Refused,
    Register,
    parse,
    parse_text,
)

SHA = "ab" * 32
RUNS = {"revision": 128, "epoch": "e1", "sha256": SHA}
REGISTER = {
    "type": "register",
    "server": "gpu-7",
    "instance": "0b2f-1",
    "version": "0.2.0",
    "kind": "library",
    "labels": {"zone": "a"},
    "state": "ready",
    "filtered": True,
    **RUNS,
}


@pytest.mark.parametrize(
    ("data", "is_registered", "message"),
    [
        (
            REGISTER,
            False,
            Register(
                server="gpu-7",
                instance="0b2f-1",
                version="0.2.0",
                kind="library",
                labels={"zone": "a"},
                state="ready",
                filtered=True,
                **RUNS,
            ),
        ),
        (
            {"type": "register", "server": "a", "instance": "1", "kind": "files", "state": "offline", "revision": None},
            False,
            Register(server="a", instance="1", kind="files", state="offline", revision=None),
        ),
        ({"type": "applied", **RUNS}, True, Applied(**RUNS)),
        ({"type": "applied", "server": "a", "instance": "1", **RUNS}, False, Applied(server="a", instance="1", **RUNS)),
        (
            {"type": "refused", "revision": 3, "epoch": "e", "why": "bad\nhash"},
            True,
            Refused(revision=3, epoch="e", why="bad hash"),
        ),
        ({"type": "drifted", "why": "changed", **RUNS}, True, Drifted(why="changed", **RUNS)),
        (
            {"type": "heartbeat", "state": "stale", "runs_a_minute": 12.5, **RUNS},
            True,
            Heartbeat(state="stale", runs_a_minute=12.5, **RUNS),
        ),
    ],
)
def test_messages_that_are_read(data, is_registered, message):
    assert parse_text(json.dumps(data), is_registered=is_registered) == message


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"type": "hello"}, "type"),
        ({"type": 3}, "type"),
        ({"type": ["register"]}, "type"),
        ({"extra": 1}, "extra"),
        ({"server": ""}, "server"),
        ({"server": "a b"}, "server"),
        ({"server": "x" * 101}, "server"),
        ({"server": "gpu\u0000"}, "server"),
        ({"server": None}, "server"),
        ({"instance": "../x"}, "instance"),
        ({"instance": "x" * 65}, "instance"),
        ({"kind": "process"}, "kind"),
        ({"kind": ["library"]}, "kind"),
        ({"state": "happy"}, "state"),
        ({"version": "x" * 51}, "version"),
        ({"labels": []}, "labels"),
        ({"labels": {"a b": "c"}}, "labels"),
        ({"labels": {"a": 1}}, "labels"),
        ({"labels": {"a": "x" * 101}}, "labels"),
        ({"labels": {str(number): "" for number in range(17)}}, "labels"),
        ({"revision": True}, "revision"),
        ({"revision": -1}, "revision"),
        ({"revision": 1.5}, "revision"),
        ({"revision": 10**12}, "revision"),
        ({"epoch": "é"}, "epoch"),
        ({"epoch": ""}, "epoch"),
        ({"sha256": "ab"}, "sha256"),
        ({"sha256": SHA.upper()}, "sha256"),
        ({"sha256": None}, "sha256"),
        ({"filtered": "yes"}, "filtered"),
        ({"runs_a_minute": float("nan")}, "runs_a_minute"),
        ({"runs_a_minute": -1}, "runs_a_minute"),
        ({"runs_a_minute": "5"}, "runs_a_minute"),
    ],
)
def test_a_message_that_differs_in_one_value_is_refused_by_its_name(change, named):
    with pytest.raises(InvalidMessage, match=named):
        parse(REGISTER | change, is_registered=False)


@pytest.mark.parametrize("missing", ["server", "instance", "kind", "state", "revision"])
def test_a_missing_value_is_named(missing):
    with pytest.raises(InvalidMessage, match=missing):
        parse({name: value for name, value in REGISTER.items() if name != missing}, is_registered=False)


@pytest.mark.parametrize(
    ("frame", "is_registered"),
    [
        (None, False),
        (b"{}", False),
        ("", False),
        ("[" * 9000, False),
        ("[]", False),
        ("null", False),
        (json.dumps(REGISTER) + " " * MOST_BYTES, False),
        (json.dumps(REGISTER | {"labels": {"a": "x"}, "why": "é" * MOST_BYTES}), False),
        (json.dumps(REGISTER), True),
        (json.dumps({"type": "applied", "server": "gpu-8", "instance": "1", **RUNS}), True),
        (json.dumps({"type": "applied", "revision": None, "epoch": "", "sha256": ""}), True),
        (json.dumps({"type": "heartbeat", "revision": 5, "state": "ready"}), True),
    ],
)
def test_frames_that_are_refused(frame, is_registered):
    with pytest.raises(InvalidMessage):
        parse_text(frame, is_registered=is_registered)


def test_a_long_reason_is_cut_off():
    message = parse({"type": "refused", "revision": 1, "epoch": "e", "why": "x" * 9000}, is_registered=True)
    assert isinstance(message, Refused)
    assert len(message.why) == 500
