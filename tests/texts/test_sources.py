"""Finding prompts in files of others, in tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptops.texts import sources
from promptops.texts.sources import Candidate, UnreadableSource, read


def found(file: str, text: str | bytes) -> list[tuple[str, str]]:
    """Return name and text of each candidate."""
    data = text if isinstance(text, bytes) else text.encode()
    return [(each.name, each.text) for each in read(file, data)]


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("Night Scene.txt", "Write darkly.", [("night-scene", "Write darkly.")]),
        ("next_segment.md", "# Title\n\nText", [("next-segment", "# Title\n\nText")]),
        ("日本.txt", "狐", [("prompt", "狐")]),
        ("no-suffix", "Text", [("no-suffix", "Text")]),
        ("a.json", '"One text"', [("a", "One text")]),
        ("a.json", '{"next": "One", "edit": {"system": "Two"}}', [("next", "One"), ("edit-system", "Two")]),
        ("a.json", '{"a": "One", "a": "Two", "n": 3, "e": ""}', [("a", "One"), ("a", "Two")]),
        (
            "chat.json",
            '{"messages": [{"role": "system", "content": "One"}, {"role": "user", "content": "Two"}]}',
            [("messages-1-system", "One"), ("messages-2-user", "Two")],
        ),
        ("a.json", '{"role": "system", "content": "One", "name": "Two"}', [("content", "One"), ("name", "Two")]),
        ("a.py", "PROMPT = 'One'", [("prompt", "One")]),
        ("a.py", "PROMPT: str = ('One '\n 'two ' + 'three')", [("prompt", "One two three")]),
        ("a.py", 'PROMPT = """\nOne\n""".strip()', [("prompt", "One")]),
        ("a.py", "A = B = 'One'", [("a", "One"), ("b", "One")]),
        ("a.py", "P = {'next': 'One', **other, 3: ['Two', ('Three',)]}", [
            ("p-next", "One"), ("p-3-1", "Two"), ("p-3-2-1", "Three"),
        ]),
        ("a.py", '"""Not this."""\nclass A:\n  p = "One"\n  def f(self):\n    self.q = "Two"\n    "nor this"', [
            ("p", "One"), ("q", "Two"),
        ]),
        ("a.py", "if x:\n  A = 'One'\nelse:\n  B = 'Two'", [("a", "One"), ("b", "Two")]),
        ("a.py", 'P = f"One {style!r} {{x}} {a.b}"', [("p", "One {style} {x} {a.b}")]),
        ("a.py", "P = open('/etc/passwd').read()\nQ = 'One'", [("q", "One")]),
        ("a.py", b"# coding: latin-1\nP = 'caf\xe9'", [("p", "café")]),
    ],
)  # fmt: skip
def test_what_a_file_holds(file, text, expected):
    assert found(file, text) == expected


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("a.txt", " \n ", "a.txt holds no text."),
        ("a.txt", b"\xff\xfe", "a.txt is not UTF-8: byte 1 cannot be read."),
        ("a.json", "{", "a.json is not valid JSON in line 1."),
        ("a.json", "[1, 2]", "a.json holds no strings."),
        ("a.json", "[" * 100_000, "a.json is not valid JSON."),
        ("a.py", "P = (", "a.py is not valid Python in line 1."),
        ("a.py", "P = 1", "a.py holds no strings."),
        ("a.py", "P = " + "-" * 50_000 + "1", "a.py"),
        ("a.py", "P = 'a\0'", "a.py"),
        ("a.json", "[" + ",".join(['"x"'] * 201) + "]", "a.json holds more than 200 texts."),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_a_sentence(file, text, sentence):
    with pytest.raises(UnreadableSource) as refused:
        found(file, text)
    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize(
    ("data", "text", "changes"),
    [
        (b"One\ntwo", "One\ntwo", ()),
        (b"One\r\ntwo", "One\ntwo", ("1 line end of Windows became plain.",)),
        (b"\tOne\n", "One", ("2 blank characters at the ends were removed.",)),
        (b"\xef\xbb\xbfOne", "One", ("The byte order mark was removed.",)),
        (b'SYSTEM_PROMPT = """One\n"two" {}"""\n', 'One\n"two" {}', ("The outer SYSTEM_PROMPT = … was removed.",)),
        (b"P = r'''One \\d'''", "One \\d", ("The outer P = … was removed.",)),
        (b'P = """One""" + """two"""', 'P = """One""" + """two"""', ()),
        (b'P = """One \\N{no}"""', "One \\N{no}", ("The outer P = … was removed.",)),
        ("字" .encode() * 12_000, "字" * 12_000, ()),
        ("a\u200bb {x} {{ y".encode(), "a\u200bb {x} {{ y", ()),
    ],
)  # fmt: skip
def test_the_text_comes_through_and_what_was_changed_is_named(data, text, changes):
    assert read("a.txt", data) == [Candidate("a.txt", "", text, changes)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Say {} and {} and {0}", [("{}", "input", 2), ("{0}", "input_0", 1)]),
        ("{input} {Style_2}", [("{input}", "input", 1), ("{Style_2}", "style_2", 1)]),
        ("%s, 100%s, %(name)s", [("%s", "input", 1), ("%(name)s", "name", 1)]),
        ("{{#sys.query#}} ${PROMPT}", [("{{#sys.query#}}", "query", 1), ("${PROMPT}", "prompt", 1)]),
        ('{"a": {"b": 1}} {{ ours }} {{}} 5 %', []),
    ],
)
def test_placeholders_of_other_tools(text, expected):
    assert [(each.written, each.variable, each.count) for each in sources.placeholders(text)] == expected


def test_chosen_placeholders_become_variables_and_others_stay():
    assert sources.with_variables("{input} %s {x}", {"{input}", "%s"}) == "{{ input }} {{ input }} {x}"


def test_invisible_characters_have_names_and_can_go():
    text = "a\u200bb\u200b\u202ec\x07\n\t"
    assert [(each.name, each.count) for each in sources.invisible(text)] == [
        ("zero width space (U+200B)", 2),
        ("right-to-left override (U+202E)", 1),
        ("control character (U+0007)", 1),
    ]
    assert sources.without_invisible(text) == "abc\n\t"


@given(st.binary(), st.sampled_from(sources.SUFFIXES))
def test_no_file_raises_anything_else(data, suffix):
    try:
        for candidate in read(f"a{suffix}", data):
            assert candidate.text.strip() == candidate.text != ""
            assert len(candidate.name) <= sources.MAX_NAME_CHARACTERS
            assert sources.with_variables(candidate.text, set()) == candidate.text
    except UnreadableSource:
        pass
