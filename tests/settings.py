"""The project's settings in a fixed environment: state lies in a folder of the test run's own, never in var/."""

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

# Without compiled files, each process of the tests would compile all modules again and rewrite all their assertions.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

_state = tempfile.mkdtemp(prefix="promptops-test-")
atexit.register(shutil.rmtree, _state, True)
# What the developer's own environment or .env says must not decide a test; DATABASE_URL may choose PostgreSQL.
os.environ |= {
    "VAR_DIR": _state,
    "SECRET_KEY": "a key for tests that is long enough to be accepted",
    "ALLOWED_HOSTS": "testserver,localhost,127.0.0.1",
    "DATABASE_URL": os.environ.get("DATABASE_URL", ""),
    # Playwright's sync API runs an event loop in the test's thread, where Django would refuse the database.
    "DJANGO_ALLOW_ASYNC_UNSAFE": "true",
}
_unset = ("REDIS_URL", "CEREBRAS_API_KEY", "GROQ_API_KEY", "HOST", "PORT", "BEHIND_PROXY", "DEBUG")
for _name in (*_unset, "LOG_FORMAT", "METRICS_TOKEN", "METRICS_PORT", "OTEL_EXPORTER_OTLP_ENDPOINT"):
    os.environ[_name] = ""
for _name in ("OIDC_ISSUER", "OIDC_ONLY", "OIDC_DEFAULT_ROLE", "TOTP_REQUIRED", "ADMIN_NAME", "ADMIN_PASSWORD"):
    os.environ[_name] = ""
for _name in ("EMAIL_URL", "EMAIL_FROM", "PUBLIC_ADDRESS", "WEBHOOK_PRIVATE_HOSTS"):
    os.environ[_name] = ""

from promptops.settings import *  # noqa: E402, F403
from promptops.settings import DATABASES  # noqa: E402

# The real hasher takes a quarter of a second a password, on purpose.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# A database that is to be dropped must have no connection left, whichever thread had it.
DATABASES["default"]["CONN_MAX_AGE"] = 0

if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # Tests of threads, sockets and processes need a database file; Django's default for tests is memory.
    DATABASES["default"]["TEST"] = {"NAME": str(Path(_state) / "test.sqlite3")}
    # Nobody pulls the plug here, and waiting for the disk takes longer than most commits.
    DATABASES["default"]["OPTIONS"]["init_command"] += " PRAGMA synchronous=OFF;"
else:
    # These tests empty their tables hundreds of times and none of them pulls the plug.
    DATABASES["default"]["OPTIONS"] = {"options": "-c synchronous_commit=off"}

# Each test client sets up the middleware; listing the static files anew would take most of that.
WHITENOISE_AUTOREFRESH = True
