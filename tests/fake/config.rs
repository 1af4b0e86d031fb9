//! The fake trainer's configuration: keys of run.toml with values from the file, from an option, and changed live.

use danlu::{
    base::StageId,
    protocol::{Event, Origin, Setting},
    train::config::{RunConfig, written},
};

const RUN: &str = "size = \"1m\"\n[[source]]\nname = \"唐诗 tang300\"\npath = \"data/tang300/**/*.json\"\nweight = 0.4\n\
                   [pretrain]\nlearning_rate = 3e-3\nsteps = 1200\nsave_steps = 400\nweight_decay = 0.05\n\
                   [sampling]\ntemperature = 0.7\n";

/// The keys shown: few, so that a new key of run.toml leaves the pictures as they are.
const SHOWN: [&str; 26] = [
    "size",
    "seed",
    "precision",
    "tokenizer",
    "source",
    "quality.reference",
    "model.hidden_size",
    "model.num_hidden_layers",
    "model.max_position_embeddings",
    "model.rms_norm_eps",
    "pretrain.steps",
    "pretrain.learning_rate",
    "pretrain.batch_size",
    "pretrain.warmup_steps",
    "pretrain.weight_decay",
    "pretrain.adam_beta2",
    "pretrain.eval_steps",
    "pretrain.save_steps",
    "sft.steps",
    "sft.learning_rate",
    "ppo.lam",
    "guard.enabled",
    "guard.kl",
    "sampling.temperature",
    "sampling.top_k",
    "sampling.max_new_tokens",
];

/// Every key of run.toml.
pub fn all() -> Vec<Setting> {
    let config = RunConfig::parse(RUN, &[], StageId::Pretrain).expect("a configuration");
    let setting = |entry: danlu::train::config::Entry| Setting {
        table: entry.table,
        name: entry.key.name,
        value: entry.value().map(written).unwrap_or_default(),
        default: entry.default.as_ref().map(written).unwrap_or_default(),
        range: [0, 1].map(|lang| entry.key.describe(lang).unwrap_or_default()),
        origin: if entry.set.is_some() { Origin::File } else { Origin::Default },
        help: entry.key.help,
        ..Setting::default()
    };
    config.entries().expect("its entries").into_iter().map(setting).collect()
}

/// A learning rate changed at step 412, steps that wait, and a weight decay of the command line.
pub fn edited() -> Event {
    let path = |s: &Setting| if s.table.is_empty() { s.name.to_owned() } else { format!("{}.{}", s.table, s.name) };
    let mut shown: Vec<Setting> = all().into_iter().filter(|s| SHOWN.contains(&path(s).as_str())).collect();
    assert_eq!(shown.len(), SHOWN.len(), "keys that run.toml no longer has");
    for setting in &mut shown {
        match path(setting).as_str() {
            "pretrain.learning_rate" => {
                (setting.value, setting.changed, setting.origin) = ("0.0015".to_owned(), Some(412), Origin::File);
            }
            "pretrain.steps" => setting.next = Some("2400".to_owned()),
            "pretrain.weight_decay" => setting.origin = Origin::Option,
            _ => {}
        }
    }
    Event::Config(shown)
}
