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


def publish_by_command(folder: Path, url: str, text: str) -> None:
    file = folder / "text.txt"
    file.write_text(text)
    done = manage(folder, "publish", "enhance", "--file", str(file), "--note", "Try", DATABASE_URL=url, **KEY)
    assert done.returncode == 0, done.stderr


# Eight processes, one after the other: 8 s.
@pytest.mark.parametrize("engine", ENGINES)
def test_a_backup_of_a_running_server_is_put_back_whole(tmp_path: Path, engine: str) -> None:
    if engine == "postgresql" and shutil.which("pg_dump") is None:
        pytest.fail("pg_dump is missing: install PostgreSQL's client programs")
    backup = tmp_path / "backup"
    command = {"DATABASE_URL": "", **KEY}
    with ExitStack() as stack:
        command["DATABASE_URL"] = url = stack.enter_context(database(engine, tmp_path, has_tables=True))
        server = Server(tmp_path, **command)
        stack.callback(server.kill)
        server.wait_for("PromptOps is up", seconds=60)
        browser = administrator(server)
        stack.callback(browser.close)
        publish(browser, url, "Before the backup.")
        before = rows(url, ENTRIES)
        done = manage(tmp_path, "backup", str(backup), **command)
        assert done.returncode == 0, done.stderr
        assert rows(url, ENTRIES)[: len(before)] == before
        assert {path.stat().st_mode & 0o077 for path in (backup, *backup.iterdir())} == {0}
        publish(browser, url, "After the backup.")

        refused = manage(tmp_path, "restore", str(backup), "--replace", **command)
        assert refused.returncode == 1
        assert "Stop every PromptOps process first" in refused.stderr
        server.kill()

        wrong = manage(tmp_path, "restore", str(backup), "--replace", **command | {"SECRET_KEY": "x" * 40})
        assert wrong.returncode == 1
        refusal = "Nothing was restored. The secret key in SECRET_KEY is not the one that this backup was made with."
        assert refusal in wrong.stderr
        assert "After the backup." in str(rows(url, "SELECT body FROM promptops_version"))

        done = manage(tmp_path, "restore", str(backup), "--replace", **command)
        assert done.returncode == 0, done.stderr
        bodies = str(rows(url, "SELECT body FROM promptops_version"))
        assert "Before the backup." in bodies
        assert "After the backup." not in bodies
        restored = rows(url, ENTRIES)
        assert restored[: len(before)] == before
        assert rows(url, "SELECT action FROM promptops_auditentry ORDER BY seq DESC LIMIT 1") == [["backup.restored"]]
        head = json.loads((backup / "manifest.json").read_text())["audit_head"]
        assert manage(tmp_path, "audit_verify", "--pin", head, **command).returncode == 0
        ((before, after),) = rows(url, "SELECT before, after FROM promptops_auditentry ORDER BY seq DESC LIMIT 1")
        epochs = [(json.loads(side) if isinstance(side, str) else side)["epoch"] for side in (before, after)]
        assert epochs[0] != epochs[1]
        assert rows(url, "SELECT epoch FROM promptops_liveconfiguration") == [[epochs[1]]]
        publish_by_command(tmp_path, url, "After the restore.")


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_page_and_a_forgotten_server_take_over_the_restored_revision(tmp_path: Path, engine: str) -> None:
    """The command refuses to restore under a running server; this does what a restore by hand would do."""
    folder, command = tmp_path / "backup", {"DATABASE_URL": "", **KEY}
    with ExitStack() as stack:
        command["DATABASE_URL"] = url = stack.enter_context(database(engine, tmp_path, has_tables=True))
        server = Server(tmp_path, **command)
        stack.callback(server.kill)
        server.wait_for("PromptOps is up", seconds=60)
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
            async with asyncio.timeout(20):
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
    done = manage(state, "shell", "-c", script, DATABASE_URL=url, **KEY)
    assert done.returncode == 0, done.stderr


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
