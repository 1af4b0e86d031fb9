//! The panels of the data view.

mod changes;
mod dropped;
mod figures;
mod filters;
mod losses;
mod next_batch;
mod preview;
mod sources;
mod tokenizer;

use crate::ui::{
    state::{Panel, View::Data},
    strings::Tr,
    view::spec::{
        PanelSpec,
        Rows::{Just, Part, Rest, Stock},
        Tall::{Foot, Swap, Top},
        Wide::{Hidden, Left, Right},
        panel,
    },
};

/// Their rows.
#[rustfmt::skip]
pub const PANELS: &[PanelSpec] = &[
    panel(120, Panel::SOURCES, Tr("数据源 sources", "sources"), sources::draw, &[
        (Data, Left(Stock(4, 3)), Top(Stock(3, 3)))]),
    panel(130, Panel::FILTERS, Tr("清洗 filters", "filters"), filters::draw, &[(Data, Left(Rest), Top(Rest))]),
    panel(140, Panel::DROPPED, Tr("丢弃的文档 dropped", "dropped"), dropped::draw, &[(Data, Hidden, Swap(Part(2, 10)))]),
    panel(150, Panel("losses"), Tr("各数据源损失 loss by source", "loss by source"), losses::draw, &[
        (Data, Left(Stock(1, 4)), Swap(Stock(1, 3)))]),
    panel(160, Panel("tokenizer"), Tr("分词器 tokenizer", "tokenizer"), tokenizer::draw, &[
        (Data, Left(Just(4)), Swap(Just(4)))]),
    panel(170, Panel::PREVIEW, Tr("预览 preview", "preview"), preview::draw, &[(Data, Right(Rest), Foot(Just(7)))]),
    panel(180, Panel::NEXT_BATCH, Tr("下一批 next batch", "next batch"), next_batch::draw, &[
        (Data, Right(Part(4, 6)), Swap(Just(8)))]),
    panel(190, Panel("changes"), Tr("改动 changes", "changes"), changes::draw, &[
        (Data, Right(Part(4, 5)), Swap(Just(8)))]),
];
