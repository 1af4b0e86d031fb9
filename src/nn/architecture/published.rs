//! The shapes of published models.

use super::Architecture;

/// A published model.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    /// `gpt3` …
    pub name: &'static str,
    /// Its shape.
    pub architecture: Architecture,
    /// Tokens that it was trained on, where its authors say so.
    pub tokens: Option<u64>,
}

/// Published models of the GPT, Llama, Mixtral and Grok families.
pub static PUBLISHED: &[Published] = &[
    Published {
        name: "gpt1",
        architecture: Architecture { final_norm: false, ..Architecture::gpt(12, 768, 12, 40_478, 512) },
        tokens: None,
    },
    Published { name: "gpt2", architecture: Architecture::gpt(12, 768, 12, 50_257, 1024), tokens: None },
    Published { name: "gpt2-xl", architecture: Architecture::gpt(48, 1600, 25, 50_257, 1024), tokens: None },
    Published {
        name: "gpt3",
        architecture: Architecture::gpt(96, 12_288, 96, 50_257, 2048),
        tokens: Some(300_000_000_000),
    },
    Published {
        name: "llama-7b",
        architecture: Architecture::llama([32, 4096, 32, 32, 11_008, 32_000], 2048),
        tokens: Some(1_000_000_000_000),
    },
    Published {
        name: "mixtral-8x7b",
        architecture: Architecture {
            experts: 8,
            active: 2,
            ..Architecture::llama([32, 4096, 32, 8, 14_336, 32_000], 32_768)
        },
        tokens: None,
    },
    Published {
        name: "grok-1",
        architecture: Architecture {
            experts: 8,
            active: 2,
            norms: 4,
            tied: true,
            ..Architecture::llama([64, 6144, 48, 8, 32_768, 131_072], 8192)
        },
        tokens: None,
    },
];
