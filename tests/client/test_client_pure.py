"""The library loads without Django and without the safety extra, and is typed."""

import subprocess
import sys
from pathlib import Path

import promptops
import promptops.client

BLOCKED = ("django", "channels", "asgiref", "fastapi", "pydantic", "numpy", "fasttext", "xllamacpp", "psycopg", "redis")
SOURCE = """
import importlib, pkgutil, sys
sys.modules.update(dict.fromkeys({blocked!r}))
import promptops.client
for module in pkgutil.walk_packages(promptops.client.__path__, "promptops.client."):
    importlib.import_module(module.name)
from promptops.client.filters import can_judge
print(can_judge())
"""


def test_it_loads_without_django_and_without_the_safety_extra():
    done = subprocess.run(
        [sys.executable, "-c", SOURCE.format(blocked=BLOCKED)], capture_output=True, text=True, timeout=30
    )
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_every_public_name_is_there():
    assert all(hasattr(promptops.client, name) for name in promptops.client.__all__)
    assert list(promptops.client.__all__) == sorted(promptops.client.__all__)


def test_the_package_is_typed():
    assert (Path(promptops.__file__).parent / "py.typed").exists()
