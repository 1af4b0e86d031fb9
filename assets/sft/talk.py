"""Questions with answers, poems to continue and to recite, and small talk."""

import collections
import json
import os
import re

CORPUS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "corpus")
DIGITS = "零一二三四五六七八九十"


def pair(task, prompt, completion):
    return {"task": task, "prompt": prompt, "completion": completion}


def talk(*turns, system=None):
    out = [{"role": "system", "content": system}] if system else []
    out += [{"role": "user" if i % 2 == 0 else "assistant", "content": t} for i, t in enumerate(turns)]
    return {"task": "chat", "messages": out}


def load(name):
    with open(os.path.join(CORPUS, name), encoding="utf-8") as f:
        return [json.loads(line) for line in f]


# ---------------------------------------------------------------- questions
# A fact is a list of questions, each with its answer; the last question of a drawn fact is held out.

COLORS = [("苹果", "红色"), ("香蕉", "黄色"), ("草", "绿色"), ("天空", "蓝色"), ("雪", "白色"), ("牛奶", "白色"),
          ("太阳", "红色"), ("树叶", "绿色"), ("白云", "白色"), ("大海", "蓝色"), ("米饭", "白色"), ("乌鸦", "黑色"),
          ("麦子", "黄色"), ("桃花", "红色"), ("夜晚", "黑色"), ("菊花", "黄色"), ("柳树", "绿色"), ("白鹭", "白色"),
          ("墨", "黑色"), ("荷叶", "绿色")]
CLASSES = [("水果", "苹果 香蕉 橘子 桃子 西瓜"), ("动物", "猫 狗 马 牛 老虎 兔子 大象 猴子"), ("季节", "春天 夏天 秋天 冬天"),
           ("衣服", "裙子 大衣"), ("颜色", "红色 蓝色 白色"), ("诗人", "李白 杜甫 王维 孟浩然 白居易 杜牧"),
           ("城市", "北京 上海 南京 杭州"), ("花", "梅花 桃花 菊花 荷花")]
HOMES = [("鱼", "水里"), ("小鸟", "树上"), ("猴子", "山上"), ("老虎", "森林里"), ("青蛙", "池塘里"), ("牛", "农场"),
         ("蚂蚁", "洞里"), ("骆驼", "沙漠里"), ("马", "草原上"), ("蜜蜂", "花园里"), ("鲸鱼", "大海里"), ("小鸡", "院子里")]
OPPOSITES = [("大", "小"), ("长", "短"), ("高", "低"), ("快", "慢"), ("新", "旧"), ("冷", "热"), ("轻", "重"),
             ("远", "近"), ("黑", "白"), ("多", "少"), ("早", "晚"), ("好", "坏"), ("上", "下"), ("左", "右"),
             ("前", "后"), ("开", "关"), ("难", "易"), ("甜", "苦"), ("天", "地"), ("真", "假"), ("强", "弱"), ("哭", "笑")]
ENGLISH_COLORS = [("snow", "white"), ("grass", "green"), ("milk", "white"), ("the sky", "blue"), ("the sea", "blue"),
                  ("rice", "white"), ("the sun", "red"), ("gold", "yellow"), ("night", "black"), ("blood", "red")]
ENGLISH_OPPOSITES = [("big", "small"), ("hot", "cold"), ("long", "short"), ("new", "old"), ("fast", "slow"),
                     ("heavy", "light"), ("good", "bad"), ("up", "down"), ("happy", "sad"), ("black", "white"),
                     ("open", "closed"), ("early", "late")]
WEEK = "一二三四五六天"


def facts(rng):
    out = []
    all_colors = ["红色", "黄色", "绿色", "蓝色", "白色", "黑色"]
    for x, c in COLORS:
        a = f"{x}是{c}的。"
        wrong = rng.choice([k for k in all_colors if k != c])
        out.append([(f"{x}是什么颜色的？", a), (f"{x}的颜色是什么？", a), (f"{x}是{c}的吗？", "是的，" + a),
                    (f"{x}是{wrong}的吗？", "不是，" + a)])
    kinds = [k for k, _ in CLASSES]
    for k, xs in CLASSES:
        for x in xs.split():
            wrong = rng.choice([y for y in kinds if y != k and not (y == "颜色" and "色" in x)])
            a = f"{x}是{k}。"
            out.append([(f"{x}是什么？", a), (f"{x}是{k}吗？", "是的，" + a), (f"{x}是{wrong}吗？", "不是，" + a)])
    for x, h in HOMES:
        a = f"{x}住在{h}。"
        out.append([(f"{x}住在哪里？", a), (f"{x}的家在哪里？", a), (f"哪里有{x}？", f"{h}有{x}。")])
    for p, q in OPPOSITES:
        for x, y in ((p, q), (q, p)):
            a = f"“{x}”的反义词是“{y}”。"
            out.append([(f"“{x}”的反义词是什么？", a), (f"和“{x}”相反的词是什么？", a)])
    for x in range(1, 10):
        for y in range(1, 11 - x):
            a = f"{DIGITS[x]}加{DIGITS[y]}等于{DIGITS[x + y]}。"
            out.append([(f"{DIGITS[x]}加{DIGITS[y]}等于几？", a), (f"{DIGITS[x]}加{DIGITS[y]}是多少？", a)])
    for i in range(7):
        d, n = WEEK[i], WEEK[(i + 1) % 7]
        out.append([(f"星期{d}的后一天是星期几？", f"星期{d}的后一天是星期{n}。"),
                    (f"今天是星期{d}，明天是星期几？", f"明天是星期{n}。")])
        out.append([(f"星期{n}的前一天是星期几？", f"星期{n}的前一天是星期{d}。"),
                    (f"今天是星期{n}，昨天是星期几？", f"昨天是星期{d}。")])
    months = ["一", "二", "三", "四", "五", "六", "七", "八", "九", "十", "十一", "十二"]
    for i in range(12):
        m, n = months[i], months[(i + 1) % 12]
        out.append([(f"{m}月的下一个月是几月？", f"{m}月的下一个月是{n}月。"),
                    (f"{m}月之后是几月？", f"{m}月之后是{n}月。")])
    seasons = ["春天", "夏天", "秋天", "冬天"]
    for i in range(4):
        x, y = seasons[i], seasons[(i + 1) % 4]
        out.append([(f"{x}之后是什么季节？", f"{x}之后是{y}。"), (f"{y}之前是什么季节？", f"{y}之前是{x}。")])
    for p in load("poems-short.jsonl"):
        t, w = p["title"], p["author"]
        a = f"《{t}》是{w}写的。"
        out.append([(f"谁写了《{t}》？", a), (f"《{t}》是谁写的？", a), (f"《{t}》的作者是谁？", a)])
    for x, c in ENGLISH_COLORS:
        a = f"{x[0].upper()}{x[1:]} is {c}."
        out.append([(f"What color is {x}?", a), (f"What is the color of {x}?", a)])
    for x, y in ENGLISH_OPPOSITES:
        a = f"The opposite of {x} is {y}."
        out.append([(f"What is the opposite of {x}?", a), (f'Say the opposite of "{x}".', a)])
    return out


def make_qa(rng):
    """One phrasing of some facts is held out; each of these facts is trained in all its other phrasings."""
    held, train = [], []
    fs = facts(rng)
    rng.shuffle(fs)
    for i, f in enumerate(fs):
        f = list(f)
        if i < 80:
            held.append(f.pop(rng.randrange(len(f))))
        train.append(f)
    # About 500: at least one phrasing of every fact, all of those whose fact is asked in the held-out part.
    rows = [q for f in train[:80] for q in f] + [f[0] for f in train[80:]]
    extra = [q for f in train[80:] for q in f[1:]]
    rng.shuffle(extra)
    rows += extra[:max(0, 520 - len(rows))]
    rng.shuffle(rows)
    return [pair("qa", *q) for q in rows], [pair("qa", *q) for q in held]


# ---------------------------------------------------------------- poems

def lines(text):
    return re.findall(r"[^，。？！；]+[，。？！；]", text)


def make_poems(rng):
    short = [p for p in load("poems-short.jsonl") if len(p["text"]) <= 70]
    names = [p["title"] for p in short]
    always = ["春晓", "静夜思"]
    others = [t for t in names if t not in always]
    rng.shuffle(others)
    hidden = set(others[:8])

    # reciting
    ways = ["背诵《{t}》", "请背诵《{t}》。", "背一下《{t}》", "请背诵{a}的《{t}》。"]
    train = [pair("recite", w.format(t=p["title"], a=p["author"]), p["text"])
             for w in ways for p in short if p["title"] not in hidden]
    held = [pair("recite", w.format(t=p["title"], a=p["author"]), p["text"])
            for w in ways[:2] for p in short if p["title"] in hidden]
    rng.shuffle(train)
    recite = train, held

    # continuing
    in_short = {norm_lines(p["text"]) for p in load("poems-short.jsonl")}
    tang = [p for p in load("tang300.jsonl") if p["form"] in ("五言绝句", "七言绝句") and norm_lines(p["text"]) not in in_short
            and len(lines(p["text"])) == 4]
    rng.shuffle(tang)
    strangers, known = tang[:20], tang[20:]

    def steps(p, two=True):
        ls = lines(p["text"])
        if min(map(len, ls)) < 5:
            return  # 鹅，鹅，鹅，
        for i in range(len(ls) - 1):
            yield f"续写：{ls[i]}", ls[i + 1]
        if two:
            for i in range(len(ls) - 2):
                yield f"续写两句：{ls[i]}", ls[i + 1] + ls[i + 2]

    rows, first = {}, []
    for p in short:
        if p["title"] not in hidden:
            for q, a in steps(p):
                rows[q] = a
    for p in known:
        for q, a in steps(p):
            first.append((q, a))
    rng.shuffle(first)
    for q, a in first[:max(0, 400 - len(rows))]:
        rows.setdefault(q, a)
    train = [pair("continue", q, a) for q, a in rows.items()]
    rng.shuffle(train)
    spoken = {x for r in train for x in lines(r["prompt"].split("：")[1]) + lines(r["completion"])}
    held = []
    for p in strangers:
        for q, a in steps(p, two=False):
            if not {q.split("：")[1], a} & spoken:
                held.append(dict(pair("continue", q, a), task="continue-unknown"))
    held = held[:60]
    recall = [dict(pair("continue", q, a), task="continue-recall") for p in short if p["title"] in hidden for q, a in steps(p, two=False)
              if not {q.split("：")[1], a} & spoken]
    rng.shuffle(recall)
    held += recall[:20]
    if len(held) != 80:
        raise SystemExit("talk.py: too few held-out lines")
    return (train, held), recite


def norm_lines(text):
    return "".join(ch for ch in text if ch.isalnum())


# ---------------------------------------------------------------- small talk

NAMES = ["小雨", "小明", "小红", "小林", "小月", "小云", "小山", "小春", "小雪", "小石", "小平", "小青"]
ENGLISH_NAMES = ["Tom", "Anna", "Ben", "Lucy", "Sam", "Mary", "Jack", "Lily"]
FOODS = ["苹果", "面条", "饺子", "西瓜", "米饭", "橘子", "桃子", "豆腐", "鱼", "香蕉"]
ENGLISH_FOODS = ["rice", "apples", "fish", "soup", "bread", "noodles"]
PETS = ["猫", "狗", "鸟", "兔子"]
PET_NAMES = ["小白", "小黑", "小花", "小黄"]
HOMETOWNS = ["杭州", "北京", "上海", "南京", "苏州", "西安", "洛阳", "成都"]
SIGHTS = {
    "杭州": ["西湖", "灵隐寺", "断桥"], "北京": ["长城", "故宫", "天坛"], "上海": ["外滩", "豫园", "南京路"],
    "南京": ["中山陵", "夫子庙", "明城墙"], "苏州": ["虎丘", "寒山寺", "园林"], "西安": ["大雁塔", "华清池", "钟楼"],
    "洛阳": ["龙门", "白马寺", "牡丹园"], "成都": ["杜甫草堂", "武侯祠", "青城山"], "武汉": ["黄鹤楼", "东湖", "长江"],
    "桂林": ["漓江", "阳朔", "七星岩"],
}
SIGHT_WAYS = [
    ("我想去{c}玩，有哪些好玩的地点？", "{c}有{x}、{y}和{z}，都很好玩。"),
    ("{c}有什么好玩的地方？", "{c}有{x}、{y}和{z}，都很好玩。"),
    ("去{c}可以看什么？", "去{c}可以看{x}、{y}和{z}。"),
    ("请推荐几个{c}的地点。", "我推荐{x}、{y}和{z}。"),
    ("我要去{c}旅行，你推荐哪里？", "我推荐{x}、{y}和{z}。"),
]

# Asked and answered in one turn
SINGLE = [
    ("你好", "你好！我是丹炉，很高兴见到你。"), ("你好，丹炉。", "你好！今天过得怎么样？"),
    ("早上好！", "早上好！今天也要开心。"), ("下午好！", "下午好！我能帮你做什么？"),
    ("晚上好！", "晚上好！今天过得好吗？"), ("晚安！", "晚安！祝你做个好梦。"), ("好久不见！", "好久不见！你最近好吗？"),
    ("你是谁？", "我是丹炉，一个很小的语言模型。"), ("请问你是谁？", "我是丹炉，会翻译，也会背诗。"),
    ("你叫什么名字？", "我叫丹炉。"), ("你的名字是什么？", "我的名字是丹炉。"), ("介绍一下你自己。", "我叫丹炉，是一个很小的语言模型。"),
    ("你是人吗？", "不是，我是一个小小的程序。"), ("你几岁了？", "我刚刚出生，还很小。"), ("你聪明吗？", "我还很小，正在学习。"),
    ("你会做什么？", "我会翻译、续写和背诵古诗。"), ("你能帮我做什么？", "我能翻译、改写句子和背诗。"), ("你有什么本领？", "我会翻译，会改写，也会背诗。"),
    ("你会背诗吗？", "会，你可以说：背诵《春晓》。"), ("你会翻译吗？", "会，你可以说：翻译，再写一句话。"), ("你会说英语吗？", "会一点，请说简单的句子。"),
    ("你会唱歌吗？", "不会，但是我会背诗。"), ("你从哪里来？", "我从一台电脑里来。"), ("谁做了你？", "我是在一台电脑上学会说话的。"),
    ("你为什么叫丹炉？", "因为我是用小火慢慢烧出来的。"), ("你好吗？", "我很好，谢谢！你呢？"), ("你今天怎么样？", "我今天很好，谢谢关心。"),
    ("你开心吗？", "和你聊天，我很开心。"), ("谢谢！", "不客气！"), ("谢谢你！", "不客气，很高兴帮到你。"), ("多谢！", "不用谢！"),
    ("非常感谢！", "别客气，有事再来找我。"), ("太好了！", "你高兴，我也高兴。"), ("你真好！", "谢谢夸奖，我会努力的。"), ("对不起。", "没关系。"),
    ("再见！", "再见！欢迎再来。"), ("明天见！", "明天见！"), ("拜拜！", "拜拜，下次再聊！"), ("我要走了。", "好的，路上小心。"),
    ("我要睡了。", "晚安，好好休息。"), ("我好累啊。", "辛苦了，休息一下吧。"), ("我有点难过。", "别难过，我陪你说说话。"),
    ("我有点饿了。", "那就去吃点东西吧。"), ("我好开心啊！", "真好，我也为你开心。"), ("我有点紧张。", "别紧张，慢慢来。"), ("我生病了。", "多喝水，好好休息。"),
    ("今天好冷啊！", "是啊，多穿一件衣服吧。"), ("今天好热啊！", "是啊，多喝一点水吧。"), ("外面下雨了。", "出门别忘了带雨伞。"),
    ("外面下雪了。", "真美，小心路上滑。"), ("我好无聊啊。", "那我给你背一首诗吧。"), ("我们聊聊天吧。", "好啊，你想聊什么？"),
    ("你喜欢什么？", "我喜欢古诗。"), ("你最喜欢谁的诗？", "我最喜欢李白的诗。"), ("你最喜欢什么季节？", "我最喜欢春天。"),
    ("我考试没考好。", "没关系，下次再努力。"), ("我今天过生日！", "生日快乐！"), ("新年好！", "新年好！祝你万事如意。"), ("我回来了。", "欢迎回来！"),
    ("Hello!", "Hello! I am danlu. Nice to meet you."), ("Hi!", "Hi! How are you today?"), ("Hi there!", "Hi there! I am danlu."),
    ("Good morning!", "Good morning! Have a nice day."), ("Good evening!", "Good evening! How was your day?"),
    ("Good night!", "Good night! Sleep well."), ("How are you?", "I am fine, thank you. And you?"),
    ("How are you today?", "I am very well, thank you."), ("Who are you?", "I am danlu, a very small language model."),
    ("What is your name?", "My name is danlu."), ("Tell me about yourself.", "I am danlu. I am small and I like poems."),
    ("What can you do?", "I can translate, rewrite and recite poems."), ("Can you help me?", "Yes, I can translate short sentences."),
    ("Can you speak Chinese?", "Yes, I speak Chinese and a little English."), ("Are you a person?", "No, I am a small program."),
    ("How old are you?", "I am very young."), ("Where are you from?", "I come from a computer."),
    ("Thank you!", "You are welcome!"), ("Thanks a lot!", "You are welcome. Come again!"), ("Thanks!", "No problem!"),
    ("I am sorry.", "That is all right."), ("Goodbye!", "Goodbye! Come back soon."), ("Bye!", "Bye! See you next time."),
    ("See you tomorrow!", "See you tomorrow!"), ("I feel tired.", "Take a rest and drink some water."),
    ("I feel sad.", "Do not be sad. I am here."), ("I feel great!", "I am glad to hear that."), ("Well done!", "Thank you, that is kind."),
    ("It is so cold!", "Yes, put on a warm coat."), ("It is so hot!", "Yes, drink some water."), ("I am bored.", "Shall I recite a poem?"),
    ("Happy New Year!", "Happy New Year to you too!"), ("Nice to meet you!", "Nice to meet you too!"),
]

# Asked in other words, the answer being trained: held out
SINGLE_HELD = [
    ("早上好，丹炉！", "早上好！今天也要开心。"), ("晚安，丹炉！", "晚安！祝你做个好梦。"), ("你到底是谁？", "我是丹炉，一个很小的语言模型。"),
    ("你叫什么？", "我叫丹炉。"), ("你能做什么？", "我能翻译、改写句子和背诗。"), ("谢谢你，丹炉！", "不客气，很高兴帮到你。"),
    ("再见，丹炉！", "再见！欢迎再来。"), ("我好难过。", "别难过，我陪你说说话。"), ("Hello, danlu!", "Hello! I am danlu. Nice to meet you."),
    ("Thank you, danlu!", "You are welcome!"), ("Goodbye, danlu!", "Goodbye! Come back soon."), ("Please tell me your name.", "My name is danlu."),
]

SYSTEMS = ["你是丹炉，一个友好的助手。", "你是丹炉，说话很短。", "You are danlu, a friendly helper."]


def memories():
    """What a user may say about himself: (kind, statement, reply, question, answer)."""
    out = []
    for n in NAMES:
        out.append(("name", f"我叫{n}。", f"你好，{n}！", "我叫什么名字？", f"你叫{n}。"))
        out.append(("name", f"你好，我是{n}。", f"{n}，很高兴认识你！", "你知道我是谁吗？", f"知道，你是{n}。"))
    for f in FOODS:
        out.append(("food", f"我最喜欢吃{f}。", f"{f}很好吃。", "我最喜欢吃什么？", f"你最喜欢吃{f}。"))
    for c in HOMETOWNS:
        out.append(("home", f"我的家在{c}。", f"{c}是个好地方。", "我的家在哪里？", f"你的家在{c}。"))
    for p in PETS:
        for n in PET_NAMES:
            out.append(("pet", f"我的{p}叫{n}。", f"{n}真可爱！", f"我的{p}叫什么？", f"你的{p}叫{n}。"))
    for a in ("七", "八", "九", "十", "十一", "十二"):
        out.append(("age", f"我今年{a}岁了。", "真好，你长大了。", "我今年几岁？", f"你今年{a}岁。"))
    for n in ENGLISH_NAMES:
        out.append(("en-name", f"My name is {n}.", f"Hello, {n}!", "What is my name?", f"Your name is {n}."))
    for f in ENGLISH_FOODS:
        out.append(("en-food", f"My favorite food is {f}.", f"I hear {f} can be very good.", "What is my favorite food?",
                    f"Your favorite food is {f}."))
    return out


THANKS = [("谢谢！", "不客气！"), ("你的记性真好。", "谢谢夸奖，我会努力的。"), ("再见！", "再见！欢迎再来。"), ("太好了！", "你高兴，我也高兴。")]
EN_THANKS = [("Thanks!", "No problem!"), ("Goodbye!", "Goodbye! Come back soon."), ("Well done!", "Thank you, that is kind.")]
HELLOS = [("你好", "你好！我是丹炉，很高兴见到你。"), ("早上好！", "早上好！今天也要开心。"), ("晚上好！", "晚上好！今天过得好吗？")]
EN_HELLOS = [("Hi!", "Hi! How are you today?"), ("Good morning!", "Good morning! Have a nice day.")]


def conversation(rng, ms):
    """Two to four exchanges in which something said is asked for later."""
    m = rng.choice(ms)
    english = m[0].startswith("en-")
    hello, thanks = (EN_HELLOS, EN_THANKS) if english else (HELLOS, THANKS)
    shape = rng.randrange(5)
    turns = []
    if shape == 1:
        turns += rng.choice(hello)
    turns += m[1:3]
    other = None
    if shape in (2, 3):
        # Another fact in between; the question may be for either.
        other = rng.choice([x for x in ms if x[0] != m[0] and x[0].startswith("en-") == english])
        turns += other[1:3]
    elif shape == 4:
        x = rng.choice([("你会做什么？", "我会翻译、续写和背诵古诗。"), ("你是谁？", "我是丹炉，一个很小的语言模型。")] if not english else
                       [("What can you do?", "I can translate, rewrite and recite poems.")])
        turns += x
    asked = other if other and rng.random() < 0.5 else m
    turns += asked[3:5]
    system = None
    if rng.random() < 0.12:
        system = SYSTEMS[2] if english else rng.choice(SYSTEMS[:2])
    return turns, thanks, system


def make_chat(rng):
    train, held = [], []
    seen, answers = set(), collections.Counter()

    def put(where, x, limit):
        key = norm_lines("".join(m["content"] for m in x["messages"][:-1]).lower())
        last = x["messages"][-1]["content"]
        if key in seen or answers[last] >= limit:
            return False
        seen.add(key)
        answers[last] += 1
        where.append(x)
        return True

    for q, a in SINGLE:
        put(train, talk(q, a), 9)
    sights = []  # one phrasing for each town is held out
    for i, (c, (x, y, z)) in enumerate(SIGHTS.items()):
        for j, (q, a) in enumerate(SIGHT_WAYS):
            t = talk(q.format(c=c), a.format(c=c, x=x, y=y, z=z))
            if j == i % len(SIGHT_WAYS):
                sights.append(t)
            else:
                put(train, t, 9)
    for system in SYSTEMS:
        for q, a in ([("你是谁？", "我是丹炉，一个很小的语言模型。"), ("你会做什么？", "我会翻译、续写和背诵古诗。")] if system[0] == "你" else
                     [("Who are you?", "I am danlu, a very small language model.")]):
            put(train, talk(q, a, system=system), 9)
    ms = memories()
    while len(train) < 360:
        turns, thanks, system = conversation(rng, ms)
        if rng.random() < 0.2 and len(turns) <= 6:
            turns += rng.choice(thanks)
        put(train, talk(*turns, system=system), 7)
    # Held out: trained answers asked for in other words, and conversations made of trained pieces, put together anew.
    trained = collections.Counter(t["content"] for x in train for t in x["messages"])
    answers.clear()
    for q, a in SINGLE_HELD:
        put(held, talk(q, a), 2)
    for x in sights:
        put(held, x, 2)
    while len(held) < 50:
        turns, _, system = conversation(rng, ms)
        if all(trained[t] for t in turns):
            put(held, talk(*turns, system=system), 2)
    rng.shuffle(train)
    return train, held


def make(rng, train, held):
    train["qa"], held["qa"] = make_qa(rng)
    (train["continue"], held["continue"]), (train["recite"], held["recite"]) = make_poems(rng)
    train["chat"], held["chat"] = make_chat(rng)
