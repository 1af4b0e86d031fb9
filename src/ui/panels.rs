//! The panels, in one table: what each is called, what draws it, and where it stands in which view. Tab, the palette,
//! the layout and the titles all read it, so a new panel is a file in `view/` and a row here.

use ratatui::layout::Rect;

use crate::ui::{
    state::{Panel, View},
    strings::Tr,
    view::{
        chat,
        data::{changes, dropped, filters, losses, next_batch, preview, sources, tokenizer},
        feedback::{accuracy, drift, frontier, guard, margins, rollout, score, votes},
        log,
        pen::{Canvas, Pen},
        train::{batch, loss, mix, probe, run, tasks},
    },
};

use Rows::{Half, Just, Part, Probes, Rest, Sources, Stock, Tasks};
use Tall::{Foot, Swap, Top};
use View::{Align, Data, Direct, Pretrain, Reward, Tune};
use Wide::{Hidden, Left, Right};

/// A panel.
pub struct PanelSpec {
    /// Its name.
    pub id: Panel,
    /// Its title.
    pub title: Tr,
    /// Draws it into a place.
    pub(crate) draw: fn(&Pen, Rect, &mut Canvas),
    /// The views that have it, and where it stands there.
    pub places: &'static [Place],
}

/// Where a panel stands in a view: on a terminal of two columns, and on one of one column.
pub type Place = (View, Wide, Tall);

/// A place on a terminal of two columns. Panels of a column stand in the table's order.
#[derive(Clone, Copy, Debug)]
pub enum Wide {
    /// In the left column.
    Left(Rows),
    /// In the right column.
    Right(Rows),
    /// Nowhere, unless it has the focus: then in the place of the panel that [`Layout::yields`].
    Hidden,
}

/// A place on a terminal of one column.
#[derive(Clone, Copy, Debug)]
pub enum Tall {
    /// Always there.
    Top(Rows),
    /// At the foot, unless another panel of the foot has the focus.
    Foot(Rows),
    /// At the foot while it has the focus.
    Swap(Rows),
}

/// Rows of a panel, its title among them.
#[derive(Clone, Copy, Debug)]
pub enum Rows {
    /// What the others leave.
    Rest,
    /// This many.
    Just(u16),
    /// The body's height divided by the first, but not less than the second.
    Part(u16, u16),
    /// A row a source, this many at most.
    Sources(u16),
    /// A row a task, this many at most.
    Tasks(u16),
    /// A row a source and this many more, within the body's height divided by the second.
    Stock(u16, u16),
    /// Three rows a probe, within half of what the log and the engine leave.
    Probes,
    /// Half of what the engine leaves.
    Half(u16),
}

/// What a view's layout has beside its panels.
pub struct Layout {
    /// Percent of a wide terminal that the left column takes.
    pub share: u16,
    /// The panel whose place a hidden one takes while it has the focus.
    pub yields: Panel,
    /// This one changes places with the chat while several answers stand side by side, for they need the wide column.
    pub makes_room: Option<Panel>,
}

/// The layout of a view.
pub fn layout(view: View) -> Layout {
    let (share, yields, makes_room) = match view {
        Data => (52, Panel::PREVIEW, None),
        Pretrain => (65, Panel::LOG, None),
        Tune => (65, Panel::LOG, Some(Panel::BATCH)),
        Reward | Direct => (65, Panel::LOG, Some(Panel::LOSS)),
        Align => (65, Panel::LOG, Some(Panel::ROLLOUT)),
    };
    Layout { share, yields, makes_room }
}

/// A panel's row.
pub fn find(id: Panel) -> Option<&'static PanelSpec> {
    PANELS.iter().find(|p| p.id == id)
}

impl PanelSpec {
    /// Where it stands in a view, if the view has it.
    pub fn place(&self, view: View) -> Option<(Wide, Tall)> {
        self.places.iter().find(|p| p.0 == view).map(|p| (p.1, p.2))
    }
}

/// The panels of a view in the order Tab walks: those that a wide terminal shows, then the hidden ones.
pub fn of(view: View) -> Vec<Panel> {
    let hidden = |p: &&PanelSpec| p.place(view).is_some_and(|(wide, _)| matches!(wide, Hidden));
    let all = || PANELS.iter().filter(|p| p.place(view).is_some());
    all().filter(|p| !hidden(p)).chain(all().filter(hidden)).map(|p| p.id).collect()
}

/// Every panel.
pub const PANELS: &[PanelSpec] = &[
    PanelSpec {
        id: Panel("accuracy"),
        title: Tr("准确率 accuracy", "accuracy"),
        draw: accuracy::draw,
        places: &[(Reward, Left(Rest), Top(Rest))],
    },
    PanelSpec {
        id: Panel("score"),
        title: Tr("得分 score", "score"),
        draw: score::draw,
        places: &[(Align, Left(Rest), Top(Rest)), (Direct, Left(Rest), Top(Rest))],
    },
    PanelSpec {
        id: Panel("drift"),
        title: Tr("KL 漂移 drift", "drift"),
        draw: drift::draw,
        places: &[(Align, Left(Just(5)), Top(Just(4))), (Direct, Left(Just(5)), Top(Just(4)))],
    },
    PanelSpec {
        id: Panel::ROLLOUT,
        title: Tr("采样 rollout", "rollout"),
        draw: rollout::draw,
        places: &[(Align, Left(Part(3, 10)), Swap(Part(2, 8)))],
    },
    PanelSpec {
        id: Panel::LOSS,
        title: Tr("损失 loss", "loss"),
        draw: loss::draw,
        places: &[
            (Pretrain, Left(Rest), Top(Rest)),
            (Tune, Left(Rest), Top(Rest)),
            (Reward, Left(Part(4, 7)), Swap(Just(8))),
            (Align, Hidden, Swap(Just(8))),
            (Direct, Left(Part(3, 10)), Swap(Just(8))),
        ],
    },
    PanelSpec {
        id: Panel("margins"),
        title: Tr("分差 margin", "margin"),
        draw: margins::draw,
        places: &[(Reward, Right(Part(3, 8)), Top(Part(3, 6)))],
    },
    PanelSpec {
        id: Panel("frontier"),
        title: Tr("得分与 KL frontier", "score vs KL"),
        draw: frontier::draw,
        places: &[(Align, Right(Part(3, 8)), Swap(Part(2, 8))), (Direct, Right(Part(3, 8)), Swap(Part(2, 8)))],
    },
    PanelSpec {
        id: Panel("checks"),
        title: Tr("自检与护栏 guard", "checks and guard"),
        draw: guard::draw,
        places: &[(Align, Right(Just(6)), Foot(Just(5))), (Direct, Right(Just(6)), Foot(Just(5)))],
    },
    PanelSpec {
        id: Panel("tasks"),
        title: Tr("任务 tasks", "tasks"),
        draw: tasks::draw,
        places: &[(Tune, Left(Tasks(0)), Top(Tasks(6)))],
    },
    PanelSpec {
        id: Panel::PROBE,
        title: Tr("探针 probe", "probe"),
        draw: probe::draw,
        places: &[(Pretrain, Right(Half(9)), Top(Just(3))), (Tune, Right(Probes), Foot(Just(5)))],
    },
    PanelSpec {
        id: Panel::BATCH,
        title: Tr("当前批次 batch", "batch"),
        draw: batch::draw,
        places: &[(Pretrain, Hidden, Swap(Just(8))), (Tune, Left(Part(3, 8)), Swap(Just(8)))],
    },
    PanelSpec {
        id: Panel::SOURCES,
        title: Tr("来源 sources", "sources"),
        draw: sources::draw,
        places: &[(Data, Left(Stock(4, 3)), Top(Stock(3, 3)))],
    },
    PanelSpec {
        id: Panel::FILTERS,
        title: Tr("清洗 filters", "filters"),
        draw: filters::draw,
        places: &[(Data, Left(Rest), Top(Rest))],
    },
    PanelSpec {
        id: Panel::DROPPED,
        title: Tr("丢弃的文档 dropped", "dropped"),
        draw: dropped::draw,
        places: &[(Data, Hidden, Swap(Part(2, 10)))],
    },
    PanelSpec {
        id: Panel("losses"),
        title: Tr("各来源损失 loss by source", "loss by source"),
        draw: losses::draw,
        places: &[(Data, Left(Stock(1, 4)), Swap(Stock(1, 3)))],
    },
    PanelSpec {
        id: Panel("tokenizer"),
        title: Tr("分词器 tokenizer", "tokenizer"),
        draw: tokenizer::draw,
        places: &[(Data, Left(Just(4)), Swap(Just(4)))],
    },
    PanelSpec {
        id: Panel::PREVIEW,
        title: Tr("预览 preview", "preview"),
        draw: preview::draw,
        places: &[(Data, Right(Rest), Foot(Just(7)))],
    },
    PanelSpec {
        id: Panel::NEXT_BATCH,
        title: Tr("下一批 next batch", "next batch"),
        draw: next_batch::draw,
        places: &[(Data, Right(Part(4, 6)), Swap(Just(8)))],
    },
    PanelSpec {
        id: Panel("changes"),
        title: Tr("改动 changes", "changes"),
        draw: changes::draw,
        places: &[(Data, Right(Part(4, 5)), Swap(Just(8)))],
    },
    PanelSpec {
        id: Panel::VOTES,
        title: Tr("投票 votes", "votes"),
        draw: votes::draw,
        places: &[
            (Reward, Left(Part(3, 9)), Foot(Just(6))),
            (Align, Hidden, Swap(Just(6))),
            (Direct, Hidden, Swap(Just(6))),
        ],
    },
    PanelSpec {
        id: Panel::CHAT,
        title: Tr("对话 chat", "chat"),
        draw: chat::draw,
        places: &[
            (Data, Hidden, Swap(Just(8))),
            (Pretrain, Right(Rest), Swap(Just(8))),
            (Tune, Right(Rest), Swap(Just(8))),
            (Reward, Right(Rest), Swap(Just(8))),
            (Align, Right(Rest), Swap(Just(9))),
            (Direct, Right(Rest), Swap(Just(9))),
        ],
    },
    PanelSpec {
        id: Panel::MIX,
        title: Tr("数据配比 data mix", "data mix"),
        draw: mix::draw,
        places: &[(Pretrain, Left(Sources(5)), Swap(Sources(0))), (Tune, Hidden, Swap(Sources(0)))],
    },
    PanelSpec {
        id: Panel("run"),
        title: Tr("引擎 engine", "engine"),
        draw: run::draw,
        places: &[
            (Pretrain, Right(Just(9)), Top(Just(3))),
            (Tune, Right(Just(3)), Swap(Just(4))),
            (Reward, Right(Just(3)), Swap(Just(4))),
            (Align, Right(Just(3)), Swap(Just(4))),
            (Direct, Right(Just(3)), Swap(Just(4))),
        ],
    },
    PanelSpec {
        id: Panel::LOG,
        title: Tr("日志 log", "log"),
        draw: log::draw,
        places: &[
            (Data, Hidden, Swap(Just(6))),
            (Pretrain, Left(Part(6, 4)), Foot(Just(4))),
            (Tune, Right(Just(5)), Swap(Just(4))),
            (Reward, Right(Just(5)), Swap(Just(5))),
            (Align, Right(Just(4)), Swap(Just(5))),
            (Direct, Right(Just(4)), Swap(Just(5))),
        ],
    },
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const VIEWS: [View; 6] = [Data, Pretrain, Tune, Reward, Align, Direct];

    #[test]
    fn every_view_has_one_foot_and_one_rest_a_column() {
        for view in VIEWS {
            let places: Vec<(Wide, Tall)> = PANELS.iter().filter_map(|p| p.place(view)).collect();
            let count = |wanted: fn(&(Wide, Tall)) -> bool| places.iter().filter(|p| wanted(p)).count();
            assert_eq!(count(|p| matches!(p.0, Left(Rest))), 1, "{view:?}");
            assert_eq!(count(|p| matches!(p.0, Right(Rest))), 1, "{view:?}");
            assert_eq!(count(|p| matches!(p.1, Top(Rest))), 1, "{view:?}");
            assert_eq!(count(|p| matches!(p.1, Foot(_))), 1, "{view:?}");
            let Layout { yields, makes_room, .. } = layout(view);
            for panel in [Some(yields), makes_room].into_iter().flatten() {
                let place = find(panel).and_then(|p| p.place(view));
                assert!(place.is_some_and(|p| !matches!(p.0, Hidden)), "{panel:?} in {view:?}");
            }
        }
    }

    #[test]
    fn names_are_unique_and_every_constant_is_one() {
        let names: HashSet<&str> = PANELS.iter().map(|p| p.id.0).collect();
        assert_eq!(names.len(), PANELS.len());
        use Panel as P;
        for panel in [
            P::LOSS,
            P::PROBE,
            P::BATCH,
            P::VOTES,
            P::ROLLOUT,
            P::CHAT,
            P::MIX,
            P::SOURCES,
            P::FILTERS,
            P::DROPPED,
            P::PREVIEW,
            P::NEXT_BATCH,
            P::LOG,
        ] {
            assert!(names.contains(panel.0), "{panel:?}");
        }
    }

    #[test]
    fn titles_hold_no_character_of_ambiguous_width() {
        use unicode_width::UnicodeWidthStr as _;
        for title in PANELS.iter().flat_map(|p| [p.title.0, p.title.1]) {
            assert_eq!(title.width(), title.width_cjk(), "{title}");
        }
    }
}
