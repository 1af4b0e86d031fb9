//! The fake trainer's data view: sources with consistent funnels, documents, dropped documents, trials, edits.

use danlu::protocol::{
    BatchView, Cause, DocumentView, Documents, DroppedDocument, DroppedView, Edit, Event, Funnel, RoomSource, RoomView,
    RuleView, SourceInfo, TokenView, TokenizerView, Trial, Twin,
};

use super::{info, noise};

const SPRING: &str = "《春晓》\n孟浩然\n春眠不觉晓，处处闻啼鸟。\n夜来风雨声，花落知多少。";
const TEXTS: [&str; 3] = [
    SPRING,
    "《静夜思》\n李白\n床前明月光，疑是地上霜。\n举头望明月，低头思故乡。",
    "学而时习之，不亦说乎？有朋自远方来，不亦乐乎？人不知而不愠，不亦君子乎？",
];
/// What drops documents in addition to the rules: name, documents, bytes.
const DROPPED: [(&str, u64, u64); 5] = [
    ("too_short", 162, 5_120),
    ("few_letters", 71, 88_300),
    ("duplicate_lines", 12, 4_096),
    ("exact_duplicate", 1_204, 301_000),
    ("near_duplicate", 388, 97_700),
];

/// The fake trainer's data.
pub struct Data {
    sources: Vec<SourceInfo>,
    bounds: Vec<f64>,
    marks: Vec<(String, Option<bool>)>,
    broken: Option<String>,
}

impl Default for Data {
    fn default() -> Data {
        Data { sources: info().sources, bounds: RULES.map(|r| r.2).to_vec(), marks: Vec::new(), broken: None }
    }
}

const RULES: [(&str, bool, f64, &str); 6] = [
    ("too_short", true, 14.0, "ours"),
    ("too_long", false, 5000.0, "ours"),
    ("lost_characters", false, 0.05, "ours"),
    ("few_letters", true, 0.6, "FineWeb-2 cmn_Hani"),
    ("boilerplate", false, 0.3, "Gopher"),
    ("duplicate_lines", false, 0.5, "C4"),
];

impl Data {
    fn funnel(at: usize) -> Funnel {
        let kept = Documents { documents: 4_210 + 1_000 * at as u64, bytes: 1_830_000 };
        let mut funnel = Funnel { kept, ..Funnel::default() };
        (funnel.documents_in, funnel.bytes_in) = (funnel.kept.documents, funnel.kept.bytes);
        for (name, documents, bytes) in DROPPED {
            let tally = Documents { documents: documents >> at, bytes: bytes >> at };
            funnel.documents_in += tally.documents;
            funnel.bytes_in += tally.bytes;
            funnel.dropped.insert(name.to_owned(), tally);
        }
        if at == 2 {
            funnel.documents_in += 1;
            funnel.dropped.insert("malformed".to_owned(), Documents { documents: 1, bytes: 0 });
        }
        funnel
    }

    pub fn view(&self) -> Event {
        let rule = |(at, (name, at_least, published, source)): (usize, (&str, bool, f64, &str))| RuleView {
            name: name.to_owned(),
            at_least,
            threshold: self.bounds[at],
            published,
            source: source.to_owned(),
        };
        let source = |(at, s): (usize, &SourceInfo)| RoomSource {
            name: s.name.clone(),
            path: ["data/tang300.txt", "data/guwen/**/*.txt", "data/wiki-zh.jsonl"][at].to_owned(),
            profile: ["poetry", "prose-zh", "prose-zh"][at].to_owned(),
            weight: s.weight,
            documents: s.documents,
            tokens: s.tokens,
            held_out_documents: s.documents / 20,
            held_out_tokens: s.held_out_tokens,
            funnel: Data::funnel(at),
            rules: RULES.into_iter().enumerate().map(rule).collect(),
            broken: self.broken.clone().filter(|_| at == 2),
        };
        Event::Room(Box::new(RoomView {
            sources: self.sources.iter().enumerate().map(source).collect(),
            tokenizer: TokenizerView {
                kind: "char".to_owned(),
                vocab_size: 4096,
                characters_per_token: 1.31,
                bytes_per_token: 3.62,
                fallback_share: 0.004,
                unknown_share: 0.0002,
                top: "，。\n不人山无日风来春花一天云何月中".chars().map(String::from).collect(),
            },
            notes: Vec::new(),
            watching: "notify".to_owned(),
        }))
    }

    pub fn document(&self, source: &str, index: usize, step: usize) -> Event {
        let at = self.sources.iter().position(|s| s.name == source).unwrap_or(0);
        let of = self.sources[at].documents;
        let index = index % of;
        let text = TEXTS[(at + index) % TEXTS.len()];
        let known = (-(step as f64) / 500.0).exp();
        let token = |(at, c): (usize, char)| TokenView {
            text: c.to_string(),
            trained: true,
            loss: (at > 0)
                .then(|| ((noise(at * 3 + index).abs() * 2.0 + 6.0 * known) * (1.0 - 0.02 * at as f64)) as f32),
            first: at == 0,
        };
        let mark = self.marks.iter().rev().find(|m| m.0 == text).and_then(|m| m.1);
        let tokens: Vec<TokenView> = text.chars().enumerate().map(token).collect();
        let length = tokens.len();
        let (source, text) = (source.to_owned(), text.to_owned());
        let losses: Vec<f64> = tokens.iter().filter_map(|t| t.loss).map(f64::from).collect();
        let loss = Some(losses.iter().sum::<f64>() / losses.len().max(1) as f64);
        let shown = length;
        Event::Document(Box::new(DocumentView { source, index, of, step, text, tokens, shown, loss, length, mark }))
    }

    pub fn next_batch(&self, step: usize) -> Event {
        let row = |at: usize| {
            let text = TEXTS[(at + step) % TEXTS.len()];
            let token = |c: char| TokenView { text: c.to_string(), trained: true, loss: None, first: false };
            (self.sources[at % self.sources.len()].name.clone(), text.repeat(3).chars().map(token).collect())
        };
        Event::NextBatch(Box::new(BatchView { step: step + 1, rows: (0..16).map(row).collect() }))
    }

    pub fn dropped(&self, source: Option<String>, rule: Option<String>, from: usize, count: usize) -> Event {
        let name = rule.clone().unwrap_or_else(|| "few_letters".to_owned());
        let at = RULES.iter().position(|r| r.0 == name);
        let of = DROPPED.iter().find(|d| d.0 == name).map_or(0, |d| d.1) as usize;
        let near = name == "near_duplicate";
        let item = |i: usize| DroppedDocument {
            source: source.clone().unwrap_or_else(|| self.sources[0].name.clone()),
            file: "data/quan-tangshi/poet.tang.1000.json".to_owned(),
            place: 17 + 3 * i as u64,
            rule: name.clone(),
            value: if near { 0.94 - 0.001 * (i % 90) as f64 } else { 0.31 + 0.001 * (i % 90) as f64 },
            threshold: if near { 0.7 } else { at.map_or(0.0, |at| self.bounds[at]) },
            text: Some(format!("{}（第 {i} 篇）", SPRING.replace("夜来", "昨夜").replace("啼鸟", "嗁鸟"))),
            twin: near.then(|| Twin {
                source: self.sources[0].name.clone(),
                file: "data/tang300.txt".to_owned(),
                place: 121,
                text: SPRING.to_owned(),
            }),
        };
        let items = (from..of.min(from + count)).map(item).collect();
        Event::Dropped(Box::new(DroppedView { source, rule, from, of, items }))
    }

    /// Counts after a third of the documents, and at the end.
    pub fn tried(&self, source: &str, rule: &str, threshold: f64) -> Vec<Event> {
        let at = RULES.iter().position(|r| r.0 == rule).unwrap_or(0);
        let stricter = (threshold > self.bounds[at]) == RULES[at].1;
        let all = Data::funnel(0).documents_in;
        let trial = |documents: u64, done| {
            let now = documents * 3 / 10;
            let more = documents / 40;
            let texts = vec![
                (threshold - 0.004, "（缺字）（缺字）。山中无历日".to_owned()),
                (threshold - 0.009, "目录　卷一　卷二　卷三".to_owned()),
            ];
            Event::Tried(Box::new(Trial {
                source: source.to_owned(),
                rule: rule.to_owned(),
                threshold,
                documents,
                dropped_now: now,
                dropped_then: if stricter { now + more } else { now - more },
                back: if stricter { Vec::new() } else { texts.clone() },
                gone: if stricter { texts } else { Vec::new() },
                done,
            }))
        };
        vec![trial(all / 3, false), trial(all, true)]
    }

    pub fn edit(&self, step: usize, cause: Cause, text: &str) -> Event {
        Event::Edited(Box::new(Edit {
            step,
            cause,
            text: text.to_owned(),
            sources: self.sources.clone(),
            learning_rate: 3e-3,
            batch: 0,
            seconds: Some(0.3),
            replayed: false,
        }))
    }

    pub fn weigh(&mut self, source: &str, by: i32, step: usize) -> Vec<Event> {
        let Some(at) = self.sources.iter().position(|s| s.name == source) else {
            return vec![Event::Refused { text: format!("there is no source of text named {source:?} here") }];
        };
        let before = self.sources[at].weight;
        let after = ((20.0 * before).round() + f64::from(by)).clamp(0.0, 19.0) / 20.0;
        for other in &mut self.sources {
            other.weight *= (1.0 - after) / (1.0 - before);
        }
        self.sources[at].weight = after;
        let text = format!("{source} {:.0} % → {:.0} %", 100.0 * before, 100.0 * after);
        vec![self.edit(step + 1, Cause::Key, &text), self.view()]
    }

    pub fn set_rule(&mut self, source: &str, rule: &str, threshold: Option<f64>, step: usize) -> Vec<Event> {
        let Some(at) = RULES.iter().position(|r| r.0 == rule) else {
            return vec![Event::Refused { text: format!("there is no rule {rule:?}") }];
        };
        self.bounds[at] = threshold.unwrap_or(RULES[at].2);
        let text = format!("{source} {rule} {}", self.bounds[at]);
        vec![self.edit(step + 1, Cause::Key, &text), self.view()]
    }

    pub fn mark(&mut self, text: String, keep: Option<bool>) -> Event {
        self.marks.retain(|m| m.0 != text);
        self.marks.push((text, keep));
        let count = |what| self.marks.iter().filter(|m| m.1 == Some(what)).count();
        Event::Marked { keep: count(true), drop: count(false) }
    }

    /// A file was saved: two more documents, live at the next step.
    pub fn save_file(&mut self, step: usize) -> Vec<Event> {
        self.sources[0].documents += 2;
        self.sources[0].tokens += 96;
        vec![self.edit(step + 1, Cause::Files, "tang300.txt +2 −0 documents"), self.view()]
    }

    /// A saved file that cannot be read.
    pub fn break_file(&mut self, step: usize) -> Vec<Event> {
        let text = "data/wiki-zh.jsonl line 88: not JSON: expected `,` or `}` at column 41".to_owned();
        self.broken = Some(text.clone());
        vec![Event::Broken { step, text }, self.view()]
    }
}

/// The data view's events with the same text in every place, and NaN numbers.
pub fn hostile(evil: &str) -> Vec<Event> {
    let text = || evil.to_owned();
    let mut funnel = Funnel { documents_in: 3, ..Funnel::default() };
    funnel.dropped.insert(text(), Documents { documents: u64::MAX / 4, bytes: u64::MAX / 4 });
    let rule = RuleView { name: text(), at_least: true, threshold: 0.5, published: 0.25, source: text() };
    let source = RoomSource {
        name: text(),
        path: text(),
        profile: text(),
        weight: f64::NAN,
        funnel,
        rules: vec![
            rule,
            RuleView {
                name: "off".to_owned(),
                at_least: false,
                threshold: f64::INFINITY,
                published: f64::NAN,
                source: text(),
            },
        ],
        broken: Some(text()),
        ..RoomSource::default()
    };
    let tokenizer = TokenizerView {
        kind: text(),
        characters_per_token: f64::NAN,
        fallback_share: f64::INFINITY,
        top: vec![text(); 40],
        ..TokenizerView::default()
    };
    let token = || TokenView { text: text(), trained: true, loss: Some(f32::NAN), first: true };
    let twin = Twin { source: text(), file: text(), place: u64::MAX, text: text() };
    let item = DroppedDocument {
        source: text(),
        file: text(),
        rule: text(),
        value: f64::NAN,
        text: Some(text()),
        twin: Some(twin),
        ..DroppedDocument::default()
    };
    let edit = Edit {
        step: 1,
        cause: Cause::Files,
        text: text(),
        sources: vec![SourceInfo { name: text(), weight: f64::NAN, documents: 0, tokens: 0, held_out_tokens: 0 }],
        learning_rate: f64::NAN,
        batch: 0,
        seconds: Some(f64::NAN),
        replayed: true,
    };
    let trial = Trial {
        source: text(),
        rule: text(),
        threshold: 0.52,
        back: vec![(f64::NAN, text()); 9],
        gone: vec![(f64::INFINITY, text()); 9],
        dropped_then: u64::MAX / 2,
        ..Trial::default()
    };
    let document = DocumentView {
        source: text(),
        index: 7,
        of: 0,
        step: 1,
        text: text(),
        tokens: vec![token(); 9],
        shown: usize::MAX,
        loss: Some(f64::NAN),
        length: 2,
        mark: Some(true),
    };
    vec![
        Event::Room(Box::new(RoomView {
            sources: vec![source.clone(), source],
            tokenizer,
            notes: vec![text()],
            watching: text(),
        })),
        Event::Document(Box::new(document)),
        Event::NextBatch(Box::new(BatchView { step: 2, rows: vec![(text(), vec![token(); 9])] })),
        Event::Dropped(Box::new(DroppedView {
            source: None,
            rule: None,
            from: 0,
            of: 2,
            items: vec![item.clone(), item],
        })),
        Event::Tried(Box::new(trial)),
        Event::Marked { keep: 1, drop: 2 },
        Event::Edited(Box::new(edit)),
        Event::Broken { step: 1, text: text() },
    ]
}
