#!/usr/bin/env python3
"""Writes the built-in instruction data: train/<task>.jsonl and heldout/<task>.jsonl, one example a line.

Run it in any folder; it needs nothing but Python 3.8 and the corpus beside it. The same seed writes the same bytes.
It checks every promise made in assets/README.md and fails rather than write a set that breaks one.

Order matters: everything to train on is made first; only then are held-out sentences drawn, from the same words and
patterns, refusing whatever training has seen in any task.
"""

import collections
import json
import os
import random
import re
import statistics
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import grammar as G  # noqa: E402
import lexicon as L  # noqa: E402
import talk as T  # noqa: E402

SEED = 20240601
PAIRS, PAIRS_HELD = 4000, 300
LEAST = 25          # training sentences that every word must occur in
CORPUS = os.path.join(HERE, "..", "corpus")


def norm(text):
    """Letters and digits only, lower case: what two texts must differ in to count as different."""
    return "".join(ch for ch in text.lower() if ch.isalnum())


def fail(*what):
    raise SystemExit("make.py: " + " ".join(map(str, what)))


def prompt_of(x):
    if "prompt" in x:
        return x["prompt"]
    return "\n".join(m["content"] for m in x["messages"][:-1])


def answer_of(x):
    return x["completion"] if "completion" in x else x["messages"][-1]["content"]


def texts_of(x):
    if "prompt" in x:
        return [x["prompt"], x["completion"]]
    return [m["content"] for m in x["messages"]]


def sentences_in(text):
    """A text, and the sentence that a request in it is about, normalised."""
    out = {norm(text)}
    for sep in ("：", ": "):
        if sep in text:
            out.add(norm(text.split(sep, 1)[1]))
    for m in re.findall(r"“([^”]*)”|\"([^\"]*)\"", text):
        out.add(norm(m[0] or m[1]))
    if "？" in text:
        out.add(norm(text.split("？", 1)[1]))
    return out


# ---------------------------------------------------------------- translation

class Pairs:
    """Sentence pairs, one to one."""

    def __init__(self, banned):
        self.zh, self.en, self.banned = {}, {}, banned

    def fits(self, x):
        """Whether the pair is new, and not banned. An inconsistent pair is a mistake of the grammar."""
        for one, other, table in ((x.zh, x.en, self.zh), (x.en, x.zh, self.en)):
            if table.get(norm(one), norm(other)) != norm(other):
                fail("two translations of", one, ":", other, "and", table[norm(one)])
        return norm(x.zh) not in self.zh and norm(x.zh) not in self.banned and norm(x.en) not in self.banned

    def add(self, x):
        self.zh[norm(x.zh)] = norm(x.en)
        self.en[norm(x.en)] = norm(x.zh)


def make_pairs(rng, pairs, vocabulary):
    counts = collections.Counter()
    g = G.Grammar(rng, counts)
    out = []

    def missing():
        return [w for w in vocabulary if counts[w] < LEAST + 2]

    while len(out) < PAIRS or missing():
        # Towards the end, only what the words still short of examples need.
        need = set(missing()) if len(out) > PAIRS - 400 else None
        x = G.draw(g, tries=8) if not need else max(
            (G.draw(g, tries=1) for _ in range(40)), key=lambda x: (len(need & set(x.words)), G.rarity(x, counts)))
        if not pairs.fits(x):
            continue
        if len(out) > PAIRS + 300:
            fail("words without enough sentences:", need)
        pairs.add(x)
        G.use(counts, x)
        out.append(x)
    return out, counts


# ---------------------------------------------------------------- rewriting

def rewrite(kind, rng, g):
    """One example of a kind of edit: (prompt, completion, source and target), or None."""
    x = G.draw(g, tries=8)
    c = x.clause
    simple = isinstance(c, G.Clause) and c.tense == "present" and not c.freq
    if kind == "negative":
        if simple and (not c.modal or c.modal[0] in ("会", "应该", "想", "喜欢", "需要", "打算")):
            if "counted" in c.vp.tags or len(x.zh) > 11:
                return None
            target = G.render(c, negative=True)[0] + "。"
        elif isinstance(c, G.Quality):
            target = G.render_quality(c, negative=True)[0] + "。"
        elif isinstance(c, tuple) and c[0] in ("copula", "at"):
            mid = "是" if c[0] == "copula" else "在"
            target = (c[1].zh if isinstance(c[1], G.Subject) else c[1][0]) + "不" + mid + c[2] + "。"
        else:
            return None
        return "改写成否定句：" + x.zh, target, x.zh, target
    if kind == "question":
        if c is None or x.zh[0] == "我" or len(x.zh) > 12:
            return None
        target = x.zh[:-1] + "吗？"
        return "改写成问句：" + x.zh, target, x.zh, target
    if kind in ("future", "past"):
        if not simple or c.modal or c.time or "counted" in c.vp.tags or "state" in c.vp.tags or c.vp.zh_v == "喜欢":
            return None
        if len(x.zh) > 10:
            return None
        s = c.subj.zh
        rest = x.zh[len(s):-1]
        target = s + ("明天要" + rest if kind == "future" else "昨天" + rest + "了") + "。"
        return ("改写成将来：" if kind == "future" else "改写成过去：") + x.zh, target, x.zh, target
    if kind == "swap":
        # One pronoun, which occurs once. 我 is not looked for inside 我们.
        found = re.findall("我们|他们|[我你他她]", x.zh)
        if len(found) != 1 or len(x.zh) > 12:
            return None
        new = rng.choice([p[0] for p in L.PRONOUNS if p[0] != found[0]])
        target = x.zh.replace(found[0], new)
        return f"把“{found[0]}”改成“{new}”：{x.zh}", target, x.zh, target
    raise ValueError(kind)


KINDS = [("negative", 220), ("question", 200), ("future", 160), ("past", 160), ("swap", 240)]


def make_rewrites(rng, counts, refused, share, seen_prompts):
    """`share` of the training numbers. refused(source, target) says whether a sentence may not be used."""
    out = []
    g = G.Grammar(rng, collections.Counter(counts))
    for kind, number in KINDS:
        n = 0
        while n < round(number * share):
            r = rewrite(kind, rng, g)
            if not r or refused(r[2], r[3]) or norm(r[0]) in seen_prompts:
                continue
            seen_prompts.add(norm(r[0]))
            out.append({"task": "rewrite", "prompt": r[0], "completion": r[1]})
            n += 1
    rng.shuffle(out)
    return out


# ---------------------------------------------------------------- free requests

ZH_EN = ["把这句话翻译成英文：{}", "请把下面的句子译成英语：{}", "“{}”用英语怎么说？", "请翻译成英文：{}",
         "Translate into English: {}"]
EN_ZH = ["把这句话翻译成中文：{}", "请把下面的句子译成中文：{}", "“{}”用中文怎么说？", 'How do you say "{}" in Chinese?',
         "Please translate into Chinese: {}"]
UNSEEN = [("zh", "用英文说：{}"), ("zh", "这句话的英文是什么？{}"), ("en", "In Chinese, please: {}")]


def bare_fits(x):
    """A sentence that stands alone is translated; what could be meant for the assistant is left to chat."""
    if x.zh[-1] == "？" or re.search("你|请|不要", x.zh) or re.search(r"\byou", x.en.lower()):
        return False
    return not x.frame.startswith("person-quality") or x.zh[0] != "我"


def free(phrase, x, to_english):
    one, other = (x.zh, x.en) if to_english else (x.en, x.zh)
    if "{}”" in phrase or '{}"' in phrase:
        one = one.rstrip("。.")
    return {"task": "translate-free", "prompt": phrase.format(one), "completion": other}


def make_free_train(rng, pairs):
    order = list(pairs)
    rng.shuffle(order)
    bare = [x for x in order if bare_fits(x)][:400]
    used = {x.zh for x in bare}
    rest = [x for x in order if x.zh not in used]
    out = [free("{}", x, i % 2 == 0) for i, x in enumerate(bare)]
    for i in range(500):
        out.append(free((ZH_EN if i % 2 == 0 else EN_ZH)[i // 2 % 5], rest[i], i % 2 == 0))
    rng.shuffle(out)
    return out


def make_free_held(rng, pairs):
    order = list(pairs)
    rng.shuffle(order)
    bare = [x for x in order if bare_fits(x)][:66]
    used = {x.zh for x in bare}
    rest = [x for x in order if x.zh not in used][:134]
    out = [dict(free("{}", x, i % 2 == 0), task="translate-bare") for i, x in enumerate(bare)]
    for i, x in enumerate(rest[:67]):
        out.append(dict(free((ZH_EN if i % 2 == 0 else EN_ZH)[i // 2 % 5], x, i % 2 == 0), task="translate-paraphrase"))
    for i, x in enumerate(rest[67:]):
        lang, phrase = UNSEEN[i % 3]
        out.append(dict(free(phrase, x, lang == "zh"), task="translate-unseen"))
    rng.shuffle(out)
    return out


# ---------------------------------------------------------------- demonstrations

def demonstrations():
    """The README's demonstrations, made by the grammar itself: proof that it derives them."""
    pron = {p[0]: G.pronoun(p) for p in L.PRONOUNS}
    modal = {m[0]: m for m in L.MODALS}
    place = {p[0]: (p[0], p[2], [p[0]]) for p in L.PLACES}
    verb = {v[0]: v for v in L.VERBS}

    def vp(v, o, o_en):
        if not any(o in G.Grammar(None, None).object_pool(x[4]) for x in L.VERBS if x[0] == v):
            fail("no such object:", v, o)
        return G.VP(v, o, verb[v][1], o_en, [v, o], [])

    mother = G.kin(L.PRONOUNS[0], L.KIN[0])
    good = next(x for x in L.ADJECTIVES if x[0] == "好")
    weather = G.quality("", ("今天天气", "the weather", ["今天", "天气"]), good)
    tea = G.statement("", G.clause(pron["我"], vp("喝", "茶", "tea"), modal=modal["喜欢"]))
    return [
        tea,
        weather._replace(en=weather.en[:-1] + " today."),
        G.statement("", G.clause(pron["她"], vp("学习", "英语", "English"), place=place["学校"])),
        G.question("", G.clause(pron["你"], G.VP("去", "", "go", "", ["去"], ["go"]), modal=modal["想"]), "where"),
        G.statement("", G.clause(mother, vp("做", "晚饭", "dinner"), "prog")),
    ]


# ---------------------------------------------------------------- writing and checking

def write(split, task, rows):
    folder = os.path.join(HERE, split)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, task + ".jsonl"), "w", encoding="utf-8", newline="\n") as f:
        for r in rows:
            f.write(json.dumps(r, ensure_ascii=False) + "\n")


def vocabulary_of_lexicon():
    """Every word that the grammar can use, found by letting it talk."""
    g = G.Grammar(random.Random(1), collections.Counter())
    for _ in range(6000):
        G.use(g.counts, G.draw(g))
    return sorted(w for w in g.counts if not w.startswith("frame:"))


def check(train, held, pairs, held_pairs, counts, vocabulary, banned):
    # Nothing asked in both, no sentence of the held-out translation and rewriting in any training file.
    seen, prompts = set(), set()
    for rows in train.values():
        for x in rows:
            prompts.add(norm(prompt_of(x)))
            for t in texts_of(x):
                seen |= sentences_in(t)
    for task, rows in held.items():
        for x in rows:
            if norm(prompt_of(x)) in prompts:
                fail("asked in training too:", prompt_of(x))
    for x in held_pairs:
        if norm(x.zh) in seen or norm(x.en) in seen:
            fail("held-out sentence in training:", x.zh)
    for x in held["rewrite"]:
        if norm(re.split("：|: ", x["prompt"], maxsplit=1)[1]) in seen or norm(x["completion"]) in seen:
            fail("held-out rewriting in training:", x["prompt"])
    # Each prompt once in a file; demonstrations nowhere; no answer above 2%.
    for split in (train, held):
        for task, rows in split.items():
            mine = [norm(prompt_of(x)) for x in rows]
            if len(set(mine)) != len(mine):
                fail("asked twice in", task, [p for p, n in collections.Counter(mine).items() if n > 1][:3])
            for x in rows:
                for t in texts_of(x):
                    if sentences_in(t) & banned:
                        fail("demonstration in", task, ":", t)
                    if "\n" in t or t != t.strip() or not t:
                        fail("stray space in", task, repr(t))
                    if re.search(r"[\u4e00-\u9fff][,.?!:]", t) or "  " in t:
                        fail("half-width punctuation in", task, t)
            answer, n = collections.Counter(answer_of(x) for x in rows).most_common(1)[0]
            # A poem to recite is asked for in every phrasing, so its text is the answer each time.
            limit = 4 if task == "recite" else max(0.02 * len(rows), 2)
            if n > limit:
                fail("answer too common in", task, ":", answer, n, "of", len(rows))
    # Words.
    short = [(w, counts[w]) for w in vocabulary if counts[w] < LEAST]
    if short or not 300 <= len(vocabulary) <= 380:
        fail("words:", len(vocabulary), short)
    frames = {x.frame for x in pairs}
    for x in held_pairs:
        if x.frame not in frames or any(counts[w] < LEAST for w in x.words):
            fail("held-out sentence of untrained make:", x)


def report(train, held, counts, vocabulary, pairs):
    print(f"{'task':16}{'train':>7}{'bytes':>9}{'held':>6}{'bytes':>8}")
    total = [0, 0]
    for task in train:
        sizes = [os.path.getsize(os.path.join(HERE, s, task + ".jsonl")) for s in ("train", "heldout")]
        total = [a + b for a, b in zip(total, sizes)]
        print(f"{task:16}{len(train[task]):7}{sizes[0]:9}{len(held[task]):6}{sizes[1]:8}")
    print(f"{'all':16}{sum(map(len, train.values())):7}{total[0]:9}{sum(map(len, held.values())):6}{total[1]:8}")
    uses = sorted(counts[w] for w in vocabulary)
    print(f"words {len(vocabulary)}, sentences a word: least {uses[0]}, median {statistics.median(uses)}, most {uses[-1]};"
          f" patterns {len({x.frame for x in pairs})} of {len(G.FRAMES)} frames")
    print("mean length: Chinese", round(statistics.mean(len(x.zh) for x in pairs), 1), "English",
          round(statistics.mean(len(x.en) for x in pairs), 1))
    known = collections.Counter()
    for f in os.listdir(CORPUS):
        with open(os.path.join(CORPUS, f), encoding="utf-8") as h:
            known.update(h.read())
    used = collections.Counter(ch for rows in list(train.values()) + list(held.values()) for x in rows
                               for t in texts_of(x) for ch in t)
    print("characters not in the corpus:", {ch: n for ch, n in used.items() if ch not in known} or "none")
    print("only once in the corpus, here often:", {ch: n for ch, n in used.most_common() if known[ch] == 1 and n >= 10})


def main():
    rng = random.Random(SEED)
    vocabulary = vocabulary_of_lexicon()
    demos = demonstrations()
    with open(os.path.join(HERE, "demonstrations.txt"), encoding="utf-8") as f:
        listed = f.read().splitlines()
    made = {y for x in demos for y in (x.zh, x.en)}
    for x in listed:
        if x not in made:
            fail("demonstration not derived by the grammar:", x)
    banned = {norm(y) for y in made}

    pairs = Pairs(banned)
    translation, counts = make_pairs(rng, pairs, vocabulary)
    for d in demos:
        for w in d.words:
            if counts[w] < LEAST:
                fail("word of a demonstration not trained:", w)
    train, held = {}, {}
    order = list(translation)
    rng.shuffle(order)
    train["zh-en"] = [{"task": "zh-en", "prompt": "翻译：" + x.zh, "completion": x.en} for x in order]
    rng.shuffle(order)
    train["en-zh"] = [{"task": "en-zh", "prompt": "翻译：" + x.en, "completion": x.zh} for x in order]
    train["translate-free"] = make_free_train(rng, translation)
    asked = set()
    train["rewrite"] = make_rewrites(rng, counts, lambda s, t: norm(s) in banned or norm(t) in banned, 1, asked)
    T.make(rng, train, held)

    seen = set(banned)
    for rows in train.values():
        for x in rows:
            for t in texts_of(x):
                seen |= sentences_in(t)
    # Held-out sentences come from the same grammar, drawn without the pull towards rare words that evened training out.
    g = G.Grammar(rng, collections.Counter(counts))
    held_pairs = []
    while len(held_pairs) < PAIRS_HELD:
        x = G.draw(g, tries=8)
        if pairs.fits(x) and norm(x.zh) not in seen and norm(x.en) not in seen and x.frame in {y.frame for y in translation}:
            pairs.add(x)
            G.use(g.counts, x)
            held_pairs.append(x)
    held["zh-en"] = [{"task": "zh-en", "prompt": "翻译：" + x.zh, "completion": x.en} for x in held_pairs]
    rng.shuffle(held_pairs)
    held["en-zh"] = [{"task": "en-zh", "prompt": "翻译：" + x.en, "completion": x.zh} for x in held_pairs]
    held["translate-free"] = make_free_held(rng, held_pairs)
    held["rewrite"] = make_rewrites(rng, counts, lambda s, t: norm(s) in seen or norm(t) in seen, 1 / 6, asked)

    check(train, held, translation, held_pairs, counts, vocabulary, banned)
    for task in train:
        write("train", task, train[task])
        write("heldout", task, held[task])
    report(train, held, counts, vocabulary, translation)


if __name__ == "__main__":
    main()
