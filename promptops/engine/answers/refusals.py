"""Recognize an answer that declines the request. A prompt about an apology is no refusal."""

from __future__ import annotations

import re

REFUSAL_LIMIT = 600
"""The most characters of a refusal: models decline in a few sentences, and prompts of 80 words have 500 characters."""

_AI = r"(?:as an? (?:ai|artificial|language|virtual|large)[^,.!?\n]{0,60},?\s*)"
_SORRY = (
    r"(?:(?:i(?:'m| am) (?:(?:very|really|so|truly|deeply|afraid) ?)?(?:sorry)?|(?:we(?:'re| are) )?sorry|(?:my "
    r"|i )?(?:sincerely )?"
    r"apolog(?:ies|ize|ise)[^.!?,\n]{0,60}|unfortunately|regrettably|thank(?:s| you)[^.!\n]{0,60}|i (?:understand"
    r"|appreciate|see)[^.!\n]{0,80}"
    r"|no|oh)[,.;:!—–-]*\s*(?:but |however,? |and |that )?)"
)
_CANNOT = (
    r"(?:i|we)(?: (?:cannot|can't|can not|cant|won't|will not|don't|do not|don't feel comfortable)(?: \w+ly"
    r"| in good conscience)?"
    r"| (?:won't|will not) be able to"
    r"|(?: am|'m| are|'re) (?:unable to|not able to|not comfortable|not allowed to|not permitted to|not going to)"
    r"|(?:'d| would) (?:prefer not to|rather not)) "
)
_REQUEST = (
    r"(?:that|this|such|these|those|any) (?:[\w-]+ ){0,2}?(?:images?|pictures?|videos?|scenes?|clips?)\b"
    r"|(?:that|this|it|those|these)(?=[.,;:!?]| (?:request|prompt|content|topic|subject|task|type|kind|sort|one|as"
    r"|because|since|due|for|here)"
    r"\b|\s*\Z)|(?:the|your|any|such|a|an|this|that|these|those) (?:[\w-]+ ){0,3}?(?:requests?|prompts?|content"
    r"|topics?|material|imagery"
    r"|descriptions?|instructions|depictions?)\b|(?:creating|generating|writing|producing|providing|making|requests?"
    r"|content|prompts?)\b"
    r"|(?:explicit|sexual|violent|harmful|graphic|inappropriate|illegal|hateful|offensive)\b"
)
_ENGLISH = re.compile(
    rf"{_SORRY}{{0,2}}{_AI}?{_CANNOT}(?:"
    rf"(?:help|assist|(?:provide|offer)(?: any)? (?:help|assistance))(?: (?:you|out))?(?: (?:with|in|on) (?:{_REQUEST})"
    r"|[.!]?\s*\Z|[.,!](?= ))"
    rf"|(?:fulfil?l?|comply(?: with)?|complete|accommodate|process|honou?r|proceed with|engage (?:with|in)"
    rf"|continue with"
    rf"|respond to|support|answer"
    rf"|create|generate|provide|write|produce|make|offer|depict|describe|rewrite|enhance|creating|writing"
    rf"|generating|producing|participate in|discuss"
    rf"|share|do|decline|refuse"
    rf"|respectfully decline)(?: (?:you|to|any|with))? ?(?:{_REQUEST}|\Z|[.!]\s*\Z))"
    rf"|{_AI}(?:i |my )(?:[^.!?\n]{{0,60}}?)(?:cannot|can't|can not|unable|not able|not allowed|don't|do not"
    rf"|not designed)\b"
    rf"|{_SORRY}?(?:this|your|the) (?:request|prompt|content)[^.!?\n]{{0,40}}(?:violates?|goes against"
    rf"|is (?:not allowed|against|inappropriate)"
    rf"|cannot be|can't be|was (?:blocked|flagged|rejected))"
    rf"|{_SORRY}?i (?:must|have to|need to|will have to) (?:respectfully )?(?:decline|refuse)\b"
    rf"|{_SORRY}?that(?:'s| is) not something (?:i|we) can\b|{_SORRY}i can only (?:help|assist|create|provide)\b"
    rf"|i(?:'m| am) (?:just |only )?an? (?:ai|language model)\b[^.!?\n]{{0,40}}?(?:cannot|can't|unable|not able)\b"
    r"|(?:request|content|prompt) (?:is |was )?(?:denied|refused|blocked|rejected|not allowed)\.?\s*\Z"
    rf"|{_SORRY}?it(?:'s| is| would be) (?:not appropriate|inappropriate|against my)\b",
    re.I,
)
_OTHERS = re.compile(
    # Chinese
    r"(?:(?:你好|您好)[，,])?这个问题我(?:暂时|目前)?(?:无法|不能)回答"  # DeepSeek
    r"|(?:[很非常十分真的]{0,3}(?:抱歉|对不起|對不起|不好意思|遗憾|遺憾)[，,。!！、]?[^。\n]{0,24}?|(?:作为|作為"
    r"|身为)[^，,。\n]{0,20}[，,]?[^。\n]{0,12}?|我)"
    r"(?:无法|無法|不能|不可以|没办法|不便|不会|不會)[^。\n]{0,16}?(?:帮助|幫助|帮您|帮你|协助|協助|提供|生成|创作"
    r"|創作|完成|满足|滿足|回答|处理|處理|支持|讨论"
    r"|编写|撰写|创建|继续|执行|响应|回应|写)"
    r"|(?:抱歉|对不起)?[，,]?(?:您的|你的)?[该该此这]?(?:内容|请求)[^。\n]{0,12}违反|(?:抱歉"
    r"|对不起)?[，,]?无法(?:生成|提供|完成|处理|满足|创作)[^。\n]{0,12}(?:内容|请求|提示词)"
    # Japanese
    r"|(?:申し訳(?:ありません|ございません|ない)|すみません|ごめんなさい|恐れ入りますが|恐縮ですが|残念ながら|(?:AI"
    r"|人工知能)[^。\n]{0,20}(?:として|ため|ので)"
    r"|(?:その|この|ご)(?:ご)?(?:よう|リクエスト|依頼|要求|内容|要望))[^」\n]{0,80}?"
    r"(?:できません|出来ません|応えでき|いたしかね|しかねます|かねます|応じられません|対応でき)"
    # Korean
    r"|(?:죄송|미안)[^\n]{0,60}?(?:수 없습니다|수 없어요|어렵습니다)"
    # Spanish, Portuguese
    r"|(?:(?:me temo que|lo siento|lo lamento|lamento|perd[oó]n|disculpa|disculpe|desculpe|me desculpe"
    r"|desculpa|sinto muito|infelizmente|lamentablemente"
    r"|como (?:una? )?(?:ia|modelo|inteligencia|inteligência|assistente|asistente))[^.!\n]{0,50}?)?"
    r"(?:no puedo|no podré|no me es posible|no soy capaz de|no estoy (?:autorizado|en condiciones)|não posso"
    r"|não consigo|não sou capaz de"
    r"|não é possível)(?: \w+)? ?(?:ayud|asist|cumplir|gener|crear|proporcion|escrib|ofrec|produ|continuar|proces"
    r"|atend|responder|complet"
    r"|ajud|atender|criar|ger|fornec|escrev|auxili|realizar|hacer eso|fazer isso)\w*"
    r"|(?:lo siento|lo lamento|desculpe|sinto muito)[^.!\n]{0,20}?(?:no puedo|não posso)\s*(?:[.!]|\Z)"
    # French
    r"|(?:(?:je suis (?:vraiment |sincèrement )?|)(?:désolée?)|je m'excuse|malheureusement|en tant qu(?:e "
    r"|')[^,.\n]{0,40})[^.!\n]{0,30}?"
    r"(?:je ne (?:peux|puis|suis pas en mesure)|il m'est impossible)"
    r"|je ne (?:peux|suis) pas (?:en mesure de )?(?:vous |t')?(?:aider|répondre|créer|générer|fournir|écrire"
    r"|satisfaire|accéder|traiter)"
    # German
    r"|(?:es tut mir (?:sehr )?leid|tut mir leid|entschuldigung|leider|als ki)?[,.]? ?(?:aber "
    r"|doch )?[^.!\n]{0,30}?(?:kann ich|ich kann|darf ich)"
    r"[^.!\n]{0,60}?(?:nicht|keinen?|keine)\b[^.!\n]{0,30}?(?:helfen|weiterhelfen|erfüllen|erstellen|schreiben"
    r"|generieren|unterstützen|nachkommen"
    r"|bereitstellen|beantworten|ausführen)"
    r"|(?:es )?tut mir (?:sehr )?leid[^.!\n]{0,30}?kann ich (?:das |dabei )?(?:leider )?nicht\s*(?:[.!]|\Z)"
    # Russian, Italian
    r"|(?:извините|простите|к сожалению|прошу прощения)[^.!\n]{0,30}?(?:не могу|не можем)"
    r"|(?:mi dispiace|spiacente|purtroppo)[^.!\n]{0,30}?non (?:posso|sono in grado)",
    re.I,
)
_NARRATION = re.compile(
    r"\b(?:says|said|reads|whispers|writes|thinks|mutters|shouts|cries|the (?:sign|note|letter|diary|caption|voice)"
    r"|dice|lee|sagt|dit)\b"
    r"|说着|说道|写着|写道|說著|寫著|と言|と書",
    re.I,
)


def is_refusal(text: str) -> bool:
    """Return whether an answer declines the request. `text` is the answer as read, without wrapping."""
    text = text.strip().strip("*_").strip()
    if not text or len(text) > REFUSAL_LIMIT:
        return False
    text = text.replace("’", "'").lstrip("¡")
    match = _ENGLISH.match(text) or _OTHERS.match(text)
    return match is not None and not _NARRATION.search(_first_sentence(text))


def _first_sentence(text: str) -> str:
    end = re.search(r"[.!?。！？](?:\s|\Z)|\n", text)
    return text[: end.end()] if end else text
