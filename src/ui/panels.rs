//! All panels in one table: title, draw function, and place in each view. Tab, the palette, the layout and the titles
//! read it, so that a new panel is a file in `view/` and a row here.

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

type Draw = fn(&Pen, Rect, &mut Canvas);

/// A panel.
pub struct PanelSpec {
    /// Its identifier.
    pub id: Panel,
    /// Its title.
    pub title: Tr,
    /// Draws it into an area.
    pub(crate) draw: Draw,
    /// The views that contain it, with its places there.
    pub places: &'static [Place],
}

/// A panel's place in a view, with two columns and with one column.
pub type Place = (View, Wide, Tall);

/// A place in the layout with two columns. Within a column the table's order applies.
#[derive(Clone, Copy, Debug)]
pub enum Wide {
    /// In the left column.
    Left(Rows),
    /// In the right column.
    Right(Rows),
    /// Hidden; with the focus it takes the place of the panel that [`Layout::yields`].
    Hidden,
}

/// A place in the layout with one column.
#[derive(Clone, Copy, Debug)]
pub enum Tall {
    /// Always visible.
    Top(Rows),
    /// At the bottom, unless another bottom panel has the focus.
    Foot(Rows),
    /// At the bottom while it has the focus.
    Swap(Rows),
}

/// The height of a panel including its title.
#[derive(Clone, Copy, Debug)]
pub enum Rows {
    /// The remaining rows.
    Rest,
    /// A fixed number.
    Just(u16),
    /// The body's height divided by the first number, at least the second.
    Part(u16, u16),
    /// One row per source, at most this many.
    Sources(u16),
    /// One row per task, at most this many.
    Tasks(u16),
    /// One row per source plus this many, at most the body's height divided by the second number.
    Stock(u16, u16),
    /// Three rows per probe, at most half of the rows that log and engine leave.
    Probes,
    /// Half of the rows that the engine panel leaves.
    Half(u16),
}

/// The layout of a view apart from its panels.
pub struct Layout {
    /// Width of the left column of a wide terminal, in percent.
    pub share: u16,
    /// The panel whose place a hidden panel takes while it has the focus.
    pub yields: Panel,
    /// The panel that swaps places with the chat while several answers are shown side by side, which need the wide
    /// column.
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

/// The specification of a panel.
pub fn find(id: Panel) -> Option<&'static PanelSpec> {
    PANELS.iter().find(|p| p.id == id)
}

impl PanelSpec {
    /// Its places in a view, if the view contains it.
    pub fn place(&self, view: View) -> Option<(Wide, Tall)> {
        self.places.iter().find(|p| p.0 == view).map(|p| (p.1, p.2))
    }
}

/// The panels of a view in Tab order: those visible on a wide terminal, then the hidden ones.
pub fn of(view: View) -> Vec<Panel> {
    let hidden = |p: &&PanelSpec| p.place(view).is_some_and(|(wide, _)| matches!(wide, Hidden));
    let all = || PANELS.iter().filter(|p| p.place(view).is_some());
    all().filter(|p| !hidden(p)).chain(all().filter(hidden)).map(|p| p.id).collect()
}

const fn panel(id: Panel, title: Tr, draw: Draw, places: &'static [Place]) -> PanelSpec {
    PanelSpec { id, title, draw, places }
}

/// Every panel, in column order and Tab order.
#[rustfmt::skip]
pub const PANELS: &[PanelSpec] = &[
    panel(Panel("accuracy"), Tr("准确率 accuracy", "accuracy"), accuracy::draw, &[(Reward, Left(Rest), Top(Rest))]),
    panel(Panel("score"), Tr("得分 score", "score"), score::draw, &[
        (Align, Left(Rest), Top(Rest)), (Direct, Left(Rest), Top(Rest))]),
    panel(Panel("drift"), Tr("KL 漂移 drift", "drift"), drift::draw, &[
        (Align, Left(Just(5)), Top(Just(4))), (Direct, Left(Just(5)), Top(Just(4)))]),
    panel(Panel::ROLLOUT, Tr("采样回答 rollout", "rollout"), rollout::draw, &[
        (Align, Left(Part(3, 10)), Swap(Part(2, 8)))]),
    panel(Panel::LOSS, Tr("损失 loss", "loss"), loss::draw, &[
        (Pretrain, Left(Rest), Top(Rest)), (Tune, Left(Rest), Top(Rest)), (Reward, Left(Part(4, 7)), Swap(Just(8))),
        (Align, Hidden, Swap(Just(8))), (Direct, Left(Part(3, 10)), Swap(Just(8)))]),
    panel(Panel("margins"), Tr("分差 margin", "margin"), margins::draw, &[
        (Reward, Right(Part(3, 8)), Top(Part(3, 6)))]),
    panel(Panel("frontier"), Tr("得分与 KL frontier", "score vs KL"), frontier::draw, &[
        (Align, Right(Part(3, 8)), Swap(Part(2, 8))), (Direct, Right(Part(3, 8)), Swap(Part(2, 8)))]),
    panel(Panel("checks"), Tr("自检与守卫 guard", "checks and guard"), guard::draw, &[
        (Align, Right(Just(6)), Foot(Just(5))), (Direct, Right(Just(6)), Foot(Just(5)))]),
    panel(Panel("tasks"), Tr("任务 tasks", "tasks"), tasks::draw, &[(Tune, Left(Tasks(0)), Top(Tasks(6)))]),
    panel(Panel::PROBE, Tr("探针 probe", "probe"), probe::draw, &[
        (Pretrain, Right(Half(9)), Top(Just(3))), (Tune, Right(Probes), Foot(Just(5)))]),
    panel(Panel::BATCH, Tr("当前批次 batch", "batch"), batch::draw, &[
        (Pretrain, Hidden, Swap(Just(8))), (Tune, Left(Part(3, 8)), Swap(Just(8)))]),
    panel(Panel::SOURCES, Tr("数据源 sources", "sources"), sources::draw, &[
        (Data, Left(Stock(4, 3)), Top(Stock(3, 3)))]),
    panel(Panel::FILTERS, Tr("清洗 filters", "filters"), filters::draw, &[(Data, Left(Rest), Top(Rest))]),
    panel(Panel::DROPPED, Tr("丢弃的文档 dropped", "dropped"), dropped::draw, &[(Data, Hidden, Swap(Part(2, 10)))]),
    panel(Panel("losses"), Tr("各数据源损失 loss by source", "loss by source"), losses::draw, &[
        (Data, Left(Stock(1, 4)), Swap(Stock(1, 3)))]),
    panel(Panel("tokenizer"), Tr("分词器 tokenizer", "tokenizer"), tokenizer::draw, &[
        (Data, Left(Just(4)), Swap(Just(4)))]),
    panel(Panel::PREVIEW, Tr("预览 preview", "preview"), preview::draw, &[(Data, Right(Rest), Foot(Just(7)))]),
    panel(Panel::NEXT_BATCH, Tr("下一批 next batch", "next batch"), next_batch::draw, &[
        (Data, Right(Part(4, 6)), Swap(Just(8)))]),
    panel(Panel("changes"), Tr("改动 changes", "changes"), changes::draw, &[
        (Data, Right(Part(4, 5)), Swap(Just(8)))]),
    panel(Panel::VOTES, Tr("投票 votes", "votes"), votes::draw, &[
        (Reward, Left(Part(3, 9)), Foot(Just(6))), (Align, Hidden, Swap(Just(6))), (Direct, Hidden, Swap(Just(6)))]),
    panel(Panel::CHAT, Tr("对话 chat", "chat"), chat::draw, &[
        (Data, Hidden, Swap(Just(8))), (Pretrain, Right(Rest), Swap(Just(8))), (Tune, Right(Rest), Swap(Just(8))),
        (Reward, Right(Rest), Swap(Just(8))), (Align, Right(Rest), Swap(Just(9))),
        (Direct, Right(Rest), Swap(Just(9)))]),
    panel(Panel::MIX, Tr("数据配比 data mix", "data mix"), mix::draw, &[
        (Pretrain, Left(Sources(5)), Swap(Sources(0))), (Tune, Hidden, Swap(Sources(0)))]),
    panel(Panel("run"), Tr("引擎 engine", "engine"), run::draw, &[
        (Pretrain, Right(Just(9)), Top(Just(3))), (Tune, Right(Just(3)), Swap(Just(4))),
        (Reward, Right(Just(3)), Swap(Just(4))), (Align, Right(Just(3)), Swap(Just(4))),
        (Direct, Right(Just(3)), Swap(Just(4)))]),
    panel(Panel::LOG, Tr("日志 log", "log"), log::draw, &[
        (Data, Hidden, Swap(Just(6))), (Pretrain, Left(Part(6, 4)), Foot(Just(4))),
        (Tune, Right(Just(5)), Swap(Just(4))), (Reward, Right(Just(5)), Swap(Just(5))),
        (Align, Right(Just(4)), Swap(Just(5))), (Direct, Right(Just(4)), Swap(Just(5)))]),
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
        for panel in [
            Panel::LOSS,
            Panel::PROBE,
            Panel::BATCH,
            Panel::VOTES,
            Panel::ROLLOUT,
            Panel::CHAT,
            Panel::MIX,
            Panel::SOURCES,
            Panel::FILTERS,
            Panel::DROPPED,
            Panel::PREVIEW,
            Panel::NEXT_BATCH,
            Panel::LOG,
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
