"""The files of a set: whole or not at all, also when the process dies or the disk is full."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from promptops.client.mirror.files import FileSet, FolderInUse, hashes_of
from promptops.client.mirror.layouts import LAYOUTS, LiveText, live_texts
from tests.client.rooms import snapshot

LAYOUT = LAYOUTS["fastvideo"]


def texts(revision: int) -> dict[str, LiveText]:
    return live_texts(snapshot(revision), LAYOUT)


def write(files: FileSet, revision: int) -> bool:
    return files.write(texts(revision), revision=revision, epoch="e1", sha256=f"{revision:064}")


@pytest.fixture
def files(tmp_path: Path) -> FileSet:
    return FileSet(tmp_path)


def is_whole(folder: Path) -> bool:
    """Return whether each file is what the manifest names, as a consumer would check."""
    named = json.loads((folder / "manifest.json").read_text())["files"]
    return all(
        hashlib.sha256((folder / name).read_bytes()).hexdigest() == each["sha256"] for name, each in named.items()
    )


def test_a_set_is_written_with_its_manifest(files):
    assert write(files, 3)
    assert {name: (files.folder / name).read_text() for name in LAYOUT} == {
        name: f"{operation} e1 r3\n" for name, operation in LAYOUT.items()
    }
    manifest = json.loads((files.folder / "manifest.json").read_text())
    assert (manifest["revision"], manifest["epoch"], manifest["files"]["enhance.txt"]["version"]) == (3, "e1", 3)
    assert is_whole(files.folder)
    assert not [path for path in files.folder.iterdir() if path.name.endswith((".next", ".replaced"))]


def test_others_may_read_the_files(files):
    before = os.umask(0o022)
    try:
        write(files, 1)
    finally:
        os.umask(before)
    assert {oct((files.folder / name).stat().st_mode & 0o777) for name in (*LAYOUT, "manifest.json")} == {"0o644"}


def test_files_that_do_not_change_are_left_alone(files):
    write(files, 1)
    before = (files.folder / "enhance.txt").stat().st_ino
    assert not files.write(texts(1), revision=2, epoch="e1", sha256="2" * 64)
    assert (files.folder / "enhance.txt").stat().st_ino == before
    assert files.manifest().revision == 2


@pytest.mark.parametrize("change", ["other", "", None])
def test_a_change_by_somebody_else_is_seen_and_a_copy_of_it_kept(files, change):
    write(files, 1)
    path = files.folder / "enhance.txt"
    path.unlink() if change is None else path.write_text(change)
    assert [sentence for sentence in files.changes(files.manifest()) if sentence.startswith("enhance.txt ")]
    write(files, 2)
    assert files.changes(files.manifest()) == []
    copy = files.folder / "enhance.txt.replaced"
    assert (copy.read_text() if copy.exists() else None) == (change or None)


def test_texts_from_before_the_first_set_are_kept_as_copies(files):
    (files.folder / "rewrite.txt").write_text("By hand")
    write(files, 1)
    assert (files.folder / "rewrite.txt.replaced").read_text() == "By hand"


def test_a_link_is_replaced_and_its_target_is_not_written(files, tmp_path_factory):
    target = tmp_path_factory.mktemp("elsewhere") / "secret"
    target.write_text("secret")
    for name in ("enhance.txt", ".enhance.txt.next", ".manifest.json.next"):
        (files.folder / name).symlink_to(target)
    write(files, 1)
    assert target.read_text() == "secret"
    assert not (files.folder / "enhance.txt").is_symlink()
    assert is_whole(files.folder)


def test_a_folder_with_a_files_name_changes_nothing(files):
    write(files, 1)
    (files.folder / "rewrite.txt").unlink()
    (files.folder / "rewrite.txt").mkdir()
    with pytest.raises(IsADirectoryError):
        write(files, 2)
    assert (files.folder / "enhance.txt").read_text() == "enhance e1 r1\n"
    assert not files.is_interrupted


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from promptops.client.mirror.files import FileSet
from tests.client.test_follow_files import write
# After the imports: Python would write compiled modules that are cut off.
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    write(FileSet(Path(sys.argv[1])), 2)
except OSError as error:
    print(error.strerror)
"""


def child(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONPATH": "."},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("room", [0, 20])
def test_a_full_disk_changes_nothing(files, room):
    write(files, 1)
    assert child(FULL_DISK, files.folder, room).stdout == "File too large\n"
    assert is_whole(files.folder)
    assert files.manifest().revision == 1
    assert not files.is_interrupted
    assert not [path for path in files.folder.iterdir() if path.name.endswith(".next")]


def test_a_process_killed_in_the_middle_leaves_no_half_file_and_no_wrong_manifest(files):
    """Kill at each call that touches the disk. One process forks for each kill, because a start takes long."""
    code = """
import os, sys
from pathlib import Path
from promptops.client.mirror.files import FileSet
from tests.client.test_follow_files import write
top = Path(sys.argv[1])
for number in range(200):
    folder = top / str(number)
    folder.mkdir()
    write(FileSet(folder), 1)
    pid = os.fork()
    if not pid:
        left = number
        def dying(name, real):
            def call(*values, **more):
                global left
                left -= 1
                if left < 0:
                    os._exit(9)
                return real(*values, **more)
            return call
        for name in ("replace", "fsync", "open"):
            setattr(os, name, dying(name, getattr(os, name)))
        write(FileSet(folder), 2)
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0:
        break
print(number)
"""
    done = child(code, files.folder)
    assert done.returncode == 0, done.stderr
    last = int(done.stdout)
    assert last > 2 * len(LAYOUT)
    mixed = 0
    for number in range(last + 1):
        killed = FileSet(files.folder / str(number))
        revisions = {(killed.folder / name).read_text().split()[-1] for name in LAYOUT}
        assert revisions <= {"r1", "r2"}, "a file is neither the old nor the new one"
        if not is_whole(killed.folder):
            mixed += 1
            assert killed.is_interrupted, "nobody could see that the set is not whole"
        write(killed, 2)
        assert is_whole(killed.folder)
        assert not killed.is_interrupted
        assert not list(killed.folder.glob("*.replaced")), "an own file was taken for somebody else's"
    assert mixed, "no kill hit the renaming, so this test proves nothing"


def test_two_followers_cannot_have_one_folder(files):
    files.lock()
    with pytest.raises(FolderInUse):
        FileSet(files.folder).lock()
    files.unlock()
    other = FileSet(files.folder)
    other.lock()
    other.unlock()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"files": []}', '{"files": {"a": 1}, "revision": 1}', "[" * 100_000, "\x00"]
)
def test_a_manifest_of_somebody_else_counts_as_none(files, content):
    (files.folder / "manifest.json").write_text(content)
    assert files.manifest() is None
    write(files, 1)
    assert files.manifest().hashes == hashes_of(texts(1))


def test_a_pipe_in_place_of_a_file_does_not_hang(files):
    write(files, 1)
    (files.folder / "enhance.txt").unlink()
    os.mkfifo(files.folder / "enhance.txt")
    assert files.changes(files.manifest())
    write(files, 2)
    assert is_whole(files.folder)
