#!/usr/bin/env python3
"""Writes the built-in preferences: pairs, held-out pairs, rankings, prompts to answer and prompts to be judged by.

Run it in any folder; it needs nothing but Python 3.8, the corpus and the instruction data beside it. The same seed
writes the same bytes. It checks every promise made in assets/README.md and fails rather than write a set that breaks
one.

Good answers obey the rule of their task, bad ones break it in the ways in which a model of 1.4 million parameters does
after fine-tuning, about as often as it does: English words in Chinese, wrong lengths, too few places. Good and bad are
made of the same lines and names, so that what tells them apart is the rule.
"""

import collections
import json
import os
import random
import re
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
ASSETS = os.path.join(HERE, "..")

import rules as R  # noqa: E402

SEED = 20240701
JUDGED, HELD, PAIRED, EACH, ASKED = 130, 130, 480, 3, 260
FLIPPED = 0.1

TOWNS = """杭州 北京 上海 南京 苏州 西安 洛阳 成都 武汉 桂林 扬州 广州 天津 长沙 昆明 大理 青岛 厦门 福州 无锡 常州 镇江 徐州
宁波 温州 绍兴 嘉兴 湖州 金华 台州 合肥 黄山 安庆 南昌 九江 济南 泰安 开封 郑州 安阳 南阳 襄阳 荆州 宜昌 岳阳 衡阳 常德
深圳 珠海 南宁 北海 柳州 海口 三亚 重庆 乐山 绵阳 贵阳 丽江 拉萨 咸阳 宝鸡 汉中 兰州 天水 敦煌 西宁 银川 太原 大同 平遥
沈阳 大连 长春 吉林 哈尔滨 长安 江南 金陵 江陵 凉州 山东 山西 河南 河北 湖南 湖北 江西 江东 广陵 会稽 巴陵 汴州 蓬莱
峨眉 天山 庐山 泰山 华山 嵩山 衡山 东山 南山 西山""".split()
# The phrasings that fine-tuning has, and close ones. What is farther away a model of this size takes for something else.
WAYS = ["我想去{}玩，有哪些好玩的地点？", "{}有什么好玩的地方？", "请推荐几个{}的地点。", "我要去{}旅行，你推荐哪里？",
        "我要去{}旅行，有哪些好玩的地点？", "去{}旅行，有哪些好玩的地点？", "我想去{}旅行，你推荐哪里？",
        "我想到{}旅行，你推荐哪里？", "我要到{}旅行，你推荐哪里？", "请推荐几个{}的地方。", "推荐几个{}的地点。"]


def fail(*what):
    raise SystemExit("make.py: " + " ".join(map(str, what)))


def norm(text):
    """Letters and digits only, lower case: what two texts must differ in to count as different."""
    return "".join(ch for ch in text.lower() if ch.isalnum())


def load(*path):
    with open(os.path.join(ASSETS, *path), encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def texts_of(x):
    return [x["prompt"], x["completion"]] if "prompt" in x else [m["content"] for m in x["messages"]]


def prompts_of(x):
    return [x["prompt"]] if "prompt" in x else [m["content"] for m in x["messages"] if m["role"] == "user"]


def lines(text):
    return re.findall(r"[^，。？！；]+[，。？！；]", text)


TASKS = ["zh-en", "en-zh", "translate-free", "rewrite", "qa", "continue", "recite", "chat"]
SFT = {split: [x for t in TASKS for x in load("sft", split, t + ".jsonl")] for split in ("train", "heldout")}
POEMS = load("corpus", "tang300.jsonl") + load("corpus", "poems-short.jsonl")


# ---------------------------------------------------------------- lines of verse

class Couplets:
    """Answers to 续写, good and bad."""

    def __init__(self, rng):
        self.rng = rng
        self.lines = {5: [], 7: []}
        for p in POEMS:
            for l in lines(p["text"]):
                if len(l) - 1 in self.lines and all(map(R.han, l[:-1])) and l[:-1] not in self.lines[len(l) - 1]:
                    self.lines[len(l) - 1].append(l[:-1])
        self.words = english(rng)

    def prompts(self):
        spoken = {norm(l) for split in SFT.values() for x in split for t in texts_of(x)
                  for l in lines(t.split("：", 1)[-1]) + [t]}
        out = []
        for p in POEMS:
            found = lines(p["text"])
            for l in found[:-1]:
                body = l[:-1]
                if l[-1] == "，" and len(body) in (5, 7) and all(map(R.han, body)) and norm(body) not in spoken:
                    out.append("续写：" + l)
        return list(dict.fromkeys(out))

    def line(self, n):
        """A line of n characters as it is, or put together of two, as a small model does."""
        a, b = self.rng.sample(self.lines[n], 2)
        cut = n - 3
        return a if self.rng.random() < 0.4 else a[:cut] + b[cut:]

    def good(self, prompt):
        n = len(prompt) - 4
        while True:
            answer = self.line(n) + "。"
            if not R.couplet(prompt, answer):
                return answer

    def bad(self, prompt, base):
        """`base`, a good answer, or another one, with one fault or two."""
        rng, given = self.rng, prompt[3:-1]
        body = base[:-1] if rng.random() < 0.5 else self.good(prompt)[:-1]
        kind = rng.choices(["foreign", "length", "stop", "repeat", "borrowed", "sentence"], [58, 15, 8, 8, 7, 4])[0]
        at = rng.randrange(len(body))
        stop = "。"
        if kind == "foreign":
            words = "".join(" " + w for w in rng.sample(self.words, rng.choice([1, 1, 1, 2, 3])))
            body = body[:at] + words + body[min(len(body), at + rng.choice([0, 1, 1, 2])):]
            stop = rng.choice("。。。。.")
        elif kind == "length":
            n = len(body)
            cut = rng.choice([1, 1, 1, 2, 3])
            longer = body + "".join(c for c in self.line(n) if c not in body + given)[:cut]
            body = longer if rng.random() < 0.45 else body[:-cut]
        elif kind == "stop":
            stop = rng.choice(["，", "，", "？", "！", ""])
        elif kind == "repeat":
            other = rng.choice([i for i in range(len(body)) if i != at])
            body = body[:at] + body[other] + body[at + 1:]
        elif kind == "borrowed":
            for i in rng.sample(range(len(body)), rng.choice([1, 1, 2])):
                body = body[:i] + rng.choice(given) + body[i + 1:]
        else:
            return rng.choice(SENTENCES)
        return body + stop


def english(rng):
    """English words that the instruction data use often."""
    counts = collections.Counter(w for x in SFT["train"] if x.get("task") == "zh-en"
                                 for w in re.findall(r"[a-z]+", x["completion"]))
    return sorted(w for w, n in counts.items() if n >= 40)


SENTENCES = sorted({x["completion"] for x in SFT["train"] if x.get("task") in ("zh-en", "en-zh")})


# ---------------------------------------------------------------- places

FIRST = "东 西 南 北 青 白 黄 红 长 大 小 天 云 龙 石 金 玉 清 寒 春".split()
LAST = "山 湖 寺 塔 楼 园 城 池 桥 江 林 海 宫 亭 门 堂 路 台".split()
THINGS = "西瓜 面条 雨伞 饺子 帽子 学校 医院 教室 厨房 商店 火车 自行车 朋友 老师 图书馆 牛奶 太阳 星期六".split()


class Places:
    """Answers to requests for places, good and bad."""

    def __init__(self, rng, words):
        self.rng, self.words = rng, words
        self.known = sorted(R.KNOWN)

    def prompts(self):
        seen = {norm(p) for split in SFT.values() for x in split for p in prompts_of(x)}
        chars = {ch for x in SFT["train"] for t in texts_of(x) for ch in t} | {ch for p in POEMS for ch in p["text"]}
        for name in ("classical.txt", "modern-zh.txt"):
            with open(os.path.join(ASSETS, "corpus", name), encoding="utf-8") as f:
                chars.update(f.read())
        towns = [t for t in TOWNS if set(t) <= chars]
        return [p for w in WAYS for p in (w.format(t) for t in towns) if norm(p) not in seen]

    def names(self, n):
        rng = self.rng
        known = rng.randint(1, n)
        out = rng.sample(self.known, known)
        while len(out) < n:
            name = rng.choice(FIRST) + rng.choice(LAST) if rng.random() < 0.7 else rng.choice(THINGS)
            if name not in out:
                out.append(name)
        rng.shuffle(out)
        return out

    def say(self, town, names, joint="和", lead=None, stop="。"):
        rng = self.rng
        if rng.random() < 0.35:
            town = rng.choice(TOWNS)
        text = "、".join(names[:-1]) + joint + names[-1] if len(names) > 1 else names[0]
        kind = rng.randrange(3)
        start = lead if lead is not None else ["{}有", "去{}可以看", "我推荐"][kind].format(town)
        return start + text + ("，都很好玩" if kind == 0 or rng.random() < 0.15 else "") + stop

    def town(self, prompt):
        return next(t for t in sorted(TOWNS, key=len, reverse=True) if t in prompt)

    def good(self, prompt):
        while True:
            answer = self.say(self.town(prompt), self.names(self.rng.choices([3, 4], [5, 1])[0]))
            if not R.places(prompt, answer):
                return answer

    def bad(self, prompt, base):
        rng, town = self.rng, self.town(prompt)
        names = R.names_of(base[:-1])[1] if rng.random() < 0.5 else self.names(3)
        kind = rng.choices(["few", "sentence", "foreign", "stop", "lead", "name", "joint", "repeat", "borrowed", "unknown"],
                           [24, 20, 30, 7, 4, 6, 3, 2, 2, 2])[0]
        at = rng.randrange(len(names))
        if kind == "few":
            few = names[:rng.choice([1, 1, 2])]
            if rng.random() < 0.5:
                few[-1] = rng.choice(THINGS)
            return self.say(town, few)
        if kind == "sentence":
            return rng.choice(SENTENCES)
        if kind == "foreign":
            words = "".join(" " + w for w in rng.sample(self.words, rng.choice([1, 1, 2, 3])))
            names[at] = names[at][:rng.randint(0, len(names[at]))] + words + rng.choice(["", rng.choice(LAST)])
            return self.say(town, names, stop=rng.choice("。。。.?"))
        if kind == "stop":
            return self.say(town, names, stop=rng.choice(["？", "，", "！", "", "."]))
        if kind == "lead":
            return self.say(town, names, lead="")
        if kind == "name":
            more = rng.choice(["可以看", "在很大的", "里没有"]) + rng.choice(self.known)
            names[at] = rng.choice([names[at] + more, rng.choice(LAST)])
            return self.say(town, names)
        if kind == "joint":
            return self.say(town, names, joint="、") if rng.random() < 0.6 else self.say(town, names).replace("、", "和")
        if kind == "repeat":
            names[at] = names[at - 1]
            return self.say(town, names)
        if kind == "borrowed":
            names[at] = town
            return self.say(town, names)
        return self.say(town, rng.sample(THINGS, 3))


# ---------------------------------------------------------------- sets

def make_pair(task, maker, prompt):
    judge = R.RULES[task]
    chosen = maker.good(prompt)
    while True:
        rejected = maker.bad(prompt, chosen)
        if judge(prompt, rejected) and rejected.strip() and rejected != chosen:
            return {"task": task, "prompt": prompt, "chosen": chosen, "rejected": rejected}


def make_ranked(task, maker, prompt):
    """Good, one fault, three faults or more: the order of a person who ranks."""
    judge = R.RULES[task]
    best, middle, worst = maker.good(prompt), None, None
    while middle is None or worst is None:
        x = maker.bad(prompt, best)
        n = len(judge(prompt, x))
        if n == 1:
            middle = middle or x
        elif n >= 3 or n == 2 and maker.rng.random() < 0.05:
            worst = worst or x
    return {"task": task, "prompt": prompt, "ranked": [best, middle, worst]}


# The example every lesson on human feedback has, in our words.
HANGZHOU = {"task": "places", "prompt": "我要去杭州玩，有哪些好玩的地点？",
            "ranked": ["杭州有西湖、灵隐寺和断桥，都很好玩。", "我推荐西湖。", "我不想去杭州"]}


def write(name, rows):
    with open(os.path.join(HERE, name), "w", encoding="utf-8", newline="\n") as f:
        for r in rows:
            f.write(json.dumps(r, ensure_ascii=False) + "\n")


def check(sets):
    trained = {norm(p) for x in SFT["train"] for p in prompts_of(x)}
    asked = {name: [norm(x["prompt"]) for x in rows] for name, rows in sets.items()}
    for name, mine in asked.items():
        if set(mine) & trained:
            fail(name, "asks what fine-tuning trains on:", *list(set(mine) & trained)[:3])
        if name != "pairs" and len(set(mine)) != len(mine):
            fail("asked twice in", name)
        for other, theirs in asked.items():
            if name < other and set(mine) & set(theirs):
                fail(name, "and", other, "ask the same:", *list(set(mine) & set(theirs))[:3])
    for name in ("pairs", "heldout"):
        for x in sets[name]:
            judge = R.RULES[x["task"]]
            good, bad = (x["rejected"], x["chosen"]) if x.get("flipped") else (x["chosen"], x["rejected"])
            if judge(x["prompt"], good) or not judge(x["prompt"], bad):
                fail("label against the rule in", name, x)
            if "flipped" in x and not x["flipped"] or name == "heldout" and x["faults"] != judge(x["prompt"], bad):
                fail("wrong field in", name, x)
    for x in sets["ranked"]:
        n = [len(R.RULES[x["task"]](x["prompt"], a)) for a in x["ranked"]]
        if n[0] or n != sorted(n) or len(set(n)) != 3:
            fail("ranking against the rule:", x, n)
    flipped = sum("flipped" in x for x in sets["pairs"])
    if flipped != round(FLIPPED * len(sets["pairs"])):
        fail("flipped", flipped, "of", len(sets["pairs"]))
    for rows in sets.values():
        if {x["task"] for x in rows} != set(R.RULES):
            fail("a task is missing")


def report(sets):
    for name, rows in sets.items():
        by = collections.Counter(x["task"] for x in rows)
        print(f"{name:8}{len(rows):5}  {dict(by)}  prompts {len({x['prompt'] for x in rows})}"
              f"  bytes {os.path.getsize(os.path.join(HERE, name + '.jsonl'))}")
    print("flipped", sum("flipped" in x for x in sets["pairs"]))
    for task in R.RULES:
        count = collections.Counter(f for x in sets["heldout"] if x["task"] == task for f in x["faults"])
        size = [sum(len(x[s]) for x in sets["heldout"] if x["task"] == task) / HELD for s in ("chosen", "rejected")]
        print(task, "held out:", dict(count.most_common()), "mean length", size)


def main():
    rng = random.Random(SEED)
    couplets = Couplets(rng)
    makers = {"couplet": couplets, "places": Places(rng, couplets.words)}
    sets = {name: [] for name in ("pairs", "heldout", "ranked", "prompts", "judge")}
    for task, maker in makers.items():
        free = [p for p in maker.prompts() if p != HANGZHOU["prompt"]]
        rng.shuffle(free)

        def take(n):
            if len(free) < n:
                fail("too few prompts for", task, len(free))
            return [free.pop() for _ in range(n)]

        sets["judge"] += [{"task": task, "prompt": p} for p in take(JUDGED)]
        for p in take(HELD):
            x = make_pair(task, maker, p)
            sets["heldout"].append(dict(x, faults=R.RULES[task](p, x["rejected"])))
        sets["ranked"] += [make_ranked(task, maker, p) for p in take(6)]
        sets["prompts"] += [{"task": task, "prompt": p} for p in take(ASKED)]
        for p in take(PAIRED):
            made = {}
            while len(made) < EACH:
                x = make_pair(task, maker, p)
                made[x["chosen"], x["rejected"]] = x
            sets["pairs"] += made.values()
        print(task, "prompts left", len(free))
    sets["ranked"].insert(0, HANGZHOU)
    for rows in sets.values():
        rng.shuffle(rows)
    for i in rng.sample(range(len(sets["pairs"])), round(FLIPPED * len(sets["pairs"]))):
        x = sets["pairs"][i]
        sets["pairs"][i] = dict(x, chosen=x["rejected"], rejected=x["chosen"], flipped=True)
    check(sets)
    for name, rows in sets.items():
        write(name + ".jsonl", rows)
    report(sets)


if __name__ == "__main__":
    main()
