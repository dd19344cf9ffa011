"""Starting and stopping the server as a newcomer does: real processes, output through a pipe, requests over HTTP."""

import json
import os
import runpy
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from promptops.engine.providers.local import local_available
from tests.conftest import PASSWORD, missing
from tests.services.server import (
    ACCOUNT,
    LINK,
    ROOT,
    Browser,
    Server,
    administrator,
    free_port,
    make_database,
    manage,
    serving,
)


def links(text: str) -> list[str]:
    return LINK.findall(text)


def children(pid: int) -> list[int]:
    """The processes that a process has started and that still run."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in listed.stdout.split()]


# ---------------------------------------------------------------- the first start and the next ones


def check_that_only_the_owner_reads(folder: Path) -> None:
    """Check the folder of a running server, and all its files."""
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_file()}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {"secret_key", "promptops.sqlite3", "promptops.sqlite3-wal"} <= files.keys()
    assert set(files.values()) == {0o600}


# Three starts, the first of which makes all tables: 6 s.
def test_from_the_first_start_to_the_third(tmp_path: Path) -> None:
    """One link until there is an administrator, which works once; a restart loses nothing and prints none."""
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(0o777)
    with serving(folder, makes_tables=True) as first:
        (first_link,) = links(first.output)
        # Printed before the server says that it is up: whoever reads the pipe has it first.
        assert first.output.index("Making the tables") < first.output.index(first_link)
        assert first.output.index(first_link) < first.output.index("PromptOps is up")
        assert first_link.startswith(first.address)
        assert Browser(first.address).get(first_link).status_code == 200
        check_that_only_the_owner_reads(folder)
        key = (folder / "secret_key").read_text()
        first.end(signal.SIGTERM)

    with serving(folder) as second:
        (second_link,) = links(second.output)
        old = second.address + first_link.removeprefix(first.address)
        assert Browser(second.address).get(old).status_code == 200  # printed a moment ago, as by a process beside
        browser = administrator(second)
        assert Browser(second.address).get(old).status_code == 410
        assert Browser(second.address).get(second_link).status_code == 410
        late = Browser(second.address)
        late.get("/sign-in/")
        assert late.post(second_link, ACCOUNT | {"username": "mallory"}).status_code == 410
        done = browser.post(
            "/prompts/enhance/publish/", {"body": "Say it in blue.", "base": "1", "confirm": "1", "note": "bluer"}
        )
        assert done.headers["HX-Redirect"] == "/prompts/enhance/?published=2"
        second.end(signal.SIGINT)

    with serving(folder) as third:
        assert links(third.output) == []
        again = Browser(third.address)
        answer = again.fill("/sign-in/", {"username": "ada", "password": PASSWORD})
        assert answer.headers["location"] == "/"
        assert "Say it in blue." in again.get("/prompts/enhance/").text
        assert "bluer" in again.get("/prompts/enhance/history/").text
        audit = again.get("/audit/").text
        assert "published" in audit
        assert "joined as administrator" in audit
    assert (folder / "secret_key").read_text() == key
    for server in (first, second, third):
        for secret in (key, PASSWORD):
            assert secret not in server.output


def test_one_time_links_and_bodies_of_requests_never_reach_the_log(tmp_path: Path) -> None:
    """Neither a dead link nor an error of the server itself may put a token or a password there."""
    with serving(tmp_path) as server:
        (link,) = links(server.output)
        token = link.rstrip("/").rsplit("/", 1)[1]
        banner = server.output
        browser = administrator(server)
        assert browser.get(link).status_code == 410
        assert browser.get(f"/join/{token}x/").status_code == 410
        assert browser.get(f"/password/{token}/nowhere").status_code == 404
        # A database that breaks under the running server: every page is an error then.
        with sqlite3.connect(tmp_path / "promptops.sqlite3") as database:
            database.execute("ALTER TABLE promptops_onetimelink RENAME TO gone")
        assert browser.get(link).status_code == 500
        assert browser.post(f"/join/{token}/", ACCOUNT).status_code == 500
        server.wait_for("no such table")
        server.end(signal.SIGTERM)
    log = server.output.removeprefix(banner)
    assert "/setup/[one-time link]" in log
    assert token not in log
    assert PASSWORD not in log
    assert browser.client.cookies["sessionid"] not in log


# ---------------------------------------------------------------- what can be wrong


def a_file_in_the_way(folder: Path) -> dict[str, str]:
    (folder / "taken").write_text("")
    return {"VAR_DIR": str(folder / "taken")}


def a_key_file(content: bytes):
    def prepare(folder: Path) -> dict[str, str]:
        (folder / "secret_key").write_bytes(content)
        return {}

    return prepare


def a_key_folder(folder: Path) -> dict[str, str]:
    (folder / "secret_key").mkdir()
    return {}


def a_broken_database(folder: Path) -> dict[str, str]:
    (folder / "promptops.sqlite3").write_bytes(b"not a database " * 400)
    return {}


def a_short_password(folder: Path) -> dict[str, str]:
    make_database(folder)
    return {"ADMIN_NAME": "root", "ADMIN_PASSWORD": "hush-hush"}


def given(**more: str):
    return lambda folder: more


@pytest.mark.parametrize(
    ("prepare", "sentence"),
    [
        (given(PORT="abc"), "PORT is 'abc'; use a number from 1 to 65535."),
        (given(PORT="70000"), "use a number from 1 to 65535"),
        (given(HOST="192.0.2.1", PORT="18999"), "Cannot listen on 192.0.2.1"),
        (given(VAR_DIR="/proc/promptops"), "cannot write to /proc/promptops"),
        (a_file_in_the_way, "Make the folder writable or set VAR_DIR to one that is."),
        (a_key_file(b""), "damaged or too short"),
        (a_key_file(b"short"), "damaged or too short"),
        (a_key_file(bytes(range(128, 228))), "damaged or too short"),
        (a_key_folder, "cannot read its secret key"),
        (given(SECRET_KEY="x"), "SECRET_KEY has 1 characters; use 32 or more."),
        (given(SECRET_KEY_FILE="/nowhere/key"), "SECRET_KEY_FILE names /nowhere/key, which cannot be read"),
        (a_short_password, "ADMIN_PASSWORD: This password is too short."),
        (given(OIDC_ISSUER="https://id.example", OIDC_CLIENT_ID="x"), "no group has a role"),
        (given(DEBUG="perhaps"), "DEBUG is 'perhaps'; use 1 or 0."),
        (given(DATABASE_URL="nonsense"), "DATABASE_URL starts with 'nonsense' and cannot be read"),
        (given(DATABASE_URL="mysql://u:hush-hush@h/x"), "PromptOps runs on SQLite and PostgreSQL"),
        (given(DATABASE_URL="postgresql://u:hush-hush@h:abc/x"), "DATABASE_URL starts with 'postgresql'"),
        (given(DATABASE_URL="postgresql://u:hush-hush@127.0.0.1:9/x"), "The database cannot be opened"),
        (given(DATABASE_URL="sqlite:////nowhere/at/all.sqlite3"), "The database cannot be opened"),
        (given(REDIS_URL="localhost:6379"), "REDIS_URL cannot be read; use redis://host:port/0"),
        (given(EMAIL_URL="smtp+tls://u:hush-hush@mail:abc"), "EMAIL_URL cannot be read; use smtp+tls://user:password@"),
        (given(PUBLIC_ADDRESS="promptops.example.org"), "use one such as https://promptops.example.org"),
        (given(WEBHOOK_PRIVATE_HOSTS="10.0.0.0/99"), "neither a host name nor an address nor a network"),
        (a_broken_database, "file is not a database"),
    ],
)
def test_what_is_wrong_is_told_in_one_sentence(tmp_path: Path, prepare, sentence: str) -> None:
    done = manage(tmp_path, "serve", **{"PORT": str(free_port())} | prepare(tmp_path))
    assert done.returncode == 1
    assert done.stdout in ("", "Making the tables. This takes a minute on a busy machine ...\n")
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "hush-hush" not in done.stderr


def test_the_mail_server_comes_from_one_address(tmp_path: Path) -> None:
    address = "smtp+tls://ada%40example.org:p%2Fw@mail.example.org"
    lines = manage(tmp_path, "diffsettings", "--output=unified", EMAIL_URL=address).stdout
    for name, value in {
        "EMAIL_HOST": "mail.example.org",
        "EMAIL_PORT": 587,
        "EMAIL_HOST_USER": "ada@example.org",
        "EMAIL_HOST_PASSWORD": "p/w",
        "EMAIL_USE_TLS": True,
        "DEFAULT_FROM_EMAIL": "promptops@mail.example.org",
    }.items():
        assert f"+ {name} = {value!r}\n" in lines


@pytest.mark.proof  # the test of the first start has a folder of 0o777
def test_state_is_open_to_its_owner_only_also_in_a_folder_that_was_there(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o755)
    with serving(folder, makes_tables=True) as server:
        administrator(server)
        check_that_only_the_owner_reads(folder)


def test_a_folder_that_others_use_as_well_keeps_its_mode(tmp_path: Path) -> None:
    folder = tmp_path / "like-tmp"
    folder.mkdir()
    folder.chmod(0o1777)
    assert manage(folder, "migrate", "contenttypes", "--verbosity=0").returncode == 0  # all tables would take seconds
    assert stat.S_IMODE(folder.stat().st_mode) == 0o1777
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_a_port_in_use_is_told_before_anything_is_changed(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = manage(tmp_path, "serve", PORT=str(port))
    assert done.returncode == 1
    assert f"Port {port} on 127.0.0.1 is in use." in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "promptops.sqlite3").exists()


# Five processes, one after the other: 6 s.
def test_a_lost_secret_key_stops_the_start_until_it_is_replaced(tmp_path: Path) -> None:
    with serving(tmp_path):
        key = (tmp_path / "secret_key").read_text()
    (tmp_path / "secret_key").unlink()
    done = manage(tmp_path, "serve", PORT=str(free_port()))
    assert done.returncode == 1
    assert "The secret key is not the one that this database was made with." in done.stderr
    assert f"Restore the old one in {tmp_path / 'secret_key'};" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert (tmp_path / "secret_key").read_text() != key
    link = manage(tmp_path, "admin_link")  # needs no key; the server at its address does
    assert (link.returncode, len(links(link.stdout))) == (0, 1)
    assert f"Warning: {done.stderr.strip().removeprefix('CommandError: ')}" in link.stderr
    done = manage(tmp_path, "replace_secret_key")
    assert (done.returncode, done.stderr) == (0, "")
    assert "accepted" in done.stdout
    with serving(tmp_path) as server:
        assert "secret key" not in server.output


@pytest.mark.parametrize("version", [(3, 10, 13), (3, 14, 0)])
def test_a_python_that_does_not_fit_is_told_by_its_version(monkeypatch, version: tuple[int, ...]) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    monkeypatch.setattr(sys, "version", f"{'.'.join(map(str, version))} (main)")
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "manage.py"), run_name="__main__")
    assert ended.value.code == f"PromptOps needs Python 3.11, 3.12 or 3.13; this is {'.'.join(map(str, version))}."


# ---------------------------------------------------------------- the end


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_while_a_run_streams_from_the_embedded_model(tmp_path: Path, sign: int) -> None:
    if reason := local_available():
        missing(reason)
    with serving(tmp_path, GRACE_SECONDS="0") as server:
        browser = administrator(server)
        async with browser.page() as page:
            wanted = {"template": "enhance", "what": "editor", "where": "chain", "input": "a fox running through snow"}
            editor = {"body": "Write as much as you can.", "temperature": "0", "max_tokens": "1000", "model": ""}
            await page.send_str(json.dumps({"action": "run", "base": ""} | wanted | editor))
            while "beforeend:#try-0-1-text" not in await page.receive_str(timeout=60):
                pass
            (model,) = children(server.process.pid)
            began = time.monotonic()
            assert server.end(sign) in {0, 130}
            assert time.monotonic() - began < 20
    assert "Traceback" not in server.output
    with pytest.raises(ProcessLookupError):
        os.kill(model, 0)
    with closing(sqlite3.connect(tmp_path / "promptops.sqlite3")) as database:
        assert database.execute("SELECT status FROM promptops_run").fetchall() == [("canceled",)]


async def test_a_run_under_way_may_end_and_no_new_one_begins(tmp_path: Path) -> None:
    if reason := local_available():
        missing(reason)
    with serving(tmp_path) as server:
        browser = administrator(server)
        async with browser.page() as page:
            wanted = {"template": "enhance", "what": "editor", "where": "chain", "input": "a fox running through snow"}
            editor = {"body": "Describe it in one sentence.", "temperature": "0", "max_tokens": "60", "model": ""}
            message = json.dumps({"action": "run", "base": ""} | wanted | editor)
            await page.send_str(message)
            while "beforeend:#try-0-1-text" not in await page.receive_str(timeout=60):
                pass
            server.process.send_signal(signal.SIGTERM)
            while "/runs/" not in (text := await page.receive_str(timeout=60)):
                assert "Canceled" not in text
            with pytest.raises(OSError, match=r"refused|reset"):
                socket.create_connection(("127.0.0.1", int(server.address.rsplit(":", 1)[1])), timeout=2).recv(1)
        assert server.process.wait(timeout=60) == 0
    assert "Traceback" not in server.output


@pytest.mark.parametrize("after", [0.4, 0.9])  # by 0.2 s a busy machine may not have begun with manage.py
def test_ctrl_c_before_it_is_up_ends_it_without_a_traceback(tmp_path: Path, after: float) -> None:
    """Somewhere between the first import and the last migration."""
    server = Server(tmp_path)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            server.process.wait(after)
        assert server.end(signal.SIGINT) in {0, 130}
    finally:
        server.kill()
    assert "Traceback" not in server.output


# ---------------------------------------------------------------- back in


# Four processes, one after the other, and three real password hashes: 6 s.
def test_a_locked_out_administrator_gets_back_in(tmp_path: Path) -> None:
    none_yet = manage(tmp_path, "admin_link")
    assert none_yet.returncode == 1
    assert "The database is not ready" in none_yet.stderr
    assert str(tmp_path) in none_yet.stderr
    assert len(none_yet.stderr.strip().splitlines()) == 1
    make_database(tmp_path)
    with serving(tmp_path) as server:
        base = {"PORT": str(server.port)}
        (printed,) = links(manage(tmp_path, "admin_link", **base).stdout)
        assert printed.startswith(f"{server.address}/setup/")
        server.output = printed  # the newest link counts
        browser = administrator(server)

        done = manage(tmp_path, "admin_link", **base)
        (link,) = links(done.stdout)
        assert link.startswith(f"{server.address}/password/")
        assert "with the HOST and PORT of the server" in done.stderr
        changed = {"password": "another long password", "password_again": "another long password"}
        locked_out = Browser(server.address)
        assert locked_out.fill(link, changed).headers["location"] == "/"
        assert Browser(server.address).get(link).status_code == 410
        signed_in = Browser(server.address).fill("/sign-in/", {"username": "ada", "password": "another long password"})
        assert signed_in.headers["location"] == "/"
        assert browser.get("/").status_code == 302  # sessions with the old password have ended


def admin_link(*arguments: str) -> str:
    """Run the command in this process, and return what it prints."""
    printed = StringIO()
    call_command("admin_link", *arguments, stdout=printed)
    return printed.getvalue()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("host", "address"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("fd00::1", "[fd00::1]"), ("box", "box")],
)
def test_the_link_is_one_that_a_browser_can_open(settings, host: str, address: str) -> None:
    settings.HOST, settings.PORT = host, "8123"
    assert admin_link().startswith(f"http://{address}:8123/setup/")


@pytest.mark.django_db
def test_the_link_begins_with_the_address_that_people_use(settings, capsys) -> None:
    settings.PUBLIC_ADDRESS = "https://prompts.example.org"
    assert admin_link().startswith("https://prompts.example.org/setup/")
    assert "check PUBLIC_ADDRESS and the proxy" in capsys.readouterr().err


def test_several_administrators_must_be_named(make_user) -> None:
    make_user("viewer", "vera")
    make_user("administrator", "ada")
    assert "/password/" in admin_link()
    make_user("administrator", "grace")
    with pytest.raises(CommandError, match=r"several administrators: ada, grace\. Name one: manage.py admin_link NAME"):
        admin_link()
    (link,) = links(admin_link("Grace"))
    assert "grace" in Client().get(f"/password/{link.rstrip('/').rsplit('/', 1)[1]}/").content.decode()
    for other in ("nobody", "vera"):
        with pytest.raises(CommandError, match=f"There is no active administrator '{other}'."):
            admin_link(other)


def test_a_start_says_that_the_audit_lost_its_triggers(tmp_path):
    with closing(sqlite3.connect(make_database(tmp_path))) as database:
        database.execute("DROP TRIGGER audit_entry_delete")
    with serving(tmp_path) as server:
        (warning,) = [line for line in server.output.splitlines() if "Warning" in line]
        assert "The audit can be changed" in warning
        assert "audit_entry_delete" in warning
        assert "manage.py audit_protect" in warning
    assert "Restored: audit_entry_delete" in manage(tmp_path, "audit_protect").stdout
    found = manage(tmp_path, "audit_verify")
    assert (found.returncode, found.stderr) == (0, "")
    pin = found.stdout.split("Head: ")[1].strip()
    with closing(sqlite3.connect(tmp_path / "promptops.sqlite3")) as database:
        with pytest.raises(sqlite3.IntegrityError, match="Audit entries can only be added"):
            database.execute("DELETE FROM promptops_auditentry")
        database.execute("DROP TRIGGER audit_entry_update")
        database.execute("UPDATE promptops_auditentry SET note = 'because' WHERE seq = 2")
        database.commit()
    found = manage(tmp_path, "audit_verify", "--pin", pin)
    assert found.returncode == 1
    assert "Entry 2 was changed" in found.stderr
