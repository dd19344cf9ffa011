"""The three-way merge: automatic edits, contested passages, no losses, and bounded time."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptops.prompts.content import NOTHING
from promptops.texts import merge as merging
from promptops.texts.merge import Merge, Part, merge, merge_texts

BASE = "Keep the subject first. Then the light. End with the camera."


def shown(base: str, mine: str, theirs: str) -> str:
    """Return the merged text, with contested passages as <mine|theirs>."""
    parts = merge_texts(base, mine, theirs)
    return "".join(f"<{p.mine}|{p.theirs}>" if p.kind == "contested" else p.merged for p in parts)


@pytest.mark.parametrize(
    ("base", "mine", "theirs", "expected"),
    [
        ("", "", "", ""),
        # Only one side changed.
        (BASE, BASE, "Other.", "Other."),
        ("", "New.", "", "New."),
        # Different sentences of one paragraph.
        (
            BASE,
            "Keep the main subject first. Then the light. End with the camera.",
            "Keep the subject first. Then the light. End with the camera and the lens.",
            "Keep the main subject first. Then the light. End with the camera and the lens.",
        ),
        # Neighboring sentences, completely rewritten.
        (
            BASE,
            "Put what matters before anything else. Then the light. End with the camera.",
            "Keep the subject first. Never speak of fog. End with the camera.",
            "Put what matters before anything else. Never speak of fog. End with the camera.",
        ),
        # A sentence added after one that the other side rewrote.
        (
            BASE,
            "Keep the subject first. Be kind. Then the light. End with the camera.",
            "Never speak of fog and rain. Then the light. End with the camera.",
            "Never speak of fog and rain. Be kind. Then the light. End with the camera.",
        ),
        # Different words of one sentence, with a sign between them.
        ("snow, fox, creek", "snow, wolf, creek", "rain, fox, creek", "rain, wolf, creek"),
        # The same edit on both sides is made once, also next to other edits.
        ("teh light is soft", "the light is soft", "the light is hard", "the light is hard"),
        (BASE, BASE + " Be kind.", BASE + " Be kind.", BASE + " Be kind."),
        # One removes, the other edits elsewhere.
        (BASE, "Keep the subject first. End with the camera.", BASE + " Be kind.", None),
        # Overlapping edits.
        ("soft light", "hard light", "dark light", "<hard|dark> light"),
        # Neighboring words concern the same thing.
        ("add soft light here", "add hard light here", "add soft shade here", "add <hard light|soft shade> here"),
        # Two insertions at the same position.
        (BASE, BASE + " Be kind.", BASE + " Be brief.", BASE + "< Be kind.| Be brief.>"),
        # One side removes the words that the other side edits.
        ("A fox. The sun is low. End.", "A fox. End.", "A fox. The sun is up. End.", "A fox. <|The sun is up. >End."),
        # Lines without full stops, and lines against each other's neighbors.
        ("- a fox\n- a wolf", "- a red fox\n- a wolf", "- a fox\n- a gray wolf", "- a red fox\n- a gray wolf"),
        ("one fox\ntwo wolves", "one owl\ntwo wolves", "one fox\nsix wolves", "one owl\nsix wolves"),
        # Full-width signs end sentences without a space.
        ("一二三。四五六。", "一二三。四五七。", "一二四。四五六。", "一二四。四五七。"),
        # Only the space after a sentence.
        ("A fox. A wolf.", "A fox.\n\nA wolf.", "A fox. A gray wolf.", "A fox.\n\nA gray wolf."),
        ("a 🦊 runs. <b>", "a 🦊 walks. <b>", "a 🦊 runs. <i>", "a 🦊 walks. <i>"),
    ],
)  # fmt: skip
def test_merge_texts(base: str, mine: str, theirs: str, expected: str | None) -> None:
    if expected is None:
        expected = "Keep the subject first. End with the camera. Be kind."
    assert shown(base, mine, theirs) == expected


def test_a_word_changed_in_every_sentence_meets_another_edit() -> None:
    rules = [f"Rule {n}: keep the viewer in mind, then the light and the movement." for n in range(400)]
    base = "\n".join(rules)
    rules[200] = rules[200].replace("movement", "slow movement")
    theirs = "\n".join(rules)
    assert shown(base, base.replace("viewer", "user"), theirs) == theirs.replace("viewer", "user")


# ---------------------------------------------------------------- choices and settings


def test_choices_of_a_contested_part() -> None:
    assert Part("", " Be kind.", " Be brief.").choices["both"] == " Be kind. Be brief."
    assert Part("soft", "hard", "dark").choices == {"mine": "hard", "theirs": "dark", "both": "hard dark"}
    assert Part("soft", "", "dark").choices == {"mine": "", "theirs": "dark"}
    assert Part(1, 2, 3).choices == {"mine": 2, "theirs": 3}


def content(body: str, temperature: float | None = None, max_tokens: int | None = None, model: str = "") -> dict:
    return {**NOTHING, "body": body, "temperature": temperature, "max_tokens": max_tokens, "model": model}


@pytest.mark.parametrize(
    ("base", "mine", "theirs", "kind", "merged"),
    [
        (None, None, None, "same", None),
        (0.7, 0.4, 0.7, "mine", 0.4),
        (0.7, 0.7, 0.0, "theirs", 0.0),
        (0.7, None, 0.7, "mine", None),
        (0.7, 0.4, 0.4, "agreed", 0.4),
        (0.7, 0.4, None, "contested", None),
    ],
)
def test_a_setting_is_merged_as_one_value(base, mine, theirs, kind, merged) -> None:
    result = merge(content("A.", base), content("A.", mine), content("A.", theirs))
    assert result.settings["temperature"].kind == kind
    assert set(result.contested) == ({"temperature"} if kind == "contested" else set())
    assert result.content({"temperature": "theirs"})["temperature"] == merged


def test_contested_parts_are_never_decided_automatically() -> None:
    result = merge(content("A soft fox."), content("A hard fox.", 0.1, model="m"), content("A dark fox.", 0.2, 64))
    assert list(result.contested) == ["1", "temperature"]
    assert result.undecided({"1": "both", "temperature": "both"}) == ["temperature"]
    for chosen in ({}, {"1": "mine"}, {"1": "mine", "temperature": "hers"}):
        with pytest.raises(ValueError, match="temperature"):
            result.content(chosen)
    assert result.content({"1": "both", "temperature": "theirs"}) == content("A hard dark fox.", 0.2, 64, "m")


def test_blank_ends_do_not_count_and_nothing_may_have_been_live() -> None:
    assert merge(content("A."), content("A.\n\n "), content("A. B.")).content() == content("A. B.")
    fresh = merge(NOTHING, content("A. C."), content("A. C.", 0.3))
    assert (fresh.content(), fresh.settings["model"].kind) == (content("A. C.", 0.3), "same")


# ---------------------------------------------------------------- properties

tokens = st.sampled_from(["a", "b", "the", "fox", "light", " ", " ", "\n", ".", ". ", "! ", "。", "é", "🦊", '"', "\t"])
texts = st.lists(tokens, max_size=40).map("".join)


@st.composite
def edited(draw: st.DrawFn) -> tuple[str, str, str, list[str], list[str]]:
    """Generate a text, the edits of two people, and the words that each inserted; each word occurs once."""
    words = draw(st.lists(tokens, min_size=1, max_size=60))
    sides, inserted = [], []
    for mark in "MT":
        side, put_in = list(words), []
        for number in range(draw(st.integers(0, 4))):
            at = draw(st.integers(0, len(side)))
            if draw(st.booleans()):
                put_in.append(f"{mark}{number}")
                side.insert(at, f" {mark}{number} ")
            else:
                side[at : at + draw(st.integers(1, 5))] = []
        text = "".join(side)
        sides.append(text)
        inserted.append([word for word in put_in if word in text])
    return "".join(words), *sides, *inserted


def check(parts: list[Part], base: str, mine: str, theirs: str) -> None:
    """Check that nothing is lost: each side can be reconstructed."""
    assert ["".join(getattr(part, side) for part in parts) for side in ("base", "mine", "theirs")] == [
        base,
        mine,
        theirs,
    ]


def merged(parts: list[Part], choice: str = "") -> str:
    chosen = Merge(tuple(parts), {})
    return chosen.content(dict.fromkeys(chosen.contested, choice))["body"]


def any_three_texts(base: str, mine: str, theirs: str) -> None:
    parts = merge_texts(base, mine, theirs)
    check(parts, base, mine, theirs)
    # The other order gives the same merge, with the sides swapped.
    assert [Part(p.base, p.theirs, p.mine) for p in merge_texts(base, theirs, mine)] == parts
    for part in parts:
        assert part.kind != "contested" or len({part.base, part.mine, part.theirs}) == 3
    # Choosing one side everywhere gives that side, plus the edits that only the other side made.
    for choice in ("mine", "theirs"):
        text = merged(parts, choice)
        assert all(getattr(part, choice) in text for part in parts if part.kind == "contested")


def what_only_one_side_changed_is_taken_as_it_is(base: str, text: str) -> None:
    for sides in ((text, base), (base, text), (text, text)):
        assert merged(merge_texts(base, *sides)) == text


def no_insertion_is_lost(case: tuple[str, str, str, list[str], list[str]]) -> None:
    base, mine, theirs, by_me, by_them = case
    parts = merge_texts(base, mine, theirs)
    check(parts, base, mine, theirs)
    contested = [part for part in parts if part.kind == "contested"]
    if not contested:
        text = merged(parts)
        assert text == merged(merge_texts(base, theirs, mine))
        assert all(word in text for word in by_me + by_them)
        return
    # Choosing one side everywhere loses nothing of that side, and no edits of the other side elsewhere.
    for choice, chosen in (("mine", by_me), ("theirs", by_them)):
        assert all(word in merged(parts, choice) for word in chosen)
    for word in by_me + by_them:
        side = "mine" if word in by_me else "theirs"
        assert word in merged(parts, "mine") + merged(parts, "theirs")
        assert any(word in getattr(part, side) for part in parts)
    # Choosing both, where possible, keeps all words that either side inserted.
    if all("both" in part.choices for part in contested):
        both = merged(parts, "both")
        assert all(word in both for word in by_me + by_them)
        assert all(part.mine in both and part.theirs in both for part in contested)


PROPERTIES = [
    (any_three_texts, (texts, texts, texts)),
    (what_only_one_side_changed_is_taken_as_it_is, (texts, texts)),
    (no_insertion_is_lost, (edited(),)),
]
each_property = pytest.mark.parametrize(
    ("check_one", "cases"), PROPERTIES, ids=[check_one.__name__ for check_one, _ in PROPERTIES]
)


@each_property
def test_properties(check_one, cases) -> None:
    """Check the same generated cases each time."""
    settings(deadline=None, max_examples=300, derandomize=True)(given(*cases)(check_one))()


@pytest.mark.proof
@each_property
def test_properties_in_many_cases(check_one, cases) -> None:
    settings(deadline=None, max_examples=5_000)(given(*cases)(check_one))()


@settings(deadline=None)
@given(texts, texts, texts)
def test_any_three_texts_with_the_budget_spent(base: str, mine: str, theirs: str) -> None:
    """Merge coarsely, as for huge texts: nothing is lost, and the order does not matter."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merging, "MAX_STEPS", 3)
        patch.setattr(merging, "MAX_CONTESTED", 1)
        parts = merge_texts(base, mine, theirs)
        check(parts, base, mine, theirs)
        assert sum(part.kind == "contested" for part in parts) <= 1
        assert [Part(p.base, p.theirs, p.mine) for p in merge_texts(base, theirs, mine)] == parts
        assert merged(merge_texts(base, mine, base)) == mine


# ---------------------------------------------------------------- hostile sizes

SIZE = 64 * 1024


def noise(seed: int, words: int, ends: float) -> str:
    chance = random.Random(seed)
    return "".join(f"w{chance.randrange(words)}{'. ' if chance.random() < ends else ' '}" for _ in range(SIZE // 3))[
        :SIZE
    ]


def blocks(word: str) -> str:
    """Return blocks of sentences that could all correspond, between sentences that occur once."""
    return " ".join(f"q{n}." if n % 31 == 0 else f"{word}{n % 7} a." for n in range(SIZE // 6))[:SIZE]


@pytest.mark.parametrize(
    ("base", "mine", "theirs"),
    [
        ("a " * (SIZE // 2), "b " + "a " * (SIZE // 2 - 1), "a " * (SIZE // 2 - 1) + "b "),
        ("a " * (SIZE // 2), "a b " * (SIZE // 4), "b a a " * (SIZE // 6)),
        ("a. " * (SIZE // 3), "a. b. " * (SIZE // 6), "b. a. a. " * (SIZE // 9)),
        ("a\n" * (SIZE // 2), "a\nb\n" * (SIZE // 4), "b\na\na\n" * (SIZE // 6)),
        (" " * SIZE, "\n" * SIZE, " \n" * (SIZE // 2)),
        ("." * SIZE, "." * (SIZE - 1) + "a", "a" + "." * (SIZE - 1)),
        ("é" * (SIZE // 2), "é" * (SIZE // 2 - 1), "x"),
        (blocks("a"), blocks("b"), blocks("c")),
        *((noise(1, words, ends), noise(2, words, ends), noise(3, words, ends))
          for words, ends in [(2, 0.1), (2, 0.5), (50, 0.02), (50, 0.5), (2000, 0), (2000, 0.5)]),
    ],
    ids=["words", "words-mixed", "sentences", "lines", "spaces", "dots", "one-word", "blocks",
         "n2-0.1", "n2-0.5", "n50-0.02", "n50-0.5", "n2000-0", "n2000-0.5"],
)  # fmt: skip
def test_hostile_texts_merge_fast(base: str, mine: str, theirs: str) -> None:
    began = time.process_time()
    parts = merge_texts(base, mine, theirs)
    took = time.process_time() - began
    check(parts, base, mine, theirs)
    assert sum(part.kind == "contested" for part in parts) <= merging.MAX_CONTESTED
    assert took < 1, f"{took:.2f} s"
