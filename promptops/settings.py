"""The one settings module. Everything comes from the environment or from `.env`; docs/configuration.md lists it all.

An invalid value raises ImproperlyConfigured with one sentence, which the command prints without a traceback.
"""

import logging
import os
import re
import stat
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import dj_database_url
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from dotenv import load_dotenv

from promptops.platform.environment import (
    EMAIL_PORTS,
    check_administrator,
    check_roles,
    check_sign_on,
    check_state,
    choice,
    flag,
    issuer,
    listed,
    mail_server,
    number,
    read_provider_keys,
    secret,
    secret_key,
)

PACKAGE = Path(__file__).resolve().parent
INSTALLED = (PACKAGE / "shipped").is_dir()
"""True in a package that pip installed, False in a checkout."""

BASE_DIR = PACKAGE / "shipped" if INSTALLED else PACKAGE.parent
"""Holds the folders templates, static and prompts."""

WORK_DIR = Path.cwd() if INSTALLED else BASE_DIR
"""Holds `.env` and, unless VAR_DIR names another folder, `var`."""

COMMAND = "promptops" if INSTALLED else "manage.py"
"""What starts a command; messages name it."""

load_dotenv(WORK_DIR / ".env")


def _state_folder() -> Path:
    """Return the folder for the database and the secret key, made if it is missing, and open to its owner only.

    The mode of another owner's folder stays (a volume that a group may write to), and so does that of a folder with the
    sticky bit, such as /tmp. Files that PromptOps writes are open to their owner only in either case.
    """
    os.umask(0o077)
    folder = Path(os.environ.get("VAR_DIR") or WORK_DIR / "var")
    if INSTALLED and not os.environ.get("DATABASE_URL"):
        check_state(folder, sys.argv[1:2])
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = folder / f".write-test-{os.getpid()}"
        probe.touch()
        probe.unlink()
        state = folder.stat()
        if state.st_mode & 0o077 and not state.st_mode & stat.S_ISVTX and state.st_uid == os.geteuid():
            folder.chmod(0o700)
    except OSError as error:
        raise ImproperlyConfigured(
            f"PromptOps cannot write to {folder} ({error.strerror}). "
            "Make the folder writable or set VAR_DIR to one that is."
        ) from None
    return folder


VAR_DIR = _state_folder()
SECRET_KEY = secret_key(VAR_DIR, COMMAND)
SECRET_KEY_FALLBACKS = listed("SECRET_KEY_FALLBACKS")
DEBUG = flag("DEBUG")
DEFAULT_EXCEPTION_REPORTER_FILTER = "promptops.platform.logs.AlwaysHideSecrets"
HOST = os.environ.get("HOST") or "127.0.0.1"
PORT = os.environ.get("PORT") or "8000"
ALLOWED_HOSTS = listed("ALLOWED_HOSTS") or sorted({"localhost", "127.0.0.1", "[::1]", HOST})
BEHIND_PROXY = flag("BEHIND_PROXY")
PROVIDER_KEY_VARIABLES = listed("PROVIDER_KEY_VARIABLES")
read_provider_keys(PROVIDER_KEY_VARIABLES)
PROVIDER_HOSTS = listed("PROVIDER_HOSTS")
WEBHOOK_PRIVATE_HOSTS = listed("WEBHOOK_PRIVATE_HOSTS")
PUBLIC_ADDRESS = os.environ.get("PUBLIC_ADDRESS", "").strip().rstrip("/")
if not re.fullmatch(r"(https?://[A-Za-z0-9.\-\[\]:]+)?", PUBLIC_ADDRESS):
    raise ImproperlyConfigured(f"PUBLIC_ADDRESS is {PUBLIC_ADDRESS!r}; use one such as https://promptops.example.org.")
GRACE_SECONDS = number("GRACE_SECONDS", default=20, least=0, most=600)
REQUEST_SECONDS = number("REQUEST_SECONDS", default=30, least=1, most=3600)
CONNECTIONS_PER_ADDRESS = number("CONNECTIONS_PER_ADDRESS", default=1000, least=1, most=100_000)
API_REQUESTS_PER_MINUTE = number("API_REQUESTS_PER_MINUTE", default=60_000, least=60, most=10_000_000)
SOCKETS_PER_PERSON = number("SOCKETS_PER_PERSON", default=200, least=1, most=100_000)

# Watching (docs/watch.md). The SDK of OpenTelemetry reads its other variables itself.
LOG_FORMAT = choice("LOG_FORMAT", "text", "json")
METRICS_TOKEN = secret("METRICS_TOKEN").strip()
METRICS_HOST = os.environ.get("METRICS_HOST") or "127.0.0.1"
METRICS_PORT = number("METRICS_PORT", default=0, least=0, most=65_535)
OTEL_EXPORTER_OTLP_ENDPOINT = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip()
OTEL_SERVICE_NAME = os.environ.get("OTEL_SERVICE_NAME") or "promptops"
OTEL_CAPTURES_TEXTS = flag("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT")

INSTALLED_APPS = [
    "daphne",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "axes",
    "channels",
    "csp",
    "django_htmx",
    "promptops",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "promptops.web.static_files.StaticFiles",
    "promptops.web.compression.compression",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "promptops.web.middleware.time_zone",
    "promptops.web.middleware.route",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "promptops.urls"
ASGI_APPLICATION = "promptops.asgi.application"
APPEND_SLASH = True

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": False,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.csrf",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "promptops.site.context.frame",
            ],
            "builtins": [
                "promptops.web.templatetags.ui",
                *(f"promptops.{feature}.tags" for feature in ("prompts", "runs", "compare", "api")),
            ],
            "loaders": [
                (
                    "django.template.loaders.cached.Loader",
                    ["promptops.web.template_loader.Loader"],
                )
            ]
            if not DEBUG
            else ["django.template.loaders.filesystem.Loader"],
        },
    }
]


CONNECTION_SECONDS = 600
# Requests in progress at once, each in a thread with a connection of its own (promptops.web.workers).
DATABASE_THREADS = number("DATABASE_THREADS", default=8, least=2, most=64)


def _database() -> dict[str, Any]:
    url = secret("DATABASE_URL") or f"sqlite:///{VAR_DIR / 'promptops.sqlite3'}"
    try:
        config: dict[str, Any] = dict(dj_database_url.parse(url))
    except (ValueError, KeyError) as error:
        # Only the scheme is shown: the rest of the address may hold a password.
        raise ImproperlyConfigured(
            f"DATABASE_URL starts with {url.split(':')[0]!r} and cannot be read; "
            "use sqlite:///path or postgresql://user:password@host:port/name."
        ) from error
    engine = config["ENGINE"].rsplit(".", 1)[-1]
    if engine == "sqlite3":
        # WAL: readers need not wait for a writer. IMMEDIATE: take the write lock at BEGIN, where waiting is possible;
        # at the first write SQLite would refuse at once. FULL: a power cut loses no release.
        config["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
        }
    elif engine == "postgresql":
        config["OPTIONS"] = _postgresql_options(config.get("OPTIONS", {}))
    else:
        raise ImproperlyConfigured(f"DATABASE_URL names {engine}; PromptOps runs on SQLite and PostgreSQL.")
    # Each thread keeps its connection, and checks once a request that it still works.
    config |= {"CONN_MAX_AGE": CONNECTION_SECONDS, "CONN_HEALTH_CHECKS": True}
    return config


def _postgresql_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return the connection's options with timeouts, so that a server that hangs or is cut off is noticed.

    Options of DATABASE_URL go first. A statement's limit is sent at the start of a session, which PgBouncer
    refuses; DATABASE_STATEMENT_SECONDS=0 leaves it out.
    """
    timeouts = {
        "connect_timeout": 5,  # seconds
        "keepalives_idle": 30,  # seconds, then every 10 s; after three without an answer the connection is dead
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,  # ms that sent data may stay unconfirmed
    }
    options = timeouts | options
    if DATABASE_STATEMENT_SECONDS:
        limits = (
            f"-c statement_timeout={DATABASE_STATEMENT_SECONDS}s "
            f"-c idle_in_transaction_session_timeout={2 * DATABASE_STATEMENT_SECONDS}s"
        )
        options["options"] = f"{limits} {options.get('options', '')}".strip()  # of two, the last one counts
    return options


def _redis_url() -> str:
    url = secret("REDIS_URL").strip()
    if url and not url.startswith(("redis://", "rediss://", "unix://")):
        raise ImproperlyConfigured("REDIS_URL cannot be read; use redis://host:port/0 (or rediss://, unix://).")
    return url


DATABASE_STATEMENT_SECONDS = number("DATABASE_STATEMENT_SECONDS", default=60, least=0, most=86_400)
DATABASES = {"default": _database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = _redis_url()
# Pages use the layer in memory; with REDIS_URL the processes also send hints to each other (platform.events).
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

# People
AUTH_USER_MODEL = "promptops.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "promptops.people.backends.SingleSignOn",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
PASSWORD_HASHERS = ["promptops.people.passwords.BoundedHasher"]
LOGIN_URL = "sign_in"
LOGIN_REDIRECT_URL = "overview"
SESSION_COOKIE_AGE = 14 * 24 * 3600
SESSION_COOKIE_SAMESITE = "Lax"
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_CALLABLE = "promptops.people.views.accounts.locked_out"
AXES_CLIENT_IP_CALLABLE = "promptops.platform.addresses.client_address"
AXES_USERNAME_CALLABLE = "promptops.web.access.username_key"
AXES_DISABLE_ACCESS_LOG = True
AXES_VERBOSE = False

# Single sign-on (docs/sign-on.md)
OIDC_ISSUER = issuer()
OIDC_CLIENT_ID = os.environ.get("OIDC_CLIENT_ID", "").strip()
OIDC_CLIENT_SECRET = secret("OIDC_CLIENT_SECRET")
OIDC_NAME = os.environ.get("OIDC_NAME", "").strip() or "SSO"
OIDC_SCOPES = os.environ.get("OIDC_SCOPES", "").split() or ["openid", "profile", "email"]
OIDC_GROUPS_CLAIM = os.environ.get("OIDC_GROUPS_CLAIM", "").strip() or "groups"
OIDC_GROUPS = {
    "viewer": listed("OIDC_ROLE_VIEWER"),
    "editor": listed("OIDC_ROLE_EDITOR"),
    "releaser": listed("OIDC_ROLE_RELEASER"),
    "administrator": listed("OIDC_ROLE_ADMINISTRATOR"),
}
"""The groups of each role."""
OIDC_DEFAULT_ROLE = os.environ.get("OIDC_DEFAULT_ROLE", "").strip().lower()
OIDC_ONLY = flag("OIDC_ONLY")
TOTP_REQUIRED = [role.lower() for role in listed("TOTP_REQUIRED")]
ADMIN_NAME = os.environ.get("ADMIN_NAME", "").strip()
ADMIN_PASSWORD = secret("ADMIN_PASSWORD")
check_administrator(ADMIN_NAME, ADMIN_PASSWORD)
check_sign_on(OIDC_ISSUER, OIDC_CLIENT_ID, OIDC_SCOPES, [*OIDC_GROUPS.values()], OIDC_DEFAULT_ROLE, only=OIDC_ONLY)
check_roles("TOTP_REQUIRED", TOTP_REQUIRED)
check_roles("OIDC_DEFAULT_ROLE", [OIDC_DEFAULT_ROLE])

# Limits of the browser
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "promptops.site.views.errors.csrf_failure"
CSRF_TRUSTED_ORIGINS = listed("CSRF_TRUSTED_ORIGINS")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BEHIND_PROXY
if BEHIND_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_HSTS_SECONDS = number("HSTS_SECONDS", default=86_400, least=0, most=63_072_000)
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

# Mail
_mail = mail_server()
EMAIL_HOST = _mail.hostname or ""
EMAIL_PORT = _mail.port or EMAIL_PORTS.get(_mail.scheme, 25)
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = unquote(_mail.username or ""), unquote(_mail.password or "")
EMAIL_USE_TLS, EMAIL_USE_SSL, EMAIL_TIMEOUT = _mail.scheme == "smtp+tls", _mail.scheme == "smtp+ssl", 15
DEFAULT_FROM_EMAIL = os.environ.get("EMAIL_FROM", "").strip() or f"promptops@{EMAIL_HOST or 'localhost'}"

# Time and static files
LANGUAGE_CODE = "en-us"
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "promptops.web.static_files.Storage"},
}

# A form holds at most one prompt (64 KiB, 192 KiB when percent-encoded) and small fields.
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024

# One-time links are the only secrets in an address, and no log line may hold one.
ONE_TIME_LINK = re.compile(r"/(setup|join|password)/[^/\s\"']+")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "outages": {"()": "promptops.platform.logs.OutagesInOneLine"},
        "ids": {"()": "promptops.platform.logs.Ids"},
        "redact": {"()": "promptops.platform.logs.RedactOneTimeLinks"},
        "one_line": {"()": "promptops.platform.logs.WithoutTraceback"},
        "warnings_one_line": {"()": "promptops.platform.logs.WithoutTraceback", "below": logging.ERROR},
    },
    "formatters": {
        "text": {"format": "{asctime} {levelname} {name}: {message}{request}", "style": "{"},
        "json": {"()": "promptops.platform.logs.JsonLines"},
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": LOG_FORMAT,
            "filters": ["outages", "redact", "ids"],
        },
        "count": {"class": "promptops.platform.logs.CountLines"},
    },
    "root": {"handlers": ["stderr", "count"], "level": "WARNING"},
    "loggers": {
        "django": {"handlers": [], "level": "WARNING"},
        # Anybody can send a wrong Host header. The line says what to do; a traceback would not help.
        "django.security.DisallowedHost": {"filters": ["one_line"]},
        # The audit records refusals; a traceback would not help.
        "django.request": {"filters": ["warnings_one_line"]},
        "promptops": {"level": "INFO"},
        # Twisted logs every connection at INFO.
        "daphne": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
        # A collector that does not answer: one line for each lost batch, and none for each retry.
        "opentelemetry": {"level": "ERROR"},
    },
}

SILENCED_SYSTEM_CHECKS = [
    # A constraint that this check does not know keeps user names unique in any case.
    "auth.W004",
    # HSTS is for this host name only: PromptOps does not decide for other names of the domain.
    "security.W005",
    "security.W021",
    # The proxy redirects plain HTTP. Here a redirect would also hit programs that call this port directly.
    "security.W008",
]

PROMPTS_DIR = BASE_DIR / "prompts"
