"""Recognize a label before a prompt: "Prompt:", "**Enhanced Prompt:**", "### Enhanced Prompt", "【提示词】"."""

from __future__ import annotations

import re
from itertools import islice

from promptops.engine.answers.words import ADJECTIVE, JOINT, PROMPT, any_of

_ADJECTIVES = rf"(?:(?:the|your|my) (?={ADJECTIVE}))?(?:{ADJECTIVE} ?{JOINT}[ -]?){{0,2}}"
_KIND = "(?:video |text-to-video |image |visual |scene |视频|ビデオ|動画)?"
_PLAIN = (
    rf"{_ADJECTIVES}{_KIND}(?:{PROMPT}|(?:output|answer)(?![*_]{{0,3}} ?: (?-i:[a-z]))|assistant)"
    rf"(?: de v[ií]d[eé]o)?(?: {ADJECTIVE}| \([^)\n]{{1,30}}\))?"
)
_FULL = any_of(
    rf"(?:(?:the|your|my) )?(?:{ADJECTIVE}{JOINT}[ -]?){{1,2}}{_KIND}"
    + any_of(
        PROMPT, "version|description|text|rewrite|answer|output", "描述|版本|バージョン", "versión|descripción|fassung"
    ),
    rf"(?:prompt|versión|descripción|version|versão) {ADJECTIVE}",
    "(?:优化|增强|改写|润色|扩写|改进)(?:后|版|结果)",
)
_NAME = any_of(_PLAIN, _FULL)
_MARK = "[*_]{0,3}"
_HEADING = r"(?:\#{1,6} +)?"

_LABEL = re.compile(
    any_of(
        rf"{_HEADING}{_MARK}{_NAME}{_MARK} ?[:：]{_MARK}\s*",
        rf"{_HEADING}{_MARK}{_FULL}{_MARK} ?[-–—](?= ){_MARK}\s*",
        rf"[【\[]{_NAME}[】\]][ \t]*[:：]?\s*",
        rf"[\"“]{_NAME}[\"”] ?[:：]\s*",
    ),
    re.I,
)
_ORIGINAL = "(?:(?:(?:your|the) )?(?:original|initial|user|input)|your) (?:prompt|idea|input)"
_ENHANCED = f"{ADJECTIVE} (?:prompt|version)"
_BEFORE_AFTER = re.compile(
    any_of(
        *(
            rf"{_MARK}{original}{_MARK} ?:{_MARK}[^\n]{{0,400}}\n+{_HEADING}{_MARK}{enhanced}{_MARK} ?:{_MARK}\s*"
            for original, enhanced in (
                (_ORIGINAL, f"(?:{_ENHANCED}|{ADJECTIVE})"),
                ("(?:original|input|user)", _ENHANCED),
                (r"(?<=\*\*)original", rf"(?<=\*\*){ADJECTIVE}"),
            )
        )
    ),
    re.I,
)
"""The original prompt, repeated before the enhanced prompt."""

_LABEL_LINE = re.compile(rf"{_HEADING}{_MARK}{_FULL}{_MARK} *\n", re.I)
_MARKED_LABEL = re.compile(
    rf"^(?:\#{{1,6}} +{_MARK}|[*_]{{2,3}})(?:{_NAME}|result|response)(?:[*_]{{2,3}} ?[:：]?"
    rf"|[:：][*_]{{2,3}}|[:：]?[ \t]*$)\s*",
    re.I | re.M,
)


def after_label(text: str) -> str | None:
    """Return the text after a label, or `None` without a label.

    A label in bold or as a heading may also come after other text, if it is the only label.
    """
    for pattern in (_BEFORE_AFTER, _LABEL):
        if match := pattern.match(text):
            return text[match.end() :]
    labels = list(islice(_MARKED_LABEL.finditer(text), 2))
    if len(labels) == 1:
        return text[labels[0].end() :]
    match = _LABEL_LINE.match(text)
    return text[match.end() :] if match else None
