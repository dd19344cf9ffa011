import logging
import shutil
from pathlib import Path

from django.db import DatabaseError, migrations

log = logging.getLogger("promptops")

WORTH_IT = 16 * 2**20  # bytes; less is soon used again


def give_space_back(apps, schema_editor):
    """Return what 0053 freed to the system, where that is cheap. A failure costs nothing but the space."""
    connection = schema_editor.connection
    try:
        with connection.cursor() as cursor:
            if connection.vendor == "sqlite":
                vacuum_sqlite(cursor, Path(connection.settings_dict["NAME"]))
            else:
                vacuum_postgresql(cursor)
    except DatabaseError as error:
        log.warning("The space of old releases was not given back to the system (%s). The database reuses it.", error)


def vacuum_sqlite(cursor, path):
    """Copy the file without its free pages, if a fifth of it is free and the disk holds the copy and its log."""

    def pragma(name):
        return cursor.execute(f"PRAGMA {name}").fetchone()[0]

    size = pragma("page_size")
    whole, free = pragma("page_count") * size, pragma("freelist_count") * size
    if free < WORTH_IT or not path.is_file():
        return
    if free * 5 < whole or shutil.disk_usage(path.parent).free < 3 * (whole - free):
        log.warning(
            "%d of %d MiB of the database are free now. SQLite reuses them. To give them back to the system, stop "
            "PromptOps and run: sqlite3 %s VACUUM",
            *(free // 2**20, whole // 2**20, path),
        )
        return
    cursor.execute("VACUUM")
    cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def vacuum_postgresql(cursor):
    """Copy the table of releases without its free space, unless another process holds on to it."""
    cursor.execute("SELECT pg_total_relation_size('promptops_release')")
    if cursor.fetchone()[0] < WORTH_IT:
        return
    cursor.execute("SET lock_timeout = '10s'")
    try:
        cursor.execute("VACUUM (FULL, ANALYZE) promptops_release")
    finally:
        cursor.execute("RESET lock_timeout")


class Migration(migrations.Migration):
    """A migration of its own, because VACUUM runs outside transactions."""

    atomic = False

    dependencies = [("promptops", "0053_packed_configurations")]

    operations = [migrations.RunPython(give_space_back, migrations.RunPython.noop)]
