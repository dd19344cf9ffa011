"""The words with which models name their answers, in several languages. Whole sentences do not belong here."""

from __future__ import annotations


def any_of(*forms: str) -> str:
    """Return the pattern that matches any of `forms`, which are patterns themselves."""
    return f"(?:{'|'.join(forms)})"


PROMPT = any_of("prompts?", "提示词|提示詞|提示语", "プロンプト", "промпт", "프롬프트")

NOUN = any_of(
    PROMPT,
    "versions?|descriptions?|rewrites?|alternatives?|variations?|options?|suggestions?|ideas?|takes?",
    "continuations?|responses?|answers?|results?",
    "版本|描述|方案|选项|選項|备选|改写|内容",
    "versión|versiones|descripción|alternativas?|opción|opciones|variantes?|sugerencias?|propuestas?",
    "バージョン|説明|代替案|案|バリエーション|候補",
    "propositions?|fassung(?:en)?|beschreibung|vorschläge?|alternativen?|varianten?",
    "versão|versões|descrição|opç(?:ão|ões)|versione|descrizione|opzion[ei]",
    "верси[яи]|описание|вариант(?:ы|а|ов)?|버전|설명|대안",
)

ADJECTIVE = any_of(
    "enhanced|improved|rewritten|revised|expanded|polished|refined|optimi[sz]ed|detailed|vivid|cinematic|final"
    "|extended",
    "updated|enriched|reworked|rephrased|better|new|suggested",
    "优化|優化|增强|增強|扩展|扩写|改写|润色|改进|最终|完整",
    "mejorad[oa]|optimizad[oa]|ampliad[oa]|reescrit[oa]",
    "強化|改善|最終|改良|拡張|最適化",
    "amélioré|enrichi|optimisé|verbesserte[rs]?|überarbeitete[rs]?",
    "melhorad[oa]|aprimorad[oa]|migliorat[oa]|улучшенн(?:ый|ая)|향상된|개선된",
)

JOINT = "(?:された|した|版の?|后的?|後[的の]?|的)?"
"""The particle between an adjective and its noun in Chinese and Japanese."""
