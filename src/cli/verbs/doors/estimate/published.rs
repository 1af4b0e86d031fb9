//! Published figures of training runs, for comparison with the computed ones.

use serde_json::{Value, json};

use crate::ui::strings::Tr;

/// A published figure.
pub(super) struct Figure {
    pub model: &'static str,
    pub what: Tr,
    pub source: &'static str,
}

/// The figures, by preset.
pub(super) const FIGURES: &[Figure] = &[
    Figure {
        model: "gpt3",
        what: Tr(
            "训练 3.14e23 FLOPs（3,640 PF-日），3000 亿词元",
            "training: 3.14e23 FLOPs (3,640 PF-days), 300 B tokens",
        ),
        source: "Brown et al. 2020, table D.1",
    },
    Figure {
        model: "gpt3",
        what: Tr("能耗 1,287 MWh，552 吨 CO₂e", "energy: 1,287 MWh, 552 t CO₂e"),
        source: "Patterson et al. 2021, arXiv 2104.10350",
    },
    Figure {
        model: "gpt3",
        what: Tr("能耗的另一个估计：190 MWh", "energy, another estimate: 190 MWh"),
        source: "Carbontracker 2020 (Anthony et al.), as reported by The Register, 4 November 2020",
    },
    Figure {
        model: "gpt3",
        what: Tr("租一块 V100 要 355 年，460 万美元", "355 years of one V100, $4.6 M"),
        source: "Lambda Labs 2020",
    },
    Figure {
        model: "gpt2",
        what: Tr("复现 124M：8×A100 约 90 分钟，20 美元", "reproduction of 124M: 8×A100, about 90 minutes, $20"),
        source: "llm.c, discussion 481 (2024)",
    },
    Figure {
        model: "gpt2-xl",
        what: Tr("复现 1558M：8×H100 24 小时，672 美元", "reproduction of 1558M: 8×H100, 24 hours, $672"),
        source: "llm.c, discussion 677 (2024)",
    },
    Figure {
        model: "grok-1",
        what: Tr("发布时称 3140 亿参数", "announced with 314 B parameters"),
        source: "xAI, 17 March 2024",
    },
];

/// The figures of a preset.
pub(super) fn of(model: &str) -> impl Iterator<Item = &'static Figure> + use<'_> {
    FIGURES.iter().filter(move |figure| figure.model == model)
}

/// The same for JSON.
pub(super) fn objects(model: &str) -> Value {
    of(model).map(|figure| json!({"figure": figure.what.1, "source": figure.source})).collect()
}
