"""Reading hostile files and archives of a set: each is refused with its name and the reason."""

import io
import os
import stat
import zipfile

import pytest

from promptops.prompts.actions import sets
from tests.prompts.exported import change, problems, zipped

pytestmark = pytest.mark.django_db


HOSTILE = {
    "NUL": (lambda f: (f / "enhance.txt").write_bytes(b"a\0b"), "enhance.txt: The prompt holds a NUL character"),
    "broken UTF-8": (lambda f: (f / "enhance.txt").write_bytes(b"a\xff"), "enhance.txt: The file is not UTF-8: byte 2"),
    "blank": (lambda f: (f / "enhance.txt").write_text(" \n"), "enhance.txt: The prompt is blank"),
    "too long": (lambda f: (f / "enhance.txt").write_text("a" * 70_000), "enhance.txt: The prompt is 70,000 bytes"),
    "huge": (lambda f: (f / "enhance.txt").write_text("a" * 2**20), "enhance.txt: The file is too large"),
    "no text": (lambda f: (f / "enhance.txt").unlink(), "enhance.txt is missing"),
    "no facts": (lambda f: (f / "enhance.json").unlink(), "enhance.json is missing"),
    "no JSON": (lambda f: (f / "enhance.json").write_text("{"), "enhance.json is not JSON"),
    "deep JSON": (lambda f: (f / "enhance.json").write_text("[" * 60_000), "enhance.json is not JSON"),
    "huge JSON": (lambda f: (f / "enhance.json").write_text(" " * 300_000), "enhance.json is too large"),
    "a list": (lambda f: (f / "enhance.json").write_text("[]"), "enhance.json: the file must be an object"),
    "unknown key": (lambda f: change(f, "enhance", role="admin"), "enhance.json: role is unknown"),
    "key twice": (lambda f: (f / "enhance.json").write_text('{"a": 1, "a": 2}'), "enhance.json: a occurs twice"),
    "missing key": (lambda f: (f / "enhance.json").write_text("{}"), "enhance.json: base is missing"),
    "other name": (lambda f: change(f, "enhance", name="../noir"), "enhance.json: name must be 'enhance'"),
    "wrong type": (lambda f: change(f, "enhance", default="yes"), 'default must be true or false, not "yes"'),
    "NUL in a note": (lambda f: change(f, "enhance", note="a\0"), "note must be text"),
    "surrogate": (lambda f: change(f, "enhance", note="\ud800"), "note must be text"),
    "settings": (lambda f: change(f, "enhance", settings={}), "enhance.json: settings.max_tokens is missing"),
    "NaN": (
        lambda f: change(f, "enhance", settings={"temperature": float("nan"), "model": "", "max_tokens": 1}),
        "enhance.json: NaN is not a number",
    ),
    "infinite": (
        lambda f: (f / "enhance.json").write_text((f / "enhance.json").read_text().replace("0.4", "1e999")),
        "settings.temperature must be a number or null",
    ),
    "true as number": (
        lambda f: change(f, "enhance", settings={"temperature": True, "model": "", "max_tokens": True}),
        "settings.max_tokens must be a whole number",
    ),
    "symbolic link": (
        lambda f: ((f / "enhance.txt").unlink(), (f / "enhance.txt").symlink_to("noir.txt")),
        "enhance.txt is a symbolic link",
    ),
    "folder": (lambda f: (f / "x.txt").mkdir(), "x.txt is not a file"),
    "pipe": (lambda f: os.mkfifo(f / "x.json"), "x.json is not a file"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_folder_is_refused_by_name(name, folder):
    spoil, sentence = HOSTILE[name]
    spoil(folder)
    refused = problems(folder)
    assert len(refused) == 1, refused
    assert sentence in refused[0]


def test_all_problems_are_reported_together(folder):
    (folder / "enhance.txt").write_text("")
    (folder / "noir.json").write_text("{")
    (folder / "rewrite.txt").unlink()
    assert len(problems(folder)) == 3


def test_other_files_are_ignored_and_an_empty_folder_is_refused(folder, tmp_path_factory):
    (folder / "README.md").write_text("# Prompts")
    (folder / ".hidden.txt").write_text("")
    assert len(sets.read_folder(folder)) == 3
    assert "No templates found" in problems(tmp_path_factory.mktemp("empty"))[0]


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ([("../evil.txt", "x")], "../evil.txt is in a folder"),
        ([("/etc/evil.txt", "x")], "/etc/evil.txt is in a folder"),
        ([("..\\evil.txt", "x")], "is in a folder"),
        ([("prompts/enhance.txt", "x")], "prompts/enhance.txt is in a folder"),
        ([(link("enhance.txt"), "/etc/passwd")], "enhance.txt is a symbolic link"),
        ([("enhance.txt", "x"), ("enhance.txt", "y")], "enhance.txt is in the archive twice"),
        ([("run.exe", "x")], "run.exe is neither a .txt"),
        ([("bomb.txt", "0" * 30_000_000), ("bomb.json", "{}")], "bomb.txt: The file is too large"),
        ([(f"b{n}.txt", "0" * 300_000) for n in range(70)], "larger than 16 MiB together"),
        ([(f"{n}.txt", "") for n in range(2001)], "more than 2,000 files"),
        ([("a\nb\x1b.txt", "x")], "a�b�.json is missing"),
    ],
)
def test_a_hostile_archive_is_refused_by_name(files, sentence):
    with pytest.raises(sets.BadSet) as refused:
        sets.read_zip(zipped(files))
    assert sentence in refused.value.problems[0]


@pytest.mark.parametrize("data", [b"", b"PK", b"not a zip", b"PK\x05\x06" + bytes(17)])
def test_an_unreadable_archive_is_refused(data):
    with pytest.raises(sets.BadSet, match="not a readable zip archive"):
        sets.read_zip(io.BytesIO(data))


def test_a_damaged_or_encrypted_archive_is_refused():
    data = bytearray(zipped([("enhance.txt", "Some text that is long enough to be damaged.")]).getvalue())
    data[45] ^= 0xFF
    with pytest.raises(sets.BadSet, match="not a readable zip archive"):
        sets.read_zip(io.BytesIO(bytes(data)))
    data = bytearray(zipped([("enhance.txt", "x")]).getvalue())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(sets.BadSet, match="is encrypted"):
        sets.read_zip(io.BytesIO(bytes(data)))
