"""Recognize the markers before an alternative: bullets, numbers in any style, labels such as "Option 1:"."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

_CJK_NUMBERS = {char: at + 1 for at, char in enumerate("一二三四五六七八九十")}
_ORDINALS = {
    word: number
    for number, words in enumerate(
        (
            "first 1st primero primera",
            "second 2nd segundo segunda",
            "third 3rd tercero tercera",
            "fourth 4th",
            "fifth 5th",
        ),
        1,
    )
    for word in words.split()
}

_WORDS = "one|two|three|four|five|six|seven|eight|nine|ten"
_NUMBER_WORDS = {word: number for number, word in enumerate(_WORDS.split("|"), 1)}
_ROMAN = {word: number for number, word in enumerate(("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x"), 1)}

_LABELS = (
    r"options?|alternatives?|alternativa|variations?|versions?|prompts?|variantes?|opción|opcion|versión|variación"
    r"|ideas?|takes?|variants?|propuestas?|sugerencias?|proposals?|proposition|vorschlag|proposta|opzione"
    r"|rewrites?|suggestions?|choice|concept|opção|versão|variante|вариант|версия|方案|版本|选项|選項|改写|提示词"
    r"|提示|案|代替案"
    r"|オプション|バージョン|バリエーション|プロンプト|候補|버전|옵션|대안"
)
_WRAP = r"[ \t]*(?:\#{1,6}[ \t]+)?(?P<opened>[*_`]{0,3})"
_TITLE = r"(?:[ \t]*[(（][^)）\n]{1,60}[)）])?"
_END = r"(?P<closed>[*_`]{0,3})[ \t]*"

# Always a number, whatever else the answer contains: "1." "1)" "(1)" "[1]" "1、" "①" "1️⃣" "Option 1:".
_PLAIN = re.compile(
    _WRAP + r"(?:"
    r"(?P<dotted>\d{1,3})[ \t]?\\?[.)]\)?(?!\d)"
    r"|(?P<round>[(（]\d{1,3}[)）])[:：.]?"
    r"|(?P<square>(?:\[\d{1,2}\]|【\d{1,2}】))[:.：]?"
    rf"|[【\[](?:{_LABELS})[ \t]?(?P<boxed>\d{{1,2}}|[A-Ha-h]|[一二三四五六七八九十])[】\]][:.：]?"
    r"|(?P<wide>\d{1,3}[、．）]|[０-９]{1,3}[．.)）、:：])"
    r"|(?P<circled>[①-⒛❶-❿➀-➓])[.:、．]?"
    r"|(?P<keycap>\d\ufe0f?\u20e3)"
    rf"|(?:{_LABELS})(?:[ \t](?:{_LABELS}))?[ \t]*\#?(?P<labeled>\d{{1,2}}|[A-Ha-h](?![^\W_])"
    rf"|[一二三四五六七八九十]|(?:{_WORDS})(?![^\W_])){_TITLE}(?P<inside>[*_]{{0,3}})"
    r"(?:[ \t]*[:：.)、]|[ \t]*[-–—](?=[ \t])|(?=[*_]{0,3}[ \t]*$))"
    r"|第[ \t]?(?P<nth>\d{1,2}|[一二三四五六七八九十])(?:种|個|个|版|条|案|の案|つ目|種)?[^\n:：]{0,6}[:：、]"
    r")" + _END,
    re.I,
)
# A number only in a sequence that begins with 1: "1:" "1 -" "#1" "A." "First:" "一、".
_IN_SEQUENCE = re.compile(
    _WRAP + r"(?:"
    r"(?P<colon>\d{1,2})[ \t]?[:：](?!\d)"
    r"|(?P<dash>\d{1,2})[ \t]*[-–—](?=[ \t])"
    r"|(?:\#|№[ \t]?|n(?:o\.|[°º]) ?)(?P<hash>\d{1,2})(?:[:.)]|(?=[ \t]))"
    r"|\(?(?P<letter>[A-Ha-h])[.):](?=[ \t])"
    r"|\(?(?P<roman>i{1,3}|iv|v|vi{1,3}|ix|x)[.):](?=[ \t])"
    r"|(?P<chinese>[一二三四五六七八九十])[、．.：:]|[(（](?P<enclosed>[一二三四五六七八九十])[)）]"
    rf"|(?P<ordinal>{'|'.join(_ORDINALS)})(?:[ \t]+(?:{_LABELS}))?[:：]"
    r")" + _END,
    re.I,
)
_BULLET = re.compile(
    r"[ \t]*(?:[•‣▪・∙⁃●◦○·→►▶➤➜✅✓✔★☆■▸◆]\ufe0f?|-(?!\d)|[–—](?=[ \t])|\+(?=[ \t])|\*(?=\s|$)|\*(?![^*\n]*\*))[ \t]*"
)

MARKERS_LIMIT = 8
"""The most bullets and numbers before one line."""


@dataclass(frozen=True)
class Marker:
    """A number before a line, and the text after it. `needs_sequence`: it counts only beside other numbers."""

    number: int
    text: str
    needs_sequence: bool


def number_of(line: str) -> Marker | None:
    """Return the number at the beginning of `line`, or `None`."""
    for pattern, needs_sequence in ((_PLAIN, False), (_IN_SEQUENCE, True)):
        if match := pattern.match(line):
            groups = match.groupdict(default="")
            opened, closed = groups.pop("opened"), groups.pop("inside", "") + groups.pop("closed")
            value = next(value for value in groups.values() if value)
            # Emphasis that begins or goes on after the number belongs to the text: "**Option 1: Dawn**", "1.**Dawn**".
            emphasis = "" if opened == closed else opened + closed
            return Marker(_value(value), emphasis + line[match.end() :], needs_sequence)
    return None


def _value(text: str) -> int:
    text = text.strip("()（）[]【】、．.:： ").casefold()
    for names in (_CJK_NUMBERS, _ORDINALS, _NUMBER_WORDS, _ROMAN):
        if text in names:
            return names[text]
    if len(text) == 1 and not text.isdecimal():
        return ord(text) - ord("a") + 1 if "a" <= text <= "h" else int(unicodedata.numeric(text))
    return int("".join(char for char in text if char.isdecimal()))


def bullet_end(line: str) -> int:
    """Return the index of the text after the bullet of `line`, or 0 without a bullet."""
    match = _BULLET.match(line)
    return match.end() if match else 0


def without_markers(line: str) -> str:
    """Return `line` without bullets and numbers before it, stripped."""
    text = line.strip()
    for _ in range(MARKERS_LIMIT):
        number = None if (end := bullet_end(text)) else number_of(text)
        if end:
            text = text[end:].strip()
        elif number is not None and not number.needs_sequence:
            text = number.text.strip()
        else:
            break
    return text
