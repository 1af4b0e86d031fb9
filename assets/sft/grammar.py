"""Sentence pairs, Chinese and English, built from the words of lexicon.py.

The mapping is meant to be learnt and scored by exact match, so it is one to one. The policy:

- A plain object is a bare plural or a mass noun (吃苹果, "eat apples"), or, with verbs that take one known thing,
  has "the" (打开门, "open the door"). A plain subject has "the" (书在桌子上, "The book is on the table.").
- 一 with a measure word is "a" or "an". 他是医生 and 他没有手机 have "a" in English and nothing in Chinese.
- 很 is the plain "is" of a quality, 非常 is "very", 太…了 is "too".
- Present is plain, 正在 is "is …ing", 要 (with a time) is "will", 昨天…了 is the past, 没 its negation.
- Time stands after the subject in Chinese and last in English; place before time.
- 他 is "he", 她 is "she"; 你们 and 她们 do not occur.

Every sentence carries the list of lexicon words it is made of, so that words can be counted and evened out.
"""

import re
from collections import namedtuple

import lexicon as L

# frame: name of the pattern. form: what `Clause` made it, for rewriting; else None.
Sentence = namedtuple("Sentence", "zh en words frame clause")

NOUN = {n[0]: n for n in L.NOUNS}
BY_TAG = {}
for _n in L.NOUNS:
    for _t in _n[4].split():
        BY_TAG.setdefault(_t, []).append(_n[0])
PLACE = {p[0]: p for p in L.PLACES}
GOALS = [p for p in L.PLACES if p[3]]
ROOMS = [p for p in L.PLACES if p[1] and "city" not in p[4]]
TRADE = [t[0] for t in L.TRADES]


# ---------------------------------------------------------------- English forms

def verb_form(verb, form):
    """The first word of `verb` in a form: 0 third person, 1 -ing, 2 past."""
    head, _, rest = verb.partition(" ")
    if head in L.FORMS:
        out = L.FORMS[head][form]
    elif form == 0:
        if re.search(r"[^aeiou]y$", head):
            out = head[:-1] + "ies"
        else:
            out = head + ("es" if re.search(r"(s|sh|ch|x|o)$", head) else "s")
    else:
        stem = head
        if form == 2 and re.search(r"[^aeiou]y$", head):
            stem = head[:-1] + "i"
        elif head.endswith("e"):
            stem = head[:-1]
        out = stem + ("ing" if form == 1 else "ed")
    return out + (" " + rest if rest else "")


def a(phrase):
    return ("an " if phrase[0] in "aeio" or phrase.startswith("umb") else "a ") + phrase


def sentence(text, mark="."):
    return text[0].upper() + text[1:] + mark


# ---------------------------------------------------------------- noun phrases
# A phrase is (zh, en, words).

def generic(noun):
    n = NOUN[noun]
    return noun, n[2] or n[1], [noun]


def definite(noun):
    return noun, "the " + NOUN[noun][1], [noun]


def counted(number, noun, adj=None):
    """两只猫, two cats; 一杯茶, a cup of tea; 三个红色的苹果, three red apples."""
    n = NOUN[noun]
    num_zh, num_en = number
    adj_zh, adj_en, adj_words = adj or ("", "", [])
    head = adj_en + " " if adj else ""
    if n[3] in L.CONTAINERS:
        one, many = L.CONTAINERS[n[3]]
        en = (one if num_zh == "一" else many) + " of " + head + (n[2] or n[1])
    else:
        en = head + (n[1] if num_zh == "一" else n[2])
    en = a(en) if num_zh == "一" else num_en + " " + en
    return num_zh + n[3] + adj_zh + noun, en, [num_zh, n[3]] + adj_words + [noun]


def pointed(this, noun):
    """这只猫, this cat; 那杯茶, that cup of tea."""
    n = NOUN[noun]
    en = L.CONTAINERS[n[3]][0] + " of " + n[1] if n[3] in L.CONTAINERS else n[1]
    return this + n[3] + noun, {"这": "this ", "那": "that "}[this] + en, [this, n[3], noun]


def owned(pron, noun):
    return pron[0] + "的" + noun, pron[3] + " " + NOUN[noun][1], [pron[0], "的", noun]


def attributive(adj):
    """Whether it can stand right before a noun: 大, 红色的, but not 慢."""
    return adj is not None and (len(adj[0]) > 1 or adj[0] in "大小新旧好甜酸")


def attribute(adj):
    """Before a noun: 大, 红色的."""
    zh = adj[0] if len(adj[0]) == 1 else adj[0] + "的"
    return zh, adj[1], [adj[0]] + (["的"] if len(adj[0]) > 1 else [])


Subject = namedtuple("Subject", "zh en obj third be words pron")


def pronoun(p):
    return Subject(p[0], p[1], p[2], p[5], p[4], [p[0]], p)


def kin(p, k):
    en = p[3] + " " + k[1]
    return Subject(p[0] + k[0], en, en, True, "is", [p[0], k[0]], None)


def person(p, k):
    en = p[3] + " " + k[1]
    return Subject(p[0] + "的" + k[0], en, en, True, "is", [p[0], "的", k[0]], None)


def trade(k):
    return Subject(k[0], "the " + k[1], "the " + k[1], True, "is", [k[0]], None)


CHILDREN = Subject("孩子们", "the children", "the children", False, "are", ["孩子们"], None)
WHO = Subject("谁", "who", "who", True, "is", ["谁"], None)


# ---------------------------------------------------------------- clauses

# zh_v, zh_o, en_v, en_o: verb and object; tags: see lexicon
VP = namedtuple("VP", "zh_v zh_o en_v en_o words tags")


def vp_en(vp, head=None):
    return (head or vp.en_v) + (" " + vp.en_o if vp.en_o else "")


# An adverb is (zh, en, words). tense: present, past, future, prog. modal: an entry of L.MODALS or None.
Clause = namedtuple("Clause", "subj vp tense modal time freq place comp")


def clause(subj, vp, tense="present", modal=None, time=None, freq=None, place=None, comp=None):
    return Clause(subj, vp, tense, modal, time, freq, place, comp)


def render(c, negative=False, question=False, gap=None):
    """A clause in both languages, without final mark. gap: the wh-word ("what", "where", "when", "why", "how")."""
    s, vp = c.subj, c.vp
    words = list(s.words)
    # Chinese: subject, time, adverb, not, modal, company, place, verb, object
    zh = s.zh
    if gap in ("when", "why", "how"):
        asked = {"when": "什么时候", "why": "为什么", "how": "怎么"}[gap]
        zh += asked
        words.append(asked)
    if c.time:
        zh += c.time[0]
        words += c.time[2]
    if c.freq:
        zh += c.freq[0]
        words += c.freq[2]
    if negative:
        zh += "没" if c.tense == "past" else "不"
        words.append("没" if c.tense == "past" else "不")
    if c.tense == "prog":
        zh += "正在"
        words.append("正在")
    if c.tense == "future":
        zh += "要"
        words.append("要")
    if c.modal:
        zh += c.modal[0]
        words.append(c.modal[0])
    if c.comp:
        zh += "和" + c.comp.zh + "一起"
        words += ["和", "一起"] + c.comp.words
    if gap == "where" and vp.zh_v != "去":
        zh += "在哪里"
        words += ["在", "哪里"]
    elif c.place:
        zh += ("" if c.tense == "prog" else "在") + c.place[0]
        words += c.place[2] + ([] if c.tense == "prog" else ["在"])
    zh += vp.zh_v
    words += vp.words
    bare = c.tense == "past" and not negative
    if gap == "what":
        zh += ("了" if bare else "") + "什么"
        words += ["什么"] + (["了"] if bare else [])
    elif gap == "where" and vp.zh_v == "去":
        zh += "哪里"
        words += ["哪里"]
    elif bare and vp.zh_o and "counted" in vp.tags:
        zh += "了" + vp.zh_o
        words.append("了")
    else:
        zh += vp.zh_o + ("了" if bare else "")
        words += ["了"] if bare else []
    if question and not gap and s is not WHO:
        zh += "吗"
        words.append("吗")
    # English
    obj = "" if gap == "what" or (gap == "where" and vp.zh_v == "去") else vp.en_o
    base = vp.en_v + (" " + obj if obj else "")
    invert = question and s is not WHO
    head = ""            # the auxiliary that is inverted or negated
    main = base
    if c.tense == "prog":
        head, main = s.be, verb_form(base, 1)
    elif c.tense == "future":
        head = "will"
    elif c.modal and c.modal[2] == "aux":
        head = c.modal[1]
    else:
        if c.modal:
            base = c.modal[1] + " to " + base
            main = base
        if c.tense == "past":
            head = "did" if negative or invert else ""
            main = base if head else verb_form(base, 2)
        else:
            head = ("does" if s.third else "do") if negative or invert else ""
            main = base if head or not s.third else verb_form(base, 0)
    freq = c.freq[1] + " " if c.freq else ""
    neg = ""
    if negative:
        neg = "not "
    if invert:
        en = f"{head} {s.en} {freq}{neg}{main}"
    elif head == "can" and negative:
        en = f"{s.en} cannot {main}"
    else:
        en = f"{s.en} {head + ' ' if head else ''}{freq}{neg}{main}"
    if c.comp:
        en += " with " + c.comp.obj
    if c.place and gap != "where":
        en += " " + c.place[1]
    if c.time:
        en += " " + c.time[1]
    if gap:
        en = gap + " " + en
    return zh, en, words


def statement(frame, c, negative=False):
    zh, en, words = render(c, negative=negative)
    return Sentence(zh + "。", sentence(en), words, frame, None if negative else c)


def question(frame, c, gap=None):
    if c.subj.en in ("I", "we") and not (c.modal and c.modal[0] in ("可以", "应该", "需要")):
        return None  # "Do I drink tea?"
    zh, en, words = render(c, question=True, gap=gap)
    return Sentence(zh + "？", sentence(en, "?"), words, frame, None)


# Qualities: subject is a phrase (zh, en, words) or a Subject
Quality = namedtuple("Quality", "subj be adj degree time")


def render_quality(q, negative=False, question=False):
    s = q.subj
    zh_s, en_s, words = (s.zh, s.en, list(s.words)) if isinstance(s, Subject) else (s[0], s[1], list(s[2]))
    adj_zh, adj_en = q.adj[0], q.adj[1]
    words.append(adj_zh)
    color = q.adj[3] == "color"
    if q.time:
        zh_s += q.time[0]
        words += q.time[2]
    if color:
        zh = zh_s + ("不" if negative else "") + "是" + adj_zh + "的"
        words += ["是", "的"] + (["不"] if negative else [])
    elif negative:
        zh = zh_s + "不" + adj_zh
        words.append("不")
    else:
        degree = {"": "很", "very": "非常", "too": "太"}[q.degree]
        zh = zh_s + degree + adj_zh + ("了" if q.degree == "too" else "")
        words += [degree] + (["了"] if q.degree == "too" else [])
    rest = (q.degree + " " if q.degree else "") + adj_en + (" " + q.time[1] if q.time else "")
    if question:
        zh += "吗"
        words.append("吗")
        en = f"{q.be} {en_s} {rest}"
    else:
        en = f"{en_s} {q.be} {'not ' if negative else ''}{rest}"
    return zh, en, words


def quality(frame, subj, adj, degree="", time=None, negative=False, ask=False):
    be = subj.be if isinstance(subj, Subject) else "is"
    q = Quality(subj, be, adj, degree, time)
    zh, en, words = render_quality(q, negative, ask)
    keep = q if not negative and not ask and not degree else None
    return Sentence(zh + ("？" if ask else "。"), sentence(en, "?" if ask else "."), words, frame, keep)


# ---------------------------------------------------------------- drawing slots

class Grammar:
    """Draws sentences. `rng` decides, `counts` (word → uses so far) pulls towards rare words."""

    def __init__(self, rng, counts):
        self.rng, self.counts = rng, counts

    def pick(self, items, key=lambda x: x[0] if isinstance(x, tuple) else x):
        """One of `items`, the rarer words being likelier."""
        items = list(items)
        weights = [1.0 / (4 + self.counts[key(i)]) ** 2 for i in items]
        return self.rng.choices(items, weights)[0]

    def chance(self, p):
        return self.rng.random() < p

    # people

    def pron(self):
        return self.rng.choices(L.PRONOUNS, [6, 4, 6, 6, 3, 3])[0]

    def subject(self, you=True, third=False):
        r = self.rng.random()
        if r < 0.62:
            while True:
                p = self.pron()
                if (you or p[0] != "你") and (not third or p[5]):
                    return pronoun(p)
        if r < 0.77:
            return kin(self.pron(), self.pick(L.KIN))
        if r < 0.86:
            return person(self.pron(), self.pick(L.PEOPLE))
        if r < 0.97 or third:
            return trade(self.pick(L.TRADES))
        return CHILDREN

    def other(self, subj):
        """Someone else than the subject."""
        while True:
            s = self.subject()
            if not set(s.words) & set(subj.words):
                if s.en in ("he", "she", "they") and subj.en in ("he", "she", "they"):
                    continue
                if s.en.split()[0] == "you" and subj.en == "you":
                    continue
                return s

    # verbs

    def act(self, without="", with_=""):
        pool = [x for x in L.ACTS if not set(x[2].split()) & set(without.split())
                and set(with_.split()) <= set(x[2].split())]
        zh, en, tags = self.pick(pool)
        return VP(zh, "", en, "", [zh], tags.split())

    def object_pool(self, specs):
        out = []
        for s in specs:
            if s == "@subject":
                out += [x[0] for x in L.SUBJECTS]
            elif s == "@lang":
                out += [x[0] for x in L.SUBJECTS if "lang" in x[2]]
            elif s[0] == "@":
                out += [p[0] for p in L.PLACES if s[1:] in p[4].split()]
            elif s[0] == "#":
                out += BY_TAG[s[1:]]
            else:
                out.append(s)
        return list(dict.fromkeys(out))

    def doing(self, without="", rich=True):
        """A verb with its object."""
        pool = [v for v in L.VERBS if not set(v[3].split()) & set(without.split())]
        v = self.rng.choices(pool, [(len(self.object_pool(x[4])) ** 0.6) / (20 + self.counts[x[0]]) for x in pool])[0]
        zh, en, policy, tags, specs = v
        o = self.pick(self.object_pool(specs))
        subj = {x[0]: x for x in L.SUBJECTS}
        tags = tags.split()
        if specs[0] in ("@subject", "@lang"):
            phrase = (o, subj[o][1], [o])
        elif specs[0] in ("@clean", "@visit"):
            phrase = (o, PLACE[o][1], [o])
        else:
            phrase = generic(o) if policy == "G" else definite(o)
            r = self.rng.random()
            n = NOUN[o]
            if rich and n[3] and zh in ("吃", "喝", "买", "卖", "画", "写", "种", "借", "听", "讲", "看") and r < 0.35:
                phrase = counted(self.pick(L.NUMBERS), o)
                tags.append("counted")
            elif rich and policy == "D" and r < 0.3 and n[2] and o not in ("盘子",):
                phrase = owned(self.pron(), o)
            elif rich and policy == "D" and r < 0.5 and n[3]:
                phrase = pointed(self.pick(["这", "那"]), o)
        return VP(zh, phrase[0], en, phrase[1], [zh] + phrase[2], tags)

    def vp(self, without="", rich=True):
        """Any verb phrase without a goal."""
        r = self.rng.random()
        if r < 0.4:
            return self.act(without)
        return self.doing(without, rich)

    def going(self, goal=None):
        p = goal or self.pick(GOALS)
        return VP("去", p[0], "go", p[3], ["去", p[0]], ["noplace", "noprog", "go"])

    # adverbs

    def time(self, tense):
        return self.adverb(self.pick([t for t in L.TIMES if tense in t[2]]))

    @staticmethod
    def adverb(t):
        return t[0], t[1], [t[0]]

    def place(self):
        p = self.pick([p for p in L.PLACES])
        return p[0], p[2], [p[0]]

    def clock(self):
        """每天六点, 每天早上七点."""
        day = self.pick(["每天", "早上", "下午", "晚上"])
        hours = {"每天": (0, 10), "早上": (4, 10), "下午": (0, 6), "晚上": (5, 10)}[day]
        zh, en = self.pick(L.HOURS[hours[0]:hours[1]])
        if day == "每天":
            return f"每天{zh}点", f"at {en} every day", ["每天", zh, "点"]
        eng = {"早上": "morning", "下午": "afternoon", "晚上": "evening"}[day]
        return f"每天{day}{zh}点", f"at {en} every {eng}", ["每天", day, zh, "点"]

    def modal(self, kind=None):
        return self.pick([m for m in L.MODALS if kind in (None, m[2])])

    def fond(self):
        return next(m for m in L.MODALS if m[0] == "喜欢")

    def able(self, modal):
        """A verb phrase that goes with a modal: only skills go with 会."""
        if modal[0] == "会":
            while True:
                v = self.vp(rich=False)
                if "skill" in v.tags or v.zh_v in ("做", "画", "修", "教", "写"):
                    return v
        return self.going() if self.chance(0.12) else self.vp("bad", rich=modal[0] != "喜欢")

    # things

    def noun(self, *tags, count=False):
        pool = list(dict.fromkeys(n for t in tags for n in BY_TAG[t]))
        return self.pick([n for n in pool if not count or NOUN[n][3]])

    def thing(self, count=False):
        return self.noun("thing", "animal", "plant", "read", "fruit", "wear", count=count)

    def adj_for(self, noun, compare=False):
        tags = set(NOUN[noun][4].split())
        pool = [x for x in L.ADJECTIVES if set(x[3].split()) & tags and (x[2] or not compare)]
        if not compare and tags & {"wear", "vehicle", "plant", "small"}:
            pool += [x for x in L.ADJECTIVES if x[3] == "color"]
        return self.pick(pool) if pool else None

    def adj(self, tag, compare=False):
        return self.pick([x for x in L.ADJECTIVES if tag in x[3].split() and (x[2] or not compare)])

    def spot(self):
        """桌子上, on the table."""
        zh, en, nouns = self.rng.choice(L.RELATIVE)
        n = self.pick(nouns)
        phrase = PLACE[n][1] if n in PLACE else "the " + NOUN[n][1]
        return n + zh, en + " " + phrase, [n, zh]

    def some_place(self):
        """A place for 在: a room, a town, or near a thing."""
        if self.chance(0.45):
            return self.spot()
        p = self.pick([p for p in L.PLACES])
        return p[0], p[2], [p[0]]


# ---------------------------------------------------------------- frames
# Each takes a Grammar and returns a Sentence (or None to try again).

FRAMES = {}


def frame(weight):
    def deco(f):
        FRAMES[f.__name__.replace("_", "-")] = (f, weight)
        return f
    return deco


def plain(g, without="", rich=True):
    return g.subject(), g.vp(without, rich)


@frame(3)
def habit(g):  # 他们卖花。
    s, v = plain(g)
    return statement("habit", clause(s, v))


@frame(5)
def habit_time(g):  # 我早上喝茶。
    s, v = plain(g)
    return statement("habit-time", clause(s, v, time=g.time("p")))


@frame(4)
def habit_often(g):  # 他常常跑步。
    s, v = plain(g)
    return statement("habit-often", clause(s, v, freq=g.adverb(g.pick(L.FREQUENCY))))


@frame(4)
def habit_place(g):  # 她在公园跑步。
    s, v = plain(g, "noplace", rich=False)
    return statement("habit-place", clause(s, v, place=g.place()))


@frame(4)
def clock_habit(g):  # 他每天六点起床。
    v = g.act(with_="clock") if g.chance(0.6) else g.doing("skill", rich=False)
    if "clock" not in v.tags and v.zh_v not in ("吃", "看", "学习", "听", "做"):
        return None
    return statement("clock-habit", clause(g.subject(), v, time=g.clock()))


@frame(4)
def not_habit(g):  # 他不喝酒。
    s, v = plain(g, rich=False)
    return statement("not-habit", clause(s, v), negative=True)


@frame(3)
def not_past(g):  # 我昨天没工作。
    s, v = plain(g, rich=False)
    return statement("not-past", clause(s, v, "past", time=g.time("d")), negative=True)


@frame(5)
def not_modal(g):  # 她不想睡觉。
    m = g.pick([m for m in L.MODALS if m[0] in ("会", "应该", "想", "喜欢", "需要", "打算")])
    return statement("not-modal", clause(g.subject(), g.able(m), modal=m), negative=True)


@frame(16)
def modal(g):  # 他想买书。
    m = g.modal()
    return statement("modal", clause(g.subject(), g.able(m), modal=m))


@frame(5)
def fond(g):  # 他喜欢喝茶。
    # Rare words and patterns are preferred, and 喜欢 is not rare, since it stands before nouns as well; so
    # every verb after it is a pattern of its own.
    m = g.fond()
    v = g.able(m)
    return statement("fond-" + v.zh_v, clause(g.subject(), v, modal=m))


@frame(5)
def future(g):  # 他们明天要去上海。
    v = g.going() if g.chance(0.25) else g.vp("bad")
    return statement("future", clause(g.subject(), v, "future", time=g.time("f")))


@frame(5)
def past(g):  # 我昨天看电影了。
    v = g.going() if g.chance(0.2) else g.vp()
    return statement("past", clause(g.subject(), v, "past", time=g.time("d")))


@frame(6)
def past_counted(g):  # 她买了三本书。
    v = g.doing()
    if "counted" not in v.tags:
        return None
    return statement("past-counted", clause(g.subject(), v, "past"))


@frame(5)
def progress(g):  # 她正在睡觉。
    s, v = plain(g, "noprog")
    return statement("progress", clause(s, v, "prog"))


@frame(4)
def ask_habit(g):  # 你喝茶吗？
    s, v = plain(g, rich=False)
    return question("ask-habit", clause(s, v))


@frame(6)
def ask_modal(g):  # 你会游泳吗？
    m = g.pick([m for m in L.MODALS if m[0] in ("会", "想", "喜欢", "可以", "需要", "应该")])
    s = pronoun(L.PRONOUNS[1]) if g.chance(0.4) else g.subject()
    return question("ask-modal", clause(s, g.able(m), modal=m))


@frame(3)
def ask_progress(g):  # 她正在睡觉吗？
    s, v = plain(g, "noprog", rich=False)
    return question("ask-progress", clause(s, v, "prog"))


@frame(3)
def ask_past(g):  # 你昨天工作了吗？
    s, v = plain(g, rich=False)
    return question("ask-past", clause(s, v, "past", time=g.time("d")))


def whatable(g):
    pool = [v for v in L.VERBS if v[0] in
            ("吃", "喝", "买", "卖", "写", "画", "学习", "教", "种", "修", "用", "找", "听", "做", "洗", "借", "带", "养", "穿",
             "准备")]
    v = g.pick(pool)
    return VP(v[0], "", v[1], "", [v[0]], v[3].split())


@frame(4)
def what(g):  # 你想买什么？
    v = whatable(g)
    r = g.rng.random()
    s = g.subject()
    if r < 0.45:
        m = g.pick([m for m in L.MODALS if m[0] in ("想", "喜欢", "应该", "需要", "打算")])
        return question("what-modal", clause(s, v, modal=m), "what")
    if r < 0.7 and "noprog" not in v.tags:
        return question("what-progress", clause(s, v, "prog"), "what")
    if r < 0.85:
        return question("what-past", clause(s, v, "past", time=g.time("d")), "what")
    return question("what-habit", clause(s, v, time=g.time("p") if g.chance(0.5) else None), "what")


@frame(3)
def where_go(g):  # 你想去哪里？
    s = g.subject()
    v = g.going()._replace(words=["去"])
    r = g.rng.random()
    if r < 0.5:
        m = g.pick([m for m in L.MODALS if m[0] in ("想", "喜欢", "应该", "打算", "希望", "可以")])
        return question("where-go", clause(s, v, modal=m, time=g.time("f") if g.chance(0.4) and m[0] != "喜欢" else None), "where")
    if r < 0.75:
        return question("where-go", clause(s, v, "future", time=g.time("f")), "where")
    return question("where-go", clause(s, v, time=g.time("p")), "where")


@frame(3)
def when_do(g):  # 你什么时候起床？
    s = g.subject()
    r = g.rng.random()
    if r < 0.5:
        return question("when-do", clause(s, g.vp("bad", rich=False)), "when")
    v = g.going() if g.chance(0.5) else g.vp("bad", rich=False)
    m = g.pick([m for m in L.MODALS if m[0] in ("想", "打算", "应该")])
    return question("when-do", clause(s, v, modal=m), "when")


@frame(3)
def why_do(g):  # 你为什么哭？
    s = g.subject()
    if g.chance(0.35):
        adj = g.adj("feel")
        zh = s.zh + "为什么" + adj[0]
        return Sentence(zh + "？", f"Why {s.be} {s.en} {adj[1]}?", s.words + ["为什么", adj[0]], "why-is", None)
    m = g.pick([m for m in L.MODALS if m[0] in ("想", "喜欢", "需要")]) if g.chance(0.4) else None
    return question("why-do", clause(s, g.vp(rich=False), modal=m), "why")


@frame(4)
def who_does(g):  # 谁会游泳？
    r = g.rng.random()
    if r < 0.5:
        m = g.pick([m for m in L.MODALS if m[0] in ("会", "想", "喜欢", "需要", "可以", "应该")])
        return question("who-modal", clause(WHO, g.able(m), modal=m))
    if r < 0.7:
        return question("who-progress", clause(WHO, g.vp("noprog", rich=False), "prog"))
    if r < 0.85:
        return question("who-past", clause(WHO, g.vp(rich=False), "past", time=g.time("d")))
    return question("who-habit", clause(WHO, g.vp(rich=False), time=g.time("p") if g.chance(0.6) else None))


@frame(3)
def how_many(g):  # 你有几本书？
    n = g.thing(count=True)
    m = NOUN[n]
    if not m[2]:
        return None
    if g.chance(0.3):
        p = g.spot()
        if m[0] in p[2]:
            return None
        return Sentence(f"{p[0]}有几{m[3]}{n}？", f"How many {m[2]} are {p[1]}?", p[2] + ["有", "几", m[3], n],
                        "how-many-there", None)
    s = g.subject()
    do = "does" if s.third else "do"
    return Sentence(f"{s.zh}有几{m[3]}{n}？", f"How many {m[2]} {do} {s.en} have?", s.words + ["有", "几", m[3], n],
                    "how-many", None)


@frame(3)
def trade_is(g):  # 他是医生。
    s = g.subject(third=True)
    t = g.pick(L.TRADES)
    if s.en[0:3] == "the" or t[0] in s.words:
        return None
    r = g.rng.random()
    a_t = a(t[1])
    if r < 0.4:
        return Sentence(f"{s.zh}是{t[0]}。", sentence(f"{s.en} is {a_t}"), s.words + ["是", t[0]], "trade-is",
                        ("copula", s, t[0], a_t))
    if r < 0.6:
        return Sentence(f"{s.zh}不是{t[0]}。", sentence(f"{s.en} is not {a_t}"), s.words + ["不", "是", t[0]],
                        "trade-is-not", None)
    if r < 0.8:
        return Sentence(f"{s.zh}是{t[0]}吗？", sentence(f"is {s.en} {a_t}", "?"), s.words + ["是", t[0], "吗"],
                        "trade-ask", None)
    return Sentence(f"{s.zh}想做{t[0]}。", sentence(f"{s.en} wants to be {a_t}"), s.words + ["想", "做", t[0]],
                    "trade-want", None)


@frame(3)
def person_is(g):  # 他是我的老师。
    s = g.subject(third=True)
    p = g.pron()
    if set(p[:1]) & set(s.words) or not s.pron and s.zh[0] in "我你他她":
        return None
    if g.chance(0.4):
        o = kin(p, g.pick(L.KIN))
    else:
        o = person(p, g.pick(L.PEOPLE + L.TRADES))
    if set(o.words) & set(s.words):
        return None
    if p[5] and s.pron:
        return None
    r = g.rng.random()
    if r < 0.5:
        return Sentence(f"{s.zh}是{o.zh}。", sentence(f"{s.en} is {o.en}"), s.words + ["是"] + o.words, "person-is",
                        ("copula", s, o.zh, o.en))
    if r < 0.75:
        return Sentence(f"{s.zh}不是{o.zh}。", sentence(f"{s.en} is not {o.en}"), s.words + ["不", "是"] + o.words,
                        "person-is-not", None)
    return Sentence(f"{s.zh}是{o.zh}吗？", sentence(f"is {s.en} {o.en}", "?"), s.words + ["是", "吗"] + o.words,
                    "person-ask", None)


@frame(4)
def this_is(g):  # 这是我的书。
    n = g.thing()
    if not NOUN[n][2] or not NOUN[n][3]:
        return None
    this = g.pick(["这", "那"])
    th = "this" if this == "这" else "that"
    r = g.rng.random()
    if r < 0.3:
        o = counted(L.NUMBERS[0], n)
    elif r < 0.6:
        o = owned(g.pron(), n)
    elif r < 0.8:
        adj = g.adj_for(n)
        o = counted(L.NUMBERS[0], n, attribute(adj)) if attributive(adj) else None
    else:
        p = g.subject()
        o = (p.zh + "的" + n, {"I": "my", "you": "your", "he": "his", "she": "her", "we": "our", "they": "their"}.get(
            p.en, p.en + ("'" if p.en.endswith("s") else "'s")) + " " + NOUN[n][1], p.words + ["的", n])
        if p.zh == "孩子们":
            o = (o[0], "the children's " + NOUN[n][1], o[2])
    if not o:
        return None
    r = g.rng.random()
    if r < 0.5:
        return Sentence(f"{this}是{o[0]}。", sentence(f"{th} is {o[1]}"), [this, "是"] + o[2], "this-is",
                        ("copula", (this, th), o[0], o[1]))
    if r < 0.75:
        return Sentence(f"{this}不是{o[0]}。", sentence(f"{th} is not {o[1]}"), [this, "不", "是"] + o[2], "this-is-not",
                        None)
    return Sentence(f"{this}是{o[0]}吗？", sentence(f"is {th} {o[1]}", "?"), [this, "是", "吗"] + o[2], "this-ask", None)


@frame(11)
def thing_quality(g):  # 这本书很有意思。
    n = g.pick(list(dict.fromkeys(BY_TAG["thing"] + BY_TAG["animal"] + BY_TAG["fruit"] + BY_TAG["text"] +
                                  BY_TAG["read"] + BY_TAG["plant"] + BY_TAG["bowl"] + BY_TAG["cup"])))
    adj = g.adj_for(n)
    if not adj:
        return None
    if NOUN[n][3] and (g.chance(0.6) or not NOUN[n][2]):
        s = pointed(g.pick(["这", "那"]), n)
    elif NOUN[n][2] and set(NOUN[n][4].split()) & {"thing", "pet", "read", "plant"}:
        s = owned(g.pron(), n)
    else:
        return None
    return degrees(g, "thing-quality", s, adj)


def degrees(g, name, s, adj, time=None, very=True):
    r = g.rng.random()
    if adj[3] == "color":
        r = r * 0.65 if r < 0.75 else r
        if r >= 0.45 and r < 0.65:
            r = 0.0
    if r < 0.45 or not very and r < 0.65:
        return quality(name, s, adj, time=time)
    if r < 0.57:
        return quality(name + "-very", s, adj, "very", time)
    if r < 0.65:
        return quality(name + "-too", s, adj, "too", time)
    if r < 0.82:
        return quality(name + "-not", s, adj, "", time, negative=True)
    return quality(name + "-ask", s, adj, "", time, ask=True)


@frame(12)
def person_quality(g):  # 他很高兴。
    s, adj = g.subject(), g.adj("person")
    t = g.adverb(L.TIMES[5]) if "feel" in adj[3] and g.chance(0.35) else None
    if t and g.chance(0.3):
        t = g.adverb(L.TIMES[-1])
    return degrees(g, "person-quality", s, adj, t)


@frame(3)
def weather(g):  # 今天天气很冷。
    adj = g.adj("weather")
    r = g.rng.random()
    if r < 0.25:
        zh, en, w = "今天天气", "the weather", ["今天", "天气"]
        q = degrees(g, "weather", (zh, en, w), adj)
        return q._replace(en=q.en[:-1] + " today" + q.en[-1], clause=None)
    if r < 0.8:
        p = g.pick([p for p in L.PLACES if "city" in p[4] or p[0] in ("学校", "农场", "海边")])
        today = r < 0.5
        q = degrees(g, "weather-place", (("今天" if today else "") + p[0] + "的天气", "the weather " + p[2],
                                         (["今天"] if today else []) + [p[0], "的", "天气"]), adj)
        return q._replace(en=q.en[:-1] + (" today" if today else "") + q.en[-1], clause=None)
    zh, en = g.pick(L.SEASONS)
    return degrees(g, "season", (zh, en, [zh]), g.adj("season"))


@frame(2)
def rain(g):  # 明天要下雨。
    v = g.pick([("下雨", "rain"), ("下雪", "snow")])
    r = g.rng.random()
    p = g.pick([p for p in L.PLACES if "city" in p[4] or p[0] in ("学校", "农场", "海边", "公园")]) if g.chance(0.7) else None
    at, at_en, at_w = (p[0], " " + p[2], [p[0]]) if p else ("", "", [])
    ask = g.chance(0.25)
    ma, mark, m = ("吗", "？", "?") if ask else ("", "。", ".")
    w = at_w + [v[0]] + (["吗"] if ask else [])
    if r < 0.25:
        en = f"{'is it' if ask else 'it is'} {v[1]}ing{at_en}"
        return Sentence(f"{at}正在{v[0]}{ma}{mark}", sentence(en, m), w + ["正在"], "rain-now", None)
    if r < 0.5:
        en = f"{'did it ' + v[1] if ask else 'it ' + v[1] + 'ed'}{at_en} yesterday"
        return Sentence(f"{at}昨天{v[0]}了{ma}{mark}", sentence(en, m), w + ["昨天", "了"], "rain-past", None)
    t = g.time("f")
    en = f"{'will it' if ask else 'it will'} {v[1]}{at_en} {t[1]}"
    return Sentence(f"{at}{t[0]}要{v[0]}{ma}{mark}", sentence(en, m), w + ["要"] + t[2], "rain-future", None)


@frame(7)
def compare_things(g):  # 这本书比那本书新。
    n = g.noun("thing", "pet", "read", "plant", "fruit", "animal", count=True)
    adj = g.adj_for(n, compare=True)
    if not adj or not NOUN[n][2]:
        return None
    r = g.rng.random()
    if r < 0.4:
        s, o = pointed("这", n), pointed("那", n)
    elif r < 0.7 and not set(NOUN[n][4].split()) & {"fruit"} and n not in ("老虎", "大象", "猴子"):
        p, q = g.pron(), g.pron()
        if p == q or (p[0] in ("他", "她", "他们") and q[0] in ("他", "她", "他们")):
            return None
        s, o = owned(p, n), owned(q, n)
    elif adj[0] in ("新", "旧", "干净"):
        return None
    else:
        n2 = g.noun(*(t for t in NOUN[n][4].split()), count=True)
        if n2 == n or not NOUN[n2][2] or adj not in [x for x in L.ADJECTIVES if set(x[3].split()) & set(NOUN[n2][4].split())]:
            return None
        s, o = pointed(g.pick(["这", "那"]), n), pointed(g.pick(["这", "那"]), n2)
    return Sentence(f"{s[0]}比{o[0]}{adj[0]}。", sentence(f"{s[1]} is {adj[2]} than {o[1]}"),
                    s[2] + ["比"] + o[2] + [adj[0]], "compare-things", None)


@frame(8)
def has(g):  # 他有两只猫。
    s = g.subject()
    n = g.noun("thing", "pet", "wear", "plant", "fruit", "read", count=True)
    have = "has" if s.third else "have"
    r = g.rng.random()
    if r < 0.6:
        o = counted(g.pick(L.NUMBERS), n)
        return Sentence(f"{s.zh}有{o[0]}。", sentence(f"{s.en} {have} {o[1]}"), s.words + ["有"] + o[2], "has", None)
    adj = g.adj_for(n)
    if not attributive(adj) or NOUN[n][3] == "双":
        return None
    o = counted(L.NUMBERS[0] if g.chance(0.5) else g.pick(L.NUMBERS), n, attribute(adj))
    return Sentence(f"{s.zh}有{o[0]}。", sentence(f"{s.en} {have} {o[1]}"), s.words + ["有"] + o[2], "has-quality", None)


@frame(4)
def has_not(g):  # 她没有手机。你有自行车吗？
    s = g.subject()
    n = g.noun("thing", "pet", "wear") if g.chance(0.93) else "钱"
    o = a(NOUN[n][1]) if NOUN[n][2] else NOUN[n][1]
    do = "does" if s.third else "do"
    if g.chance(0.55):
        return Sentence(f"{s.zh}没有{n}。", sentence(f"{s.en} {do} not have {o}"), s.words + ["没有", n], "has-not", None)
    return Sentence(f"{s.zh}有{n}吗？", sentence(f"{do} {s.en} have {o}", "?"), s.words + ["有", n, "吗"], "has-ask", None)


@frame(8)
def there_is(g):  # 桌子上有三本书。
    p = g.spot() if g.chance(0.6) else (lambda q: (q[0], q[2], [q[0]]))(g.pick(ROOMS))
    kinds = ["thing", "pet", "plant", "fruit", "small"] if p[2][0] not in ("盒子", "杯子", "盘子") else ["fruit", "small"]
    n = g.noun(*kinds, count=True)
    if n in p[2] or not NOUN[n][2]:
        return None
    o = counted(g.pick(L.NUMBERS), n)
    verb = "is" if o[0][0] == "一" else "are"
    return Sentence(f"{p[0]}有{o[0]}。", sentence(f"there {verb} {o[1]} {p[1]}"), p[2] + ["有"] + o[2], "there-is", None)


@frame(7)
def thing_at(g):  # 书在桌子上。
    n = g.noun("thing", "pet", "small")
    if not NOUN[n][2]:
        return None
    p = g.spot() if g.chance(0.7) else (lambda q: (q[0], q[2], [q[0]]))(g.pick([p for p in ROOMS] + [PLACE["家"]]))
    if n in p[2] or p[2][0] in ("盒子", "杯子", "盘子") and "small" not in NOUN[n][4]:
        return None
    s = definite(n) if g.chance(0.5) else owned(g.pron(), n)
    r = g.rng.random()
    if r < 0.6:
        return Sentence(f"{s[0]}在{p[0]}。", sentence(f"{s[1]} is {p[1]}"), s[2] + ["在"] + p[2], "thing-at",
                        ("at", s, p[0], p[1]))
    if r < 0.8:
        return Sentence(f"{s[0]}不在{p[0]}。", sentence(f"{s[1]} is not {p[1]}"), s[2] + ["不", "在"] + p[2], "thing-not-at",
                        None)
    return Sentence(f"{s[0]}在{p[0]}吗？", sentence(f"is {s[1]} {p[1]}", "?"), s[2] + ["在", "吗"] + p[2], "thing-at-ask",
                    None)


@frame(2)
def where_thing(g):  # 我的书在哪里？
    if g.chance(0.25):
        s = g.subject()
        return Sentence(f"{s.zh}在哪里？", f"Where {s.be} {s.en}?", s.words + ["在", "哪里"], "where-person", None)
    n = g.noun("thing", "pet", "small")
    if not NOUN[n][2]:
        return None
    s = definite(n) if g.chance(0.3) else owned(g.pron(), n)
    return Sentence(f"{s[0]}在哪里？", f"Where is {s[1]}?", s[2] + ["在", "哪里"], "where-thing", None)


@frame(4)
def person_at(g):  # 我妈妈在厨房。
    s, p = g.subject(), g.some_place()
    r = g.rng.random()
    if r < 0.5:
        return Sentence(f"{s.zh}在{p[0]}。", sentence(f"{s.en} {s.be} {p[1]}"), s.words + ["在"] + p[2], "person-at",
                        ("at", s, p[0], p[1]))
    if r < 0.75:
        return Sentence(f"{s.zh}不在{p[0]}。", sentence(f"{s.en} {s.be} not {p[1]}"), s.words + ["不", "在"] + p[2],
                        "person-not-at", None)
    return Sentence(f"{s.zh}在{p[0]}吗？", sentence(f"{s.be} {s.en} {p[1]}", "?"), s.words + ["在", "吗"] + p[2],
                    "person-at-ask", None)


def liked(g):
    """Things one may like: cats, red flowers, music, spring."""
    r = g.rng.random()
    if r < 0.45:
        n = g.noun("animal", "food", "text", "plant", "wear")
        return generic(n)
    if r < 0.8:
        n = g.noun("animal", "wear", "plant", "text", "fruit", "read")
        adj = g.adj_for(n)
        if not attributive(adj):
            return None
        x = attribute(adj)
        return x[0] + n, x[1] + " " + (NOUN[n][2] or NOUN[n][1]), x[2] + [n]
    if r < 0.9:
        zh, en = g.pick(L.SEASONS)
        return zh, en, [zh]
    x = g.pick(L.SUBJECTS)
    return x[0], x[1], [x[0]]


@frame(4)
def likes(g):  # 她喜欢红色的花。
    s, o = g.subject(), liked(g)
    if not o:
        return None
    r = g.rng.random()
    v = VP("喜欢", o[0], "like", o[1], ["喜欢"] + o[2], [])
    c = clause(s, v)
    if r < 0.6:
        return statement("likes", c)
    if r < 0.8:
        return statement("likes-not", c, negative=True)
    return question("likes-ask", c)


@frame(3)
def wants_thing(g):  # 他想要一杯水。
    s = g.subject()
    n = g.noun("thing", "fruit", "bowl", "cup", count=True)
    o = counted(g.pick(L.NUMBERS), n)
    return Sentence(f"{s.zh}想要{o[0]}。", sentence(f"{s.en} {'wants' if s.third else 'want'} {o[1]}"),
                    s.words + ["想要"] + o[2], "wants-thing", None)


@frame(5)
def person_verb(g):  # 我认识他的老师。
    s = g.subject()
    zh, en, tags = g.pick(L.PERSON_VERBS)
    o = g.other(s)
    v = VP(zh, o.zh, en, o.obj, [zh] + o.words, tags.split())
    r = g.rng.random()
    c = clause(s, v)
    if zh == "看见":
        return statement("person-verb-past", clause(s, v, "past", time=g.time("d")), negative=r < 0.3)
    if "state" in tags:
        if r < 0.5:
            return statement("person-verb", c)
        return statement("person-verb-not", c, negative=True) if r < 0.7 else question("person-verb-ask", c)
    if r < 0.3:
        return statement("person-verb-progress", clause(s, v, "prog"))
    if r < 0.6:
        m = g.pick([m for m in L.MODALS if m[0] in ("想", "应该", "必须", "可以", "需要", "打算")])
        return statement("person-verb-modal", clause(s, v, modal=m))
    return statement("person-verb-future", clause(s, v, "future", time=g.time("f")))


@frame(4)
def gives(g):  # 她给了我两个苹果。
    s = g.subject()
    o = g.other(s)
    n = g.noun("thing", "fruit", "cup", "bowl", count=True)
    x = counted(g.pick(L.NUMBERS), n)
    return Sentence(f"{s.zh}给了{o.zh}{x[0]}。", sentence(f"{s.en} gave {o.obj} {x[1]}"),
                    s.words + ["给", "了"] + o.words + x[2], "gives", None)


@frame(5)
def please(g):  # 请打开门。
    r = g.rng.random()
    if r < 0.45:
        v = g.doing(without="skill")
        if v.zh_v in ("养", "讲"):
            return None
        return Sentence(f"请{v.zh_v}{v.zh_o}。", sentence("please " + vp_en(v)), ["请"] + v.words, "please", None)
    if r < 0.75:
        n = g.noun("thing", "fruit", "cup", "bowl", count=True)
        o = pronoun(g.pick([L.PRONOUNS[0], L.PRONOUNS[2], L.PRONOUNS[3], L.PRONOUNS[4], L.PRONOUNS[5]])) if g.chance(0.7) else \
            kin(L.PRONOUNS[0], g.pick(L.KIN))
        x = counted(g.pick(L.NUMBERS), n)
        return Sentence(f"请给{o.zh}{x[0]}。", f"Please give {o.obj} {x[1]}.", ["请", "给"] + o.words + x[2],
                        "please-give", None)
    v = g.act("noplace bad")
    p = g.place()
    return Sentence(f"请在{p[0]}{v.zh_v}。", sentence(f"please {v.en_v} {p[1]}"), ["请", "在", p[0]] + v.words,
                    "please-place", None)


@frame(4)
def do_not(g):  # 请不要哭。不要在教室跑步。
    v = g.vp("skill" if g.chance(0.5) else "", rich=g.chance(0.5))
    r = g.rng.random()
    if r < 0.4:
        return Sentence(f"请不要{v.zh_v}{v.zh_o}。", sentence("please do not " + vp_en(v)), ["请", "不要"] + v.words,
                        "please-not", None)
    if "noplace" in v.tags or "counted" in v.tags:
        return None
    if r < 0.7:
        h = g.pick([("这里", "here"), ("那里", "there")])
        return Sentence(f"不要在{h[0]}{v.zh_v}{v.zh_o}。", sentence("do not " + vp_en(v) + " " + h[1]),
                        ["不要", "在", h[0]] + v.words, "do-not-here", None)
    p = g.place()
    return Sentence(f"不要在{p[0]}{v.zh_v}{v.zh_o}。", sentence("do not " + vp_en(v) + " " + p[1]),
                    ["不要", "在", p[0]] + v.words, "do-not-place", None)


@frame(4)
def goes(g):  # 她早上去学校。
    s, v = g.subject(), g.going()
    r = g.rng.random()
    if r < 0.5:
        return statement("goes", clause(s, v, time=g.time("p")))
    if r < 0.75:
        return statement("goes-often", clause(s, v, freq=g.adverb(g.pick(L.FREQUENCY))))
    return statement("goes-with", clause(s, v, comp=g.other(s)))


@frame(3)
def goes_to_do(g):  # 她去商店买鞋子。
    s, v, p = g.subject(), g.vp("noplace noprog bad", rich=False), g.pick(GOALS)
    t = VP("去", p[0] + v.zh_v + v.zh_o, "go", p[3] + " to " + vp_en(v), ["去", p[0]] + v.words, [])
    r = g.rng.random()
    if r < 0.4:
        return statement("goes-to-do", clause(s, t))
    m = g.pick([m for m in L.MODALS if m[0] in ("想", "喜欢", "打算", "必须", "可以")])
    return statement("goes-to-do-modal", clause(s, t, modal=m))


@frame(4)
def goes_by(g):  # 他坐火车去上海。
    s, w = g.subject(), g.pick(L.VEHICLES)
    near = ("厨房", "教室", "院子", "花园", "办公室")
    p = g.pick([p for p in GOALS if (p[0] not in near if w[0] == "汽车" else "city" in p[4] or p[0] == "海边")])
    v = VP("坐", w[0] + "去" + p[0], "go", p[3] + " " + w[1], ["坐", w[0], "去", p[0]], [])
    r = g.rng.random()
    if r < 0.4:
        return statement("goes-by", clause(s, v))
    if r < 0.6:
        return statement("goes-by-not", clause(s, v), negative=True)
    if r < 0.8:
        return statement("goes-by-future", clause(s, v, "future", time=g.time("f")))
    m = g.pick([m for m in L.MODALS if m[0] in ("想", "喜欢", "打算", "可以")])
    return statement("goes-by-modal", clause(s, v, modal=m))


@frame(3)
def and_then(g):  # 他起床，然后跑步。
    s = g.subject()
    x, y = g.vp(rich=False), g.vp(rich=False)
    if set(x.words) & set(y.words):
        return None
    a_, b_ = (verb_form(vp_en(v), 0) if s.third else vp_en(v) for v in (x, y))
    return Sentence(f"{s.zh}{x.zh_v}{x.zh_o}，然后{y.zh_v}{y.zh_o}。", sentence(f"{s.en} {a_} and then {b_}"),
                    s.words + x.words + ["然后"] + y.words, "and-then", None)


@frame(2)
def clock_then(g):  # 他每天六点起床，然后跑步。
    s = g.subject()
    x = g.act(with_="clock") if g.chance(0.6) else VP("吃", "早饭", "eat", "breakfast", ["吃", "早饭"], [])
    y = g.vp("skill", rich=False)
    if set(x.words) & set(y.words):
        return None
    t = g.clock()
    a_, b_ = (verb_form(vp_en(v), 0) if s.third else vp_en(v) for v in (x, y))
    return Sentence(f"{s.zh}{t[0]}{x.zh_v}{x.zh_o}，然后{y.zh_v}{y.zh_o}。", sentence(f"{s.en} {a_} {t[1]} and then {b_}"),
                    s.words + t[2] + x.words + ["然后"] + y.words, "clock-then", None)


def limits(x):
    """Short enough to be learnt, long enough to say something."""
    if x.frame == "clock-then":
        return len(x.zh) <= 16 and len(x.en) <= 56
    han = len(re.findall(r"[\u4e00-\u9fff]", x.zh))
    return 4 <= han <= 12 and len(x.en.split()) <= 9 and len(x.en) <= 44


def rarity(x, counts):
    """How much a sentence does for the words, and for the pattern, that have had too little use."""
    words = sorted(set(x.words) | {"frame:" + x.frame})  # a fixed order, for the sum to be the same in every run
    return sum(1.0 / (4 + counts[w]) ** 2 for w in words) / len(x.words) ** 0.5


def draw(g, names=None, tries=8):
    """One sentence: of a few, their frames drawn by weight, the one with the rarest words."""
    names = list(names or FRAMES)
    weights = [FRAMES[n][1] for n in names]
    while True:
        found = []
        for name in g.rng.choices(names, weights, k=tries):
            x = FRAMES[name][0](g)
            if x and limits(x):
                found.append(x)
        if found:
            return max(found, key=lambda x: rarity(x, g.counts))


def use(counts, x):
    """Count the words of a sentence, once each, and its pattern."""
    for w in set(x.words) | {"frame:" + x.frame}:
        counts[w] += 1
