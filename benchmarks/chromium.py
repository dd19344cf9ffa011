"""Where Chromium is, and how it starts."""

import shutil

# The headless shell is the same engine without the windows and profiles of a desktop browser: a page in a new profile
# opens in a sixth of the processor time.
NAMES = ("chromium-headless-shell", "chrome-headless-shell", "chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
MISSING = "Chromium is not installed: apt install chromium"


def path() -> str | None:
    """Return the path of the first Chromium that is installed; None without one."""
    return next(filter(None, map(shutil.which, NAMES)), None)
