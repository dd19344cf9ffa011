"""The files of the safety filter's models, for servers that judge texts themselves."""

from pathlib import Path

from promptops.safety.guards import file_of
from promptops.safety.models import SafetyModelVersion


def model_file(number: int) -> tuple[Path, str] | None:
    """Return the path of a model's file and its SHA-256; None for an unknown number.

    Raises ValueError with the reason if the file is unavailable.
    """
    version = SafetyModelVersion.objects.defer("data").filter(number=number).first()
    return (file_of(version), version.sha256) if version else None
