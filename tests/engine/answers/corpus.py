"""Answers of language models with their right reading, written before the code that reads them.

The shapes are those of public bug reports; the words are our own. `embedded.json` adds answers that the embedded model
wrote. `right` is the prompt for a text, the list of alternatives for a rewrite (`count` were asked for).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    """One answer: its kind, as written, as it is to be read. `count` is set for a rewrite."""

    kind: str
    written: str
    right: str | list[str]
    count: int | None = None


EN = "A red fox runs through deep snow at dawn, its breath steaming in the first light."
ZH = "一只红狐在黎明的深雪中奔跑，呼出的白气在第一缕晨光中升腾。"
ES = "Un zorro rojo corre por la nieve profunda al amanecer, con el aliento humeante en la primera luz."
JA = "夜明けの深い雪の中を赤い狐が走り、吐く息が最初の光の中で白く立ちのぼる。"

THREE = [
    "A fox sprints at dawn, tracking shot.",
    "A fox rests at dusk, slow push-in.",
    "A fox leaps by night, seen from below.",
]
ZH3 = ["黎明时分，狐狸飞奔，跟拍镜头。", "黄昏时，狐狸休憩，镜头缓缓推进。", "夜里，狐狸跃起，低角度仰拍。"]
ES3 = ["Un zorro corre al amanecer.", "Un zorro descansa al anochecer.", "Un zorro salta de noche."]
JA3 = ["夜明けに走る狐、追跡ショット。", "夕暮れに休む狐、ゆっくり寄る。", "夜に跳ぶ狐、下から見上げる。"]


def text(kind: str, *written: str, right: str = EN) -> list[Row]:
    return [Row(kind, one.replace("{}", right), right) for one in written]


def lines(kind: str, *written: str, right: list[str] = THREE) -> list[Row]:
    return [Row(kind, one % tuple(right), right, len(right)) for one in written]


def unchanged(*written: str) -> list[Row]:
    return [Row("unchanged", one, one) for one in written]


def unchanged_line(*written: str) -> list[Row]:
    return [Row("unchanged", one, [one], 1) for one in written]


TEXTS = [
    *text(
        "preface",
        "Here is the enhanced prompt:\n\n{}",
        "Here's an improved version of your prompt: {}",
        "Sure! Here’s the enhanced prompt:\n{}",
        "Certainly! Below is a more vivid, cinematic version of your prompt:\n\n{}",
        "Sure thing!\n\n{}",
        "Enhanced version:\n\n{}",
        "Okay, here you go:\n\n{}",
    ),
    *text(
        "preface",
        "以下是优化后的提示词：\n\n{}",
        "好的，这是增强后的提示词：{}",
        "当然！以下是扩展后的描述：\n{}",
        right=ZH,
    ),
    *text("preface", "Aquí tienes el prompt mejorado:\n\n{}", "¡Claro! Aquí está la versión mejorada:\n{}", right=ES),
    *text(
        "preface",
        "以下が強化されたプロンプトです：\n\n{}",
        "もちろんです！改善したプロンプトはこちらです：\n{}",
        right=JA,
    ),
    *text("preface", "Voici le prompt amélioré :\n\n{}", "Hier ist der verbesserte Prompt:\n\n{}"),
    *text("quotes", '"{}"', "“{}”", "«{}»", "'{}'", "`{}`", '*"{}"*'),
    *text("quotes", "「{}」", "『{}』", right=JA),
    *text("quotes", "“{}”", right=ZH),
    *text("quotes", "« {} »", right=ES),
    *text("fence", "```\n{}\n```", "```text\n{}\n```", "```markdown\n{}\n```", "~~~\n{}\n~~~", "``` {} ```"),
    *text(
        "label",
        "**Enhanced Prompt:** {}",
        "**Enhanced Prompt**: {}",
        "**Enhanced prompt**\n\n{}",
        "Prompt: {}",
        "Enhanced prompt - {}",
        "### Enhanced Prompt\n\n{}",
        "Final prompt: {}",
    ),
    *text("label", "提示词：{}", "**优化后的提示词：**\n{}", right=ZH),
    *text("label", "**Prompt mejorado:** {}", right=ES),
    *text("label", "プロンプト：{}", right=JA),
    *text(
        "tags",
        "<prompt>{}</prompt>",
        "<output>\n{}\n</output>",
        "<enhanced_prompt>{}</enhanced_prompt>",
        "<answer>{}</answer>",
    ),
    *text(
        "closing",
        "{}\n\nLet me know if you would like any changes!",
        "{}\n\nI hope this helps! Feel free to ask for another version.",
        "{} Let me know if you'd like me to adjust anything.",
        "{}\n\n---\n\nWould you like me to make it darker?",
        "{}\n\nNote: I added the snow and the light to make the scene more vivid.",
        "{}\n\n**Changes made:**\n- Added the light\n- Added the breath",
        "{}\n\nThis version adds sensory detail and a sense of movement.",
    ),
    *text("closing", "{}\n\n希望这个提示词对您有帮助！", "{}\n\n如果需要调整，请告诉我。", right=ZH),
    *text("closing", "{}\n\n¡Espero que te sirva! Avísame si quieres cambios.", right=ES),
    *text("closing", "{}\n\nご要望があればお知らせください。", right=JA),
    *text(
        "end token",
        "{}<|im_end|>",
        "{}</s>",
        "{}<|eot_id|>",
        "{}<end_of_turn>",
        "{}<|endoftext|>",
        "{} [/INST]",
        "{}<｜end▁of▁sentence｜>",
        "{}<|im_end|>\n<|im_start|>user\nAnother one, please",
        "<s> {}</s>",
        "<|im_start|>assistant\n{}<|im_end|>",
    ),
    *text(
        "reasoning",
        "<think>The user wants snow.</think>{}",
        "<think>\n\n</think>\n\n{}",
        "The user wants snow.\n</think>\n\n{}",
        "<thinking>The user wants snow.</thinking>\n{}",
        "<thought>Snow.</thought>{}",
        "<reasoning>Snow.</reasoning>\n\n{}",
        "[THINK]The user wants snow.[/THINK]{}",
        "<mm:think>Snow.</mm:think>{}",
        "<seed:think>Snow.</seed:think>{}",
        "◁think▷Snow.◁/think▷{}",
        "<|channel|>analysis<|message|>Snow.<|end|><|start|>assistant<|channel|>final<|message|>{}",
        "<|channel|>analysis<|message|>Snow.<|end|><|start|>assistant<|channel|>final<|message|>{}<|return|>",
        "analysisThe user wants snow.assistantfinal{}",
        "<|channel>thought\nSnow.<channel|>{}",
        "<|START_THINKING|>Snow.<|END_THINKING|><|START_RESPONSE|>{}<|END_RESPONSE|>",
        "<|begin_of_thought|>Snow.<|end_of_thought|><|begin_of_solution|>{}<|end_of_solution|>",
        "<|inner_prefix|>Snow.<|inner_suffix|>{}",
        "<|open|>think<|sep|>Snow.<|close|>think<|sep|>{}",
        "Here is my thought process: the user wants snow.\n\nHere is my response: {}",
        "{}\n<think>Was that good enough?",
        "<THINK>Snow.</THINK>{}",
    ),
    *text("json", '{"prompt": "{}"}', '```json\n{"enhanced_prompt": "{}"}\n```', '{\n  "prompt": "{}",\n}'),
    *text(
        "combined",
        'Here is the enhanced prompt:\n\n```\n"{}"\n```\n\nLet me know if you want changes!',
        '<think>Snow.</think>\n\n**Enhanced Prompt:**\n\n"{}"<|im_end|>',
        "Sure! Here is the enhanced prompt:\n\n> {}\n\nI hope this helps!",
        "```\n<prompt>{}</prompt>\n```",
        '"Enhanced prompt: {}"',
        "Here's the prompt:\n\n**{}**",
    ),
    *text("combined", "以下是优化后的提示词：\n\n“{}”\n\n希望对您有所帮助！", right=ZH),
    *text("combined", "Aquí tienes:\n\n**Prompt mejorado:** “{}”", right=ES),
    *text("combined", "プロンプト：\n「{}」", right=JA),
]

UNCHANGED = [
    *unchanged(
        EN,
        ZH,
        ES,
        JA,
        "Close-up: a fox sniffs the snow, shallow depth of field.",
        "Act 1: The storm breaks. Act 2: The ship turns home.",
        "Act 1:\nThe storm breaks over the harbor.\n\nAct 2:\nThe ship turns home.",
        "Scene: a quiet harbor at night. Camera: slow dolly along the pier.",
        "Here is a lighthouse: white, tall, alone against the storm.",
        'A neon sign reads "Here is the way:" above a dark door.',
        '"Welcome home," she whispers, and the door of the cabin opens on a warm room.',
        '"I\'m sorry," says the old man, and puts the broken clock on the table.',
        "I'm sorry, reads the note on the kitchen table; rain runs down the window behind it.",
        "“Help me,” the robot says. The child answers, “Always.”",
        '"Stop" and "Go" signs blink in turn along an empty road.',
        "'Tis the season: a snowy village square, children with lanterns, slow crane shot.",
        "The dancers' shadows stretch over the wall, the drummers' hands blur.",
        "A *slow* zoom on a **red** door, dust in the light.",
        "**Slow** zoom on a red door, then a **hard** cut to black.",
        "-40 degrees, a fox stands in drifting snow, breath freezing in the air.",
        "1984. A city of gray towers, one red balloon.",
        "3.5 mm lens, a beetle crosses a leaf.",
        "2 foxes, one red and one white, chase each other around a birch.",
        "Sure-footed goats climb a cliff; the camera rises with them.",
        "Certainly the oldest tree of the valley, lit by fireflies.",
        "A teacher writes “Prompt: be brave” on the blackboard.",
        'A man holds a sign that says "Let me know if you see my dog."',
        "A woman on a stage says: let me know if you can hear me. The crowd roars.",
        "A thinking sculpture? No: a bronze man, chin on hand, in the rain.",
        'The word "<think>" glows in green on an old monitor.',
        'A terminal prints "</s>" again and again on a green screen.',
        "A map where x < 3 and y > 5 light up as glowing dots.",
        "A letter on parchment begins: “As an AI, I cannot dream.” A robot's hand holds it.",
        "As an AI wakes up in an empty laboratory, its lights flicker on one by one.",
        "I can't stop watching the waves, the diary reads; the sea outside is calm.",
        "I cannot see the shore anymore, only fog, a ship's bell, and a gull on the rail.",
        "A prompt engineer types at night: rain, neon, coffee steam, slow push-in.",
        "The prompt: a stage whisper from the dark, an actor's face turns to it.",
        'A screen shows {"status": "ok"} in blinking letters.',
        "A fox in the style of `ukiyo-e`, flat colors, bold outlines.",
        "«Adiós», dice ella, y el tren sale de la estación bajo la lluvia.",
        "「さようなら」と彼女は言い、列車は雨の中を出ていく。",
        "镜头一：狐狸奔跑。镜头二：狐狸停下，抬头看月亮。",
        "Primer plano: una mano abre una carta bajo la luz de una vela.",
        "クローズアップ：雪に残る狐の足跡、風が粉雪を運ぶ。",
        "A wide shot of the desert.\n\nThe camera pans to a lone rider on the ridge.",
        "Lighting: golden hour. Mood: calm. A fox sleeps in tall grass.",
        "Note the reflection: a red kite over a still lake, mirrored without a ripple.",
        "Version 2 of the robot walks out of the hangar, dust in its wake.",
        "I'm sorry I missed the train, says her face; the last carriage leaves the platform.",
        "“对不起，我不能帮助你，”老人说着，关上了木门。",
        '"Lo siento, no puedo ayudarte", dice el guardia, y cierra la puerta del castillo.',
        "Rain on glass\nNeon letters\nA hand that wipes the window",
    ),
    *unchanged_line(
        "Close-up: a fox sniffs the snow.",
        "-40 degrees, a fox",
        "*slow* zoom on a fox",
        "3.5 mm lens, a beetle",
        "1984. A city",
        '"Welcome home," she whispers, and the door opens.',
        'A sign that reads "Here are three options:" in front of three doors.',
        "Act 1: The storm breaks. Act 2: The ship turns home.",
        "1 fox, 2 hares and 3 owls meet in a clearing.",
        "2001: a space station turns in silence.",
        "12:30 on the station clock, an empty platform.",
    ),
]

LINES = [
    *lines(
        "numbers",
        "1. %s\n2. %s\n3. %s",
        "1) %s\n2) %s\n3) %s",
        "1: %s\n2: %s\n3: %s",
        "(1) %s\n(2) %s\n(3) %s",
        "**1.** %s\n**2.** %s\n**3.** %s",
        "Option 1: %s\nOption 2: %s\nOption 3: %s",
        "**Option 1:** %s\n\n**Option 2:** %s\n\n**Option 3:** %s",
        "1.%s\n2.%s\n3.%s",
        "[1] %s\n[2] %s\n[3] %s",
        "1 - %s\n2 - %s\n3 - %s",
        "A. %s\nB. %s\nC. %s",
        "#1: %s\n#2: %s\n#3: %s",
        "Alternative 1 - %s\nAlternative 2 - %s\nAlternative 3 - %s",
        "1️⃣ %s\n2️⃣ %s\n3️⃣ %s",
        "First: %s\nSecond: %s\nThird: %s",
    ),
    *lines("numbers", "1、%s\n2、%s\n3、%s", "① %s\n② %s\n③ %s", "一、%s\n二、%s\n三、%s", right=ZH3),
    *lines("numbers", "１．%s\n２．%s\n３．%s", "案1：%s\n案2：%s\n案3：%s", right=JA3),
    *lines("numbers", "Opción 1: %s\nOpción 2: %s\nOpción 3: %s", right=ES3),
    *lines("numbers", "版本一：%s\n版本二：%s\n版本三：%s", right=ZH3),
    *lines(
        "opening and closing",
        "Here are three alternatives to your prompt:\n\n1. %s\n2. %s\n3. %s",
        "Sure! Here are 3 cinematic variations:\n\n%s\n\n%s\n\n%s\n\nLet me know if you want changes!",
        "Sure, here are three options:\n- %s\n- %s\n- %s\n\nI hope these help!",
        "Here are three alternatives.\n\n1. %s\n2. %s\n3. %s\n\nEach version keeps the fox and changes the light.",
        "Three alternatives:\n%s\n%s\n%s",
    ),
    *lines("opening and closing", "以下是三个改写版本：\n1. %s\n2. %s\n3. %s\n\n希望对您有帮助！", right=ZH3),
    *lines("opening and closing", "Aquí tienes tres alternativas:\n\n1. %s\n2. %s\n3. %s", right=ES3),
    *lines("opening and closing", "以下は3つの代替案です：\n\n1. %s\n2. %s\n3. %s", right=JA3),
    *lines(
        "json",
        '["%s", "%s", "%s"]',
        '[\n  "%s",\n  "%s",\n  "%s"\n]',
        '```json\n["%s", "%s", "%s"]\n```',
        '[{"prompt": "%s"}, {"prompt": "%s"}, {"prompt": "%s"}]',
        '{"alternatives": ["%s", "%s", "%s"]}',
        'Here you go:\n\n```json\n["%s", "%s", "%s"]\n```\n\nEnjoy!',
        '[{"title": "Dawn", "prompt": "%s"}, {"title": "Dusk", "prompt": "%s"}, {"title": "Night", "prompt": "%s"}]',
        '{"1": "%s", "2": "%s", "3": "%s"}',
        '{"prompt": "%s"}\n{"prompt": "%s"}\n{"prompt": "%s"}',
    ),
    *lines(
        "titles",
        "1. **Dawn:** %s\n2. **Dusk:** %s\n3. **Night:** %s",
        "1. **Dawn** – %s\n2. **Dusk** – %s\n3. **Night** – %s",
        "**Dawn**\n%s\n\n**Dusk**\n%s\n\n**Night**\n%s",
        "### Option 1: Dawn\n%s\n\n### Option 2: Dusk\n%s\n\n### Option 3: Night\n%s",
        "**Option 1: Dawn**\n\n%s\n\n**Option 2: Dusk**\n\n%s\n\n**Option 3: Night**\n\n%s",
        '1. "Dawn" - %s\n2. "Dusk" - %s\n3. "Night" - %s',
        "Option 1 (Dawn): %s\nOption 2 (Dusk): %s\nOption 3 (Night): %s",
    ),
    *lines(
        "quotes",
        '1. "%s"\n2. "%s"\n3. "%s"',
        "“%s”\n“%s”\n“%s”",
        '"%s",\n"%s",\n"%s"',
        "- `%s`\n- `%s`\n- `%s`",
    ),
    *lines("quotes", "1. 「%s」\n2. 「%s」\n3. 「%s」", right=JA3),
    *lines(
        "fence", "```\n%s\n%s\n%s\n```", "```\n%s\n```\n```\n%s\n```\n```\n%s\n```", "```text\n1. %s\n2. %s\n3. %s\n```"
    ),
    *lines(
        "tags and reasoning",
        "<think>Three, so.</think>\n1. %s\n2. %s\n3. %s<|im_end|>",
        "<prompt>%s</prompt>\n<prompt>%s</prompt>\n<prompt>%s</prompt>",
        "<alternatives>\n1. %s\n2. %s\n3. %s\n</alternatives>",
    ),
    *lines("blocks", "%s\n\n%s\n\n%s", "- %s\n\n- %s\n\n- %s", "%s\n\n---\n\n%s\n\n---\n\n%s"),
    Row(
        "several lines",
        "1. A fox sprints at dawn,\n   its breath steaming.\n2. A fox rests at dusk,\n   slow push-in.\n"
        "3. A fox leaps,\n   crane shot.",
        [
            "A fox sprints at dawn, its breath steaming.",
            "A fox rests at dusk, slow push-in.",
            "A fox leaps, crane shot.",
        ],
        3,
    ),
    Row(
        "several lines",
        "1. A fox sprints.\n\nThe camera tracks it.\n\n2. A fox rests.\n\nThe camera pushes in.",
        ["A fox sprints. The camera tracks it.", "A fox rests. The camera pushes in."],
        2,
    ),
    Row(
        "several lines",
        "A fox sprints at dawn,\ntracking shot.\n\nA fox rests at dusk,\npush-in.",
        ["A fox sprints at dawn, tracking shot.", "A fox rests at dusk, push-in."],
        2,
    ),
    Row(
        "several lines",
        "A fox sprints at dawn.\nA fox rests at dusk.\n\nA fox leaps by night.",
        ["A fox sprints at dawn.", "A fox rests at dusk.", "A fox leaps by night."],
        3,
    ),
    Row(
        "several lines",
        "1. A fox runs.\n   - Camera: tracking shot.\n   - Light: dawn.\n"
        "2. A fox rests.\n   - Camera: push-in.\n   - Light: dusk.",
        ["A fox runs. Camera: tracking shot. Light: dawn.", "A fox rests. Camera: push-in. Light: dusk."],
        2,
    ),
    Row("more than wanted", "1. red\n2. blue\n3. green\n4. gray", ["red", "blue", "green"], 3),
    Row("more than wanted", '["red", "blue", "green"]', ["red", "blue"], 2),
    Row("single", "Here is one alternative:\n\n1. A fox rests at dusk.", ["A fox rests at dusk."], 1),
    Row("single", '"A fox rests at dusk."', ["A fox rests at dusk."], 1),
    Row("single", '{"prompt": "A fox rests at dusk."}', ["A fox rests at dusk."], 1),
]

REFUSALS = [
    "I'm sorry, but I can't help with that.",
    "I’m sorry, but I can’t assist with that request.",
    "I cannot assist with creating this content.",
    "I can't create content that depicts violence. Would you like a different scene?",
    "Sorry, I can't help with that.",
    "As an AI language model, I cannot generate explicit content.",
    "I am unable to fulfill this request.",
    "I'm not able to help with this prompt.",
    "I apologize, but I cannot write a prompt about this subject.",
    "Unfortunately, I can't help with this request because it goes against my guidelines.",
    "I won't write that.",
    "\"I'm sorry, but I can't help with that.\"",
    "<think>Not allowed.</think>I'm sorry, but I can't help with that.<|im_end|>",
    "**I'm sorry, but I can't assist with that.**",
    "抱歉，我无法协助完成这个请求。",
    "对不起，我不能提供这类内容。",
    "作为一个人工智能，我无法生成此类内容。",
    "很抱歉，我不能帮助您创作这个提示词。",
    "Lo siento, pero no puedo ayudarte con eso.",
    "No puedo cumplir con esta solicitud.",
    "申し訳ありませんが、そのリクエストにはお応えできません。",
    "すみませんが、その内容はお手伝いできません。",
    "Je suis désolé, mais je ne peux pas répondre à cette demande.",
    "Es tut mir leid, aber dabei kann ich nicht helfen.",
    "Desculpe, mas não posso ajudar com isso.",
]

EMBEDDED = [
    Row(row["kind"], row["written"], row["right"], row.get("count"))
    for row in json.loads((Path(__file__).parent / "embedded.json").read_text(encoding="utf-8"))
]

# Two more of each kind, written after the code was done.
LATER = [
    *text("preface", "Happy to help! Here is a more cinematic take on your prompt:\n\n{}"),
    *text("preface", "好的，我来帮您优化。优化后的视频提示词如下：\n\n{}", right=ZH),
    *text("quotes", "„{}“"),
    *text("quotes", '"“{}”"', right=ES),
    *text("fence", "Here is the prompt:\n\n~~~markdown\n{}\n~~~\nFeel free to change it.", "````\n{}\n````"),
    *text("label", "**Prompt (enhanced):** {}"),
    *text("label", "**Descripción mejorada:** {}", right=ES),
    *text(
        "tags", "<video_prompt>\n  {}\n</video_prompt>", "Here it is:\n<final_prompt>{}</final_prompt>\nLet me know!"
    ),
    *text("closing", "{}\n\nDoes this work for you?"),
    *text("closing", "{}\n\nもっと暗い雰囲気にしたい場合は、お知らせください。", right=JA),
    *text("end token", "{}<|end_of_text|>", "{}<|eom_id|>assistant\n\n{}"),
    *text("reasoning", "<reflection>Snow.</reflection>\n{}", "<think>Snow, dawn.</think><answer>{}</answer>"),
    *text("json", '{"title": "Fox", "prompt": "{}"}', '["{}"]'),
    *text("combined", "<think>Snow.</think>Sure! Here you go:\n\n> **Prompt:** “{}”\n\nEnjoy!</s>"),
    *text("combined", "もちろんです！\n\n**プロンプト：**\n「{}」\n\nご希望があればお知らせください。", right=JA),
    *unchanged(
        "Three options: a red door, a blue door, a door of light; a hand hesitates.",
        "「申し訳ありません」と書かれた看板が、雨の中で揺れている。",
    ),
    *lines("numbers", "I) %s\nII) %s\nIII) %s", "Take 1 – %s\nTake 2 – %s\nTake 3 – %s"),
    *lines(
        "opening and closing",
        "Great idea! Try one of these:\n\n1. %s\n2. %s\n3. %s\n\nWhich one fits your stream best?",
    ),
    *lines("opening and closing", "好的，这里有三个版本：\n\n%s\n\n%s\n\n%s\n\n您更喜欢哪一个？", right=ZH3),
    *lines(
        "json",
        '{"prompts": [{"label": "A", "text": "%s"}, {"label": "B", "text": "%s"}, {"label": "C", "text": "%s"}]}',
    ),
    *lines("json", "```\n['%s', '%s', '%s']\n```"),
    *lines(
        "titles",
        "1) _Dawn_: %s\n2) _Dusk_: %s\n3) _Night_: %s",
        "#### Dawn\n\n%s\n\n#### Dusk\n\n%s\n\n#### Night\n\n%s",
    ),
    *lines("quotes", "1. “%s”\n\n2. “%s”\n\n3. “%s”", "* «%s»\n* «%s»\n* «%s»", right=ES3),
    *lines("fence", "1.\n```\n%s\n```\n2.\n```\n%s\n```\n3.\n```\n%s\n```", "Here:\n```\n- %s\n- %s\n- %s\n```"),
    *lines(
        "tags and reasoning",
        "<option>%s</option>\n<option>%s</option>\n<option>%s</option>",
        "◁think▷3◁/think▷A) %s\nB) %s\nC) %s",
    ),
    *lines("blocks", "* * *\n%s\n* * *\n%s\n* * *\n%s", "%s\n\n\n%s\n\n\n%s\n\n"),
    Row("several lines", "(1) A fox\nsprints.\n\n(2) A fox\nrests.", ["A fox sprints.", "A fox rests."], 2),
    Row(
        "several lines",
        "- A fox sprints,\n  fast.\n- A fox rests,\n  still.",
        ["A fox sprints, fast.", "A fox rests, still."],
        2,
    ),
    Row("more than wanted", "- red\n- blue\n- green", ["red", "blue"], 2),
    Row("more than wanted", "Option A: red\nOption B: blue\nOption C: green", ["red", "blue"], 2),
    Row("mixed", "1. A fox wakes\n2. A fox runs\n- A fox rests", ["A fox wakes", "A fox runs", "A fox rests"], 3),
    Row("mixed", "1. Dawn\n- A fox wakes\n2. Dusk\n- A fox rests", ["A fox wakes", "A fox rests"], 2),
    Row("single", "Sure! Here's an alternative:\n\nA fox rests at dusk.", ["A fox rests at dusk."], 1),
    Row("single", "**Alternative 1:** “A fox rests at dusk.”", ["A fox rests at dusk."], 1),
]

# Answers written by somebody who had not seen the code, of all the shapes above.
LATER += [
    *text(
        "preface", "I have enhanced your prompt to be more vivid and cinematic.\n\n{}\n\nLet me know what you think!"
    ),
    *text("preface", "✨ Here's your enhanced prompt! ✨\n\n{}", "🎬 **Enhanced Prompt:**\n\n{}"),
    *text("preface", "assistant\n{}", "assistant\n\n{}", "Here is the enhanced prompt:\\n\\n{}", "\ufeff\u200b{}"),
    *text("preface", "好的，我已为您优化了提示词。\n\n{}", right=ZH),
    *text("preface", "はい、承知いたしました。以下のプロンプトをご提案します。\n\n{}", right=JA),
    *text("preface", "He mejorado tu prompt con más detalle visual.\n\n{}", right=ES),
    *text(
        "label",
        "Original prompt: a fox\n\nEnhanced prompt:\n{}",
        "**Original:** a fox\n\n**Enhanced:** {}",
        'Your prompt: "a fox"\n\nEnhanced prompt: {}',
    ),
    *text("label", "【改善後のプロンプト】\n{}", right=JA),
    *text("tags", '<prompt title="fox">{}</prompt>', "<p>{}</p>", "{}<br>", "<br/>\n{}<br />", "\\boxed{{}}"),
    *text("quotes", '"{}', '{}"', "“{}", "**{}"),
    *text("quotes", "「{}", right=JA),
    *text("end token", "{}<|im_end", "{}<|eot_i", "{}</s", "{}<｜end▁of"),
    *text(
        "closing",
        "{}\n\n(98 characters)",
        "{}\n\n*(Approximately 17 words)*",
        "{}\n\n***\n\nWould you like a version at night?",
    ),
    *text("closing", "{}\n\n**优化说明：**\n1. 增加了镜头语言\n2. 增加了光线描写", right=ZH),
    *text("json", '{"original": "a fox", "prompt": "{}", "explanation": "More light."}'),
    *unchanged(
        "Output: a printer spits neon paper across an office.",
        "Answer: silence. A phone rings in an empty hall.",
        "Assistant referees argue in the rain, handheld.",
        'A model train on a wide screen, 27"',
        '"Help!" cries the sailor, "land!" answers the boy.',
        "A hand writes \\n on a chalkboard full of code.",
        "C:\\new folders open by themselves on an old screen.",
        "Rain<br>bow graffiti on a wall, tilt up.",
        "A neon sign flickers: <",
        "A monitor shows `<|im_e",
        "AI: the rise of machines, documentary look.",
        "A cat | a dog | a bird, split screen triptych",
        "**Neon** rain over Tokyo, *slow* zoom",
        "Original: a vinyl cover from 1962 spins, dust in the light.",
        "Original: a vinyl record.\nEnhanced: a hologram of it.",
        "Input: a coin.\nFinal: a vending machine wakes up.",
        "Your prompt arrives late: the actor forgets the line.",
        "Here is your new neighbor! A bear waves.\n\nClose-up on its bow tie.",
        "A box \\boxed{42} on a chalkboard.",
        "1 > A",
        "Scene 1: dawn over a harbor.\nScene 2: dusk over a harbor.",
        "I have improved with age, says the oak; time-lapse of seasons.\n\nThe last leaf falls.",
        "以下之地：一座沉睡的地下城市，火把摇曳。",
    ),
    *lines(
        "numbers",
        *("1 %s\n2 %s\n3 %s", "**1** %s\n**2** %s\n**3** %s", "1/3: %s\n2/3: %s\n3/3: %s", "1| %s\n2| %s\n3| %s"),
        *("1> %s\n2> %s\n3> %s", "<1> %s\n<2> %s\n<3> %s", "<1>%s</1>\n<2>%s</2>\n<3>%s</3>", "1- %s\n2- %s\n3- %s"),
        *("`1.` %s\n`2.` %s\n`3.` %s", "N°1: %s\nN°2: %s\nN°3: %s", "Scene 1: %s\nScene 2: %s\nScene 3: %s"),
        *("Variant 1: %s\nVariant 2: %s\nVariant 3: %s", "1. %s<br>2. %s<br>3. %s", "1. %s\\n2. %s\\n3. %s"),
        *("\ufeff1. %s\n2. %s\n3. %s", "\u200b1. %s\n\u200b2. %s\n\u200b3. %s", '"%s", "%s", "%s"'),
    ),
    *lines("numbers", "【版本一】%s\n【版本二】%s\n【版本三】%s", "（一）%s\n（二）%s\n（三）%s", right=ZH3),
    *lines("numbers", "【案1】%s\n【案2】%s\n【案3】%s", "①%s ②%s ③%s", "・%s\n・%s\n・%s", right=JA3),
    *lines("numbers", "1º %s\n2º %s\n3º %s", "Propuesta 1: %s\nPropuesta 2: %s\nPropuesta 3: %s", right=ES3),
    *lines(
        "table",
        "| # | Prompt |\n|---|---|\n| 1 | %s |\n| 2 | %s |\n| 3 | %s |",
        "Here are three:\n\n| Title | Alternative |\n| :-- | :-- |\n| Dawn | %s |\n| Dusk | %s |\n| Night | %s |",
    ),
    *lines(
        "json",
        '```json\n["%s", "%s", "%s"]',
        '{"original": "a fox", "alternatives": ["%s", "%s", "%s"]}',
    ),
    *lines(
        "tags and reasoning",
        '<option id="1">%s</option>\n<option id="2">%s</option>\n<option id="3">%s</option>',
    ),
    *lines(
        "titles",
        "## 1. Dawn\n\n> %s\n\n## 2. Dusk\n\n> %s\n\n## 3. Night\n\n> %s",
        "1. %s\n   *(Focus: speed)*\n2. %s\n   *(Focus: rest)*\n3. %s\n   *(Focus: depth)*",
    ),
    Row(
        "counts",
        "1 Cat sleeps\n2 Cats chase a ball\n3 Cats stare",
        ["1 Cat sleeps", "2 Cats chase a ball", "3 Cats stare"],
        3,
    ),
    Row(
        "counts",
        "16:9 desert road\n4:3 old film\n1:1 portrait",
        ["16:9 desert road", "4:3 old film", "1:1 portrait"],
        3,
    ),
    Row(
        "counts",
        "A cat | a dog\nA fox | a hare\nA hen | a pig",
        ["A cat | a dog", "A fox | a hare", "A hen | a pig"],
        3,
    ),
    Row(
        "counts",
        "1. Scene 1: dawn. Scene 2: dusk.\n2. Rain<br>bow wall.\n3. A hare.",
        ["Scene 1: dawn. Scene 2: dusk.", "Rain<br>bow wall.", "A hare."],
        3,
    ),
    Row("single", "Scene 1: a harbor at dawn.", ["Scene 1: a harbor at dawn."], 1),
    Row("single", "1 A fox, 2 hares", ["1 A fox, 2 hares"], 1),
    Row("counts", "1-2 foxes play\n2-3 hares run", ["1-2 foxes play", "2-3 hares run"], 2),
    Row("counts", "1-inch screws dance\n2-inch nails march", ["1-inch screws dance", "2-inch nails march"], 2),
    Row("quotes", '"Run!" she yells.\n"Stop!" he yells.', ['"Run!" she yells.', '"Stop!" he yells.'], 2),
    *lines("numbers", "1. %s<br>\n2. %s<br>\n3. %s", "1. %s\\n\\n2. %s\\n\\n3. %s"),
    *lines("table", "| 序号 | 提示词 |\n|---|---|\n| 1 | %s |\n| 2 | %s |\n| 3 | %s |", right=ZH3),
]

UNREADABLE = ["```\n```", '""', "<prompt></prompt>", "Here is the enhanced prompt:", "null", "{}"]
"""Answers with nothing in them: they stay as they are rather than become empty."""

LATER_REFUSALS = [
    "I can't help with creating this kind of video, but I'd be happy to try something else.",
    "No puedo generar contenido de este tipo.",
    "I won't be able to help with this one. It depicts real people in a harmful way.",
    "I can’t provide assistance with that.",
    "Me temo que no puedo ayudarte con eso.",
    "你好，这个问题我暂时无法回答，让我们换个话题再聊聊吧。",
]
