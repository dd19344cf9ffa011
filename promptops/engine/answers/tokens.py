"""The table of tokens with which models mark their reasoning, their turns and their end. No logic belongs here.

Sources: the chat templates of the models named below, and the reasoning parsers of vLLM and SGLang.
"""

from __future__ import annotations

from enum import Enum


class Action(Enum):
    """The effect of a token on the text around it."""

    OPEN = "reasoning begins"
    CLOSE = "reasoning ends; without an opening, all text before it was reasoning"
    END = "the answer ends; before any text it is dropped"
    SKIP = "dropped"
    CHANNEL = "the name of a channel follows"
    ROLE = "the name of a speaker follows"
    ELEMENT = "the name of an element that opens follows"
    ELEMENT_END = "the name of an element that closes follows"


_WORDS = (
    *("think", "thinking", "thought", "thoughts", "reason", "reasoning", "reflection", "scratchpad", "analysis"),
    *("mm:think", "seed:think", "longcat_think", "antml:thinking", "internal_monologue", "inner_monologue"),
)
"""Names of reasoning tags in angle brackets: DeepSeek, Qwen and most others, EXAONE, MiniMax, Seed-OSS, LongCat."""

_PAIRS = (
    ("[think]", "[/think]"),  # Magistral
    ("[reasoning]", "[/reasoning]"),
    ("◁think▷", "◁/think▷"),  # Kimi
    ("<|begin_of_thought|>", "<|end_of_thought|>"),  # OpenThoughts, Sky-T1
    ("<|start_thinking|>", "<|end_thinking|>"),  # Command
    ("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
    ("<|channel>", "<channel|>"),  # Gemma 4
    ("<|begin_thinking|>", "<|finish_thinking|>"),
)

_ENDS = (
    *(
        "</s>",
        "<eos>",
        "<eod>",
        "<seed:eos>",
        "<end_of_turn>",
        "<turn|>",
        "[/inst]",
        "[inst]",
        "[eos]",
        "[end of text]",
    ),
    *(
        "<|im_end|>",
        "<|endoftext|>",
        "<|end_of_text|>",
        "<|eot_id|>",
        "<|eom_id|>",
        "<|end|>",
        "<|return|>",
        "<|call|>",
    ),
    *("<|end_of_turn|>", "<|end_of_turn_token|>", "<|endofturn|>", "<|eos|>", "<|assistant_end|>", "<|user|>"),
    *("<|observation|>", "<|end_of_role|>", "<|endofprompt|>", "<|end_of_sentence|>", "<|im_user|>", "<|role_end|>"),
    *(
        "<｜end▁of▁sentence｜>",
        "<｜user｜>",
        "<｜endoftext｜>",
        "<|end▁of▁sentence|>",
        "<|hy_eos|>",
        "<|eot|>",
        "<|end_of_msg|>",
    ),
)

_SKIPPED = (
    *(
        "<s>",
        "<bos>",
        "<pad>",
        "<unk>",
        "<|begin_of_text|>",
        "<|begin_of_solution|>",
        "<|end_of_solution|>",
        "<|assistant|>",
    ),
    *("<|start_response|>", "<|end_response|>", "<|start_text|>", "<|end_text|>", "<|chatbot_token|>", "<|sep|>"),
    *("<|start_of_turn_token|>", "<|message|>", "<|content|>", "<|constrain|>", "<|end_header_id|>", "<|im_sep|>"),
    *(
        "<|im_middle|>",
        "<｜assistant｜>",
        "<｜begin▁of▁sentence｜>",
        "<|startoftext|>",
        "<seed:bos>",
        "<|begin_of_box|>",
        "<|end_of_box|>",
        "[bos]",
    ),
)

TOKENS: dict[str, Action] = {
    **{f"<{word}>": Action.OPEN for word in _WORDS},
    **{f"</{word}>": Action.CLOSE for word in _WORDS},
    **{opening: Action.OPEN for opening, _ in _PAIRS},
    **{closing: Action.CLOSE for _, closing in _PAIRS},
    "<|think|>": Action.OPEN,  # Solar Open, closed by <|end|>
    **dict.fromkeys(_ENDS, Action.END),
    **dict.fromkeys(_SKIPPED, Action.SKIP),
    "<|channel|>": Action.CHANNEL,  # gpt-oss
    **dict.fromkeys(
        ("<|start|>", "<|begin|>", "<|im_start|>", "<|start_header_id|>", "<start_of_turn>", "<|turn>"), Action.ROLE
    ),
    "<|open|>": Action.ELEMENT,  # Kimi K3
    "<|close|>": Action.ELEMENT_END,
}
"""Every token in lower case."""

CLOSED_BY_END = frozenset({"<|channel|>", "<|think|>"})
"""The tokens whose reasoning any end of a message closes."""

STARTS = frozenset(token[0] for token in TOKENS)
"""The first characters of the tokens. A text without them has no token."""

PREFIXES = frozenset(token[:length] for token in TOKENS for length in range(1, len(token)))
"""Every beginning of a token, for tokens that are cut off."""

LONGEST = max(map(len, TOKENS))
