//! All panels: the rows of the folders of `view/`, joined. Tab, the palette, the layout and the titles read them, so that
//! a new panel is a file in such a folder and a row in its `mod.rs`.

use std::sync::LazyLock;

use crate::ui::{
    state::{Panel, View},
    strings::Tr,
    view::{
        chat, data, feedback, log,
        spec::{PanelSpec, panel},
        train,
    },
};

pub use crate::ui::view::spec::{Rows, Tall, Wide};

use Rows::{Just, Part, Rest};
use Tall::{Foot, Swap};
use View::{Align, Data, Direct, Pretrain, Reward, Tune};
use Wide::{Hidden, Left, Right};

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

/// The panels of a view in Tab order: those visible on a wide terminal, then the hidden ones.
pub fn of(view: View) -> Vec<Panel> {
    let hidden = |p: &&PanelSpec| p.place(view).is_some_and(|(wide, _)| matches!(wide, Hidden));
    let all = || PANELS.iter().filter(|p| p.place(view).is_some());
    all().filter(|p| !hidden(p)).chain(all().filter(hidden)).map(|p| p.id).collect()
}

/// The rows of `view/`'s own files.
#[rustfmt::skip]
const OWN: &[PanelSpec] = &[
    panel(210, Panel::CHAT, Tr("对话 chat", "chat"), chat::draw, &[
        (Data, Hidden, Swap(Just(8))), (Pretrain, Right(Rest), Swap(Just(8))), (Tune, Right(Rest), Swap(Just(8))),
        (Reward, Right(Rest), Swap(Just(8))), (Align, Right(Rest), Swap(Just(9))),
        (Direct, Right(Rest), Swap(Just(9)))]),
    panel(240, Panel::LOG, Tr("日志 log", "log"), log::draw, &[
        (Data, Hidden, Swap(Just(6))), (Pretrain, Left(Part(6, 4)), Foot(Just(4))),
        (Tune, Right(Just(5)), Swap(Just(4))), (Reward, Right(Just(5)), Swap(Just(5))),
        (Align, Right(Just(4)), Swap(Just(5))), (Direct, Right(Just(4)), Swap(Just(5)))]),
];

/// Every panel, by its order.
pub static PANELS: LazyLock<Vec<PanelSpec>> = LazyLock::new(|| {
    let mut all = [data::PANELS, feedback::PANELS, train::PANELS, OWN].concat();
    all.sort_by_key(|panel| panel.order);
    all
});

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
            assert_eq!(count(|p| matches!(p.1, Tall::Top(Rest))), 1, "{view:?}");
            assert_eq!(count(|p| matches!(p.1, Foot(_))), 1, "{view:?}");
            let Layout { yields, makes_room, .. } = layout(view);
            for panel in [Some(yields), makes_room].into_iter().flatten() {
                let place = find(panel).and_then(|p| p.place(view));
                assert!(place.is_some_and(|p| !matches!(p.0, Hidden)), "{panel:?} in {view:?}");
            }
        }
    }

    #[test]
    fn every_order_is_used_once() {
        let orders: HashSet<u8> = PANELS.iter().map(|p| p.order).collect();
        assert_eq!(orders.len(), PANELS.len(), "which of two panels comes first is undecided");
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
            Panel::METRICS,
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
