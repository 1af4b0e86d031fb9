//! What a language model stage draws from: the run's text and conversations, and the batches from a step on. Needs no
//! device.

use std::{collections::VecDeque, sync::Arc};

use super::{
    live_edits::{self, BEYOND},
    run::digest,
};
use crate::{
    data::{Batcher, ChatRows, Shape, Turn, Words, read_in},
    nn::ModelConfig,
    protocol::Role,
    train::{
        corpus::{self, Corpus, conversations::Chats},
        error::TrainError,
        run::{checkpoint::State, model_folder, tokenizer::keeps_tokenizer},
        stages::{
            edit_log::{Entry, LiveSettings},
            opening::Opening,
        },
    },
};

/// Probes whose prompts are cut, since the answer needs room.
fn too_long(corpus: &Corpus, chats: Option<&Chats>, window: usize) -> Result<Vec<String>, TrainError> {
    let tokenizer = &corpus.tokenizer;
    let mut notes = Vec::new();
    let mut look = |prompt: &str, words: Words<'_>, room: usize| -> Result<(), TrainError> {
        let left_out = read_in(words, tokenizer, window, room)?.left_out.tokens;
        if left_out > 0 {
            let start: String = prompt.chars().take(20).collect();
            notes.push(format!(
                "the probe {start:?}… is longer than the model's {window} positions leave beside its answer: its first {left_out} tokens are left out"
            ));
        }
        Ok(())
    };
    for p in &corpus.probes {
        look(&p.prompt, Words::Text(&p.prompt), tokenizer.encode_rest(&p.expected)?.len())?;
    }
    for p in chats.iter().flat_map(|c| &c.probes) {
        let question = [Turn::new(Role::User, p.prompt.as_str())];
        look(&p.prompt, Words::Chat(&question), tokenizer.encode_turn(&p.expected)?.len() + BEYOND)?;
    }
    Ok(notes)
}

/// What the stage reads before it has a model.
pub(super) struct Texts {
    pub corpus: Corpus,
    /// The conversations, if the stage has any.
    pub chats: Option<Chats>,
    /// The run's model with the tokenizer's ids.
    pub model: ModelConfig,
}

impl Texts {
    /// Reads text and conversations.
    pub(super) fn read(o: &mut Opening<'_>) -> Result<Texts, TrainError> {
        let begun = o.run.view().data_dir().join("tokenizer.json").is_file();
        let monitor = o.setup.monitor();
        let corpus = Corpus::load(o.config, o.run, &o.tokenizer_dir(), o.model.vocab_size, o.stage.chat(), &monitor)?;
        if begun {
            keeps_tokenizer(o.config, &corpus.tokenizer, &o.run.view().config()?)?;
        }
        o.notes.extend(corpus.notes.iter().cloned());
        let mut model = o.model.clone();
        model_folder::name_tokens(&mut model, &corpus.tokenizer);
        let chats = if o.stage.chat() {
            Some(Chats::load(o.config, o.run.view().dir(), &corpus.tokenizer, o.plan.context, &monitor)?)
        } else {
            None
        };
        o.notes.extend(chats.iter().flat_map(|c| c.notes.iter().cloned()));
        o.notes.extend(too_long(&corpus, chats.as_ref(), model.max_position_embeddings)?);
        Ok(Texts { corpus, chats, model })
    }
}

/// What batches are drawn from.
pub(super) struct Drawing {
    pub batcher: Batcher,
    /// The shape of the next step's batches.
    pub shape: Shape,
    /// The settings of the next step, and later entries.
    pub settings: LiveSettings,
    pub coming: VecDeque<Entry>,
    pub first_by_hand: Option<u64>,
    pub digest: String,
}

impl Drawing {
    /// The batches from a state's step on. `now`: the settings in run.toml.
    pub(super) fn new(
        o: &mut Opening<'_>,
        Texts { corpus, chats, model }: &mut Texts,
        state: &mut State,
        now: &LiveSettings,
    ) -> Result<Drawing, TrainError> {
        let (settings, coming) = live_edits::settle(o, state, now)?;
        if settings.data != now.data {
            match corpus::open_version(o.run.view(), &settings.data, o.config) {
                Some(packed) => corpus.packed = Arc::new(packed),
                None => o.notes.push("the data of the next steps are gone; the current data are used".to_owned()),
            }
        }
        let digest = digest(corpus, chats.as_ref());
        o.same_data(state, &digest);
        let first_by_hand = chats.as_ref().and_then(|c| c.by_hand.first()).map(|(step, _)| *step);
        let by_hand = first_by_hand.is_some_and(|step| step <= state.step);
        let shape = Shape { window: o.plan.context, ..settings.shape };
        let history = live_edits::history(state, &settings, by_hand, shape, o.notes)?;
        let rows = match chats {
            Some(c) => {
                let pad = model.pad_token_id.unwrap_or(0);
                let mut rows = ChatRows::new(&c.sets, o.config.seed, o.plan.context, o.plan.packing, pad)?;
                c.by_hand.iter().for_each(|(step, example)| rows.demonstrate(*step, example.clone()));
                Some(rows)
            }
            None => None,
        };
        let batcher = Batcher::with_chats(Arc::clone(&corpus.packed), rows, o.config.seed, history)?;
        Ok(Drawing { batcher, shape, settings, coming, first_by_hand, digest })
    }
}
