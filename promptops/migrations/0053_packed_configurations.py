import gzip
import json
import re
import zlib

from django.db import migrations, models

# What ledger/configurations.py did when this was written: the format, without its checks.

BATCH = 200  # releases in memory at once: a few megabytes
WHOLE_EVERY = 20
LINES = re.compile(r"(?<=[\]}],)")


def compressed(text):
    return gzip.compress(text.encode("ascii"), 9, mtime=0)


def changes_of(text, whole):
    places, pieces = {line: place for place, line in enumerate(LINES.split(whole))}, []
    for line in LINES.split(text):
        place = places.get(line)
        if place is None:
            pieces.append(line)
        elif pieces and isinstance(pieces[-1], list) and sum(pieces[-1]) == place:
            pieces[-1][1] += 1
        else:
            pieces.append([place, 1])
    return compressed(json.dumps([zlib.crc32(text.encode()), pieces], separators=(",", ":")))


def text_of(changes, whole):
    crc32, pieces = json.loads(changes)
    lines = LINES.split(whole)
    text = "".join(piece if isinstance(piece, str) else "".join(lines[piece[0] : sum(piece)]) for piece in pieces)
    if zlib.crc32(text.encode()) != crc32:
        raise ValueError("its changes do not fit")
    return text


class Packer:
    """Packs the configurations of releases in their order."""

    def __init__(self):
        self.revision, self.whole, self.size = None, "", 0

    def pack(self, revision, values, _):
        text = json.dumps(values, separators=(",", ":"))
        if self.revision is not None and revision < self.revision + WHOLE_EVERY:
            changes = changes_of(text, self.whole)
            if len(changes) < self.size:
                return changes, self.revision
        packed = compressed(text)
        self.revision, self.whole, self.size = revision, text, len(packed)
        return packed, None

    def unpack(self, revision, packed, since):
        try:
            text = gzip.decompress(bytes(packed)).decode("ascii")
            if since is None:
                self.revision, self.whole = revision, text
            elif since == self.revision:
                text = text_of(text, self.whole)
            else:
                raise ValueError(f"release {since} is missing")
            return json.dumps(json.loads(text)), None
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise ValueError(f"What release {revision} stored is damaged ({error}). Restore a backup.") from error


def in_batches(apps, schema_editor, column, other, convert):
    """Write what `convert` makes of one column into the other, and empty the first: the space is free at once."""
    connection = schema_editor.connection
    releases = apps.get_model("promptops", "Release").objects.using(connection.alias)
    filled = releases.filter(**{f"{column}__isnull": False}).order_by("revision")
    update = f"UPDATE promptops_release SET {other} = %s, changes_since = %s, {column} = NULL WHERE revision = %s"
    last = 0
    while rows := list(filled.filter(revision__gt=last).values_list("revision", column, "changes_since")[:BATCH]):
        with connection.cursor() as cursor:
            cursor.executemany(update, [[*convert(*row), row[0]] for row in rows])
        last = rows[-1][0]


def pack_all(apps, schema_editor):
    in_batches(apps, schema_editor, "configuration", "packed_configuration", Packer().pack)


def unpack_all(apps, schema_editor):
    in_batches(apps, schema_editor, "packed_configuration", "configuration", Packer().unpack)


class Migration(migrations.Migration):
    """Store changes of the configuration, and a whole one now and then (docs/decisions/0030).

    One transaction, and the new columns come first: on PostgreSQL their lock, and on SQLite that of the transaction,
    keep an older process from adding a release meanwhile. Afterwards such a process cannot add one at all.
    """

    dependencies = [("promptops", "0052_run_filters")]

    operations = [
        migrations.AddField(
            model_name="release",
            name="packed_configuration",
            field=models.BinaryField(
                null=True,
                help_text="What was live from this revision on, without texts and keys: see ledger.configurations.",
            ),
        ),
        migrations.AddField(
            model_name="release",
            name="changes_since",
            field=models.PositiveIntegerField(
                null=True,
                help_text="The revision whose whole configuration these are changes of. Null: it is whole itself.",
            ),
        ),
        migrations.RunPython(pack_all, unpack_all),
        migrations.RemoveField(model_name="release", name="configuration"),
    ]
