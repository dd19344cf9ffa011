"""Measure what 9,000 releases of 200 templates take: on the disk, for one more release, for the pages that look back,
and for the migration that packed what older versions stored.

Releases are made in bulk, with their audit entries, and look like a year of publishing. `ways` compares the stored form
with others that were considered (docs/decisions/0030).
"""

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

RELEASES, TEMPLATES = 9_000, 200
BULK = 500
ROUNDS = 15
PACKING = ("promptops", "0053_packed_configurations")
MIGRATE = """
import sys, django
django.setup()
from django.core.management import call_command
call_command("migrate", "promptops", *sys.argv[1:], verbosity=0)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def bench_releases(releases: int = RELEASES) -> list[dict[str, Any]]:
    """Return the figures; on SQLite of a database of its own, else of the empty one of DATABASE_URL."""
    with tempfile.TemporaryDirectory(prefix="promptops-releases-") as folder:
        env = os.environ | {"VAR_DIR": folder}
        command = [sys.executable, "-m", "benchmarks.releases", str(releases)]
        rows: list[dict[str, Any]] = json.loads(subprocess.check_output(command, env=env))
        return rows


def measure(releases: int) -> list[dict[str, Any]]:
    """Fill the database and measure; then migrate back and forward."""
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    fill(releases)
    rows = [*sizes(), *ways(), *times(releases)]
    return [*rows, *migrations(releases)]


def fill(releases: int) -> None:
    """Make the templates and the providers, and the releases of `releases` further versions in bulk."""
    from promptops.ledger import chain, parts
    from promptops.ledger.audit import Actor
    from promptops.ledger.models import LiveConfiguration
    from promptops.people.models import User
    from promptops.prompts.models import Template, Version
    from promptops.providers.actions.chain import ProviderFields, create_provider

    dice = random.Random(5)
    person = User.objects.create(username="reader", name="Reader", role="administrator")
    for number in range(5):
        fields = ProviderFields(f"provider-{number}", "openai", "m", f"http://127.0.0.1:{number + 1}/v1")
        create_provider(fields, by=Actor.person(person))
    words = ["noir", "bright", "dreamlike", "handheld", "storyboard", "product", "anime", "calm"]
    operations = ["enhance", "auto_extend", "rewrite"]
    templates = Template.objects.bulk_create(
        Template(name=f"{words[number % 8]}-{number}", operation=operations[number % 3], is_default=number < 3)
        for number in range(TEMPLATES)
    )
    first = Version.objects.bulk_create(_version(template, 1, person) for template in templates)
    for template, live in zip(templates, first, strict=True):
        template.live_version = live
    Template.objects.bulk_update(templates, ["live_version"])
    configuration = parts.configuration()
    rest = releases - LiveConfiguration.objects.get().revision
    chosen = iter([dice.choice(templates) for _ in range(rest)])
    while bulk := list(islice(chosen, BULK)):
        _release(bulk, configuration, person)
    verdict = chain.verify()
    assert verdict.bad is None, verdict.bad
    assert configuration == parts.configuration()


def _version(template: Any, number: int, person: Any) -> Any:
    from promptops.prompts.content import Content
    from promptops.prompts.models import Version

    content = vars(Content(f"Polish it, edition {number}.", temperature=0.7))
    author = {"author": person, "author_name": person.name}
    return Version(template=template, number=number, **author, **content, sha256="0" * 64)


def _release(templates: list[Any], configuration: dict[str, Any], person: Any) -> None:
    """Publish the next version of each of the templates, one after the other. `configuration` follows."""
    from django.db import transaction

    from promptops.ledger.configurations import WHOLE_EVERY, pack, pack_changes
    from promptops.ledger.models import AuditEntry, AuditHead, LiveConfiguration, Release
    from promptops.prompts.models import Template, Version

    config, head = LiveConfiguration.objects.get(), AuditHead.objects.get()
    began = Release.objects.order_by("revision").values_list("at", flat=True)[0]
    rows = {row["name"]: row for row in configuration["templates"]}
    numbers = {template.pk: template.live_version.number for template in templates}
    versions = []
    for template in templates:
        numbers[template.pk] += 1
        versions.append(_version(template, numbers[template.pk], person))
    new: list[Release] = []
    entries, whole = [], None
    for template, live in zip(templates, Version.objects.bulk_create(versions), strict=True):
        config.revision += 1
        rows[template.name] |= {"version": live.number, "version_id": live.pk}
        common = {"revision": config.revision, "action": "template.published", "note": "shorter camera notes"}
        common["at"] = began + timedelta(minutes=config.revision)
        links = {"template": template, "version": live, "replaced": template.live_version}
        by = {"user": person, "user_name": person.name}
        new.append(Release(**common, **links, **by))
        if whole and whole.revision > config.revision - WHOLE_EVERY:  # as `Release.store`, which reads saved releases
            new[-1].packed_configuration = pack_changes(configuration, whole.packed_configuration)
            new[-1].changes_since = whole.revision
        else:
            whole = new[-1]
            whole.packed_configuration = pack(configuration)
        entries.append(_entry(head, template, live, person, common))
        template.live_version = live
    with transaction.atomic():
        Release.objects.bulk_create(new)
        AuditEntry.objects.bulk_create(entries)
        head.save()
        Template.objects.bulk_update(set(templates), ["live_version"])
        config.save()


def _entry(head: Any, template: Any, live: Any, person: Any, common: dict[str, Any]) -> Any:
    """Return the audit entry of a release, and move the head of the chain."""
    from promptops.ledger import audit
    from promptops.ledger.models import AuditEntry

    entry = AuditEntry(
        **common,
        seq=head.seq + 1,
        actor=person,
        actor_name=person.name,
        object_type="template",
        object_id=str(template.pk),
        object_name=template.name,
        before={"version": live.number - 1},
        after={"version": live.number, "body": live.body},
        previous_sha256=head.sha256,
    )
    entry.sha256 = audit.entry_sha256(entry)
    head.seq, head.sha256 = entry.seq, entry.sha256
    return entry


def sizes() -> list[dict[str, Any]]:
    """Return the bytes of a release, alone and with its row, and what all take on the disk."""
    from django.db import connection
    from django.db.models import Avg
    from django.db.models.functions import Length

    from promptops.ledger.models import Release

    (packed,) = Release.objects.aggregate(bytes=Avg(Length("packed_configuration"))).values()
    text = len(json.dumps(Release.objects.first().configuration))
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("VACUUM ANALYZE promptops_release")
    count = Release.objects.count()
    return [
        row("the configuration as JSON", kib=text / 1024),
        row("the configuration in a release", kib=packed / 1024),
        row(f"table and indexes of {count:,} releases", kib=table_bytes() / count / 1024, mib=table_bytes() / 2**20),
    ]


def table_bytes() -> int:
    """Return what the releases take on the disk, with their indexes."""
    from django.db import connection

    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_total_relation_size('promptops_release')")
        else:
            cursor.execute("SELECT sum(pgsize) FROM dbstat WHERE name LIKE 'promptops_release%'")
        return int(cursor.fetchone()[0])


def ways() -> list[dict[str, Any]]:
    """Return what the newest 1,000 configurations would take in other forms, and how long one takes to write."""
    from promptops.ledger.configurations import pack, pack_changes
    from promptops.ledger.models import Release

    stored = [release.configuration for release in Release.objects.all()[:1000]]
    texts = [json.dumps(values, separators=(",", ":")).encode() for values in reversed(stored) if values]

    def changes(every: int) -> Callable[[int, bytes], bytes]:
        whole = b""

        def form(number: int, text: bytes) -> bytes:
            nonlocal whole
            values = json.loads(text)
            if number % every:
                return pack_changes(values, whole)
            whole = pack(values)
            return whole

        return form

    def with_dictionary(number: int, text: bytes) -> bytes:
        first = number - number % 20
        packer = zlib.compressobj(zdict=texts[first]) if number != first else zlib.compressobj()
        return packer.compress(text) + packer.flush()

    forms = {
        "gzip, each one whole": lambda number, text: pack(json.loads(text)),
        **{f"changes of lines, a whole one every {every}": changes(every) for every in (10, 20, 50)},
        "zlib with a whole one of every 20 as dictionary": with_dictionary,
    }
    rows = []
    for name, form in forms.items():
        began = time.process_time()
        size = sum(len(form(number, text)) for number, text in enumerate(texts))
        taken = (time.process_time() - began) / len(texts)
        rows.append(row(f"form: {name}", cpu_ms=taken * 1000, kib=size / len(texts) / 1024))
    return rows


def times(releases: int) -> list[dict[str, Any]]:
    """Return the milliseconds of a release, of reading one, and of the pages, through the whole middleware."""
    from django.test import Client

    from promptops.history.queries import timeline
    from promptops.ledger.audit import Actor
    from promptops.ledger.models import Release
    from promptops.people.models import User
    from promptops.prompts.actions.releases import publish
    from promptops.prompts.content import Content
    from promptops.prompts.models import Template

    person = User.objects.get(username="reader")
    client = Client()
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    middle = Release.objects.get(pk=releases // 2)

    def release(number: int) -> None:
        template = Template.objects.get(pk=middle.template_id)
        publish(template, Content(f"Edition {number}."), by=Actor.person(person), expected=template.live_version_id)

    def page(address: str) -> Any:
        def get(number: int) -> None:
            assert client.get(address).status_code == 200, address

        return get

    works = {
        "a release (publish)": release,
        "reading the configuration of a release": lambda number: (
            Release.objects.get(pk=middle.pk + number).configuration
        ),
        "what was live at a moment (query)": lambda number: timeline.at(middle.at),
        "GET what was live at a moment": page(f"/timeline/?at={middle.at:%Y-%m-%dT%H:%M:%SZ}"),
        "GET one revision": page(f"/revisions/{middle.pk}/"),
        "GET timeline": page("/timeline/"),
        "GET history of a template": page(f"/prompts/{middle.template.name}/history/"),
    }
    rows = []
    for name, work in works.items():
        taken, worked = [], []
        for number in range(ROUNDS + 1):
            began, busy = time.perf_counter(), time.process_time()
            work(number)
            taken.append((time.perf_counter() - began) * 1000)
            worked.append((time.process_time() - busy) * 1000)
        rows.append(row(name, ms=statistics.median(taken[1:]), cpu_ms=statistics.median(worked[1:])))
    return rows


def migrations(releases: int) -> list[dict[str, Any]]:
    """Return the seconds of the migration back to JSON and forward again, each in a process of its own."""
    from django.db import connection
    from django.db.migrations.loader import MigrationLoader

    from promptops.ledger.models import Release

    before = Release.objects.latest("revision").configuration
    (parent,) = MigrationLoader(connection).graph.node_map[PACKING].parents
    rows = []
    for what, target in ((f"JSON again, {releases:,} releases", parent.key[1]), ("packing them", "")):
        connection.close()
        was, began, busy = database_bytes(), time.perf_counter(), sum(os.times()[2:4])
        peak = int(subprocess.check_output([sys.executable, "-c", MIGRATE, *filter(None, [target])])) // 1024
        taken, worked = time.perf_counter() - began, sum(os.times()[2:4]) - busy
        sized = f"database {was >> 20} to {database_bytes() >> 20} MiB, process at most {peak} MiB"
        rows.append(
            row(f"migration: {what}; {sized}", ms=taken * 1000, cpu_ms=worked * 1000, mib=table_bytes() / 2**20)
        )
    assert Release.objects.latest("revision").configuration == before
    return rows


def database_bytes() -> int:
    """Return what the whole database takes on the disk, the write-ahead log of SQLite included."""
    from django.db import connection

    if connection.vendor == "sqlite":
        path = Path(connection.settings_dict["NAME"])
        return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database())")
        return int(cursor.fetchone()[0])


def row(what: str, **figures: float) -> dict[str, Any]:
    """Return a row with every column."""
    return {"what": what} | {
        name: round(figures[name], 2) if name in figures else "" for name in ("ms", "cpu_ms", "kib", "mib")
    }


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
