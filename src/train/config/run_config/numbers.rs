//! Tests of the allowed numbers in run.toml.
//!
//! Most numbers reach the device as `f32`: one that would overflow there is rejected here, and so are NaN and a 0 that
//! would be a divisor.

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use crate::{
        base::StageId,
        train::config::{RunConfig, table::Kind},
    };

    /// Whether 0 is allowed for a key that is not a count; NaN, infinities, −1 and 1e308 never are.
    const AMOUNTS: &[(&str, &[(&str, bool)])] = &[
        (
            "pretrain",
            &[
                ("learning_rate", true),
                ("weight_decay", true),
                ("adam_beta1", true),
                ("adam_beta2", true),
                ("adam_epsilon", false),
                ("max_grad_norm", true),
            ],
        ),
        ("sft", &[("adam_epsilon", false), ("pretrain_share", true), ("by_hand_share", true)]),
        (
            "reward",
            &[("adam_epsilon", false), ("lm_coef", true), ("center_rewards_coefficient", true), ("vote_weight", false)],
        ),
        (
            "ppo",
            &[
                ("self_prompts", true),
                ("learning_rate", true),
                ("value_learning_rate", true),
                ("kl_coef", true),
                ("target_kl", false),
                ("max_approx_kl", false),
                ("ptx_coef", true),
                ("cliprange", false),
                ("cliprange_value", false),
                ("gamma", true),
                ("lam", true),
                ("missing_eos_penalty", true),
                ("max_grad_norm", true),
            ],
        ),
        (
            "grpo",
            &[
                ("learning_rate", true),
                ("beta", true),
                ("epsilon", false),
                ("epsilon_high", false),
                ("missing_eos_penalty", true),
                ("max_grad_norm", true),
            ],
        ),
        ("dpo", &[("learning_rate", true), ("beta", false), ("label_smoothing", true), ("max_grad_norm", true)]),
        (
            "guard",
            &[
                ("distinct2", true),
                ("repetition", true),
                ("end_rate", true),
                ("length", false),
                ("kl", true),
                ("spike_loss", false),
                ("spike_deviations", false),
                ("spike_grad_norm", false),
            ],
        ),
        ("quality", &[("threshold", true), ("alpha", false)]),
        ("model", &[("rms_norm_eps", false), ("rope_theta", false), ("initializer_range", false), ("dropout", true)]),
        ("sampling", &[("temperature", true), ("top_p", false), ("repetition_penalty", false)]),
    ];

    /// Whether 0 is allowed for a count; NaN, infinities, −1 and fractions never are.
    const COUNTS: &[(&str, &[(&str, bool)])] = &[
        (
            "pretrain",
            &[
                ("steps", false),
                ("batch_size", false),
                ("gradient_accumulation_steps", false),
                ("context", false),
                ("warmup_steps", true),
                ("decay_steps", true),
                ("eval_steps", true),
                ("save_steps", true),
                ("probe_steps", true),
            ],
        ),
        (
            "ppo",
            &[
                ("steps", false),
                ("rollouts", false),
                ("response_length", false),
                ("num_ppo_epochs", false),
                ("num_mini_batches", false),
                ("value_warmup_steps", true),
                ("eval_steps", true),
                ("save_steps", true),
            ],
        ),
        (
            "grpo",
            &[
                ("steps", false),
                ("rollouts", false),
                ("num_generations", false),
                ("response_length", false),
                ("num_iterations", false),
                ("num_mini_batches", false),
                ("eval_steps", true),
                ("save_steps", true),
            ],
        ),
        (
            "dpo",
            &[
                ("steps", false),
                ("batch_size", false),
                ("response_length", false),
                ("eval_steps", true),
                ("save_steps", true),
            ],
        ),
        ("guard", &[("patience", false), ("spike_patience", false), ("rollbacks", true)]),
        (
            "model",
            &[
                ("vocab_size", false),
                ("hidden_size", false),
                ("intermediate_size", false),
                ("num_hidden_layers", false),
                ("num_attention_heads", false),
                ("num_key_value_heads", false),
                ("head_dim", false),
                ("max_position_embeddings", false),
            ],
        ),
        ("sampling", &[("top_k", true), ("max_new_tokens", false)]),
    ];

    fn parse(text: &str) -> Result<RunConfig, String> {
        let config =
            RunConfig::parse(&format!("size = \"1m\"\n{text}"), &[], StageId::Pretrain).map_err(|e| e.to_string())?;
        // The size's values are checked when the model is created.
        config.model().map_err(|e| e.to_string())?;
        Ok(config)
    }

    #[test]
    fn no_number_that_makes_no_sense_is_taken() {
        for (table, keys) in AMOUNTS {
            for (key, zero) in *keys {
                let with = |value: &str| parse(&format!("[{table}]\n{key} = {value}\n"));
                for value in ["-1.0", "nan", "inf", "-inf", "1e308"] {
                    let error = with(value).err().unwrap_or_else(|| panic!("{table}.{key} = {value} was taken"));
                    assert!(error.contains(key) && error.contains("expected"), "{error}");
                }
                assert_eq!(with("0.0").is_ok(), *zero, "{table}.{key} = 0: {:?}", with("0.0").err());
                assert_eq!(with("-0.0").is_ok(), *zero, "{table}.{key} = -0");
            }
        }
        for (table, keys) in COUNTS {
            for (key, zero) in *keys {
                let with = |value: &str| parse(&format!("[{table}]\n{key} = {value}\n"));
                for value in ["-1", "nan", "inf", "1e308", "1.5"] {
                    assert!(with(value).is_err(), "{table}.{key} = {value} was taken");
                }
                assert_eq!(with("0").is_ok(), *zero, "{table}.{key} = 0: {:?}", with("0").err());
            }
        }
        for value in ["-1.0", "nan", "inf", "1e308"] {
            let source = |table: &str| format!("[[{table}]]\nname = \"a\"\npath = \"a\"\nweight = {value}\n");
            for table in ["source", "sft.source", "reward.source"] {
                assert!(parse(&source(table)).is_err(), "{table} {value}");
            }
            assert!(parse(&format!("[mix]\npoems = {value}\n")).is_err(), "mix {value}");
        }
    }

    /// All numeric keys of all tables, by their declarations.
    #[test]
    fn no_declared_key_takes_what_is_no_number() {
        for table in RunConfig::keys() {
            let Kind::Table(keys) = table.kind else { continue };
            for key in keys.iter().filter(|key| key.is_of(table.name.parse().ok())) {
                let values = match key.kind {
                    Kind::Number => ["-1.0", "nan", "inf", "-inf", "1e308"],
                    Kind::Count => ["-1", "nan", "inf", "1e308", "1.5"],
                    _ => continue,
                };
                for value in values {
                    let taken = parse(&format!("[{}]\n{} = {value}\n", table.name, key.name));
                    let error =
                        taken.err().unwrap_or_else(|| panic!("{}.{} = {value} was taken", table.name, key.name));
                    assert!(error.contains(key.name) && error.contains("expected"), "{error}");
                }
            }
        }
    }
}
