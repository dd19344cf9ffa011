"""Long proofs, run by `make proof`. A small version of each is among the tests of `make test`."""

import os
import subprocess
import sys

import pytest
from django.conf import settings

from promptops import audit
from promptops.actions.releases import Content, publish
from promptops.actions.templates import create_template
from promptops.audit import COMMAND_LINE
from promptops.models import Release, Template, Version
from tests.test_live import database_url

PROCESSES, PUBLISHES = 6, 25

# Publishes on top of whatever is live until it has won often enough; prints how often it lost.
COMPETE = """
import os, sys, django
django.setup()
from promptops.actions.errors import StaleRelease
from promptops.actions.releases import Content, publish
from promptops.audit import Actor
from promptops.models import Template
name, wanted, won, lost = sys.argv[1], int(sys.argv[2]), 0, 0
while won < wanted:
    template = Template.objects.get()
    try:
        publish(template, Content(f"{name} {won} {lost}"), by=Actor(name), expected=template.live_version_id)
        won += 1
    except StaleRelease:
        lost += 1
print(lost)
"""


@pytest.mark.proof
@pytest.mark.django_db(transaction=True)
def test_processes_that_compete_leave_no_gap_no_repeat_and_a_whole_chain():
    template = create_template("enhance", "enhance", by=COMMAND_LINE)
    publish(template, Content("Start"), by=COMMAND_LINE, expected=None)
    environment = os.environ | {"DATABASE_URL": database_url(), "DJANGO_SETTINGS_MODULE": "promptops.settings"}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", COMPETE, f"process {number}", str(PUBLISHES)],
            cwd=settings.BASE_DIR,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    lost = [int(process.communicate(timeout=300)[0]) for process in running]
    assert [process.returncode for process in running] == [0] * PROCESSES
    expected = PROCESSES * PUBLISHES + 1
    assert sorted(Version.objects.values_list("number", flat=True)) == list(range(1, expected + 1))
    assert sorted(Release.objects.values_list("revision", flat=True)) == list(range(1, expected + 1))
    assert Template.objects.get().live_version.number == expected
    assert audit.first_bad_entry() is None
    print(f"{expected - 1} releases by {PROCESSES} processes; {sum(lost)} were told that somebody was faster")
