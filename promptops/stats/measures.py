"""What can be told of an answer by counting: its length, whether the subject is still there, whether it repeats itself.

Counting sees words, not meaning: an answer in another language keeps none of the input's words, and a synonym is
another word. The figures compare arms on the same inputs; they judge no single answer.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

GRAM = 3
"""Words in a row that count as a repetition when they come again, as in "seq-rep-n" (Welleck et al. 2020)."""

# What says little of what a prompt is about. The closed classes of English, and words that ask for a picture.
_STOP = """a about above across after again against all along also am among an and another any are around as at away be
    because been before behind being below beneath beside between beyond both but by can cannot could did do does doing
    done down during each either else even every few for from further get gets got had has have having he her here hers
    him his how i if in inside into is isn it its itself just least less let like ll made make makes making many may me
    might more most much must my near neither no nor not now of off on once one only onto or other our out outside over
    own per please quite rather re really same shall she should show shows since so some such t than that the their
    them then there these they this those though through to together too toward towards under until up upon us ve very
    was we were what when where which while who whose why will with within without would you your
    clip footage image photo picture scene shot video"""
STOP_WORDS = frozenset(_STOP.split())

# Scripts that write no blanks between words: Thai to Khmer, kana, Han.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
# Marks that belong to the letter before them, which Python's \w leaves out: accents, Hebrew and Arabic points, vowel
# signs of India (without its full stops).
_MARKS = "\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0963\u0966-\u0dff"
_WORDS = re.compile(rf"([{_UNSPACED}]+)|(?:[^\W_{_UNSPACED}]|[{_MARKS}])+")


@dataclass(frozen=True)
class Measures:
    """Of one answer. `subject_kept` and `repetition` are shares from 0 to 1, None where there is nothing to count."""

    characters: int
    words: int
    subject_kept: float | None
    repetition: float | None


def measure(given: str | None, answer: str, *, alternatives: Sequence[str] = ()) -> Measures:
    """The measures of `answer` to the input `given`; None for an input whose words the answer need not keep.

    Several `alternatives` in one answer are judged one by one, and the figure is their mean: that they resemble each
    other is no repetition, and one that has lost the subject counts.
    """
    parts = [words(text) for text in alternatives or [answer]]
    kept = subject_kept(given, parts) if given is not None else None
    repeated = [share for part in parts if (share := repetition(part)) is not None]
    return Measures(
        characters=len(answer),
        words=len(words(answer)),
        subject_kept=kept,
        repetition=fmean(repeated) if repeated else None,
    )


def words(text: str) -> list[str]:
    """The words of a text in small letters. Of scripts without blanks, each pair of neighboring characters is one."""
    found: list[str] = []
    for match in _WORDS.finditer(unicodedata.normalize("NFKC", text).casefold()):
        run = match[0]
        if match[1]:
            found += (run[place : place + 2] for place in range(max(1, len(run) - 1)))
        else:
            found.append(run)
    return found


def content_words(text: str) -> set[str]:
    """What a prompt is about: its words without stop words and single letters, folded."""
    return {fold(word) for word in words(text) if word not in STOP_WORDS and (len(word) > 1 or not word.isascii())}


def subject_kept(given: str, parts: Sequence[Sequence[str]]) -> float | None:
    """Which share of the input's content words the parts of an answer hold, in the mean; None if there are none."""
    wanted = content_words(given)
    if not wanted:
        return None
    return fmean(len(wanted & {fold(word) for word in part}) / len(wanted) for part in parts)


def repetition(part: Sequence[str]) -> float | None:
    """Which share of the runs of three words came before in the same text; None for a text of less than three."""
    grams = list(zip(*(part[start:] for start in range(GRAM)), strict=False))
    return 1 - len(set(grams)) / len(grams) if grams else None


def fold(word: str) -> str:
    """An English word without its commonest endings, so that "foxes" is found in "fox", and "running" in "runs".

    The S-stemmer (Harman 1991), and -ing and -ed. Both sides are folded alike, so what comes out need not be a word.
    """
    if len(word) < 4 or not word.isascii():
        return word
    if word.endswith(("ies", "ied")):
        word = word[:-3] + "y" if len(word) > 4 else word[:-1]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-2] if word.endswith(("ches", "shes", "sses", "xes", "zes", "oes")) else word[:-1]
    for ending in ("ing", "ed"):
        stem = word.removesuffix(ending)
        if stem != word and len(stem) > 2 and any(vowel in stem for vowel in "aeiouy"):
            word = stem[:-1] if stem[-1] == stem[-2] and stem[-1] not in "lsz" else stem
            break
    if len(word) > 3 and word[-1] in "ey":
        word = word[:-1] + ("i" if word[-1] == "y" else "")
    return word
