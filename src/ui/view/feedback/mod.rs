//! The panels of human feedback: the reward model, the policy, the votes.

mod accuracy;
mod drift;
mod frontier;
pub mod guard;
mod margins;
mod rollout;
mod score;
pub mod votes;

use crate::ui::{
    state::{
        Panel,
        View::{Align, Direct, Reward},
    },
    strings::Tr,
    view::spec::{
        PanelSpec,
        Rows::{Just, Part, Rest},
        Tall::{Foot, Swap, Top},
        Wide::{Hidden, Left, Right},
        panel,
    },
};

/// Their rows.
#[rustfmt::skip]
pub const PANELS: &[PanelSpec] = &[
    panel(10, Panel("accuracy"), Tr("准确率 accuracy", "accuracy"), accuracy::draw, &[(Reward, Left(Rest), Top(Rest))]),
    panel(20, Panel("score"), Tr("得分 score", "score"), score::draw, &[
        (Align, Left(Rest), Top(Rest)), (Direct, Left(Rest), Top(Rest))]),
    panel(30, Panel("drift"), Tr("KL 漂移 drift", "drift"), drift::draw, &[
        (Align, Left(Just(5)), Top(Just(4))), (Direct, Left(Just(5)), Top(Just(4)))]),
    panel(40, Panel::ROLLOUT, Tr("采样回答 rollout", "rollout"), rollout::draw, &[
        (Align, Left(Part(3, 10)), Swap(Part(2, 8)))]),
    panel(60, Panel("margins"), Tr("分差 margin", "margin"), margins::draw, &[
        (Reward, Right(Part(3, 8)), Top(Part(3, 6)))]),
    panel(70, Panel("frontier"), Tr("得分与 KL frontier", "score vs KL"), frontier::draw, &[
        (Align, Right(Part(3, 8)), Swap(Part(2, 8))), (Direct, Right(Part(3, 8)), Swap(Part(2, 8)))]),
    panel(80, Panel("checks"), Tr("自检与守卫 guard", "checks and guard"), guard::draw, &[
        (Align, Right(Just(6)), Foot(Just(5))), (Direct, Right(Just(6)), Foot(Just(5)))]),
    panel(200, Panel::VOTES, Tr("投票 votes", "votes"), votes::draw, &[
        (Reward, Left(Part(3, 9)), Foot(Just(6))), (Align, Hidden, Swap(Just(6))), (Direct, Hidden, Swap(Just(6)))]),
];
