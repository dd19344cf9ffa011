"""Reading inputs from text boxes and files: results, problems, and that any bytes give one of the two."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from promptops.compare.actions.prompt_sets import check
from promptops.texts.inputs import MAX_FOUND, MAX_PROBLEMS, Format, Line, Unreadable, decode, read, simplest, write

NO_TEXT = "The line must be a text in quotes, or an object with one."
UNREADABLE = "This JSON is unreadable: a number is too long, or brackets are nested too deeply."
ROW = "The row that starts here is unreadable"
DATA = Path(__file__).parents[1] / "data"
LINES, BLOCKS, JSONL, CSV, TSV = Format.LINES, Format.BLOCKS, Format.JSONL, Format.CSV, Format.TSV


@pytest.mark.parametrize(
    ("format", "text", "expected"),
    [
        (LINES, "", []),
        (LINES, "a fox\n\n  two foxes  \n", [(1, "a fox"), (3, "two foxes")]),
        (LINES, "a\r\nb\rc", [(1, "a"), (2, "b"), (3, "c")]),
        (LINES, "\ufeffa fox", [(1, "a fox")]),
        (LINES, 'a sign, "OPEN", in red', [(1, 'a sign, "OPEN", in red')]),
        (LINES, "one line\u2028still the same", [(1, "one line\u2028still the same")]),
        (BLOCKS, "a fox\na creek\n\na baker\n", [(1, "a fox\na creek"), (4, "a baker")]),
        (BLOCKS, "\n\n a \r\n b \r\n \t \r\n\r\nc", [(3, "a \n b"), (7, "c")]),
        (JSONL, '"a fox"\n\n{"prompt": "two"}', [(1, "a fox"), (3, "two")]),
        (JSONL, '{"text": "t", "input": "i"}\n{"text": "t"}', [(1, "i"), (2, "t")]),
        (JSONL, '"two\\nlines"', [(1, "two\nlines")]),
        (CSV, "prompt,enhanced\na fox,A red fox\n", [(2, "a fox")]),
        (CSV, "id, Input \n7,a fox\n", [(2, "a fox")]),
        (CSV, "a fox\na bear\n", [(1, "a fox"), (2, "a bear")]),
        (CSV, "a fox,red\na bear,brown\n", [(1, "a fox"), (2, "a bear")]),
        (CSV, 'prompt\n"one, with a comma"\n"a ""sign"""\n', [(2, "one, with a comma"), (3, 'a "sign"')]),
        (CSV, 'prompt\n"two\nlines"\nnext\n', [(2, "two\nlines"), (4, "next")]),
        (CSV, "\n\nprompt\n\n,,\na fox\n", [(6, "a fox")]),
        (CSV, "prompt;note\nA bird, red;day\nA fox;night\n", [(2, "A bird, red"), (3, "A fox")]),
        (CSV, 'note;prompt\nday;"one; two"\n', [(2, "one; two")]),
        (CSV, "id\tprompt\n7\ta fox, red; wet\n", [(2, "a fox, red; wet")]),
        (CSV, "sep=;\r\nprompt;note\r\na fox;x\r\n", [(3, "a fox")]),
        (CSV, "sep=;\na fox, red;x\n", [(2, "a fox, red")]),
        (CSV, "A bird, red;day\nA fox;night\n", [(1, "A bird, red"), (2, "A fox")]),
        # The semicolon belongs to the text.
        (CSV, "prompt\nA bird; red\n", [(2, "A bird; red")]),
        (CSV, "prompt,note\nA bird; red,x\n", [(2, "A bird; red")]),
        (CSV, "A bird; red\nA fox; wet\n", [(1, "A bird; red"), (2, "A fox; wet")]),
        (CSV, "a fox,red;wet\na bear,brown\n", [(1, "a fox"), (2, "a bear")]),
        (TSV, "prompt\tcategory\r\na fox, red\tAnimals\r\n", [(2, "a fox, red")]),
    ],
)
def test_inputs_are_read_with_their_lines(format, text, expected):
    reading = read(text, format)
    assert reading.problems == []
    assert [(line.number, line.text) for line in reading.lines] == expected


@pytest.mark.parametrize(
    ("format", "text", "column", "expected"),
    [
        (CSV, "prompt,enhanced\na fox,A red fox\n", "enhanced", ["A red fox"]),
        (CSV, "scene;take\nA bird, red;1\n", "scene", ["A bird, red"]),
        (CSV, "prompt,enhanced\na fox,A red fox\n", " Enhanced ", ["A red fox"]),
        (JSONL, '{"prompt": "a", "caption": "b"}', "caption", ["b"]),
    ],
)
def test_a_column_can_be_chosen(format, text, column, expected):
    reading = read(text, format, column)
    assert ([line.text for line in reading.lines], reading.problems) == (expected, [])


@pytest.mark.parametrize(
    ("text", "source"),
    [("Prompt,x\na,b", "the column “Prompt”"), ("a,b\nc,d", "the first column"), ("a\nb", "")],
)
def test_the_reading_names_its_column(text, source):
    assert read(text, CSV).source == source


@pytest.mark.parametrize(
    ("format", "text", "column", "sentences"),
    [
        (JSONL, '"a"\n{"prompt": }\n', "", ["Line 2: This is not JSON (Expecting value, at character 12)."]),
        (JSONL, '{"caption": "x"}', "", ["Line 1: The object does not have a key named prompt, input or text."]),
        (JSONL, '{"prompt": "x"}', "caption", ["Line 1: The object does not have the key “caption”."]),
        (JSONL, "7\n[]\nnull", "", [f"Line {line}: {NO_TEXT}" for line in (1, 2, 3)]),
        (JSONL, '{"prompt": 7}', "", ["Line 1: The line must be a text in quotes, or an object with one."]),
        (JSONL, '"  "', "", ["Line 1: The input is blank."]),
        (JSONL, "[" * 100_000, "", [f"Line 1: {UNREADABLE}"]),
        (JSONL, "9" * 5_000, "", [f"Line 1: {UNREADABLE}"]),
        (CSV, "a,b\nc,d", "prompt", ["Line 1: No column is called “prompt”. The columns are “a”, “b”."]),
        (CSV, "id,prompt\n1,a\n2\n3,\n", "", [
            "Line 3: The row has 1 of 2 columns. The column with the input is missing.",
            "Line 4: The input is blank.",
        ]),
        (CSV, 'prompt\na\n"open\nb\n', "", [f"Line 3: {ROW} (unexpected end of data). Check its quotes."]),
        (CSV, "x" * 200_000, "", [f"Line 1: {ROW} (field larger than field limit (131072)). Check its quotes."]),
    ],
)  # fmt: skip
def test_problems_name_their_lines(format, text, column, sentences):
    assert [str(problem) for problem in read(text, format, column).problems] == sentences


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("a\nb\xe9".encode("latin-1"), "Line 2: byte 2 of the line is not UTF-8"),
        (b"ok\n\xff", "Line 2: byte 1 of the line is not UTF-8"),
        ("a fox".encode("utf-16"), "The file is UTF-16. Save it as UTF-8"),
    ],
)
def test_bytes_that_are_not_utf_8_are_refused(data, sentence):
    with pytest.raises(Unreadable, match=sentence):
        decode(data)


MANY = [
    (JSONL, "[1\n", MAX_PROBLEMS, "200 problems found"),
    (JSONL, '"a"\n', 0, "More than 20,000 inputs"),
    (LINES, "a\n", 0, "More than 20,000 inputs"),
    (BLOCKS, "a\n\n", 0, "More than 20,000 inputs"),
    (CSV, "a\n", 0, "More than 20,000 inputs"),
    (CSV, ",\n", 0, "More than 100,000 rows"),
    (TSV, "a\n", 0, "More than 20,000 inputs"),
]


@pytest.mark.parametrize(("format", "unit", "problems", "last"), MANY)
def test_reading_a_huge_file_stops_early(format, unit, problems, last):
    """8 MiB of `[1` took 18 s and 732 MB; `benchmarks uploads` measures more of such files."""
    start = time.monotonic()
    reading = read(unit * (8 * 2**20 // len(unit)), format)
    assert time.monotonic() - start < 2
    assert len(reading.problems) == problems + 1
    assert last in reading.problems[-1].message
    assert len(reading.lines) <= MAX_FOUND


def test_reading_a_table_stops_after_many_problems():
    reading = read("id,prompt\n" + "1\n" * 100_000, CSV)
    assert [len(reading.problems), reading.problems[-1].line] == [MAX_PROBLEMS + 1, MAX_PROBLEMS + 1]


def test_checking_a_set_stops_after_many_problems():
    lines = iter([Line(number, "\0") for number in range(1000)])
    assert len(check(lines).problems) == MAX_PROBLEMS
    assert len(list(lines)) == 1000 - MAX_PROBLEMS


def test_a_too_long_line_of_json_is_refused():
    (problem,) = read("[" + "{}," * 2**20 + "1]", JSONL).problems
    assert str(problem) == "Line 1: The line has 3,145,731 characters. At most 1,048,576 are allowed."


def test_a_byte_order_mark_is_removed():
    assert decode("\ufeffa fox".encode()) == "a fox"


@pytest.mark.parametrize(
    ("texts", "inputs", "repeated", "problems"),
    [
        (["a", "b", "a", " a "], ["a", "b"], 2, []),
        (["a\r\nb", "a\nb"], ["a\nb"], 1, []),
        (["\ufeffa"], ["a"], 0, []),
        ([], [], 0, ["There are no inputs yet. Type at least one, or upload a file."]),
        (["a", "b\0"], ["a"], 0, ["Line 2: The input holds a NUL character or half a character. Type it again."]),
        (["\ud800"], [], 0, ["Line 1: The input holds a NUL character or half a character. Type it again."]),
        (["x" * 16_000], ["x" * 16_000], 0, []),
        (["x" * 16_001], [], 0, ["Line 1: The input is 16,001 characters; at most 16,000 are allowed."]),
    ],
)
def test_a_set_accepts_valid_inputs_once(texts, inputs, repeated, problems):
    checked = check(Line(number, text) for number, text in enumerate(texts, start=1))
    assert (checked.inputs, checked.repeated) == (inputs, repeated)
    assert [str(problem) for problem in checked.problems] == problems


@pytest.mark.parametrize(
    ("count", "size", "sentence"),
    [(2_000, 9, ""), (2_001, 9, "These are 2,001 inputs. A set holds at most 2,000"), (600, 16_000, "8 MiB")],
)
def test_the_size_of_a_set_is_limited(count, size, sentence):
    problems = check(Line(number, f"{number:09}".rjust(size, "x")) for number in range(count)).problems
    assert len(problems) == bool(sentence)
    assert sentence in "".join(map(str, problems))


@pytest.mark.parametrize(("name", "format", "inputs"), [("video_prompts.tsv", TSV, 30), ("image_prompts.tsv", TSV, 30)])
def test_real_files(name, format, inputs):
    reading = read(decode((DATA / name).read_bytes()), format)
    assert reading.source == "the column “prompt”"
    checked = check(reading.lines)
    assert (len(checked.inputs), checked.problems + reading.problems) == (inputs, [])
    assert not any(text.startswith('"') and text.endswith('"') for text in checked.inputs)


@given(st.binary(max_size=300), st.sampled_from(Format), st.sampled_from(["", "prompt", "x"]))
@example(b'"', CSV, "")
@example(b"\x00", TSV, "")
@example(b'{"prompt": "\\ud800\\u0000"}', JSONL, "")
def test_any_bytes_give_a_set_or_a_problem(data, format, column):
    try:
        reading = read(decode(data), format, column)
    except Unreadable:
        return  # another test checks the sentences
    checked = check(reading.lines)
    problems = reading.problems + checked.problems
    assert bool(problems) or checked.inputs
    assert all(str(problem).strip() for problem in problems)
    for text in checked.inputs:
        assert text == text.strip() != ""
        assert not {"\0", "\r"} & set(text)


@given(st.lists(st.text(max_size=40), max_size=8))
@example(["a\n\nb"])
@example(["{", "a\u2028b", "a\x0b\nb"])
def test_written_inputs_are_read_again(texts):
    inputs = check(Line(1, text) for text in texts).inputs
    for format in {simplest(inputs), JSONL}:
        assert [line.text for line in read(write(inputs, format), format).lines] == inputs


def test_a_download_is_valid_json():
    lines = write(["a\nb", "ü"], JSONL).splitlines()
    assert [json.loads(line) for line in lines] == [{"prompt": "a\nb"}, {"prompt": "ü"}]


def test_the_starter_set(settings):
    """The starter set has 60 prompts that differ in length, language and difficulty."""
    reading = read(decode((settings.PROMPTS_DIR / "sets" / "starter_set.txt").read_bytes()), LINES)
    checked = check(reading.lines)
    assert (len(checked.inputs), checked.repeated, checked.problems) == (60, 0, [])
    words = [len(text.split()) for text in checked.inputs if text.isascii()]
    assert min(words) == 3
    assert 45 <= max(words) <= 60
