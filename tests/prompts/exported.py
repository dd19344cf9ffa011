"""Reading and changing an exported set of templates, for several test modules."""

import io
import json
import zipfile

import pytest

from promptops.ledger.models import AuditEntry, LiveConfiguration, Release
from promptops.prompts.actions import sets
from promptops.prompts.models import Template, Version


def change(folder, name: str, text: str | None = None, /, **facts) -> None:
    if text is not None:
        (folder / f"{name}.txt").write_text(text)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


def live() -> dict[str, str]:
    return {row.name: row.live_version.body for row in Template.objects.select_related("live_version")}


def state() -> list[object]:
    """Return everything that an import could change."""
    models = (Template, Version, Release, AuditEntry, LiveConfiguration)
    return [list(model.objects.order_by("pk").values()) for model in models]


def problems(folder) -> list[str]:
    with pytest.raises(sets.BadSet) as refused:
        sets.read_folder(folder)
    return refused.value.problems


def zipped(files: list[tuple[str | zipfile.ZipInfo, str]]) -> io.BytesIO:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files:
            # With the time of day in it, the archive would differ two seconds later.
            archive.writestr(name if isinstance(name, zipfile.ZipInfo) else zipfile.ZipInfo(name), text)
    return buffer
