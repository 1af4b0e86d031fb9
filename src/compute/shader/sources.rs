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
    "attention_coop",
    "attention_coop_backward_kv",
    "attention_coop_backward_q",
    "attention_coop_forward",
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
    "epilogue_float",
    "epilogue_half",
    "epilogue_rope",
    "epilogue_swiglu",
    "epilogue_swiglu_backward",
    "matmul",
    "matmul_coop",
    "reduce",
    "rmsnorm",
    "rmsnorm_backward_wide",
    "rng",
    "rope",
    "swiglu",
    "workgroup_sum",
];
