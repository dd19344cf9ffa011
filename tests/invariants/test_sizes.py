"""Files, functions and lines stay short enough to be read."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = [path for path in (ROOT / "promptops").rglob("*.py") if "migrations" not in path.parts]
FILE_LINES, FUNCTION_LINES, TEMPLATE_CHARACTERS = 400, 60, 120


def test_no_file_of_the_package_is_longer_than_a_reader_keeps_in_mind() -> None:
    long = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in PACKAGE}
    assert {name: lines for name, lines in long.items() if lines > FILE_LINES} == {}


def test_no_function_is_longer_than_a_screen() -> None:
    long = {
        f"{path.relative_to(ROOT)}: {node.name}": node.end_lineno - node.lineno + 1
        for path in [*PACKAGE, *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
    }
    assert {name: lines for name, lines in long.items() if lines > FUNCTION_LINES} == {}


def test_no_line_of_a_template_is_wider_than_an_editor() -> None:
    wide = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in (ROOT / "templates").rglob("*.html")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > TEMPLATE_CHARACTERS
    ]
    assert wide == []
