//! The rules that judge the two built-in tasks.
//!
//! A rule labels the pairs and scores answers for reports and plots. Training code must not call it: its score never
//! enters a reward, an advantage, an early stop, a guard or the choice of a checkpoint. A reward model has to learn the
//! rule from pairs.
//!
//! Rules are pure functions and accept any text.

use std::{collections::HashSet, fmt};

/// A task with a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// `续写：` and a line of verse. A good answer is one line with the same number of Han characters and 。 at the end,
    /// without other punctuation, repeated characters or characters of the given line.
    Couplet,
    /// `我想去X玩，有哪些好玩的地点？` and similar. A good answer is one Chinese sentence: some words with 有, 看 or 推荐, then a list of
    /// at least three different places (two to six characters each, joined by 、 and the last by 和), none of them a word
    /// of the question and at least one known from the built-in conversations; one more clause may follow; 。 at the
    /// end. Whether the places are in that town is not checked.
    Places,
}

/// Both, in the order of reports.
pub const RULES: [Rule; 2] = [Rule::Couplet, Rule::Places];

/// A condition that an answer violates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// It was cut off before the end token.
    End,
    /// It does not end with 。, or has such a mark inside.
    Stop,
    /// It contains a character that is not Chinese.
    Foreign,
    /// It has a different number of characters than the given line.
    Length,
    /// It repeats a character or a place.
    Repeat,
    /// It uses a character of the given line, or lists a word of the question as a place.
    Borrowed,
    /// No lead-in to the list.
    Lead,
    /// Fewer than three places.
    Few,
    /// The places are not joined by 、, or the last one not by 和.
    Joint,
    /// A name too short or too long for a place.
    Name,
    /// No known place.
    Unknown,
}

impl Fault {
    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Stop => "stop",
            Self::Foreign => "foreign",
            Self::Length => "length",
            Self::Repeat => "repeat",
            Self::Borrowed => "borrowed",
            Self::Lead => "lead",
            Self::Few => "few",
            Self::Joint => "joint",
            Self::Name => "name",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Fault {
    /// The fault as a clause.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::End => "it does not end",
            Self::Stop => "。 is not its one full stop",
            Self::Foreign => "not all of it is Chinese",
            Self::Length => "it is not as long as the line given",
            Self::Repeat => "it says something twice",
            Self::Borrowed => "it takes something from the question",
            Self::Lead => "no words lead to the list",
            Self::Few => "it names fewer than three places",
            Self::Joint => "its list is not joined by 、 and 和",
            Self::Name => "a name is too short or too long",
            Self::Unknown => "it names no place that is known",
        })
    }
}

/// The result of judging an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Whether it meets all conditions.
    pub good: bool,
    /// The conditions it violates, in the rule's order.
    pub faults: Vec<Fault>,
    /// The share of the rule's conditions that it meets, for plots; 1 exactly if it is good.
    pub share: f64,
}

impl Verdict {
    fn new(faults: Vec<Fault>, conditions: usize) -> Self {
        Self { good: faults.is_empty(), share: 1.0 - faults.len() as f64 / conditions as f64, faults }
    }

    /// The first condition it violates.
    pub fn why(&self) -> Option<Fault> {
        self.faults.first().copied()
    }
}

/// Minimum number of places.
const FEWEST: usize = 3;
/// Characters of a place's name.
const NAME: std::ops::RangeInclusive<usize> = 2..=6;
/// Lead-ins to the list.
const LEADS: [&str; 3] = ["有", "看", "推荐"];
/// Marks that end or divide a sentence.
const STOPS: [char; 6] = ['。', '！', '？', '；', '：', '\n'];
/// Places that occur in the built-in conversations.
const KNOWN: [&str; 30] = [
    "西湖",
    "灵隐寺",
    "断桥",
    "长城",
    "故宫",
    "天坛",
    "外滩",
    "豫园",
    "南京路",
    "中山陵",
    "夫子庙",
    "明城墙",
    "虎丘",
    "寒山寺",
    "园林",
    "大雁塔",
    "华清池",
    "钟楼",
    "龙门",
    "白马寺",
    "牡丹园",
    "杜甫草堂",
    "武侯祠",
    "青城山",
    "黄鹤楼",
    "东湖",
    "长江",
    "漓江",
    "阳朔",
    "七星岩",
];

fn is_han(c: char) -> bool {
    ('\u{4e00}'..='\u{9fff}').contains(&c)
}

impl Rule {
    /// The task's name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Couplet => "couplet",
            Self::Places => "places",
        }
    }

    /// The rule of a task.
    pub fn of_task(name: &str) -> Option<Self> {
        RULES.into_iter().find(|r| r.name() == name)
    }

    /// The conditions of the rule.
    pub fn conditions(self) -> &'static [Fault] {
        match self {
            Self::Couplet => &[Fault::End, Fault::Stop, Fault::Foreign, Fault::Length, Fault::Repeat, Fault::Borrowed],
            Self::Places => &[
                Fault::End,
                Fault::Stop,
                Fault::Foreign,
                Fault::Lead,
                Fault::Few,
                Fault::Joint,
                Fault::Name,
                Fault::Repeat,
                Fault::Borrowed,
                Fault::Unknown,
            ],
        }
    }

    /// Judges an answer (text without special tokens); `ended` says whether the model produced the end token.
    pub fn judge(self, prompt: &str, answer: &str, ended: bool) -> Verdict {
        let broken = match self {
            Self::Couplet => couplet(prompt, answer),
            Self::Places => places(prompt, answer),
        };
        let conditions = self.conditions();
        let faults = conditions.iter().filter(|f| if **f == Fault::End { !ended } else { broken.contains(f) });
        Verdict::new(faults.copied().collect(), conditions.len())
    }
}

fn couplet(prompt: &str, answer: &str) -> Vec<Fault> {
    let line = prompt.rsplit('：').next().unwrap_or_default();
    let given: Vec<char> = line.chars().filter(|c| is_han(*c)).collect();
    let mut faults = Vec::new();
    let body = answer.strip_suffix('。').unwrap_or_else(|| {
        faults.push(Fault::Stop);
        answer.strip_suffix(['，', '？', '！', '；']).unwrap_or(answer)
    });
    let own: Vec<char> = body.chars().filter(|c| is_han(*c)).collect();
    if own.len() != body.chars().count() {
        faults.push(Fault::Foreign);
    }
    if own.len() != given.len() {
        faults.push(Fault::Length);
    }
    if own.iter().collect::<HashSet<_>>().len() < own.len() {
        faults.push(Fault::Repeat);
    }
    if own.iter().any(|c| given.contains(c)) {
        faults.push(Fault::Borrowed);
    }
    faults
}

fn places(prompt: &str, answer: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    let body = answer.strip_suffix('。');
    if body.is_none_or(|b| b.contains(STOPS)) {
        faults.push(Fault::Stop);
    }
    let body = body.unwrap_or(answer);
    if !body.chars().all(|c| is_han(c) || "、，".contains(c) || STOPS.contains(&c)) {
        faults.push(Fault::Foreign);
    }
    // A last clause, such as 都很好玩, is not part of the list.
    let list = match body.rsplit_once('，') {
        Some((list, clause)) if !clause.is_empty() && clause.chars().all(is_han) => list,
        _ => body,
    };
    let mut names: Vec<&str> = list.split(['、', '和']).collect();
    let opening = names[0];
    let lead = LEADS.iter().filter_map(|w| Some(opening.rfind(w)? + w.len())).max().unwrap_or(0);
    names[0] = &opening[lead..];
    if lead == 0 {
        faults.push(Fault::Lead);
    }
    if names.len() < FEWEST {
        faults.push(Fault::Few);
        return faults;
    }
    let joints: Vec<char> = list.chars().filter(|c| matches!(c, '、' | '和')).collect();
    if joints.iter().position(|c| *c == '和') != Some(joints.len() - 1) {
        faults.push(Fault::Joint);
    }
    if names.iter().any(|n| !NAME.contains(&n.chars().count())) {
        faults.push(Fault::Name);
    }
    if names.iter().collect::<HashSet<_>>().len() < names.len() {
        faults.push(Fault::Repeat);
    }
    if names.iter().any(|n| !n.is_empty() && prompt.contains(n)) {
        faults.push(Fault::Borrowed);
    }
    if !names.iter().any(|n| KNOWN.contains(n)) {
        faults.push(Fault::Unknown);
    }
    faults
}
