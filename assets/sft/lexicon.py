"""The words of the built-in instruction data.

One Chinese word stands for one English word or phrase wherever it may occur; where English wants two words (看: read
a book, watch television), the object decides. Nouns are chosen so that the plural is regular and no article policy is
needed beyond the one described in make.py. Characters that the pretraining corpus lacks are avoided.
"""

# zh, subject, object, possessive, form of be, third person singular
PRONOUNS = [
    ("我", "I", "me", "my", "am", False),
    ("你", "you", "you", "your", "are", False),
    ("他", "he", "him", "his", "is", True),
    ("她", "she", "her", "her", "is", True),
    ("我们", "we", "us", "our", "are", False),
    ("他们", "they", "them", "their", "are", False),
]

# Relatives take a possessor without 的: 我妈妈, "my mother".
KIN = [
    ("妈妈", "mother"), ("爸爸", "father"), ("哥哥", "brother"), ("妹妹", "sister"), ("爷爷", "grandfather"),
    ("奶奶", "grandmother"), ("叔叔", "uncle"), ("儿子", "son"), ("女儿", "daughter"),
]

# Other people take 的 with a possessor (我的朋友, "my friend") ...
PEOPLE = [("朋友", "friend"), ("同学", "classmate"), ("邻居", "neighbor"), ("客人", "guest")]

# ... and those with a trade also stand bare (医生, "the doctor"; 他是医生, "he is a doctor").
TRADES = [
    ("老师", "teacher"), ("医生", "doctor"), ("学生", "student"), ("司机", "driver"), ("工人", "worker"),
    ("农民", "farmer"), ("作家", "writer"), ("画家", "painter"), ("歌手", "singer"),
]

# Nouns: zh, singular, plural (None: no plural, as "tea"), measure word (None: never counted), tags.
# A measure word with an English name (cup, bowl, bottle, pair) is spelt out: 两杯茶, "two cups of tea".
NOUNS = [
    # food
    ("苹果", "apple", "apples", "个", "food fruit"),
    ("香蕉", "banana", "bananas", "个", "food fruit"),
    ("西瓜", "melon", "melons", "个", "food fruit"),
    ("鸡蛋", "egg", "eggs", "个", "food"),
    ("米饭", "rice", None, "碗", "food bowl"),
    ("面条", "noodles", None, "碗", "food bowl"),
    ("饺子", "dumplings", None, "碗", "food bowl"),
    ("面包", "bread", None, None, "food"),
    ("肉", "meat", None, None, "food"),
    ("鱼", "fish", None, None, "food"),
    ("水果", "fruit", None, None, "food"),
    ("蔬菜", "vegetables", None, None, "food"),
    ("茶", "tea", None, "杯", "drink cup"),
    ("水", "water", None, "杯", "drink cup"),
    ("牛奶", "milk", None, "杯", "drink cup"),
    # meals
    ("早饭", "breakfast", None, None, "meal"),
    ("午饭", "lunch", None, None, "meal"),
    ("晚饭", "dinner", None, None, "meal"),
    # animals
    ("猫", "cat", "cats", "只", "animal pet"),
    ("狗", "dog", "dogs", "只", "animal pet"),
    ("鸟", "bird", "birds", "只", "animal pet"),
    ("兔子", "rabbit", "rabbits", "只", "animal pet"),
    ("鸡", "chicken", "chickens", "只", "animal pet"),
    ("老虎", "tiger", "tigers", "只", "animal"),
    ("猴子", "monkey", "monkeys", "只", "animal"),
    ("马", "horse", "horses", "匹", "animal"),
    ("牛", "cow", "cows", "头", "animal"),
    # things to read, to look at and to hear
    ("书", "book", "books", "本", "thing read"),
    ("小说", "novel", "novels", "本", "thing read"),
    ("地图", "map", "maps", "张", "thing"),
    ("照片", "photo", "photos", "张", "small"),
    ("信", "letter", "letters", "封", "read small"),
    ("歌", "song", "songs", "首", "text"),
    ("故事", "story", "stories", "个", "text"),
    ("电影", "movie", "movies", None, "text"),
    ("电视", "TV", None, None, ""),
    ("音乐", "music", None, None, ""),
    # clothes
    ("衣服", "clothes", None, None, "wear"),
    ("大衣", "coat", "coats", "件", "thing wear length"),
    ("裙子", "skirt", "skirts", "条", "thing wear length"),
    ("鞋子", "shoes", None, "双", "thing wear pair"),
    ("帽子", "hat", "hats", "个", "thing wear"),
    # things
    ("雨伞", "umbrella", "umbrellas", "把", "thing"),
    ("椅子", "chair", "chairs", "把", "thing"),
    ("桌子", "table", "tables", "张", "thing length"),
    ("床", "bed", "beds", "张", "thing length"),
    ("汽车", "car", "cars", "辆", "thing vehicle"),
    ("自行车", "bike", "bikes", "辆", "thing vehicle"),
    ("船", "boat", "boats", "条", "thing length"),
    ("手机", "phone", "phones", "个", "thing tool"),
    ("电脑", "computer", "computers", "个", "thing tool"),
    ("杯子", "cup", "cups", "个", "thing small"),
    ("盘子", "plate", "plates", "个", "thing small"),
    ("礼物", "gift", "gifts", "个", "thing small"),
    ("铅笔", "pencil", "pencils", "支", "thing small tool length"),
    ("花", "flower", "flowers", "朵", "plant"),
    ("树", "tree", "trees", "棵", "plant"),
    ("球", "ball", "balls", "个", "thing small"),
    ("钱", "money", None, None, ""),
    ("门", "door", "doors", None, "part"),
    ("窗户", "window", "windows", None, "part"),
    ("灯", "lamp", "lamps", None, "part"),
]

# Measure words with an English name of their own
CONTAINERS = {"杯": ("cup", "cups"), "碗": ("bowl", "bowls"), "双": ("pair", "pairs")}

NUMBERS = [
    ("一", "a"), ("两", "two"), ("三", "three"), ("四", "four"), ("五", "five"), ("六", "six"), ("七", "seven"),
    ("八", "eight"), ("九", "nine"), ("十", "ten"),
]
HOURS = [
    ("一", "one"), ("两", "two"), ("三", "three"), ("四", "four"), ("五", "five"), ("六", "six"), ("七", "seven"),
    ("八", "eight"), ("九", "nine"), ("十", "ten"),
]

# Places: zh, noun phrase, "at/in" phrase, "to" phrase, tags (room: things can be in it; visit; clean)
PLACES = [
    ("学校", "the school", "at school", "to school", "visit"),
    ("家", None, "at home", None, ""),
    ("公园", "the park", "in the park", "to the park", "clean"),
    ("图书馆", "the library", "in the library", "to the library", "visit"),
    ("商店", "the shop", "in the shop", "to the shop", ""),
    ("医院", "the hospital", "in the hospital", "to the hospital", "visit"),
    ("车站", "the station", "at the station", "to the station", ""),
    ("市场", "the market", "at the market", "to the market", ""),
    ("银行", "the bank", "at the bank", "to the bank", ""),
    ("办公室", "the office", "in the office", "to the office", "clean"),
    ("教室", "the classroom", "in the classroom", "to the classroom", "clean"),
    ("厨房", "the kitchen", "in the kitchen", "to the kitchen", "clean"),
    ("房间", "the room", "in the room", None, "clean"),
    ("院子", "the yard", "in the yard", "to the yard", "clean"),
    ("花园", "the garden", "in the garden", "to the garden", "clean"),
    ("农场", "the farm", "on the farm", "to the farm", "visit"),
    ("海边", "the beach", "at the beach", "to the beach", ""),
    ("北京", "Beijing", "in Beijing", "to Beijing", "city"),
    ("上海", "Shanghai", "in Shanghai", "to Shanghai", "city"),
    ("南京", "Nanjing", "in Nanjing", "to Nanjing", "city"),
    ("杭州", "Hangzhou", "in Hangzhou", "to Hangzhou", "city"),
    ("中国", "China", "in China", "to China", "city"),
]

# Relative places: 桌子上, "on the table"
RELATIVE = [
    ("上", "on", ["桌子", "椅子", "床", "汽车", "船"]),
    ("里", "in", ["汽车", "杯子", "盘子", "船"]),
    ("下面", "under", ["桌子", "椅子", "床", "树", "汽车"]),
    ("后面", "behind", ["门", "树", "学校", "图书馆", "商店", "银行", "医院", "桌子", "车站"]),
    ("前面", "in front of", ["门", "窗户", "学校", "图书馆", "商店", "银行", "医院", "汽车", "车站"]),
    ("旁边", "beside", ["门", "窗户", "床", "树", "桌子", "学校", "图书馆", "商店", "公园", "银行"]),
]

SUBJECTS = [  # subjects of study
    ("英语", "English", "lang"), ("中文", "Chinese", "lang"), ("法语", "French", "lang"), ("日语", "Japanese", "lang"),
    ("数学", "math", ""), ("历史", "history", ""), ("音乐", "music", ""),
]

# Verbs without object: zh, en, tags (out: may take any place; self: no company; time: fine with a clock time)
ACTS = [
    ("游泳", "swim", "skill"),
    ("跑步", "run", ""),
    ("跳舞", "dance", "skill"),
    ("唱歌", "sing", "skill"),
    ("睡觉", "sleep", "self"),
    ("起床", "get up", "self noplace noprog clock"),
    ("工作", "work", "clock"),
    ("休息", "rest", ""),
    ("走路", "walk", ""),
    ("画画", "paint", "skill"),
    ("做饭", "cook", "skill"),
    ("散步", "take a walk", ""),
    ("哭", "cry", "self bad"),
    ("笑", "laugh", "self"),
    ("说话", "talk", ""),
    ("回家", "go home", "noplace noprog clock"),
    ("上学", "go to class", "noplace noprog clock"),
    ("爬山", "climb mountains", "noplace"),
    ("打球", "play ball", "skill"),
    ("玩", "play", ""),
    ("开车", "drive", "skill noplace"),
]

# Verbs with an object: zh, en, G (bare plural, "buy books") or D ("open the door"), tags, objects (words or #tag)
VERBS = [
    ("吃", "eat", "G", "", ["#food", "#meal"]),
    ("喝", "drink", "G", "", ["#drink"]),
    ("买", "buy", "G", "", ["#food", "#thing", "花", "牛奶", "茶"]),
    ("卖", "sell", "G", "", ["#food", "#thing", "花", "茶"]),
    ("看", "read", "G", "", ["#read", "故事"]),
    ("看", "watch", "G", "noplace", ["电影", "电视"]),
    ("写", "write", "G", "", ["信", "小说", "歌", "故事"]),
    ("听", "listen to", "G", "", ["音乐", "歌", "故事"]),
    ("做", "make", "G", "", ["#meal", "饺子", "面条", "面包", "裙子", "椅子", "桌子"]),
    ("学习", "study", "G", "", ["@subject"]),
    ("教", "teach", "G", "", ["@subject"]),
    ("说", "speak", "G", "skill", ["@lang"]),
    ("画", "draw", "G", "", ["#animal", "花", "树", "船", "地图"]),
    ("种", "plant", "G", "", ["树", "花", "蔬菜", "西瓜", "苹果"]),
    ("养", "raise", "G", "", ["#pet", "鱼", "马", "牛"]),
    ("穿", "wear", "G", "noplace", ["#wear"]),
    ("洗", "wash", "D", "", ["#wear", "盘子", "杯子", "汽车", "苹果", "蔬菜", "窗户"]),
    ("打扫", "clean", "D", "noplace", ["@clean"]),
    ("参观", "visit", "D", "noplace", ["@visit"]),
    ("打开", "open", "D", "noplace noprog", ["门", "窗户", "书", "信", "礼物"]),
    ("关上", "close", "D", "noplace noprog", ["门", "窗户", "书"]),
    ("修", "repair", "D", "", ["#vehicle", "#tool", "椅子", "桌子", "门", "灯", "雨伞", "床", "船"]),
    ("用", "use", "D", "", ["#tool", "地图", "雨伞", "灯"]),
    ("找", "look for", "D", "", ["#thing", "#pet", "信"]),
    ("借", "borrow", "D", "", ["#tool", "自行车", "雨伞", "书", "小说"]),
]

# Verbs whose object is a person
PERSON_VERBS = [
    ("帮助", "help", ""), ("认识", "know", "state"), ("等", "wait for", ""), ("爱", "love", "state"),
]

# Verbs before another verb. aux: can swim; verb: wants to swim.
MODALS = [
    ("会", "can", "aux"), ("应该", "should", "aux"), ("可以", "may", "aux"),
    ("想", "want", "verb"), ("喜欢", "like", "verb"), ("需要", "need", "verb"), ("打算", "plan", "verb"),
]

# Qualities: zh, en, comparative (None: not compared), tags of what has them
ADJECTIVES = [
    ("高", "tall", "taller", "person"),
    ("忙", "busy", "busier", "person feel"),
    ("累", "tired", None, "person feel"),
    ("高兴", "happy", "happier", "person feel"),
    ("年轻", "young", "younger", "person"),
    ("聪明", "clever", "cleverer", "person animal"),
    ("健康", "healthy", "healthier", "person"),
    ("生气", "angry", None, "person feel"),
    ("饿", "hungry", None, "person feel"),
    ("渴", "thirsty", None, "person feel"),
    ("有名", "famous", None, "person place text"),
    ("勇敢", "brave", "braver", "person"),
    ("难过", "sad", "sadder", "person feel"),
    ("快", "fast", "faster", "animal vehicle"),
    ("慢", "slow", "slower", "animal vehicle"),
    ("可爱", "cute", "cuter", "animal"),
    ("大", "big", "bigger", "animal thing fruit plant place"),
    ("小", "small", "smaller", "animal thing fruit plant place"),
    ("新", "new", "newer", "thing"),
    ("旧", "old", "older", "thing"),
    ("贵", "expensive", None, "thing food"),
    ("便宜", "cheap", "cheaper", "thing food"),
    ("好", "good", None, "text read weather"),
    ("干净", "clean", "cleaner", "thing place"),
    ("重", "heavy", "heavier", "thing"),
    ("轻", "light", "lighter", "thing"),
    ("长", "long", "longer", "text read length"),
    ("短", "short", "shorter", "text read length"),
    ("甜", "sweet", "sweeter", "fruit"),
    ("冷", "cold", "colder", "weather season"),
    ("热", "hot", "hotter", "weather season drink bowl"),
    ("好吃", "delicious", None, "food"),
    ("有意思", "interesting", None, "text read doing"),
    ("安静", "quiet", "quieter", "place"),
    ("漂亮", "beautiful", None, "wear plant place"),
    ("红色", "red", None, "color"),
    ("黄色", "yellow", None, "color"),
    ("蓝色", "blue", None, "color"),
    ("绿色", "green", None, "color"),
    ("白色", "white", None, "color"),
    ("黑色", "black", None, "color"),
]

# Adverbials of time: zh, en, tense they allow (p present, d past, f future)
TIMES = [
    ("早上", "in the morning", "p"), ("下午", "in the afternoon", "p"), ("晚上", "in the evening", "p"),
    ("每天", "every day", "p"), ("周末", "on weekends", "p"),
    ("今天", "today", "f"), ("昨天", "yesterday", "d"), ("明天", "tomorrow", "f"),
    ("星期一", "on Monday", "pf"), ("星期二", "on Tuesday", "pf"), ("星期三", "on Wednesday", "pf"),
    ("星期四", "on Thursday", "pf"), ("星期五", "on Friday", "pf"), ("星期六", "on Saturday", "pf"),
    ("星期天", "on Sunday", "pf"),
    ("春天", "in spring", "p"), ("夏天", "in summer", "p"), ("秋天", "in autumn", "p"), ("冬天", "in winter", "p"),
    ("现在", "now", ""),
]
SEASONS = [("春天", "spring"), ("夏天", "summer"), ("秋天", "autumn"), ("冬天", "winter")]
FREQUENCY = [("常常", "often"), ("总是", "always"), ("从不", "never"), ("有时候", "sometimes"), ("也", "also")]
VEHICLES = [("汽车", "by car"), ("火车", "by train"), ("飞机", "by plane"), ("船", "by boat")]

# Irregular verb forms: third person, -ing, past. The others follow the spelling rules in make.py.
FORMS = {
    "have": ("has", "having", "had"), "go": ("goes", "going", "went"), "eat": ("eats", "eating", "ate"),
    "drink": ("drinks", "drinking", "drank"), "buy": ("buys", "buying", "bought"),
    "sell": ("sells", "selling", "sold"), "read": ("reads", "reading", "read"),
    "write": ("writes", "writing", "wrote"), "sing": ("sings", "singing", "sang"), "make": ("makes", "making", "made"),
    "teach": ("teaches", "teaching", "taught"), "draw": ("draws", "drawing", "drew"),
    "bring": ("brings", "bringing", "brought"), "drive": ("drives", "driving", "drove"),
    "ride": ("rides", "riding", "rode"), "know": ("knows", "knowing", "knew"), "see": ("sees", "seeing", "saw"),
    "wear": ("wears", "wearing", "wore"), "tell": ("tells", "telling", "told"),
    "speak": ("speaks", "speaking", "spoke"), "swim": ("swims", "swimming", "swam"), "run": ("runs", "running", "ran"),
    "sleep": ("sleeps", "sleeping", "slept"), "get": ("gets", "getting", "got"), "take": ("takes", "taking", "took"),
    "chat": ("chats", "chatting", "chatted"), "plan": ("plans", "planning", "planned"),
    "travel": ("travels", "traveling", "traveled"), "give": ("gives", "giving", "gave"),
    "open": ("opens", "opening", "opened"), "visit": ("visits", "visiting", "visited"),
    "listen": ("listens", "listening", "listened"), "wait": ("waits", "waiting", "waited"),
    "clean": ("cleans", "cleaning", "cleaned"), "repair": ("repairs", "repairing", "repaired"),
    "cook": ("cooks", "cooking", "cooked"), "rain": ("rains", "raining", "rained"),
    "look": ("looks", "looking", "looked"), "borrow": ("borrows", "borrowing", "borrowed"),
    "play": ("plays", "playing", "played"), "need": ("needs", "needing", "needed"),
    "talk": ("talks", "talking", "talked"), "help": ("helps", "helping", "helped"),
    "snow": ("snows", "snowing", "snowed"),
}
