"""Log lines and error pages: no secrets, one line for each outage, ids, JSON. Log levels belong to the settings."""

import json
import logging
import re
import threading
import time
from collections.abc import ItemsView
from datetime import UTC, datetime
from types import FrameType
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.views.debug import SafeExceptionReporterFilter

from promptops.platform import outages
from promptops.platform.requests import facts, run_facts


class RedactOneTimeLinks(logging.Filter):
    """Replace the token of a one-time link in a log line. Every record passes."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        redacted = _redact(message)
        if redacted != message:
            record.msg, record.args = redacted, None
        if record.exc_info and record.exc_info[1] is not None:
            # The formatter uses an existing text, so the traceback is redacted here.
            text = logging.Formatter().formatException(record.exc_info)
            record.exc_text = _redact(text)
        return True


class OutagesInOneLine(logging.Filter):
    """Write errors of an unavailable database as one line without a traceback, at most once in `EVERY_SECONDS`.

    The line says how many equal lines were left out since the last one.
    """

    EVERY_SECONDS = 10.0

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._lines: dict[tuple[str, str, str], tuple[float, int]] = {}  # last time, and lines left out since

    def filter(self, record: logging.LogRecord) -> bool:
        why = outages.summary(record.exc_info[1]) if record.exc_info else None
        if why is None:
            return True
        left_out = self._take((record.name, str(record.msg), why.split(":")[0]))
        if left_out is None:
            return False
        more = f" {left_out} more lines like this were left out." if left_out else ""
        record.msg, record.args = f"{record.getMessage()} The database is unavailable ({why}).{more}", None
        record.exc_info = record.exc_text = None
        return True

    def _take(self, line: tuple[str, str, str]) -> int | None:
        """Return how many equal lines were left out, or None if this line is left out too."""
        now = time.monotonic()
        with self._lock:
            written, left_out = self._lines.get(line, (-self.EVERY_SECONDS, 0))
            if now - written < self.EVERY_SECONDS:
                self._lines[line] = (written, left_out + 1)
                return None
            self._lines[line] = (now, 0)
            return left_out


class Ids(logging.Filter):
    """Give each record the ids of its request, socket and run: `ids` as a dict, and `request` in words, or "".

    Every record passes.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        known, run = facts(), run_facts.get()
        ids = {
            "request": known.id,
            "run": run.id if run else "",
            "revision": run.revision if run else None,
            "token": " ".join(known.token.split()),
            "person": known.person,
        }
        record.ids = ids = {name: value for name, value in ids.items() if value not in ("", None)}
        words = ", ".join(f"{name} {value}" for name, value in ids.items())
        record.request = f" [{words}]" if words else ""
        return True


class JsonLines(logging.Formatter):
    """Write each record as one line with a JSON object. docs/watch.md has its members."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line. A traceback is text without the values of variables."""
        line: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "ids", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = record.exc_text or self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


counted = dict.fromkeys(("WARNING", "ERROR", "CRITICAL"), 0)
"""How many lines were logged, by level."""


class CountLines(logging.Handler):
    """Counts the lines of these levels."""

    def emit(self, record: logging.LogRecord) -> None:
        """Count one line."""
        if record.levelname in counted:
            counted[record.levelname] += 1


class WithoutTraceback(logging.Filter):
    """Remove the tracebacks of records below a level, whose message is enough. Every record passes."""

    def __init__(self, below: int = logging.CRITICAL) -> None:
        super().__init__()
        self.below = below

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < self.below:
            record.exc_info = record.exc_text = None
        return True


def _redact(text: str) -> str:
    # A function, not a template such as r"\1": its first use imports a module, which fails while Python exits.
    return settings.ONE_TIME_LINK.sub(lambda match: f"/{match[1]}/[one-time link]", text)


URL_PASSWORD = re.compile(r"(?<=://)[^\s\"']*@|(?<=[?&]password=)[^\s&\"']+", re.IGNORECASE)
"""The user and password of an address, with their @, or the value of a parameter `password`."""


class AlwaysHideSecrets(SafeExceptionReporterFilter):
    """Hide sensitive settings and form fields on error pages with DEBUG=1, too, where Django would show them.

    Variables of functions are hidden as well: before it is encrypted, a key is in many of them.
    """

    def cleanse_setting(self, key: int | str, value: Any) -> Any:
        cleansed = super().cleanse_setting(key, value)
        if issubclass(type(cleansed), str):  # not a lazy object, which only looks like a string
            return URL_PASSWORD.sub(self.cleansed_substitute, cleansed)
        return cleansed

    def is_active(self, request: HttpRequest | None) -> bool:
        return True

    def get_traceback_frame_variables(self, request: HttpRequest | None, tb_frame: FrameType) -> ItemsView[str, Any]:
        return {}.items()
