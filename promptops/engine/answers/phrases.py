"""Recognize sentences that speak to the reader instead of belonging to the prompt: openings, labels, closings.

Each is a table of usual forms in the languages that models answer in. What is in no table is part of the prompt.
"""

from __future__ import annotations

import re
from itertools import islice

OPENING_LIMIT = 240
"""Characters of an opening line at most; a longer one is more likely text that ends with a colon."""

_CALL = (
    r"here(?:'|’)?s|here (?:is|are|you go|it is|goes)|below (?:is|are)|this is|these are|sure|certainly|of course"
    r"|absolutely|okay|ok|great|got it|no problem|alright|definitely|i(?:'|’)ve|i have|i can|i(?:'|’)ll|the following"
    r"|以下|下面|这是|這是|这里|這裡|好的|当然|當然|没问题|沒問題|根据|aquí|aqui|claro|por supuesto|a continuación"
    r"|est[ea]s? (?:es|son)"
    r"|desde luego|こちら|もちろん|はい|承知|かしこまりました|了解|voici|bien sûr|certainement|hier (?:ist|sind)"
    r"|natürlich|gerne"
    r"|com certeza|segue|ecco|certo|вот|конечно|다음은|여기|물론"
)
_OPENER = re.compile(rf"(?:^|[.!?,;:！。？，、¡]\s*)(?:{_CALL})(?![^\W_])|^(?:{_CALL})|(?:こちら|以下|다음)", re.I)

_PROMPT_WORD = r"prompts?|提示词|提示詞|提示语|プロンプト|промпт|프롬프트"
_NOUN = (
    rf"{_PROMPT_WORD}|versions?|descriptions?|rewrites?|alternatives?|variations?|options?|suggestions?|ideas?|takes?"
    r"|continuations?|responses?|answers?|results?|版本|描述|方案|选项|選項|备选|改写|内容|versión|versiones"
    r"|descripción|alternativas?"
    r"|opción|opciones|variantes?|sugerencias?|propuestas?|バージョン|説明|代替案|案|バリエーション|候補|suggestion"
    r"|propositions?"
    r"|Fassung(?:en)?|Beschreibung|Vorschläge?|Alternativen?|Varianten?|versão|versões|descrição|opç(?:ão|ões)"
    r"|versione"
    r"|descrizione|alternative|opzion[ei]|верси[яи]|описание|вариант(?:ы|а|ов)?|버전|설명|대안"
)
_ADJECTIVE = (
    r"enhanced|improved|rewritten|revised|expanded|polished|refined|optimized|optimised|detailed|vivid|cinematic"
    r"|final|extended"
    r"|updated|enriched|reworked|rephrased|better|new|suggested|优化|優化|增强|增強|扩展|扩写|改写|润色|改进|最终"
    r"|完整|mejorad[oa]|final"
    r"|optimizad[oa]|ampliad[oa]|reescrit[oa]|強化|改善|最終|改良|拡張|最適化|amélioré|enrichi|optimisé"
    r"|verbesserter?|überarbeiteter?"
    r"|melhorad[oa]|aprimorad[oa]|migliorat[oa]|улучшенный|улучшенная|향상된|개선된"
)
_META = re.compile(rf"(?:{_NOUN}|{_ADJECTIVE})", re.I)
_STRONG = re.compile(
    rf"(?<![^\W\d_])(?:{_PROMPT_WORD})|(?:{_ADJECTIVE})(?:[ -](?:[^\W\d_]+[ -]){{0,3}}|された|した|版の?|后的?|後的?"
    rf"|的)?"
    rf"(?:{_NOUN})|(?:{_NOUN}) (?:{_ADJECTIVE})",
    re.I,
)
_COMPLETE = re.compile(
    r"(?:[^.!?:]{0,40}[.!?,] ?)?(?:here you go|here it is|here they are|here goes|here(?:'|’)s (?:my|one|a) (?:take"
    r"|attempt|try|"
    r"suggestion|idea|go)|aquí (?:tienes|está|van|lo tienes)|aqui está|voici|le voici|hier ist er|こちらです|どうぞ"
    r"|如下|给你)|[^。：\n]{0,20}如下|以下[^。\n]{0,60}",
    re.I,
)
_CHAT_WORD = re.compile(
    r"(?:sure|certainly|of course|absolutely|okay|ok|great|got it|no problem|alright)(?: thing)?[!.,]?"
    r"|(?:当然|好的|没问题|明白了)(?:可以)?[！!。，]?|¡?(?:claro|por supuesto|desde luego)(?: que sí)?!?"
    r"|もちろん(?:です)?[！!。]?"
    r"|(?:はい|承知しました|かしこまりました)[！!。、]?|bien sûr ?!?|natürlich!?|gerne!?|certamente!?|claro!?"
    r"|com certeza!?",
    re.I,
)
_CHAT_WORD_INLINE = re.compile(
    r"(?:(?:sure|certainly|of course|absolutely|okay|ok|here you go)(?: thing)?!|(?:sure|certainly"
    r"|of course)\.) +(?=[^\W\d_])",
    re.I,
)
_IS = re.compile(
    rf"(?:the|your|my|an?) (?:(?:{_ADJECTIVE}|video) ){{1,3}}(?:{_NOUN})[^.:：\n]{{0,60}} (?:is|are|would be"
    rf"|could be|reads)"
    r"(?: as follows)?\Z",
    re.I,
)


def is_opening(line: str) -> bool:
    """Tell an opening line ("Here is the enhanced prompt:", "Sure!") from a line of the prompt."""
    line = line.strip().strip("*_#> ").strip()
    if not line or len(line) > OPENING_LIMIT:
        return False
    if _CHAT_WORD.fullmatch(line):
        return True
    if not line.endswith((":", "：")):
        return False
    head = line.rstrip(":： ")
    return bool(
        _COMPLETE.fullmatch(head)
        or _IS.match(head)
        or (_OPENER.search(head) and _META.search(head))
        or _is_short_label(head)
    )


def is_list_opening(line: str) -> bool:
    """Tell an opening line of a list, which may end without a colon ("Here are three alternatives.")."""
    line = line.strip().strip("*_#> ").strip()
    return is_opening(line) or (
        len(line) <= OPENING_LIMIT and bool(_OPENER.match(line)) and bool(_COUNTED_INSIDE.search(line[:OPENING_LIMIT]))
    )


def _is_short_label(head: str) -> bool:
    """Tell a line such as "Enhanced version" or "Three alternatives" that names what follows."""
    return len(head) <= 60 and len(head.split()) <= 6 and bool(_STRONG.search(head) or _COUNTED.match(head))


_COUNTED_INSIDE = re.compile(
    r"(?:\d{1,2}|two|three|four|five|six|some|several|a few|my|dos|tres|cuatro|deux|trois|zwei|drei|vier|duas|três"
    r"|[二三四五六七八九十两几])"
    rf"(?:[ -][^\W\d_]+){{0,3}}? ?[个個つ]?(?:の)?(?:{_NOUN})",
    re.I,
)
_COUNTED = re.compile(
    r"(?:\d{1,2}|two|three|four|five|six|seven|eight|nine|ten|tres|dos|cuatro|cinco|trois|drei|três"
    r"|[二三四五六七八九十两]|more|other)"
    rf"(?: ?[^\W\d_]+){{0,3}}? ?[个個つ]?(?:の)?(?:{_NOUN})\Z|(?:alternatives|variations|options|prompts)\Z",
    re.I,
)


def after_inline_opening(text: str) -> str | None:
    """Return what follows an opening on the line of the prompt ("Here is the enhanced prompt: A fox"), or `None`."""
    if match := _CHAT_WORD_INLINE.match(text):
        return text[match.end() :]
    for match in re.finditer(r"[:：]", text[:OPENING_LIMIT]):
        head = text[: match.start()]
        if "\n" in head or '"' in head or "“" in head:
            return None
        if (_OPENER.match(head) and _STRONG.search(head)) or _COMPLETE.fullmatch(head) or _IS.match(head):
            return text[match.end() :]
    return None


_LABEL_NAME = (
    r"(?:(?:the|your|my|our) (?=(?:{adjective})))?(?:(?:{adjective}) ?(?:された|した|版の?|后的?|後的?"
    r"|的)?[ -]?){{0,2}}"
    r"(?:video |text-to-video |image |visual |scene |视频|ビデオ|動画)?(?:{noun})(?: de (?:v[ií]deo"
    r"|vidéo))?(?: (?:{adjective}))?"
)
_BARE_LABEL = _LABEL_NAME.format(
    adjective=_ADJECTIVE,
    noun=r"prompt|提示词|提示詞|提示语|プロンプト|промпт|프롬프트|output|result|answer|response|assistant",
)
_FULL_LABEL = (
    r"(?:(?:the|your|my) )?(?:(?:" + _ADJECTIVE + r")(?:された|した|版の?|后的?|後的?|的)?[ -]?){1,2}(?:video )?"
    r"(?:prompt|version|description|shot|text|rewrite|提示词|描述|版本|プロンプト|バージョン|versión|descripción"
    r"|version|Fassung)"
    r"|(?:prompt|versión|descripción|version|versão) (?:"
    + _ADJECTIVE
    + r")|(?:优化|增强|改写|润色|扩写|改进)(?:后|版|结果)"
)
_MARK = r"[*_]{0,3}"
_LABEL = re.compile(
    rf"(?:\#{{1,6}} +)?{_MARK}(?:{_BARE_LABEL}|{_FULL_LABEL}){_MARK} ?(?:[:：]| [-–—](?= )|[-–—](?= ))[*_]{{0,3}}\s*"
    rf"|[【\[](?:{_BARE_LABEL}|{_FULL_LABEL})[】\]][ \t]*[:：]?\s*"
    rf"|[\"“](?:{_BARE_LABEL}|{_FULL_LABEL})[\"”] ?[:：]\s*",
    re.I,
)
_LABEL_LINE = re.compile(rf"(?:\#{{1,6}} +)?[*_]{{0,3}}(?:{_BARE_LABEL}|{_FULL_LABEL})[*_]{{0,3}} *\n", re.I)


_MARKED_LABEL = re.compile(
    rf"^(?:\#{{1,6}} +[*_]{{0,3}}|[*_]{{2,3}})(?:{_BARE_LABEL}|{_FULL_LABEL})(?:[*_]{{2,3}} ?[:：]?|[:：][*_]{{2,3}}"
    rf"|[:：]?[ \t]*$)\s*",
    re.I | re.M,
)


def after_label(text: str) -> str | None:
    """Return what follows a label ("**Enhanced Prompt:** A fox", "Prompt: A fox"), or `None`.

    A label in bold or as a heading may also come after something else, when it is the only one.
    """
    match = _LABEL.match(text)
    if match is None and len(labels := list(islice(_MARKED_LABEL.finditer(text), 2))) == 1:
        return text[labels[0].end() :]
    if match is None and (line := _LABEL_LINE.match(text)) is not None:
        is_marked = text[0] in "#*_" or re.match(_FULL_LABEL, text, re.I)
        match = line if is_marked else None
    return text[match.end() :] if match else None


_SENTENCES = (
    r"(?:please )?let me know|(?:i )?hope (?:this|that|it|these|you)|(?:please )?feel free|would you like (?:me|any"
    r"|to)|do you want me"
    r"|want me to|is there anything|please note|don(?:'|’)t hesitate|if you(?:'|’)?(?:d| would| want| need| have"
    r"| prefer)[^\n]{0,120}?"
    r"(?:let me know|just (?:ask|say|tell)|i can|i(?:'|’)d be|feel free|please)"
    r"|希望(?:这|這|以上|对|對|能|您|你)|如果?[您你需有想][^\n]{0,60}(?:告诉|告訴|告知|随时|隨時|联系|请说)"
    r"|如需[^\n]{0,60}|请告诉我|[您你]觉得|请随时|欢迎随时"
    r"|¡?espero que|av[ií]same|déjame saber|si (?:quieres|deseas|necesitas|prefieres)[^\n]{0,80}(?:avísame|dime"
    r"|puedo|dudes|házmelo)"
    r"|¿(?:quieres|te gustaría|deseas|necesitas)|no dudes"
    r"|ご(?:要望|希望|不明|質問|意見|確認)[^\n]{0,60}(?:ください|下さい|ますか)|お気軽に|お役に立て"
    r"|何か[^\n]{0,40}(?:ください|下さい)|必要(?:であれば"
    r"|に応じて|でしたら)[^\n]{0,60}"
    r"(?:ください|下さい|ます)|いかがでしょうか|他に何か"
    r"|n(?:'|’)hésitez pas|j(?:'|’)espère que|faites-moi savoir|dites-moi si|souhaitez-vous|voulez-vous que"
    r"|ich hoffe,|lass(?:en sie)? (?:es )?mich|sag(?:en sie)? mir|möchten sie|soll ich|gerne kann ich"
    r"|me avise|avise-me|se (?:quiser|precisar)[^\n]{0,60}(?:avis|posso|diga)|sinta-se|gostaria que|надеюсь"
    r"|дайте знать|도움이 되"
)
_EXPLANATIONS = (
    r"[*_]{0,2}(?:note|notes|changes(?: made)?|what (?:i )?changed|key changes|key improvements|improvements"
    r"|explanation|rationale|reasoning"
    r"|why (?:this|it) works|tips?)[*_]{0,2} ?:"
    r"|this (?:enhanced |improved |revised |rewritten |rephrased |updated |expanded |new )?(?:version|prompt|rewrite"
    r"|revision|rephrasing"
    r"|rephrased sentence|sentence|description|wording)\b|(?:the|these) (?:revised|enhanced|improved|rewritten"
    r"|changes)\b"
    r"|(?:each|all|these|both|every one)(?: of (?:these|the|them))?(?: (?:two|three|four|five|\d))? ?(?:versions?"
    r"|prompts?|alternatives?"
    r"|variations?|options?)\b|in (?:each of )?(?:this|these)(?: \w+)? (?:versions?|prompts?)\b"
    r"|i(?:(?:'|’)ve| have)? (?:added|changed|replaced|rephrased|reworded|rewrote|rewritten|incorporated|emphasized"
    r"|included|tried to"
    r"|kept the|focused on|made (?:\w+ ){0,3}(?:changes?|adjustments?|edits?|tweaks?))"
    r"|说明：|说明:|注：|注:|注意：|修改说明|这个(?:版本|提示词)|此(?:版本|提示词)|以上(?:提示词|版本|是)|每个版本"
    r"|nota:|cambios|he (?:añadido|agregado|cambiado)|esta versión|este prompt|cada versión"
    r"|このプロンプト|このバージョン|補足|注意点|変更点|cette version|ce prompt|diese (?:version|fassung)|hinweis:"
    r"|esta versão"
)
_HEADINGS = (
    r"(?:\#{1,6} +|\*\*)(?:explanation|notes?|changes(?: made)?|key (?:changes|improvements)|improvements|rationale"
    r"|what (?:i )?changed"
    r"|negative prompt|why (?:this|it) works|说明|修改说明|解释|explicación|cambios|補足|変更点)\b"
)
_CLOSING = re.compile(
    rf"[*_(\[\s¡¿]{{0,4}}(?:{_SENTENCES}|{_EXPLANATIONS}|enjoy!|happy (?:filming|creating|prompting|generating)"
    rf"|word count|end of prompt"
    rf"|you (?:can|may) (?:adjust|modify|change|tweak|customize|use this)|(?:user|human) ?: )|{_HEADINGS}",
    re.I,
)
_LAST_SENTENCE = re.compile(
    r"(?<=[.!?。！？])\s{0,3}(?:please )?(?:let me know (?:if|what|whether|which)|i hope (?:this|these) "
    r"|feel free to |would you like me to "
    r"|希望(?:这|以上|对)|如果?[您你需有想][^\n]{0,40}告诉|如需)[^\n\"”」』»]{0,160}\Z",
    re.I,
)


def is_closing(line: str) -> bool:
    """Tell a closing remark ("Let me know if ...", "Note: ...") from a line of the prompt."""
    return bool(_CLOSING.match(line.strip()))


def before_last_remark(text: str) -> str | None:
    """Return `text` without a closing remark in its last line ("... Let me know if you want changes!"), or `None`."""
    match = _LAST_SENTENCE.search(text, max(0, len(text) - 200))
    return text[: match.start()] if match and match.start() else None
