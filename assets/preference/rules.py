"""The two rules, as in src/data/rules.rs: what is right about an answer, known to the judge alone.

Each returns the list of conditions that the answer breaks; an empty list is a good answer. A test in Rust checks that
both programs say the same of every held-out answer.
"""

FINAL = "。，？！；"
STOPS = "。！？；：\n"


def han(ch):
    return "\u4e00" <= ch <= "\u9fff"


def couplet(prompt, answer, ended=True):
    """One line of verse that goes with the prompt's."""
    line = prompt.rsplit("：", 1)[-1]
    given = [ch for ch in line if han(ch)]
    faults = [] if ended else ["end"]
    body = answer
    if answer.endswith("。"):
        body = answer[:-1]
    else:
        faults.append("stop")
        if body and body[-1] in FINAL:
            body = body[:-1]
    chars = [ch for ch in body if han(ch)]
    if len(chars) != len(body):
        faults.append("foreign")
    if len(chars) != len(given):
        faults.append("length")
    if len(set(chars)) < len(chars):
        faults.append("repeat")
    if set(chars) & set(given):
        faults.append("borrowed")
    return faults


LEADS = ["有", "看", "推荐"]
FEWEST, SHORTEST, LONGEST = 3, 2, 6
# The places that the built-in conversations tell of.
KNOWN = set("西湖 灵隐寺 断桥 长城 故宫 天坛 外滩 豫园 南京路 中山陵 夫子庙 明城墙 虎丘 寒山寺 园林 大雁塔 华清池 钟楼 龙门 白马寺 "
            "牡丹园 杜甫草堂 武侯祠 青城山 黄鹤楼 东湖 长江 漓江 阳朔 七星岩".split())


def names_of(body):
    """The words before the list, and its names."""
    head, comma, tail = body.rpartition("，")
    if comma and tail and all(map(han, tail)):
        body = head
    names = body.replace("和", "、").split("、")
    at = max((names[0].rfind(w) + len(w) for w in LEADS if w in names[0]), default=0)
    lead, names[0] = names[0][:at], names[0][at:]
    return lead, names, body


def places(prompt, answer, ended=True):
    """A sentence that names three different places or more."""
    faults = [] if ended else ["end"]
    body = answer
    if answer.endswith("。"):
        body = answer[:-1]
    if body == answer or any(ch in STOPS for ch in body):
        faults.append("stop")
    if not all(han(ch) or ch in "、，" + STOPS for ch in body):
        faults.append("foreign")
    lead, names, text = names_of(body)
    if not lead:
        faults.append("lead")
    if len(names) < FEWEST:
        faults.append("few")
    else:
        joints = [ch for ch in text if ch in "、和"]
        if joints[-1] != "和" or "和" in joints[:-1]:
            faults.append("joint")
        if any(not SHORTEST <= len(n) <= LONGEST for n in names):
            faults.append("name")
        if len(set(names)) < len(names):
            faults.append("repeat")
        if any(n and n in prompt for n in names):
            faults.append("borrowed")
        if not any(n in KNOWN for n in names):
            faults.append("unknown")
    return faults


RULES = {"couplet": couplet, "places": places}
