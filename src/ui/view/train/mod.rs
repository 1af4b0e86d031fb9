//! The panels of a stage that trains.

mod batch;
mod loss;
mod metrics;
mod mix;
mod probe;
mod run;
mod tasks;

use crate::ui::{
    state::{
        Panel,
        View::{Align, Direct, Pretrain, Reward, Tune},
    },
    strings::Tr,
    view::spec::{
        PanelSpec,
        Rows::{Half, Just, Part, Probes, Rest, Sources, Tasks},
        Tall::{Foot, Swap, Top},
        Wide::{Hidden, Left, Right},
        panel,
    },
};

/// Their rows.
#[rustfmt::skip]
pub const PANELS: &[PanelSpec] = &[
    panel(50, Panel::LOSS, Tr("损失 loss", "loss"), loss::draw, &[
        (Pretrain, Left(Rest), Top(Rest)), (Tune, Left(Rest), Top(Rest)), (Reward, Left(Part(4, 7)), Swap(Just(8))),
        (Align, Hidden, Swap(Just(8))), (Direct, Left(Part(3, 10)), Swap(Just(8)))]),
    panel(90, Panel("tasks"), Tr("任务 tasks", "tasks"), tasks::draw, &[(Tune, Left(Tasks(0)), Top(Tasks(6)))]),
    panel(100, Panel::PROBE, Tr("探针 probe", "probe"), probe::draw, &[
        (Pretrain, Right(Half(9)), Top(Just(3))), (Tune, Right(Probes), Foot(Just(5)))]),
    panel(110, Panel::BATCH, Tr("当前批次 batch", "batch"), batch::draw, &[
        (Pretrain, Hidden, Swap(Just(8))), (Tune, Left(Part(3, 8)), Swap(Just(8)))]),
    panel(220, Panel::MIX, Tr("数据配比 data mix", "data mix"), mix::draw, &[
        (Pretrain, Left(Sources(5)), Swap(Sources(0))), (Tune, Hidden, Swap(Sources(0)))]),
    panel(225, Panel::METRICS, Tr("指标 metrics", "metrics"), metrics::draw, &[
        (Pretrain, Hidden, Swap(Just(8))), (Tune, Hidden, Swap(Just(8))), (Reward, Hidden, Swap(Just(8))),
        (Align, Hidden, Swap(Just(8))), (Direct, Hidden, Swap(Just(8)))]),
    panel(230, Panel("run"), Tr("引擎 engine", "engine"), run::draw, &[
        (Pretrain, Right(Just(9)), Top(Just(3))), (Tune, Right(Just(3)), Swap(Just(4))),
        (Reward, Right(Just(3)), Swap(Just(4))), (Align, Right(Just(3)), Swap(Just(4))),
        (Direct, Right(Just(3)), Swap(Just(4)))]),
];
