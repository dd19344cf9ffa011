"""The form in which a release stores the configuration: any value comes back, and damage is found."""

import gzip
import importlib
import json
import random
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings
from django.db import OperationalError, connection
from hypothesis import given
from hypothesis import strategies as st

from promptops.ledger import parts
from promptops.ledger.configurations import WHOLE_EVERY, DamagedConfiguration, pack, pack_changes, unpack
from promptops.ledger.models import Release

# Lone surrogates and NUL are in: JSON has them, although PostgreSQL's own type does not.
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
WHOLE: dict[str, Any] = {
    "templates": [{"name": f"noir-{number}", "version": 3} for number in range(50)],
    "safety": {"é": "狐\0"},
}
OTHER = WHOLE | {"safety": {"mode": "off"}}
OTHER_WHOLE = WHOLE | {"templates": WHOLE["templates"][1:]}


@given(values=st.dictionaries(st.text(), VALUES, max_size=5))
def test_any_whole_configuration_comes_back_equal_and_in_its_order(values: dict[str, Any]) -> None:
    packed = pack(values)
    assert json.dumps(unpack(packed)) == json.dumps(values)
    assert pack(values) == packed  # the same bytes at any time


@given(
    templates=st.lists(st.integers(0, 60) | st.sampled_from(["},", "],\n[", "\\},"])),
    more=st.dictionaries(st.text(), VALUES, max_size=3),
)
def test_any_changes_come_back_equal_and_in_their_order(templates: list[Any], more: dict[str, Any]) -> None:
    """Rows that are in the whole one in another order, twice or not at all, and parts that it does not have."""
    values = {"templates": [{"name": f"noir-{name}", "version": 3} for name in templates], **more}
    changes = pack_changes(values, pack(WHOLE))
    assert json.dumps(unpack(changes, pack(WHOLE))) == json.dumps(values)


def test_changes_take_far_less_than_the_whole() -> None:
    values = WHOLE | {"templates": [*WHOLE["templates"][:20], {"name": "new", "version": 1}, *WHOLE["templates"][21:]]}
    assert len(pack_changes(values, pack(WHOLE))) < len(pack(WHOLE)) / 2


@pytest.mark.parametrize("is_whole", [True, False])
@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_changed_bit_is_found(is_whole: bool, place: int, bit: int) -> None:
    whole = pack(WHOLE)
    packed = bytearray(whole if is_whole else pack_changes(OTHER, whole))
    place %= len(packed)
    packed[place] ^= 1 << bit
    try:
        values = unpack(bytes(packed), None if is_whole else whole)
    except DamagedConfiguration:
        return
    # Some bits of gzip's header say nothing about the content, such as the time.
    assert values == (WHOLE if is_whole else OTHER)
    assert 3 <= place < 10


@pytest.mark.parametrize("whole", [b"", pack({}), pack(OTHER_WHOLE), pack_changes(OTHER, pack(WHOLE))])
def test_changes_of_another_configuration_are_damaged(whole: bytes) -> None:
    with pytest.raises(DamagedConfiguration):
        unpack(pack_changes(OTHER, pack(WHOLE)), whole)


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"{}",
        pack(WHOLE)[:-1],
        pack(WHOLE)[:100],
        gzip.compress(b"[]", mtime=0),
        gzip.compress(b"{", mtime=0),
        gzip.compress(b"\xff", mtime=0),
        gzip.compress(b"[" * 100_000, mtime=0),
        gzip.compress(b'[1,["\\ud800"]]', mtime=0),
        gzip.compress(b'[1,[["a",1]]]', mtime=0),
    ],
)
def test_what_no_release_wrote_is_damaged(packed: bytes) -> None:
    with pytest.raises(DamagedConfiguration):
        unpack(packed)
    with pytest.raises(DamagedConfiguration):
        unpack(packed, pack(WHOLE))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_json_does_not_have_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        pack({"temperature": number})


@pytest.mark.django_db
def test_releases_store_a_whole_configuration_now_and_then_and_changes_between(publish) -> None:
    names = [f"noir-{number}" for number in range(12)]
    live: list[dict[str, Any] | None] = []
    for number in range(2 * WHOLE_EVERY + 2):
        publish(names[number % len(names)], f"Text {number}", operation="enhance")
        live.append(parts.configuration())
    releases = list(Release.objects.order_by("revision"))
    assert [release.configuration for release in releases] == live
    whole = [release.pk for release in releases if release.changes_since is None]
    assert {later - earlier for earlier, later in pairwise(whole)} <= set(range(1, WHOLE_EVERY + 1))
    assert len(whole) < len(releases) / 3
    with connection.cursor() as cursor:  # without PromptOps
        cursor.execute("SELECT packed_configuration FROM promptops_release WHERE revision = %s", [whole[-1]])
        (stored,) = cursor.fetchone()
    assert json.loads(gzip.decompress(bytes(stored))) == live[whole[-1] - 1]


@pytest.mark.django_db
def test_damage_of_a_whole_one_is_found_in_its_changes_and_the_next_release_is_whole(publish) -> None:
    for number in range(8):
        publish(f"noir-{number % 7}", f"Text {number}", operation="enhance")
    changed = Release.objects.get(pk=8)
    assert changed.changes_since is not None
    for damaged in (b"damaged", None):
        Release.objects.filter(changes_since=None).update(packed_configuration=damaged)
        with pytest.raises(DamagedConfiguration):
            _ = changed.configuration
        publish("noir-0", f"Text after {damaged!r}")
        newest = Release.objects.latest("revision")
        assert newest.changes_since is None
        assert newest.configuration == parts.configuration()


BEFORE, AFTER = "0052_run_filters", "0054_give_space_back"


@pytest.mark.django_db(transaction=True)
def test_the_migration_keeps_every_configuration_forward_and_back(migrate: Callable[[str], Any]) -> None:
    def releases(name: str) -> Any:
        return migrate(name).get_model("promptops", "Release").objects

    # More than one batch, some releases alike and some not, and one of the time before configurations were stored.
    rows = [{"name": f"é{number}", "price": number / 7} for number in range(30)]
    stored: dict[int, dict[str, Any] | None] = {1: None}
    for revision in range(2, 452):
        rows[revision % 30] = {"name": f"é{revision}", "price": revision / 7}
        stored[revision] = {"templates": [] if revision % 101 == 0 else list(rows)}
    older = releases(BEFORE)
    older.bulk_create(
        [
            older.model(revision=revision, action="settings.changed", user_name="Ada", configuration=values)
            for revision, values in stored.items()
        ]
    )
    newer = releases(AFTER)
    since = dict(newer.values_list("revision", "changes_since"))
    assert 450 / WHOLE_EVERY <= list(since.values()).count(None) <= 450 / 4
    both = newer.values_list("revision", "packed_configuration")
    packed = {revision: value and bytes(value) for revision, value in both}
    unpacked = {
        revision: value and unpack(value, since[revision] and packed[since[revision]])
        for revision, value in packed.items()
    }
    assert unpacked == stored
    assert dict(releases(BEFORE).values_list("revision", "configuration")) == stored
    damaged = releases(AFTER)
    damaged.filter(revision=7).update(packed_configuration=b"damaged")
    with pytest.raises(ValueError, match="What release 7 stored is damaged"):
        releases(BEFORE)
    damaged.filter(revision=7).delete()


@pytest.mark.django_db(transaction=True)
def test_the_space_of_old_releases_is_given_back(monkeypatch, caplog) -> None:
    module = importlib.import_module("promptops.migrations.0054_give_space_back")
    monkeypatch.setattr(module, "WORTH_IT", 1)
    editor = SimpleNamespace(connection=connection)

    def taken() -> int:
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute("SELECT pg_total_relation_size('promptops_release')")
            else:
                cursor.execute("PRAGMA page_count")
            return cursor.fetchone()[0]

    noise = random.Random(3)
    Release.objects.bulk_create(
        Release(revision=number, action="a", user_name="Ada", packed_configuration=noise.randbytes(50_000))
        for number in range(1, 101)
    )
    Release.objects.all().delete()
    before = taken()
    module.give_space_back(None, editor)
    assert taken() < before / 2

    def fail(*given: Any) -> None:
        raise OperationalError("the disk is full")

    monkeypatch.setattr(module, f"vacuum_{connection.vendor}", fail)
    module.give_space_back(None, editor)
    assert "was not given back" in caplog.text


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "sqlite", reason="the script reads SQLite")
def test_the_script_in_the_documentation_reads_every_release(publish, tmp_path: Path) -> None:
    for number in range(12):
        publish(f"noir-{number % 10}", f"Text {number}", operation="enhance")
    text = (settings.BASE_DIR / "docs" / "architecture.md").read_text()
    (script,) = re.findall(r"```python\n(.*?)```", text[text.index("### What a release stores") :], re.DOTALL)
    with closing(sqlite3.connect(tmp_path / "promptops.sqlite3")) as copy:
        connection.ensure_connection()
        connection.connection.backup(copy)
    releases = Release.objects.filter(pk__in=[9, 12])
    assert releases.exclude(changes_since=None).exists()
    for release in releases:
        command = [sys.executable, "-c", script, str(release.pk)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout) == release.configuration
