"""Measures of an answer by counting: its length, the share of the subject that it keeps, and its repetition.

Counting sees words, not meaning: an answer in another language keeps none of the input's words, and a synonym is a
different word. The figures are for comparing arms on the same inputs, not for judging a single answer.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

GRAM = 3
"""The number of consecutive words whose recurrence counts as a repetition: the n of "seq-rep-n"."""

# Words that say little about the subject: the closed word classes of English, and words that ask for a picture.
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

# Scripts without blanks between words: Thai to Khmer, kana, Han.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
# Marks that belong to the letter before them but do not match Python's \w: accents, Hebrew and Arabic points, vowel
# signs of Indian scripts (without their full stops).
_MARKS = "\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0963\u0966-\u0dff"
_WORDS = re.compile(rf"([{_UNSPACED}]+)|(?:[^\W_{_UNSPACED}]|[{_MARKS}])+")


@dataclass(frozen=True)
class Measures:
    """The measures of one answer. `subject_kept` and `repetition` are shares from 0 to 1, or None."""

    characters: int
    words: int
    subject_kept: float | None
    repetition: float | None


def measure(prompt: str | None, answer: str, *, alternatives: Sequence[str] = ()) -> Measures:
    """Return the measures of `answer`. `prompt` is its input, None if the answer need not keep the input's words.

    If the answer consists of several `alternatives`, each is measured separately and the figure is their mean.
    Alternatives that resemble each other are no repetition, but each one should keep the subject.
    """
    parts = [words(text) for text in alternatives or [answer]]
    kept_share = subject_kept(prompt, parts) if prompt is not None else None
    repetitions = [share for part in parts if (share := repetition(part)) is not None]
    return Measures(
        characters=len(answer),
        words=len(words(answer)),
        subject_kept=kept_share,
        repetition=fmean(repetitions) if repetitions else None,
    )


def words(text: str) -> list[str]:
    """Return the words of a text in lower case (NFKC, casefolded).

    In scripts without blanks between words, each pair of neighboring characters counts as a word.
    """
    result: list[str] = []
    for match in _WORDS.finditer(unicodedata.normalize("NFKC", text).casefold()):
        run = match[0]
        if match[1]:
            result += (run[place : place + 2] for place in range(max(1, len(run) - 1)))
        else:
            result.append(run)
    return result


def content_words(text: str) -> set[str]:
    """Return the words that say what a prompt is about, folded: all but stop words and single letters."""
    return {fold(word) for word in words(text) if word not in STOP_WORDS and (len(word) > 1 or not word.isascii())}


def subject_kept(prompt: str, parts: Sequence[Sequence[str]]) -> float | None:
    """Return the share of the prompt's content words that an answer keeps, as the mean over its parts.

    For each part: |content words of the prompt that the part has| / |content words of the prompt|. Words are compared
    folded. Returns None if the prompt has no content words.
    """
    wanted = content_words(prompt)
    if not wanted:
        return None
    return fmean(len(wanted & {fold(word) for word in part}) / len(wanted) for part in parts)


def repetition(part: Sequence[str]) -> float | None:
    """Return the share of repeated trigrams: 1 - distinct trigrams / trigrams; None for less than three words.

    This is seq-rep-3 of Welleck et al. 2020, "Neural Text Generation with Unlikelihood Training".
    """
    grams = list(zip(*(part[start:] for start in range(GRAM)), strict=False))
    return 1 - len(set(grams)) / len(grams) if grams else None


def fold(word: str) -> str:
    """Return an English word without its most common endings, so that "foxes" matches "fox", and "running" "runs".

    Removes plural endings as the S-stemmer does (Harman 1991, "How Effective Is Suffixing?"), and -ing and -ed. Prompts
    and answers are folded in the same way, so the result need not be a word.
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
