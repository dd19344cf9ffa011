"""Copying a whole database into a folder and back. The commands `backup` and `restore` add what the ledger knows.

SQLite is copied by its own backup API, PostgreSQL by `pg_dump` and `pg_restore`. Both read one moment of a
database that is in use. A manifest beside the copy says what it is, and its checksum.
"""

import hashlib
import json
import os
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from django.db import connection

MANIFEST = "manifest.json"
COPIES = {"sqlite": "database.sqlite3", "postgresql": "database.dump"}
"""The name of the copy in the folder, by the kind of database."""

FORMAT = 1
CHUNK = 1 << 20


class BackupError(Exception):
    """A backup that cannot be made or put back; the message says what to do. Nothing was changed."""


@dataclass(frozen=True)
class Manifest:
    """The description of a backup, without secrets: `key_check` is a known word, encrypted with the key."""

    format: int
    database: str  # a key of COPIES
    made_at: str  # ISO 8601, UTC
    migration: str  # the newest of PromptOps that the database has
    audit_head: str  # SEQ:SHA256
    key_check: str
    sha256: str  # of the copy

    @property
    def copy(self) -> str:
        return COPIES[self.database]


def new_folder(path: Path) -> None:
    """Make the folder of a backup, readable for its owner alone. Raises BackupError if something is in it."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise BackupError(f"{path} is not empty. Name a new folder for each backup.")
    except OSError as error:
        raise BackupError(f"{path} cannot be written: {error.strerror}.") from None


def copy_database(folder: Path) -> str:
    """Copy the database into the folder and return the copy's SHA-256. Others may write meanwhile."""
    path = folder / COPIES[connection.vendor]
    path.touch(mode=0o600)
    if connection.vendor == "sqlite":
        with (
            closing(sqlite3.connect(connection.settings_dict["NAME"])) as source,
            closing(sqlite3.connect(path)) as copy,
        ):
            source.backup(copy)
    else:
        _postgresql("pg_dump", "--format=custom", "--no-owner", f"--file={path}")
    return sha256_of(path)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest last: a folder without one is no backup."""
    path = folder / MANIFEST
    path.touch(mode=0o600)
    path.write_text(json.dumps(asdict(manifest), indent=2) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a backup whose copy is whole. Raises BackupError with the reason if it is not."""
    try:
        values: Any = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise BackupError(f"{folder} is no backup: it has no readable {MANIFEST}.") from None
    names = {field.name for field in fields(Manifest)}
    if not isinstance(values, dict) or set(values) != names or values["format"] != FORMAT:
        raise BackupError(f"{folder / MANIFEST} is not one that this version of PromptOps reads.")
    manifest = Manifest(**values)
    if manifest.database not in COPIES:
        raise BackupError(f"{folder / MANIFEST} names a database that is unknown: {manifest.database!r}.")
    path = folder / manifest.copy
    if not path.is_file():
        raise BackupError(f"{path} is missing.")
    if sha256_of(path) != manifest.sha256:
        raise BackupError(f"{path} is damaged: its SHA-256 is not the one in {MANIFEST}. Use another backup.")
    return manifest


def refuse_use() -> None:
    """Raise BackupError if another process uses the database."""
    use = _use_of_sqlite() if connection.vendor == "sqlite" else _use_of_postgresql()
    connection.close()
    if use:
        raise BackupError(f"{use}. Stop every PromptOps process first.")


def put_back(folder: Path, manifest: Manifest) -> None:
    """Replace the whole database with the backup's. Call `refuse_use` first."""
    if connection.vendor == "sqlite":
        _put_sqlite_back(folder / manifest.copy)
    else:
        _put_postgresql_back(folder / manifest.copy)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _use_of_sqlite() -> str:
    """Return how the file is in use; "" if it is not, and then it has no log beside it."""
    target = Path(connection.settings_dict["NAME"])
    connection.close()
    if not target.exists():
        return ""
    with closing(sqlite3.connect(target, timeout=0)) as database:
        try:  # leaving WAL needs the file for itself, and writes what is in the log into it
            (mode,) = database.execute("PRAGMA journal_mode=DELETE").fetchone()
        except sqlite3.OperationalError:
            mode = "wal"
        except sqlite3.DatabaseError:  # damaged, which is why it is restored
            return ""
    return f"{target} is in use" if mode == "wal" else ""


def _use_of_postgresql() -> str:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        (others,) = cursor.fetchone()
    return f"{others} other connections use the database" if others else ""


def _put_sqlite_back(copy: Path) -> None:
    target = Path(connection.settings_dict["NAME"])
    whole = target.with_name(f"{target.name}.restored")
    whole.touch(mode=0o600)
    with closing(sqlite3.connect(copy)) as source, closing(sqlite3.connect(whole)) as restored:
        source.backup(restored)
    for log in ("-wal", "-shm"):  # those of a damaged file would be read into the restored one
        target.with_name(f"{target.name}{log}").unlink(missing_ok=True)
    os.replace(whole, target)


def _put_postgresql_back(copy: Path) -> None:
    _postgresql(
        *("pg_restore", "--clean", "--if-exists", "--no-owner", "--exit-on-error", "--single-transaction"),
        *("--dbname", connection.settings_dict["NAME"], str(copy)),
    )


def _postgresql(program: str, *arguments: str) -> None:
    """Run a program of PostgreSQL on the database. The password goes through the environment."""
    place = connection.settings_dict
    names = {"PGHOST": "HOST", "PGPORT": "PORT", "PGUSER": "USER", "PGPASSWORD": "PASSWORD", "PGDATABASE": "NAME"}
    environment = os.environ | {name: str(place[key]) for name, key in names.items() if place.get(key)}
    try:
        done = subprocess.run(  # noqa: S603 -- the program and its arguments are ours
            [program, *arguments], env=environment, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise BackupError(f"{program} is missing. Install PostgreSQL's client programs.") from None
    if done.returncode:
        reason = next((line for line in done.stderr.splitlines() if line.strip()), "no reason given")
        raise BackupError(f"{program} failed: {reason}")
