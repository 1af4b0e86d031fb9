//! What leaves a run: its models, their logs and its data, in the forms of other tools.

mod dataset;
mod folder;
mod gguf;
mod handover;
mod metrics;
mod npy;
mod template;
mod tfevents;

pub use dataset::dataset;
pub use folder::{BUILTIN_LICENCE, folder, is_builtin, state};
pub use gguf::GgufModel;
pub use handover::{
    back::{Back, take_back},
    give::{HandOver, hand_over},
};
pub use metrics::{MetricsForm, metrics};
