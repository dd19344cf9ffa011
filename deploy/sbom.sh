#!/bin/sh
# Write the parts list (SBOM, CycloneDX) of the locked packages: sbom.sh FILE. The same lock gives the same file.
set -eu
cd "$(dirname "$0")/.."
mkdir -p "$(dirname "$1")"
PYTHONWARNINGS=ignore .venv/bin/cyclonedx-py requirements --output-reproducible --pyproject pyproject.toml \
  --output-file "$1" requirements.txt
