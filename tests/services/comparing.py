"""A process that runs the trials of comparisons until it is killed: `python -m tests.services.comparing`."""

import asyncio
import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "promptops.settings")
django.setup()

from promptops.compare.actions import trials  # noqa: E402

if __name__ == "__main__":
    trials.POLL_SECONDS, trials.CLAIM_SECONDS, trials.RENEW_SECONDS = 0.02, 0.5, 0.1
    print("running", flush=True)
    asyncio.run(trials.Runner().run())
