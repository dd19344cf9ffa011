"""Backups of a running server, and putting them back, on both databases and through the real commands."""

import asyncio
import json
import shutil
import sqlite3
import subprocess
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.services.server import SECRET_KEY, Browser, Server, administrator, hint, make_database, manage
from tests.services.test_upgrade import ENGINES, ENTRIES, database, rows

KEY = {"SECRET_KEY": SECRET_KEY}


def publish(browser: Browser, url: str, text: str) -> None:
    """Publish on a page, which takes no process of its own."""
    ((base,),) = rows(url, "SELECT live_version_id FROM promptops_template WHERE name = 'enhance'")
    given = {"body": text, "base": str(base), "confirm": "1", "note": "Try"}
    answer = browser.post("/prompts/enhance/publish/", given)
    assert "HX-Redirect" in answer.headers, answer.text


BACK_UP_AND_TRY_TO_RESTORE = """
from django.core.management import CommandError, call_command
call_command("backup", {backup!r})
try:
    call_command("restore", {backup!r}, replace=True)
except CommandError as error:
    print(error)
"""
RESTORE_VERIFY_AND_PUBLISH = """
import json
from pathlib import Path
from django.core.management import call_command
from promptops.ledger.models import AuditEntry
call_command("restore", {backup!r}, replace=True)
print(AuditEntry.objects.order_by("-seq").values_list("action", flat=True)[0])
call_command("audit_verify", pin=json.loads((Path({backup!r}) / "manifest.json").read_text())["audit_head"])
Path({file!r}).write_text("After the restore.")
call_command("publish", "enhance", file={file!r}, note="Try")
"""


def shell(folder: Path, script: str, **more: str) -> str:
    """Run several commands in one process, and return what they print."""
    done = manage(folder, "shell", "--no-imports", "-c", script, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


# Four processes, one after the other: 6 s.
@pytest.mark.parametrize("engine", ENGINES)
def test_a_backup_of_a_running_server_is_put_back_whole(tmp_path: Path, engine: str) -> None:
    if engine == "postgresql" and shutil.which("pg_dump") is None:
        pytest.fail("pg_dump is missing: install PostgreSQL's client programs")
    backup = tmp_path / "backup"
    given = {"backup": str(backup), "file": str(tmp_path / "text.txt")}
    command = {"DATABASE_URL": "", **KEY}
    with ExitStack() as stack:
        command["DATABASE_URL"] = url = stack.enter_context(database(engine, tmp_path, has_tables=True))
        server = Server(tmp_path, **command)
        stack.callback(server.kill)
        server.wait_for("PromptOps is up")
        browser = administrator(server)
        stack.callback(browser.close)
        publish(browser, url, "Before the backup.")
        before = rows(url, ENTRIES)
        refusal = shell(tmp_path, BACK_UP_AND_TRY_TO_RESTORE.format(**given), **command)
        assert "Stop every PromptOps process first" in refusal
        assert rows(url, ENTRIES)[: len(before)] == before
        assert {path.stat().st_mode & 0o077 for path in (backup, *backup.iterdir())} == {0}
        publish(browser, url, "After the backup.")
        server.kill()

        wrong = manage(tmp_path, "restore", str(backup), "--replace", **command | {"SECRET_KEY": "x" * 40})
        assert wrong.returncode == 1
        refusal = "Nothing was restored. The secret key in SECRET_KEY is not the one that this backup was made with."
        assert refusal in wrong.stderr
        assert "After the backup." in str(rows(url, "SELECT body FROM promptops_version"))

        said = shell(tmp_path, RESTORE_VERIFY_AND_PUBLISH.format(**given), **command)
        assert "backup.restored" in said.splitlines()
        bodies = str(rows(url, "SELECT body FROM promptops_version"))
        assert "Before the backup." in bodies
        assert "After the backup." not in bodies
        assert "After the restore." in bodies
        assert rows(url, ENTRIES)[: len(before)] == before
        restored = "SELECT before, after FROM promptops_auditentry WHERE action = 'backup.restored'"
        ((before, after),) = rows(url, restored)
        epochs = [(json.loads(side) if isinstance(side, str) else side)["epoch"] for side in (before, after)]
        assert epochs[0] != epochs[1]
        assert rows(url, "SELECT epoch FROM promptops_liveconfiguration") == [[epochs[1]]]


@pytest.mark.parametrize(
    "engine", ["sqlite", pytest.param("postgresql", id="proof: postgresql", marks=pytest.mark.proof)]
)
async def test_a_page_and_a_forgotten_server_take_over_the_restored_revision(tmp_path: Path, engine: str) -> None:
    """The command refuses to restore under a running server; this does what a restore by hand would do."""
    folder, command = tmp_path / "backup", {"DATABASE_URL": "", **KEY}
    with ExitStack() as stack:
        command["DATABASE_URL"] = url = stack.enter_context(database(engine, tmp_path, has_tables=True))
        server = Server(tmp_path, **command)
        stack.callback(server.kill)
        server.wait_for("PromptOps is up")
        browser = administrator(server)
        stack.callback(browser.close)
        publish(browser, url, "Before the backup.")
        done = manage(tmp_path, "backup", str(folder), **command)
        assert done.returncode == 0, done.stderr
        ((restored, epoch),) = rows(url, "SELECT revision, epoch FROM promptops_liveconfiguration")
        publish(browser, url, "After the backup.")
        async with browser.page() as page:
            assert await hint(page, "revision", above=restored) == restored + 1
            await asyncio.to_thread(restore_by_hand, folder, url, engine, tmp_path)
            async with asyncio.timeout(60):
                while (told := json.loads(await page.receive_str())).get("epoch", epoch) == epoch:
                    pass
        assert told["number"] <= restored + 1
        live = json.loads(browser.get("/readyz").text)["snapshot"]
        assert (live["revision"], live["live_revision"]) == (restored, restored)
        assert f"r{restored} live" in browser.get("/").text


def restore_by_hand(folder: Path, url: str, engine: str, state: Path) -> None:
    """Put the backup back under connections that stay open, and start a new epoch."""
    if engine == "sqlite":
        with closing(sqlite3.connect(folder / "database.sqlite3")) as copy, closing(sqlite3.connect(url[10:])) as live:
            copy.backup(live)
    else:
        options = ("--clean", "--if-exists", "--no-owner", "--exit-on-error", "--single-transaction")
        subprocess.run(["pg_restore", *options, "--dbname", url, str(folder / "database.dump")], check=True)
    script = "from promptops.ledger.actions.backups import record_restore; record_restore('today', 'by hand')"
    shell(state, script, DATABASE_URL=url, **KEY)


def test_a_damaged_backup_and_a_folder_in_use_are_refused(tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    make_database(tmp_path)
    assert manage(tmp_path, "backup", str(backup), **KEY).returncode == 0
    again = manage(tmp_path, "backup", str(backup), **KEY)
    assert "is not empty" in again.stderr
    with closing(sqlite3.connect(backup / "database.sqlite3")) as copy:
        copy.execute("UPDATE promptops_liveconfiguration SET revision = 7")
        copy.commit()
    done = manage(tmp_path, "restore", str(backup), **KEY)
    assert done.returncode == 1
    assert "is damaged" in done.stderr
    (backup / "manifest.json").write_text("{}")
    assert "not one that this version" in manage(tmp_path, "restore", str(backup), **KEY).stderr
