"""The review of the dependencies and the notice of shipped data are complete: docs/dependencies.md and NOTICE.md."""

import re
import subprocess
import tomllib
from importlib.metadata import PackageNotFoundError, metadata

import pytest
from django.conf import settings

ROOT = settings.BASE_DIR
REVIEW = (ROOT / "docs" / "dependencies.md").read_text().splitlines()
ROWS = {
    cells[0].strip("`"): cells
    for line in REVIEW
    if len(cells := line.strip("| ").split(" | ")) == 5 and "`" in cells[0]
}
LISTED = {
    name: license_name
    for line in REVIEW
    if line.startswith("- ") and "**" not in line
    for license_name, names in [line.removeprefix("- ").split(": ")]
    for name in names.split(", ")
}
SHIPPED_DATA = ("promptops/engine/safety/data", "prompts", "static")


def direct() -> list[str]:
    """Return the packages that pyproject.toml names, without PromptOps itself."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = [*project["project"]["optional-dependencies"].values(), *project["dependency-groups"].values()]
    named = sum(groups, project["project"]["dependencies"])
    return sorted({re.split(r"[\[<>=]", each)[0] for each in named} - {"promptops"})


def locked() -> list[str]:
    """Return the packages of requirements.txt that are not in pyproject.toml."""
    names = re.findall(r"^([\w.-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    return sorted(set(names) - set(direct()))


def license_of(package: str) -> str:
    """Return the license that the installed package names: the first one, if it names several for its parts."""
    named = metadata(package)
    if expression := named.get("License-Expression"):
        return expression.split(" AND ")[0]
    if (words := named.get("License") or "") and len(words.strip()) <= 40:
        return words
    classifiers = [each for each in named.get_all("Classifier") or [] if each.startswith("License ::")]
    return classifiers[0].rpartition(" :: ")[2].removesuffix(" License") if classifiers else "in its files"


@pytest.mark.parametrize("package", direct())
def test_every_dependency_is_reviewed_with_its_license(package: str) -> None:
    assert ROWS[package][4].strip(" |").split(" AND ")[0] == license_of(package)


def test_the_review_has_no_dependency_that_left() -> None:
    assert set(ROWS) == set(direct())


def test_the_list_of_licenses_has_every_package_of_the_lock() -> None:
    expected = {}
    for package in locked():
        try:
            expected[package] = license_of(package)
        except PackageNotFoundError:  # of another system or Python version
            assert package in LISTED
    assert {package: LISTED.get(package) for package in expected} == expected
    assert set(LISTED) == set(locked())


def test_every_shipped_file_of_data_is_in_the_notice() -> None:
    listed = subprocess.run(["git", "ls-files", *SHIPPED_DATA], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is not a git checkout")
    cells = [line.split("|")[1] for line in (ROOT / "NOTICE.md").read_text().splitlines() if line.startswith("| `")]
    named = re.findall(r"`([^`]+)`", "".join(cells))
    assert [path for path in named if not (ROOT / path).exists()] == []
    files, folders = set(named), tuple(path for path in named if path.endswith("/"))
    data = listed.stdout.split()
    assert data
    assert [path for path in data if path not in files and not path.startswith(folders)] == []


@pytest.mark.parametrize("folder", ["", "evaluation/"])
def test_only_the_notice_names_licenses_of_data(folder: str) -> None:
    text = (ROOT / "promptops/engine/safety/data" / folder / "README.md").read_text()
    assert "NOTICE.md" in text
    assert re.findall(r"Apache|CC-BY|Unicode License|Public Domain|PDDL|MIT\b|as the project", text) == []
