"""Recognize the remarks after a prompt ("Let me know if ...", "Note: ..."). A doubtful line is part of the prompt."""

from __future__ import annotations

import re

from promptops.engine.answers.words import any_of

_OFFERS = any_of(
    "(?:please )?let me know|(?:please )?feel free|do you want me|want me to",
    r"would you like (?:me|any|to|another|more|an? (?:\w+ )?(?:version|variation|alternative))\b"
    "|is there anything",
    r"(?:i )?hope (?:this|that|it|these|you)(?: [\w'’]+){0,4}? (?:helps?|works?|meets?|captures?|likes?|enjoy"
    r"|suits?|fits?|is|will)\b",
    r"please note|don(?:'|’)t hesitate|enjoy!|happy (?:filming|creating|prompting|generating)|which (?:one|version"
    r"|option)",
    r"if you(?:'|’)?(?:d| would| want| need| have| prefer)[^\n]{0,120}?(?:let me know|just (?:ask|say|tell)|i can"
    r"|i(?:'|’)d be|feel free"
    "|please)",
    "you (?:can|may) (?:adjust|modify|change|tweak|customize|use this)",
    "希望(?:这|這|以上|对|對|能|您|你)|如需|请告诉我|[您你]觉得|请随时|欢迎随时",
    r"如果?[您你需有想][^\n]{0,60}(?:告诉|告訴|告知|随时|隨時|联系|请说)",
    "espero que|av[ií]same|déjame saber|(?:quieres|te gustaría|deseas|necesitas) que|no dudes",
    r"si (?:quieres|deseas|necesitas|prefieres)[^\n]{0,80}(?:avísame|dime|puedo|dudes|házmelo)",
    "does (?:this|that|it) (?:work|help|sound|match|fit)|how does (?:this|that)|is this what",
    r"[^\n。]{0,60}(?:お知らせ|教えて|お申し付け|お伝え)(?:ください|下さい)",
    "お気軽に|お役に立て|いかがでしょうか|他に何か",
    r"(?:ご(?:要望|希望|不明|質問|意見|確認)|何か|必要(?:であれば|に応じて|でしたら))[^\n]{0,60}(?:ください|下さい"
    r"|ます)",
    "n(?:'|’)hésitez pas|j(?:'|’)espère que|faites-moi savoir|dites-moi si|souhaitez-vous|voulez-vous que",
    "ich hoffe,|lass(?:en sie)? (?:es )?mich|sag(?:en sie)? mir|möchten sie|soll ich|gerne kann ich",
    r"me avise|avise-me|se (?:quiser|precisar)[^\n]{0,60}(?:avis|posso|diga)|sinta-se|gostaria que",
    "fammi sapere|spero che (?:ti|vi|quest)|надеюсь|дайте знать|도움이 되",
)
_DOES = any_of(
    "adds?|aims?|keeps?|maintains?|offers?|captures?|provides?|explores?|emphasi[sz]es?|includes?|uses?"
    "|focus(?:es)?|brings?|works?",
    "preserves?|highlights?|features?|gives?|has|have|conveys?|creates?|makes?|retains?|describes?|sets?|takes?",
    "is (?:more|designed|now|meant|intended)|are (?:designed|meant|intended|written)",
)
_VERSIONS = "(?:versions?|prompts?|alternatives?|variations?|options?)"
_EXPLANATIONS = any_of(
    "[*_]{0,2}(?:notes?|changes(?: made)?|what (?:i )?changed|key (?:changes|improvements)|improvements"
    "|explanation|rationale|reasoning"
    "|why (?:this|it) works|tips?|word count|negative prompt)[*_]{0,2} ?:",
    "this (?:enhanced |improved |revised |rewritten |rephrased |updated |expanded |new )?"
    rf"(?:version|prompt|rewrite|revision|rephrasing|sentence|description|wording) (?:also |now |should "
    rf"|will )?{_DOES}\b",
    "(?:the|these) (?:revised|enhanced|improved|rewritten) (?:version|prompt)|(?:the|these) changes (?:made|i|add"
    "|make|are)",
    r"(?:each|all|these|both|every one)(?: of (?:these|the|them))?(?: (?:two|three|four|five|\d))? ?"
    rf"{_VERSIONS} (?:also |now |all |each |both |should |will )?{_DOES}\b",
    rf"in (?:each of )?(?:this|these)(?: \w+)? {_VERSIONS},? i\b",
    "i(?:(?:'|’)ve| have)? (?:added|changed|replaced|rephrased|reworded|rewrote|rewritten|incorporated|emphasized"
    "|included|tried to|kept the"
    r"|focused on|made (?:\w+ ){0,3}(?:changes?|adjustments?|edits?|tweaks?))",
    r"(?:优化|優化|改写|改进|修改|创作|设计|补充)(?:说明|說明|要点|思路|亮点|点)[：:]|主要(?:优化|改进|修改)[^\n]{0,6}[：:]",
    "说明[：:]|注[：:]|注意：|修改说明|这个(?:版本|提示词)|此(?:版本|提示词)|以上(?:提示词|版本|是)|每个版本",
    "nota:|cambios(?: realizados)?:|he (?:añadido|agregado|cambiado)|esta versión|este prompt|cada versión",
    "このプロンプト|このバージョン|補足|注意点|変更点",
    "cette version|ce prompt|diese (?:version|fassung)|hinweis:|esta versão",
    r"end of prompt|(?:user|human) ?: ",
    r"(?:approx(?:imately|\.)? |about |~ ?|total: ?)?\d{1,4} (?:words|characters|palabras|caracteres)[)）*_]{1,4}\Z",
    r"(?:约|約|共)?\d{1,4} ?(?:字|文字)[)）*_]{1,4}\Z",
)
_HEADINGS = r"(?:\#{1,6} +|\*\*)" + any_of(
    "explanation|notes?|changes(?: made)?|key (?:changes|improvements)|improvements|rationale|what (?:i )?changed"
    "|negative prompt",
    "why (?:this|it) works|说明|修改说明|解释|explicación|cambios|補足|変更点",
)
_CLOSING = re.compile(rf"[*_(\[\s¡¿]{{0,4}}(?:{_OFFERS}|{_EXPLANATIONS})|{_HEADINGS}\b", re.I)

_LAST_SENTENCE = re.compile(
    r"(?<=[.!?。！？])\s{0,3}"
    + any_of(
        "(?:please )?let me know (?:if|what|whether|which)|i hope (?:this|these) (?:helps?|works?|meets?|is|will"
        "|prompts?|version)|feel free to |would you like me to ",
        r"希望(?:这|以上|对)|如果?[您你需有想][^\n]{0,40}告诉|如需",
    )
    + r"[^\n.!?。！？\"”」』»]{0,160}[.!?。！？]?\Z",
    re.I,
)
_LAST_SENTENCE_LIMIT = 200


def is_closing(line: str) -> bool:
    """Return whether a line is a closing remark and not part of the prompt."""
    return bool(_CLOSING.match(line.strip()))


def before_last_remark(text: str) -> str | None:
    """Return `text` without a closing remark in its last line ("... Let me know if you want changes!"), or `None`."""
    match = _LAST_SENTENCE.search(text, max(0, len(text) - _LAST_SENTENCE_LIMIT))
    return text[: match.start()] if match and match.start() else None
