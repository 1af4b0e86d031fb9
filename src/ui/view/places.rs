//! Which panels stand where: a table a view, read at three sizes of the terminal.

use ratatui::layout::Rect;

use crate::ui::state::{AppState, Panel, View};

/// How much of the terminal there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// Two columns.
    Wide,
    /// One column of several panels.
    Tall,
    /// One panel at a time.
    Small,
}

pub(super) fn size(area: Rect) -> Size {
    match (area.width, area.height) {
        (100.., 30..) => Size::Wide,
        (70.., 20..) => Size::Tall,
        _ => Size::Small,
    }
}

/// Rows of a panel, its title among them.
#[derive(Clone, Copy)]
enum Rows {
    /// What the others leave.
    Rest,
    /// So many.
    Just(u16),
    /// The body's height divided by the first, but not less than the second.
    Part(u16, u16),
    /// A row a source, and so many at most.
    Sources(u16),
    /// A row a task, and so many at most.
    Tasks(u16),
    /// A row a source and so many more, within the body's height divided by the second.
    Stock(u16, u16),
    /// Three rows a probe, within half of what the log and the engine leave.
    Probes,
    /// Half of what the engine leaves.
    Half(u16),
}

use Rows::{Half, Just, Part, Probes, Rest, Sources, Stock, Tasks};

type Stack = &'static [(Panel, Rows)];

/// Where the panels of a view stand.
struct Places {
    /// How much of a wide terminal the left column has, in percent.
    share: u16,
    /// The left column of a wide terminal.
    left: Stack,
    /// The one beside it.
    right: Stack,
    /// This one changes places with the chat when answers stand side by side, for they need the wide column.
    makes_room: Option<Panel>,
    /// What has no place of its own takes this one's while it has the focus.
    yields: Panel,
    /// One column.
    tall: Stack,
    /// What may stand below it: the panel that has the focus if it is one of these, else the first.
    last: Stack,
}

const DATA: Places = Places {
    share: 52,
    left: &[
        (Panel::Sources, Stock(4, 3)),
        (Panel::Filters, Rest),
        (Panel::Losses, Stock(1, 4)),
        (Panel::Tokenizer, Just(4)),
    ],
    right: &[(Panel::Preview, Rest), (Panel::NextBatch, Part(4, 6)), (Panel::Changes, Part(4, 5))],
    makes_room: None,
    yields: Panel::Preview,
    tall: &[(Panel::Sources, Stock(3, 3)), (Panel::Filters, Rest)],
    last: &[
        (Panel::Preview, Just(7)),
        (Panel::Dropped, Part(2, 10)),
        (Panel::Losses, Stock(1, 3)),
        (Panel::Tokenizer, Just(4)),
        (Panel::NextBatch, Just(8)),
        (Panel::Changes, Just(8)),
        (Panel::Chat, Just(8)),
        (Panel::Log, Just(6)),
    ],
};

const PRETRAIN: Places = Places {
    share: 65,
    yields: Panel::Log,
    left: &[(Panel::Loss, Rest), (Panel::Mix, Sources(5)), (Panel::Log, Part(6, 4))],
    right: &[(Panel::Probe, Half(9)), (Panel::Chat, Rest), (Panel::Run, Just(9))],
    makes_room: None,
    tall: &[(Panel::Loss, Rest), (Panel::Probe, Just(3)), (Panel::Run, Just(3))],
    last: &[(Panel::Log, Just(4)), (Panel::Chat, Just(8)), (Panel::Mix, Sources(0)), (Panel::Batch, Just(8))],
};

const TUNE: Places = Places {
    share: 65,
    yields: Panel::Log,
    left: &[(Panel::Loss, Rest), (Panel::Tasks, Tasks(0)), (Panel::Batch, Part(3, 8))],
    right: &[(Panel::Probe, Probes), (Panel::Chat, Rest), (Panel::Run, Just(3)), (Panel::Log, Just(5))],
    makes_room: Some(Panel::Batch),
    tall: &[(Panel::Loss, Rest), (Panel::Tasks, Tasks(6))],
    last: &[
        (Panel::Probe, Just(5)),
        (Panel::Chat, Just(8)),
        (Panel::Mix, Sources(0)),
        (Panel::Batch, Just(8)),
        (Panel::Run, Just(4)),
        (Panel::Log, Just(4)),
    ],
};

const REWARD: Places = Places {
    share: 65,
    yields: Panel::Log,
    left: &[(Panel::Accuracy, Rest), (Panel::Loss, Part(4, 7)), (Panel::Votes, Part(3, 9))],
    right: &[(Panel::Margins, Part(3, 8)), (Panel::Chat, Rest), (Panel::Run, Just(3)), (Panel::Log, Just(5))],
    makes_room: Some(Panel::Loss),
    tall: &[(Panel::Accuracy, Rest), (Panel::Margins, Part(3, 6))],
    last: &[
        (Panel::Votes, Just(6)),
        (Panel::Loss, Just(8)),
        (Panel::Chat, Just(8)),
        (Panel::Run, Just(4)),
        (Panel::Log, Just(5)),
    ],
};

const ALIGN: Places = Places {
    share: 65,
    yields: Panel::Log,
    left: &[(Panel::Score, Rest), (Panel::Drift, Just(5)), (Panel::Rollout, Part(3, 10))],
    right: &[
        (Panel::Frontier, Part(3, 8)),
        (Panel::Lamps, Just(6)),
        (Panel::Chat, Rest),
        (Panel::Run, Just(3)),
        (Panel::Log, Just(4)),
    ],
    makes_room: Some(Panel::Rollout),
    tall: &[(Panel::Score, Rest), (Panel::Drift, Just(4))],
    last: &[
        (Panel::Lamps, Just(5)),
        (Panel::Rollout, Part(2, 8)),
        (Panel::Frontier, Part(2, 8)),
        (Panel::Chat, Just(9)),
        (Panel::Votes, Just(6)),
        (Panel::Loss, Just(8)),
        (Panel::Run, Just(4)),
        (Panel::Log, Just(5)),
    ],
};

const DIRECT: Places = Places {
    left: &[(Panel::Score, Rest), (Panel::Drift, Just(5)), (Panel::Loss, Part(3, 10))],
    makes_room: Some(Panel::Loss),
    ..ALIGN
};

impl Rows {
    fn of(self, state: &AppState, body: u16) -> u16 {
        let stage = state.shown();
        let sources = stage.run.as_ref().map_or(1, |r| r.sources.len()) as u16;
        let tasks = stage.tasks.len().max(1) as u16;
        match self {
            Rest => 0,
            Just(rows) => rows,
            Part(n, least) => (body / n).max(least),
            Sources(0) => sources.min(6) + 2,
            Sources(n) => sources.min(body / n) + 2,
            Stock(more, n) => (sources.max(state.room.sources.len() as u16) + more).min((body / n).max(4)),
            Tasks(0) => (tasks + 2).min(body / 3),
            Tasks(most) => tasks.min(most) + 2,
            Probes => (3 * stage.probes.len().max(1) as u16 + 1).min(body.saturating_sub(8) / 2),
            Half(engine) => body.saturating_sub(engine).div_ceil(2),
        }
    }
}

/// Where every visible panel goes, and the divider's column.
pub(super) fn arrange(state: &AppState, body: Rect, size: Size) -> (Vec<(Panel, Rect)>, Option<u16>) {
    if state.expanded || size == Size::Small {
        return (vec![(state.focus, body)], None);
    }
    let places = match state.view() {
        View::Data => &DATA,
        View::Pretrain => &PRETRAIN,
        View::Tune => &TUNE,
        View::Reward => &REWARD,
        View::Align => &ALIGN,
        View::Direct => &DIRECT,
    };
    let mut panels;
    let mut divider = None;
    if size == Size::Tall {
        let last = places.last.iter().find(|l| l.0 == state.focus).or(places.last.first());
        let all: Vec<_> = places.tall.iter().chain(last).copied().collect();
        panels = stack(state, body, &all);
    } else {
        let left = Rect { width: body.width * places.share / 100 / 2 * 2, ..body };
        let right = Rect { x: left.right() + 1, width: body.width - left.width - 1, ..body };
        divider = Some(left.right());
        panels = stack(state, left, places.left);
        panels.extend(stack(state, right, places.right));
        if let Some(other) = places.makes_room.filter(|_| !state.asked_beside().is_empty()) {
            for panel in &mut panels {
                panel.0 = match panel.0 {
                    Panel::Chat => other,
                    p if p == other => Panel::Chat,
                    p => p,
                };
            }
        }
        if panels.iter().all(|p| p.0 != state.focus)
            && let Some(other) = panels.iter_mut().find(|p| p.0 == places.yields)
        {
            other.0 = state.focus;
        }
    }
    panels.retain(|p| p.1.height > 0);
    (panels, divider)
}

/// Panels from top to bottom; one of them takes what the others leave.
fn stack(state: &AppState, area: Rect, panels: &[(Panel, Rows)]) -> Vec<(Panel, Rect)> {
    let fixed: u16 = panels.iter().map(|p| p.1.of(state, area.height)).sum();
    let mut y = area.y;
    let mut placed = Vec::new();
    for (panel, rows) in panels {
        let height = match rows {
            Rest => area.height.saturating_sub(fixed),
            rows => rows.of(state, area.height),
        };
        let height = height.min(area.bottom().saturating_sub(y));
        placed.push((*panel, Rect { y, height, ..area }));
        y += height;
    }
    placed
}
