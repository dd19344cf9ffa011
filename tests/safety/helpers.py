"""Set-up that several tests of the Safety pages share."""

import hashlib

from promptops.engine.safety.guard import SHIPPED, read_manifest
from promptops.ledger.audit import Actor
from promptops.runs.models import Run
from promptops.safety.actions.filter_settings import SafetyChange, change_safety
from promptops.safety.models import SafetyModelVersion, SafetySettings

BAD = "a man is beheaded and his bloody corpse lies on the floor"
OWN = read_manifest(SHIPPED / "current.json").thresholds


def change(**parts):
    expected = SafetySettings.objects.get(pk=1).changed_revision
    return change_safety(SafetyChange(**parts), by=Actor("Tests"), expected=expected)


def make_run(**fields) -> Run:
    given = {"source": "preview", "operation": "enhance", "temperature": 1, "max_tokens": 1, "revision": 0}
    return Run.objects.create(**given | {"latency_ms": 1, "status": "succeeded", "input": "a fox in snow"} | fields)


def second_model(**held_out) -> SafetyModelVersion:
    first = SafetyModelVersion.objects.get(number=1)
    data = (SHIPPED / "model-2.ftz").read_bytes() + b"\0"
    manifest = first.manifest | {"held_out": first.manifest["held_out"] | held_out, "file": "model-3.ftz"}
    sha256 = hashlib.sha256(data).hexdigest()
    return SafetyModelVersion.objects.create(
        number=2, data=data, sha256=sha256, manifest=manifest, user_name="Ada", note="Trained again"
    )
