"""Reading the environment: kinds of values, secrets in files, and what single sign-on needs together.

`promptops.settings` imports it, so nothing here reads a setting. Each problem is an ImproperlyConfigured with one
sentence, which never shows a secret.
"""

import os
import re
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from django.core.exceptions import ImproperlyConfigured

ROLES = ("viewer", "editor", "releaser", "administrator")
"""The values of `people.enums.Role`, which cannot be imported before the settings."""


LEAST_SECRET_KEY = 32
"""Characters. A person who guesses the key can sign in as anybody."""

KEY_WAIT_SECONDS = 1.0
"""How long to wait while the key file is empty: another process, started at the same time, may be writing it."""


READS_DATABASE = frozenset(
    {
        "admin_link",
        "audit_protect",
        "audit_verify",
        "backup",
        "create_token",
        "export_prompts",
        "export_set",
        "import_prompts",
        "import_set",
        "publish",
        "replace_secret_key",
        "vacuum",
    }
)
"""The commands that do nothing useful without a database. `serve`, `migrate` and `restore` make one."""

EMAIL_PORTS = {"smtp": 25, "smtp+tls": 587, "smtp+ssl": 465}


def flag(name: str) -> bool:
    """Return True for 1, true, yes, on; False for unset, empty, 0, false, no, off. Refuse anything else."""
    value = os.environ.get(name, "").strip().lower()
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"", "0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name} is {value!r}; use 1 or 0.")


def number(name: str, *, default: int, least: int, most: int) -> int:
    """Return a whole number, or `default` if it is unset. Refuse one outside the bounds."""
    value = os.environ.get(name, "").strip() or str(default)
    if value.isascii() and value.isdecimal() and least <= int(value) <= most:
        return int(value)
    raise ImproperlyConfigured(f"{name} is {value!r}; use a number from {least} to {most}.")


def listed(name: str) -> list[str]:
    """Return what commas separate."""
    return [item.strip() for item in os.environ.get(name, "").split(",") if item.strip()]


def choice(name: str, *choices: str) -> str:
    """Return the value, or the first choice if it is unset. Refuse anything else."""
    value = os.environ.get(name, "").strip().lower() or choices[0]
    if value in choices:
        return value
    raise ImproperlyConfigured(f"{name} is {value!r}; use {' or '.join(choices)}.")


def _file(path: str, name: str) -> str:
    """Return the content of the file that the variable `name` names, without the line break at its end."""
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise ImproperlyConfigured(f"{name} names {path}, which cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise ImproperlyConfigured(f"{name} names {path}, which is not text in UTF-8.") from None


def secret(name: str) -> str:
    """Return the secret of the variable `name`, or of the file that `name`_FILE names; "" without both."""
    value, path = os.environ.get(name, ""), os.environ.get(f"{name}_FILE", "").strip()
    if value and path:
        raise ImproperlyConfigured(f"{name} and {name}_FILE are both set. Remove one of them.")
    if not path:
        return value
    if not (content := _file(path, f"{name}_FILE")):
        raise ImproperlyConfigured(f"{name}_FILE names {path}, which is empty.")
    return content


def check_state(folder: Path, command: list[str]) -> None:
    """Refuse a command that reads the database if the folder is missing; it would make an empty installation there."""
    if READS_DATABASE.isdisjoint(command) or folder.exists():
        return
    raise ImproperlyConfigured(
        f"There is no folder {folder.absolute()}. Run the command in the working folder of the server, or set VAR_DIR."
    )


def secret_key_place(folder: Path) -> str:
    """Return where the secret key comes from: a variable, or the path of a file. It does not return the key."""
    name = "SECRET_KEY"
    if os.environ.get(name):
        return name
    return os.environ.get(f"{name}_FILE", "").strip() or str((folder / "secret_key").absolute())


def secret_key(folder: Path, command: str) -> str:
    """Return SECRET_KEY, or the content of the file `secret_key`, made (mode 0600) at the first start."""
    if chosen := secret("SECRET_KEY"):
        if len(chosen) < LEAST_SECRET_KEY:
            raise ImproperlyConfigured(
                f"SECRET_KEY has {len(chosen)} characters; use {LEAST_SECRET_KEY} or more. To change it, put the old "
                f"key into SECRET_KEY_FALLBACKS, start PromptOps, and run `{command} replace_secret_key`."
            )
        return chosen
    path = folder / "secret_key"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    else:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(50))
    try:
        until = time.monotonic() + KEY_WAIT_SECONDS
        while not (key := path.read_text(encoding="utf-8").strip()) and time.monotonic() < until:
            time.sleep(0.01)
    except OSError as error:
        raise ImproperlyConfigured(f"PromptOps cannot read its secret key {path} ({error.strerror}).") from None
    except UnicodeDecodeError:
        key = ""
    if len(key) < LEAST_SECRET_KEY:
        raise ImproperlyConfigured(
            f"The secret key in {path} is damaged or too short. Restore the file from your backup; "
            f"if it is lost for good, delete the file and run `{command} replace_secret_key`."
        )
    return key


def read_provider_keys(permitted: list[str]) -> None:
    """Put the keys of `…_API_KEY_FILE` and of permitted variables into the environment, where providers look."""
    names = {entry.partition("=")[0].strip() for entry in permitted}
    files = [name.removesuffix("_FILE") for name in os.environ if name.endswith("_API_KEY_FILE")]
    for name in sorted({*names, *files}):
        if key := secret(name):
            os.environ.update({name: key})
            os.environ.pop(f"{name}_FILE", None)  # a process that this one starts would find both


def issuer() -> str:
    """Return OIDC_ISSUER. Refuse an address without TLS, unless it is one of this machine."""
    issuer = os.environ.get("OIDC_ISSUER", "").strip()
    if not issuer or issuer.startswith("https://"):
        return issuer
    if re.fullmatch(r"http://(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?(/.*)?", issuer):
        return issuer
    raise ImproperlyConfigured(f"OIDC_ISSUER is {issuer!r}; use an address that starts with https://.")


def check_roles(name: str, roles: Sequence[str]) -> None:
    """Refuse the variable `name` if one of its roles is unknown."""
    if unknown := [role for role in roles if role and role not in ROLES]:
        raise ImproperlyConfigured(f"{name} has {unknown[0]!r}; use {', '.join(ROLES[:-1])} or {ROLES[-1]}.")


def check_sign_on(
    issuer: str, client: str, scopes: Sequence[str], groups: Sequence[Sequence[str]], default_role: str, *, only: bool
) -> None:
    """Refuse settings of single sign-on with which nobody could sign in."""
    if not issuer:
        if only:
            raise ImproperlyConfigured("OIDC_ONLY is set without OIDC_ISSUER. Nobody could sign in.")
        return
    if not client:
        raise ImproperlyConfigured("OIDC_ISSUER is set without OIDC_CLIENT_ID. Set the client that you registered.")
    if "openid" not in scopes:
        raise ImproperlyConfigured("OIDC_SCOPES has no openid. Add it; scopes are separated by spaces.")
    if not default_role and not any(groups):
        raise ImproperlyConfigured(
            "OIDC_ISSUER is set, but no group has a role. Set OIDC_ROLE_ADMINISTRATOR (or another OIDC_ROLE_…) to the "
            "names of groups, or set OIDC_DEFAULT_ROLE."
        )


def check_administrator(name: str, password: str) -> None:
    """Refuse half of the first administrator."""
    if bool(name) != bool(password):
        raise ImproperlyConfigured("ADMIN_NAME and ADMIN_PASSWORD (or ADMIN_PASSWORD_FILE) work together. Set both.")


def mail_server() -> SplitResult:
    """Return the parts of EMAIL_URL, which are empty without it. The refusal does not repeat the password."""
    parts = urlsplit(secret("EMAIL_URL").strip())
    with suppress(ValueError):
        if not parts.scheme or (parts.scheme in EMAIL_PORTS and parts.hostname and parts.port != 0):
            return parts
    raise ImproperlyConfigured("EMAIL_URL cannot be read; use smtp+tls://user:password@host:587 (or smtp+ssl, smtp).")
