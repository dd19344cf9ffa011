"""A process that does housekeeping: `python -m tests.services.housekeeper FILE SECONDS LEASE`.

Its only chore writes a line when it begins, and another after SECONDS. Leases last LEASE seconds.
"""

import asyncio
import os
import sys
import time
from pathlib import Path

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "promptops.settings")
django.setup()

from promptops.platform import background, leases  # noqa: E402


async def keep_house(file: Path, seconds: float, lease: float) -> None:
    def note(word: str) -> None:
        with file.open("a") as lines:
            lines.write(f"{os.getpid()} {word}\n")

    def chore() -> None:
        note("began")
        time.sleep(seconds)
        note("ended")

    leases.SECONDS = lease
    background.TASKS, background.HOURLY = [], [chore]
    print("up", flush=True)
    background.start()
    await asyncio.to_thread(sys.stdin.readline)
    await background.stop()


if __name__ == "__main__":
    asyncio.run(keep_house(Path(sys.argv[1]), *map(float, sys.argv[2:])))
