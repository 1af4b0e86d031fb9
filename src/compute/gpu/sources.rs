//! The files of `shaders/`, compiled into the binary.

/// The text of `shaders/{name}.wgsl`.
pub(super) fn text(name: &str) -> Option<&'static str> {
    SOURCES.iter().find(|(n, _)| *n == name).map(|(_, text)| *text)
}

macro_rules! sources {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../shaders/", $name, ".wgsl")))),*]
    };
}

static SOURCES: &[(&str, &str)] = sources![
    "act",
    "adamw",
    "attention",
    "attention_backward_kv",
    "attention_backward_q",
    "attention_delta",
    "attention_forward",
    "attention_wide",
    "attention_wide_backward_kv",
    "attention_wide_backward_q",
    "attention_wide_forward",
    "begins",
    "cross_entropy",
    "decode",
    "dropout",
    "elementwise",
    "embedding",
    "entropy",
    "matmul",
    "reduce",
    "rmsnorm",
    "rmsnorm_backward_wide",
    "rng",
    "rope",
    "swiglu",
    "workgroup_sum",
];
