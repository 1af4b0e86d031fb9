//! The data view: sources with their funnels, a document with its losses, dropped documents, and the next batch. Each
//! view arrives complete and is cleaned here.

use std::{collections::VecDeque, ops::Range, time::Duration};

use super::{batch::Batch, log::Both, vote::differences};
use crate::protocol::{
    BatchView, DocumentView, Documents, DroppedDocument, DroppedView, Funnel, RoomSource, RoomView, RuleView,
    TokenizerView, Trial,
};
use crate::ui::text::Clean;

/// Dropped documents requested at a time.
pub const PAGE: usize = 40;
/// Most labels kept in memory.
const LABELS_SET: usize = 200;
/// What drops documents after the profile's rules, in this order.
const LATER: [&str; 4] = ["quality", "exact_duplicate", "near_duplicate", "probe"];

/// A rule's threshold.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// Whether the measured value must reach it; otherwise it must not exceed it.
    pub at_least: bool,
    /// The threshold in effect; infinite where the rule is switched off.
    pub threshold: f64,
    /// The published threshold.
    pub published: f64,
    /// The publication it is from.
    pub source: Clean,
}

impl Bound {
    fn new(rule: &RuleView) -> Bound {
        let (at_least, threshold, published) = (rule.at_least, rule.threshold, rule.published);
        Bound { at_least, threshold, published, source: Clean::line(&rule.source) }
    }

    /// Whether run.toml overrides the published threshold.
    pub fn is_moved(&self) -> bool {
        self.threshold != self.published
    }
}

/// A row of the funnel: what one rule dropped.
#[derive(Clone, Debug, PartialEq)]
pub struct Cut {
    /// The rule, as the trainer names it.
    pub raw: String,
    /// The rule, cleaned.
    pub name: Clean,
    /// Its threshold; None without one, or if sources differ.
    pub bound: Option<Bound>,
    /// What it dropped.
    pub dropped: Documents,
}

/// A funnel row by row: documents in = documents cut + documents kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Funneled {
    /// Documents in.
    pub into: Documents,
    /// Documents cut, in order of the rules.
    pub cuts: Vec<Cut>,
    /// Documents kept.
    pub kept: Documents,
}

impl Funneled {
    fn new(funnel: &Funnel, rules: &[RuleView]) -> Funneled {
        let cut = |raw: &str, bound: Option<Bound>| Cut {
            raw: raw.to_owned(),
            name: Clean::line(raw),
            bound,
            dropped: funnel.dropped.get(raw).copied().unwrap_or_default(),
        };
        let known = |name: &str| rules.iter().any(|r| r.name == name) || LATER.contains(&name);
        // Unreadable records come before the rules.
        let mut cuts: Vec<Cut> = funnel.dropped.keys().filter(|n| !known(n)).map(|n| cut(n, None)).collect();
        for rule in rules {
            // A rule that occurs twice in a table is shown once; its counts are already combined.
            if cuts.iter().all(|c| c.raw != rule.name) {
                cuts.push(cut(&rule.name, Some(Bound::new(rule))));
            }
        }
        for name in LATER {
            if funnel.dropped.contains_key(name) && cuts.iter().all(|c| c.raw != name) {
                cuts.push(cut(name, None));
            }
        }
        let into = Documents { documents: funnel.documents_in, bytes: funnel.bytes_in };
        Funneled { into, cuts, kept: funnel.kept }
    }

    /// The combined funnel of several sources.
    fn merge(all: &[Source]) -> Funneled {
        let mut sum = Funneled::default();
        let add = |to: &mut Documents, more: Documents| {
            to.documents += more.documents;
            to.bytes += more.bytes;
        };
        for one in all.iter().map(|s| &s.funnel) {
            add(&mut sum.into, one.into);
            add(&mut sum.kept, one.kept);
            for cut in &one.cuts {
                match sum.cuts.iter_mut().find(|c| c.raw == cut.raw) {
                    Some(known) => {
                        add(&mut known.dropped, cut.dropped);
                        if known.bound != cut.bound {
                            known.bound = None;
                        }
                    }
                    None => sum.cuts.push(cut.clone()),
                }
            }
        }
        let asked = |cut: &Cut| all.iter().flat_map(|s| &s.funnel.cuts).any(|c| c.raw == cut.raw && c.bound.is_some());
        let rank = |cut: &Cut| match LATER.iter().position(|l| *l == cut.raw) {
            Some(at) => at + 2,
            None => usize::from(asked(cut)),
        };
        sum.cuts.sort_by_key(rank);
        sum
    }
}

/// A source with its funnel.
#[derive(Clone, Debug)]
pub struct Source {
    /// The trainer's data. Its texts are not cleaned: never display them.
    pub raw: RoomSource,
    /// Its name.
    pub name: Clean,
    /// The path of its files.
    pub path: Clean,
    /// Its cleaning profile.
    pub profile: Clean,
    /// Which of its files cannot be used.
    pub broken: Option<Clean>,
    /// Its funnel.
    pub funnel: Funneled,
}

/// A training document.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its source, as the trainer names it.
    pub raw: String,
    /// Its index among the source's documents, from 0.
    pub index: usize,
    /// The number of the source's documents.
    pub of: usize,
    /// The step of the weights that computed the losses.
    pub step: usize,
    /// Its tokens, as the only row of a batch.
    pub tokens: Batch,
    /// Number of displayed tokens, and their mean loss in nats.
    pub shown: usize,
    /// See `shown`.
    pub loss: Option<f64>,
    /// Number of tokens of the whole document.
    pub length: usize,
    /// The beginning of its text, unchanged.
    pub text: String,
    /// Its label: keep (true) or drop (false).
    pub mark: Option<bool>,
}

impl Document {
    fn new(view: &DocumentView) -> Document {
        let mut tokens = view.tokens.clone();
        // A line of the text is a line on the screen.
        for at in 1..tokens.len() {
            tokens[at].first = tokens[at - 1].text.ends_with('\n');
        }
        let text = view.text.clone();
        let (index, of, step, length, mark) = (view.index, view.of, view.step, view.length, view.mark);
        let tokens = Batch::new(&BatchView { step, rows: vec![(view.source.clone(), tokens)] });
        let (shown, loss) = (view.shown, view.loss);
        Document { raw: view.source.clone(), index, of, step, tokens, shown, loss, length, text, mark }
    }
}

/// The selection of dropped documents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Browse {
    /// Only of this source; None: of all.
    pub source: Option<String>,
    /// Only by this rule; None: by all.
    pub rule: Option<String>,
}

/// The document that a duplicate repeats.
#[derive(Clone, Debug)]
pub struct Twin {
    /// Its source, file and place.
    pub place: Clean,
    /// Its beginning.
    pub text: Clean,
}

/// A dropped document.
#[derive(Clone, Debug)]
pub struct Dropped {
    /// Its source, file and place.
    pub place: Clean,
    /// The rule, as the trainer names it.
    pub raw: String,
    /// The rule, cleaned.
    pub rule: Clean,
    /// The measured value.
    pub value: f64,
    /// The threshold.
    pub threshold: f64,
    /// The beginning of its text, unchanged, if it was kept.
    pub text: Option<String>,
    /// As displayed.
    pub shown: Clean,
    /// The document that was kept, for a duplicate.
    pub twin: Option<Twin>,
    /// Differences between the two texts, as byte ranges of the displayed texts.
    pub marks: [Vec<Range<usize>>; 2],
}

impl Dropped {
    fn new(view: &DroppedDocument) -> Dropped {
        let place = |source: &str, file: &str, place: u64| Clean::line(&format!("{source}  {file}:{place}"));
        let shown = Clean::block(view.text.as_deref().unwrap_or_default());
        let twin =
            view.twin.as_ref().map(|t| Twin { place: place(&t.source, &t.file, t.place), text: Clean::block(&t.text) });
        let marks = twin.as_ref().map_or_else(Default::default, |t| differences(&shown, &t.text));
        Dropped {
            place: place(&view.source, &view.file, view.place),
            raw: view.rule.clone(),
            rule: Clean::line(&view.rule),
            value: view.value,
            threshold: view.threshold,
            text: view.text.clone(),
            shown,
            twin,
            marks,
        }
    }
}

/// A page of dropped documents.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The selection it belongs to.
    pub browse: Browse,
    /// Index of the first one.
    pub from: usize,
    /// The number of all in the selection.
    pub of: usize,
    /// The documents.
    pub items: Vec<Dropped>,
}

/// A threshold on trial.
#[derive(Clone, Debug)]
pub struct Trying {
    /// The source, as the trainer names it.
    pub source: String,
    /// The rule, as the trainer names it.
    pub rule: String,
    /// The threshold on trial.
    pub threshold: f64,
    /// The newest counts.
    pub trial: Option<Trial>,
    /// The beginnings of some that would return, with their measured values.
    pub back: Vec<(f64, Clean)>,
    /// The beginnings of some that would go.
    pub gone: Vec<(f64, Clean)>,
}

impl Trying {
    /// Accepts a trial's counts if they are about this threshold; returns whether they were.
    pub fn accept(&mut self, trial: Trial) -> bool {
        if (&trial.source, &trial.rule, trial.threshold) != (&self.source, &self.rule, self.threshold) {
            return false;
        }
        let clean = |texts: &[(f64, String)]| texts.iter().map(|(v, t)| (*v, Clean::line(t))).collect();
        (self.back, self.gone) = (clean(&trial.back), clean(&trial.gone));
        self.trial = Some(trial);
        true
    }
}

/// A sensible step for a threshold of this size: a tenth of its power of ten, or a half for small counts.
fn stride(published: f64) -> f64 {
    let size = published.abs();
    if !size.is_finite() || size == 0.0 {
        return 1.0;
    }
    if size.fract() == 0.0 && size < 10.0 { 0.5 } else { 10_f64.powf(size.log10().floor() - 1.0) }
}

/// The next threshold above or below, on the grid of its step, at least 0. A rule that is off starts at the published
/// threshold.
pub fn moved(from: f64, published: f64, up: bool) -> f64 {
    if !from.is_finite() {
        return published;
    }
    let step = stride(published);
    let place = from / step;
    let near = place.round();
    // A value off the grid moves to the next grid point in that direction.
    let on_grid = (place - near).abs() < 1e-6;
    let next = match (on_grid, up) {
        (true, true) => near + 1.0,
        (true, false) => near - 1.0,
        (false, true) => place.ceil(),
        (false, false) => place.floor(),
    };
    ((next * step).max(0.0) * 1e9).round() / 1e9
}

/// The state of the data view.
#[derive(Debug, Default)]
pub struct DataState {
    /// Whether it is shown.
    pub open: bool,
    /// The sources, once they have arrived.
    pub sources: Vec<Source>,
    /// The combined funnel of all sources.
    pub together: Funneled,
    /// The tokenizer's figures. Its texts are not cleaned: never display them.
    pub tokenizer: Option<TokenizerView>,
    /// Its kind.
    pub kind: Clean,
    /// Its most common tokens.
    pub top: Vec<Clean>,
    /// Notes about the data.
    pub notes: Vec<Clean>,
    /// Whether files are watched, and how.
    pub watching: Clean,
    /// Why the trainer refused to send the data, if it did.
    pub refused: Option<Both>,
    /// The selected source, as the trainer names it.
    pub chosen: String,
    /// Whether the funnel of all sources is shown.
    pub all: bool,
    /// The selected row of the funnel.
    pub cut: usize,
    /// The threshold on trial.
    pub trying: Option<Trying>,
    /// Index of the requested document.
    pub index: usize,
    /// The newest document.
    pub document: Option<Document>,
    /// The next batch.
    pub next: Option<Batch>,
    /// The selection of dropped documents.
    pub browse: Browse,
    /// Index of the selected one.
    pub at: usize,
    /// The newest page.
    pub page: Option<Page>,
    /// The page that was requested last.
    pub page_asked: Option<(Browse, usize)>,
    /// Number of texts labelled keep and drop.
    pub marks: Option<(usize, usize)>,
    /// Labels set since the screen opened, newest last.
    pub labels_set: VecDeque<(String, Option<bool>)>,
    /// When the next batch was last requested.
    pub next_asked: Duration,
    /// When the document was last requested.
    pub document_asked: Duration,
}

impl DataState {
    /// Sets the current data.
    pub fn set(&mut self, view: RoomView) {
        self.refused = None;
        self.sources = view
            .sources
            .into_iter()
            .map(|raw| Source {
                name: Clean::line(&raw.name),
                path: Clean::line(&raw.path),
                profile: Clean::line(&raw.profile),
                broken: raw.broken.as_deref().map(Clean::line),
                funnel: Funneled::new(&raw.funnel, &raw.rules),
                raw,
            })
            .collect();
        self.together = Funneled::merge(&self.sources);
        if self.source().is_none() {
            self.chosen = self.sources.first().map(|s| s.raw.name.clone()).unwrap_or_default();
            self.index = 0;
        }
        self.cut = self.cut.min(self.funnel().cuts.len().saturating_sub(1));
        self.kind = Clean::line(&view.tokenizer.kind);
        self.top = view.tokenizer.top.iter().map(|t| Clean::line(t)).collect();
        self.tokenizer = Some(view.tokenizer);
        self.notes = view.notes.iter().map(|n| Clean::line(n)).collect();
        self.watching = Clean::line(&view.watching);
    }

    /// Forgets the data when another stage starts.
    pub fn forget(&mut self) {
        *self = DataState {
            open: self.open,
            marks: self.marks,
            chosen: std::mem::take(&mut self.chosen),
            labels_set: std::mem::take(&mut self.labels_set),
            ..DataState::default()
        };
    }

    /// The selected source, once it has arrived.
    pub fn source(&self) -> Option<&Source> {
        self.sources.iter().find(|s| s.raw.name == self.chosen)
    }

    /// The displayed funnel.
    pub fn funnel(&self) -> &Funneled {
        match self.source().filter(|_| !self.all) {
            Some(source) => &source.funnel,
            None => &self.together,
        }
    }

    /// The selected row with its threshold, if it has one that can be changed.
    pub fn bound(&self) -> Option<(&Cut, &Bound)> {
        let cut = self.funnel().cuts.get(self.cut).filter(|_| !self.all)?;
        Some((cut, cut.bound.as_ref()?))
    }

    /// Accepts a document of the selected source.
    pub fn show(&mut self, view: &DocumentView) {
        if view.source == self.chosen {
            self.index = view.index;
            self.document = Some(Document::new(view));
        }
    }

    /// Accepts a page of dropped documents of the current selection.
    pub fn turn(&mut self, view: DroppedView) {
        let browse = Browse { source: view.source, rule: view.rule };
        if browse == self.browse {
            self.at = self.at.min(view.of.saturating_sub(1));
            let items = view.items.iter().take(PAGE).map(Dropped::new).collect();
            self.page = Some(Page { browse, from: view.from, of: view.of, items });
        }
    }

    /// Remembers the label of a text.
    pub fn say(&mut self, text: &str, keep: Option<bool>) {
        self.labels_set.retain(|s| s.0 != text);
        if self.labels_set.len() == LABELS_SET {
            self.labels_set.pop_front();
        }
        self.labels_set.push_back((text.to_owned(), keep));
    }

    /// The label of a text set since the screen opened.
    pub fn label_set(&self, text: &str) -> Option<Option<bool>> {
        self.labels_set.iter().find(|s| s.0 == text).map(|s| s.1)
    }

    /// The selected dropped document, if its page has arrived.
    pub fn dropped(&self) -> Option<&Dropped> {
        let page = self.page.as_ref().filter(|p| p.browse == self.browse)?;
        page.items.get(self.at.checked_sub(page.from)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::TokenView;

    #[test]
    fn a_bound_moves_on_the_grid_of_its_size() {
        for (from, published, up, to) in [
            (0.2, 0.2, true, 0.21),
            (0.21, 0.2, false, 0.2),
            (0.287, 0.287, true, 0.29),
            (0.287, 0.287, false, 0.28),
            (50.0, 50.0, true, 51.0),
            (100_000.0, 100_000.0, false, 90_000.0),
            (2.0, 2.0, true, 2.5),
            (0.0, 0.0, true, 1.0),
            (0.0, 0.2, false, 0.0),
            (f64::INFINITY, 0.3, true, 0.3),
        ] {
            assert_eq!(moved(from, published, up), to, "{from} {up}");
        }
    }

    fn rule(name: &str, threshold: f64) -> RuleView {
        let (name, source) = (name.to_owned(), "Gopher".to_owned());
        RuleView { name, at_least: true, threshold, published: 50.0, source }
    }

    fn source(name: &str, threshold: f64) -> RoomSource {
        let mut funnel = Funnel { documents_in: 100, bytes_in: 1000, ..Funnel::default() };
        funnel.kept = Documents { documents: 80, bytes: 900 };
        for (name, documents, bytes) in
            [("too_short", 12, 60), ("near_duplicate", 5, 30), ("malformed", 2, 0), ("exact_duplicate", 1, 10)]
        {
            funnel.dropped.insert(name.to_owned(), Documents { documents, bytes });
        }
        RoomSource {
            name: name.to_owned(),
            funnel,
            rules: vec![rule("too_short", threshold), rule("language", 0.1)],
            ..RoomSource::default()
        }
    }

    #[test]
    fn a_funnel_is_in_the_requested_order_and_adds_up() {
        let mut data = DataState::default();
        data.set(RoomView { sources: vec![source("a", 50.0), source("b", 20.0)], ..RoomView::default() });
        for (funnel, documents) in [(&data.sources[0].funnel, 100), (&data.together, 200)] {
            let names: Vec<&str> = funnel.cuts.iter().map(|c| c.raw.as_str()).collect();
            assert_eq!(names, ["malformed", "too_short", "language", "exact_duplicate", "near_duplicate"]);
            let cut: u64 = funnel.cuts.iter().map(|c| c.dropped.documents).sum();
            let bytes: u64 = funnel.cuts.iter().map(|c| c.dropped.bytes).sum();
            assert_eq!((funnel.into.documents, funnel.into.documents), (documents, cut + funnel.kept.documents));
            assert_eq!(funnel.into.bytes, bytes + funnel.kept.bytes);
        }
        // If sources differ there is no common threshold.
        assert_eq!(data.together.cuts[1].bound, None);
        assert!(data.together.cuts[2].bound.is_some());
        assert_eq!(data.chosen, "a");
    }

    #[test]
    fn a_document_is_laid_out_as_it_was_written() {
        let token = |text: &str| TokenView { text: text.to_owned(), trained: true, loss: Some(2.0), first: false };
        let texts = ["<|endoftext|>", "春", "\n", "<0xE6>", "<0x99>", "<0x93>"];
        let view = DocumentView {
            source: "a".to_owned(),
            index: 3,
            of: 9,
            step: 1,
            text: "春\n晓".to_owned(),
            tokens: texts.map(token).to_vec(),
            shown: 6,
            loss: Some(2.0),
            length: 6,
            mark: None,
        };
        let document = Document::new(&view);
        assert_eq!(document.text, "春\n晓");
        assert_eq!(document.tokens.lines(0, 60), [0..3, 3..4], "a new line of text begins a new line");
        let mut data = DataState { chosen: "b".to_owned(), ..DataState::default() };
        data.show(&view);
        assert!(data.document.is_none(), "another source is looked at by now");
    }
}
