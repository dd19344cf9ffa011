"""Recognize the sentence before a prompt ("Here is the enhanced prompt:", "Sure!"). A doubtful line is no opening."""

from __future__ import annotations

import re

from promptops.engine.answers.words import ADJECTIVE, JOINT, NOUN, PROMPT, any_of

OPENING_LIMIT = 240
"""The most characters of an opening line. A longer line is more likely a text that ends with a colon."""

LINES_LIMIT = 2_000
"""The most lines of an answer that are checked one by one. Answers of 4,096 tokens have a tenth of it."""

_CALL = any_of(
    "here(?:'|’)?s|here (?:is|are|you go|it is|goes)|below (?:is|are)|this is|these are|the following",
    "sure|certainly|of course|absolutely|okay|ok|great|got it|no problem|alright|definitely",
    "i(?:'|’)ve|i have|i can|i(?:'|’)ll",
    "以下|下面|这是|這是|这里|這裡|好的|当然|當然|没问题|沒問題|根据",
    "aquí|aqui|claro|por supuesto|a continuación|est[ea]s? (?:es|son)|desde luego",
    "こちら|もちろん|はい|承知|かしこまりました|了解",
    "voici|bien sûr|certainement|hier (?:ist|sind)|natürlich|gerne|com certeza|segue|ecco|certo|вот|конечно",
    "다음은|여기|물론",
)
_OPENER = re.compile(rf"(?:^|[.!?,;:！。？，、¡]\s*){_CALL}(?![^\W_])|^{_CALL}|こちら|以下|다음", re.I)

_META = re.compile(f"{NOUN}|{ADJECTIVE}", re.I)
_STRONG = re.compile(
    rf"(?<![^\W\d_]){PROMPT}|{ADJECTIVE}(?:[ -](?:[^\W\d_]+[ -]){{0,3}}|{JOINT}){NOUN}|{NOUN} {ADJECTIVE}", re.I
)
_COMPLETE = re.compile(
    r"(?:[^.!?:\n]{0,40}[.!?,] ?)?"
    + any_of(
        "here you go|here it is|here they are|here goes",
        "here(?:'|’)s (?:my|one|a) (?:take|attempt|try|suggestion|idea|go)",
        "aquí (?:tienes|está|van|lo tienes)|aqui está|(?:le )?voici|hier ist er|こちらです|どうぞ|给你",
    )
    + r"|[^。：\n]{0,20}如下",
    re.I,
)
_CHAT_WORD = re.compile(
    any_of(
        "(?:sure|certainly|of course|absolutely|okay|ok|great|got it|no problem|alright)(?: thing)?[!.,]?|assistant",
        "(?:当然|好的|没问题|明白了)(?:可以)?[！!。，]?",
        "¡?(?:claro|por supuesto|desde luego)(?: que sí)?!?",
        "もちろん(?:です)?[！!。]?|(?:はい|承知しました|かしこまりました)[！!。、]?",
        "bien sûr ?!?|natürlich!?|gerne!?|certamente!?|com certeza!?",
    ),
    re.I,
)
_SENTENCE = re.compile(
    r"(?:[^.!?\n]{1,30}[!,.] )?"
    + any_of(
        r"(?:i(?:(?:'|’)ve| have) (?:\w+ly )?(?:enhanced|improved|rewritten|revised|expanded|refined|polished"
        r"|optimi[sz]ed"
        r"|updated|transformed)) (?:your|the) (?:\w+ ){0,2}(?:prompt|description|idea)\b[^.!?\n]{0,120}[.!]",
        rf"here(?:(?:'|’)s| is) (?:your|the|an?) (?:{ADJECTIVE} ){{1,2}}{NOUN}[.!]",
        r"he (?:mejorado|ampliado|reescrito|enriquecido|optimizado) (?:tu|su|el) prompt\b[^.!?\n]{0,120}[.!]",
    )
    + r"|(?:好的|当然|當然)?[，,！!]?我(?:已经?|已經)?[为為]?[您你]?(?:优化|優化|改写|扩写|润色)[^。！\n]{0,20}"
    r"(?:提示词|提示詞)[^。！\n]{0,20}[。！]"
    r"|(?:(?:はい|もちろんです|承知(?:いた)?しました)[、。！]){0,2}以下の?[^。！\n]{0,20}プロンプト[^。！\n]{0,20}(?:ます|です|ました)[。！]",
    re.I,
)
"""Opening sentences without a colon. A blank line separates them from the prompt."""

_CHAT_WORD_INLINE = re.compile(
    r"(?:(?:sure|certainly|of course|absolutely|okay|ok|here you go)(?: thing)?!|(?:sure|certainly"
    r"|of course)\.) +(?=\w)",
    re.I,
)
_THIS_IS = re.compile(r"(?:this is|these are) (?!(?:the|your|an?) (?:[\w-]+ ){0,2}prompt)", re.I)
_IS = re.compile(
    rf"(?:the|your|my|an?) (?:(?:{ADJECTIVE}|video) ){{1,3}}{NOUN}[^.:：\n]{{0,60}} (?:is|are|would be|could be|reads)"
    r"(?: as follows)?\Z",
    re.I,
)
_NUMBERS = any_of(
    r"\d{1,2}|two|three|four|five|six|seven|eight|nine|ten",
    "dos|tres|cuatro|cinco|deux|trois|zwei|drei|vier|duas|três",
    "[二三四五六七八九十两几]",
)
_COUNTED_NOUN = rf"(?:[ -]?[^\W\d_]+){{0,3}}?[ ]?[个個つ]?(?:の)?{NOUN}"
_COUNTED = re.compile(
    rf"(?:{_NUMBERS}|more|other){_COUNTED_NOUN}\Z|(?:alternatives|variations|options|prompts)\Z", re.I
)
_SYMBOLS = re.compile(r"^[\u2190-\u27bf\U0001f000-\U0001faff\ufe0f\s]+|[\u2190-\u27bf\U0001f000-\U0001faff\ufe0f\s]+$")
"""Arrows, dingbats and emoji around an opening."""

_COUNTED_INSIDE = re.compile(rf"(?:{_NUMBERS}|some|several|a few|my){_COUNTED_NOUN}", re.I)


def is_opening(line: str) -> bool:
    """Return whether a line is an opening and not part of the prompt."""
    line = _bare(line)
    if not line or len(line) > OPENING_LIMIT:
        return False
    if _CHAT_WORD.fullmatch(line):
        return True
    if not line.endswith((":", "：")):
        return False
    head = line.rstrip(":： ")
    if head.startswith("以下"):  # "the following", in Chinese and Japanese
        return True
    has_meta = _OPENER.search(head) is not None and _META.search(head) is not None
    return bool(has_meta or _COMPLETE.fullmatch(head) or _IS.match(head) or _is_short_label(head))


def is_opening_sentence(line: str) -> bool:
    """Return whether a line is an opening sentence without a colon ("I've enhanced your prompt.")."""
    return len(line) <= OPENING_LIMIT and _SENTENCE.fullmatch(_bare(line)) is not None


def is_list_opening(line: str) -> bool:
    """Return whether a line opens a list. It may end without a colon ("Here are three alternatives.")."""
    line = _bare(line)
    is_short = len(line) <= OPENING_LIMIT
    return is_opening(line) or (is_short and bool(_OPENER.match(line)) and bool(_COUNTED_INSIDE.search(line)))


def after_inline_opening(text: str) -> str | None:
    """Return the text after an opening on the same line ("Here is the enhanced prompt: A fox"), or `None`."""
    if (match := _CHAT_WORD_INLINE.match(text)) and not text[match.end()].islower():
        return text[match.end() :]
    for match in re.finditer(r"[:：]", text[:OPENING_LIMIT]):
        head = text[: match.start()]
        if "\n" in head or '"' in head or "“" in head:
            return None
        is_introduction = _OPENER.match(head) and _STRONG.search(head) and not _THIS_IS.match(head)
        if is_introduction or _COMPLETE.fullmatch(head) or _IS.match(head):
            return text[match.end() :]
    return None


def _bare(line: str) -> str:
    line = line.strip()
    line = line if len(line) > OPENING_LIMIT else _SYMBOLS.sub("", line)
    return line.strip("*_#> ").strip()


def _is_short_label(head: str) -> bool:
    """Return whether a line names the text after it, such as "Enhanced version" or "Three alternatives"."""
    return len(head) <= 60 and len(head.split()) <= 6 and bool(_STRONG.search(head) or _COUNTED.match(head))
