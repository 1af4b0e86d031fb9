//! Turns conversations into examples that fit a context, and holds some out.

use std::collections::HashSet;

use rayon::prelude::*;

use crate::data::{
    chat::{self, Conversation, Role},
    error::DataError,
    split::{self, Key},
    tokenizer::{ChatTokens, Tokenizer},
    tokens::example::Example,
};

/// Dropped conversations for which place and length are kept.
const KEPT_PLACES: usize = 20;

/// A named set of conversations.
#[derive(Clone, Debug)]
pub struct ChatSource {
    /// Its name.
    pub name: String,
    /// Its conversations.
    pub conversations: Vec<Conversation>,
    /// Its share of drawn examples, relative to the other sources' weights.
    pub weight: f64,
    /// Whether some conversations may be held out; `false` where all are to be memorised.
    pub hold_out: bool,
    /// Conversations that the data hold out themselves; then no others of the source are.
    pub split: Vec<Conversation>,
}

/// A source's examples.
#[derive(Clone, Debug, PartialEq)]
pub struct ExampleSet {
    /// The source's name.
    pub name: String,
    /// Its share, as given.
    pub weight: f64,
    /// The training examples.
    pub examples: Vec<Example>,
    /// The examples for evaluation; may be empty.
    pub held_out: Vec<HeldOut>,
    /// Statistics of fitting the training examples.
    pub fitted: Fitted,
    /// Statistics of fitting the held-out examples.
    pub held_out_fitted: Fitted,
}

/// A held-out conversation: as tokens for the loss, as text for questions and tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldOut {
    /// The whole conversation.
    pub conversation: Conversation,
    /// Its tokens, possibly shortened.
    pub example: Example,
}

/// Statistics of fitting conversations to a context.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fitted {
    /// Conversations that became an example.
    pub kept: usize,
    /// Those that lost their first exchanges.
    pub shortened: usize,
    /// Conversations dropped because their last exchange is too long.
    pub dropped: usize,
    /// The first of these: number in the source, from 1, and the tokens of the last exchange with the system turn.
    pub dropped_at: Vec<(usize, usize)>,
    /// Conversations that the model's own chat template does not render, and why the first is not.
    pub refused: usize,
    /// See `refused`.
    pub refusal: Option<String>,
    /// Tokens of the longest example.
    pub longest: usize,
    /// Trained tokens.
    pub trained_tokens: u64,
    /// All tokens.
    pub tokens: u64,
}

/// The result of fitting a conversation.
enum Fit {
    Whole(Example),
    Shortened(Example),
    /// The number of tokens of its last exchange.
    TooLong(usize),
    /// Why the model's own chat template does not render it.
    Refused(String),
}

/// Called, from any thread, before each conversation is encoded; its error ends the work.
pub type Begun<'a> = &'a (dyn Fn() -> Result<(), DataError> + Sync);

/// Encodes every conversation as an example of at most `context` + 1 tokens (the last is only a target). A longer one
/// loses exchanges from the front and keeps its system turn; an answer is never cut. A conversation whose last exchange
/// does not fit is dropped.
pub fn encode_all(
    conversations: &[Conversation],
    tokenizer: &Tokenizer,
    context: usize,
) -> Result<(Vec<Example>, Fitted), DataError> {
    let all: Vec<usize> = (0..conversations.len()).collect();
    let (examples, fitted) = encode_some(conversations, &all, (tokenizer, context), &|| Ok(()))?;
    Ok((examples.into_iter().map(|(_, example)| example).collect(), fitted))
}

/// The sources' examples, split into training and held out. The first question decides: conversations with the same
/// one, in whichever source, are on the same side. `protected` questions (probes) are never held out. A source with a
/// split of its own keeps it; what the split has is trained on in no source.
pub fn example_sets(
    mut sources: Vec<ChatSource>,
    protected: &[&str],
    tokenizer: &Tokenizer,
    context: usize,
    begun: Begun<'_>,
) -> Result<Vec<ExampleSet>, DataError> {
    let mut keep: HashSet<Key> = protected.iter().map(|t| split::key(t)).collect();
    let measured: HashSet<Key> = sources.iter().flat_map(|s| &s.split).map(whole).collect();
    if !measured.is_empty() {
        for source in &mut sources {
            source.conversations.retain(|c| !measured.contains(&whole(c)));
        }
    }
    let mut keys = Vec::with_capacity(sources.len());
    for source in &sources {
        let of: Vec<Key> = source.conversations.iter().map(|c| split::key(c.prompt().unwrap_or_default())).collect();
        if !source.hold_out || !source.split.is_empty() {
            keep.extend(&of);
        }
        keys.push(of);
    }
    let split = split::split_keys(&keys, keep);
    let sides = split.train.iter().zip(&split.held_out);
    let mut sets = Vec::with_capacity(sources.len());
    for (mut source, (train, held_out)) in sources.into_iter().zip(sides) {
        if !source.split.is_empty() {
            let held_out = std::mem::take(&mut source.split);
            sets.push(ExampleSet::given(&source, held_out, (tokenizer, context), begun)?);
            continue;
        }
        let (examples, fitted) = encode_some(&source.conversations, train, (tokenizer, context), begun)?;
        let (held, held_out_fitted) = encode_some(&source.conversations, held_out, (tokenizer, context), begun)?;
        let held_out = held
            .into_iter()
            .map(|(at, example)| HeldOut { conversation: std::mem::take(&mut source.conversations[at]), example });
        sets.push(ExampleSet {
            name: source.name,
            weight: source.weight,
            examples: examples.into_iter().map(|(_, example)| example).collect(),
            held_out: held_out.collect(),
            fitted,
            held_out_fitted,
        });
    }
    Ok(sets)
}

/// The hash of all turns of a conversation.
fn whole(conversation: &Conversation) -> Key {
    split::key(&chat::render(&conversation.turns, false))
}

impl ExampleSet {
    /// A source whose held-out conversations are given.
    pub fn given(
        source: &ChatSource,
        held_out: Vec<Conversation>,
        how: (&Tokenizer, usize),
        begun: Begun<'_>,
    ) -> Result<ExampleSet, DataError> {
        let all = |of: &[Conversation]| (0..of.len()).collect::<Vec<usize>>();
        let (examples, fitted) = encode_some(&source.conversations, &all(&source.conversations), how, begun)?;
        let examples = examples.into_iter().map(|(_, example)| example).collect();
        let (held, held_out_fitted) = encode_some(&held_out, &all(&held_out), how, begun)?;
        let mut held_out: Vec<Option<Conversation>> = held_out.into_iter().map(Some).collect();
        let held_out = held
            .into_iter()
            .filter_map(|(at, example)| Some(HeldOut { conversation: held_out.get_mut(at)?.take()?, example }));
        Ok(ExampleSet {
            name: source.name.clone(),
            weight: source.weight,
            examples,
            held_out: held_out.collect(),
            fitted,
            held_out_fitted,
        })
    }
}

/// Encodes some of the conversations, each with its index.
fn encode_some(
    conversations: &[Conversation],
    which: &[usize],
    (tokenizer, context): (&Tokenizer, usize),
    begun: Begun<'_>,
) -> Result<(Vec<(usize, Example)>, Fitted), DataError> {
    let begun = |at: &usize| begun().map(|()| &conversations[*at]);
    let fits: Result<Vec<Fit>, DataError> = if tokenizer.own_template().is_some() {
        which.par_iter().map(|at| fit_own(begun(at)?, tokenizer, context + 1)).collect()
    } else {
        let chat = chat::chat_tokens(tokenizer)?;
        which.par_iter().map(|at| fit(begun(at)?, tokenizer, chat, context + 1)).collect()
    };
    let mut fitted = Fitted::default();
    let mut examples = Vec::with_capacity(which.len());
    for (at, found) in which.iter().zip(fits?) {
        let example = match found {
            Fit::Whole(example) => example,
            Fit::Shortened(example) => {
                fitted.shortened += 1;
                example
            }
            Fit::TooLong(tokens) => {
                fitted.dropped += 1;
                if fitted.dropped_at.len() < KEPT_PLACES {
                    fitted.dropped_at.push((at + 1, tokens));
                }
                continue;
            }
            Fit::Refused(why) => {
                fitted.refused += 1;
                fitted.refusal.get_or_insert(why);
                continue;
            }
        };
        fitted.kept += 1;
        fitted.longest = fitted.longest.max(example.ids.len());
        fitted.trained_tokens += example.trained() as u64;
        fitted.tokens += example.ids.len() as u64;
        examples.push((*at, example));
    }
    Ok((examples, fitted))
}

/// The same in the model's own chat template, which is rendered again for each beginning.
fn fit_own(conversation: &Conversation, tokenizer: &Tokenizer, most: usize) -> Result<Fit, DataError> {
    let system = usize::from(conversation.turns.first().is_some_and(|t| t.role == Role::System));
    let (head, rest) = conversation.turns.split_at(system);
    let mut last = 0;
    for start in (0..rest.len()).filter(|start| *start == 0 || rest[*start].role == Role::User) {
        let turns = [head, &rest[start..]].concat();
        let example = match chat::encode(&Conversation { turns, task: None }, tokenizer) {
            Ok(example) => example,
            Err(DataError::Template(why)) => return Ok(Fit::Refused(why)),
            Err(e) => return Err(e),
        };
        last = example.ids.len();
        if last <= most {
            return Ok(if start == 0 { Fit::Whole(example) } else { Fit::Shortened(example) });
        }
    }
    Ok(Fit::TooLong(last))
}

/// A conversation with at most `most` tokens.
fn fit(conversation: &Conversation, tokenizer: &Tokenizer, chat: ChatTokens, most: usize) -> Result<Fit, DataError> {
    let turns: Result<Vec<Example>, DataError> =
        conversation.turns.iter().map(|turn| chat::encode_turn(turn, tokenizer, chat)).collect();
    let turns = turns?;
    let system = usize::from(conversation.turns.first().is_some_and(|t| t.role == Role::System));
    let tokens = |turns: &[Example]| turns.iter().map(|t| t.ids.len()).sum::<usize>();
    let begin = Example::begin(tokenizer);
    let head = begin.ids.len() + tokens(&turns[..system]);
    // Number of tokens without everything before the turn, and the same for the newest exchange.
    let mut left = head + tokens(&turns[system..]);
    let mut last = left;
    for start in system..turns.len() {
        // An exchange starts with a question.
        if start == system || conversation.turns[start].role == Role::User {
            last = left;
            if left <= most {
                let mut example = begin;
                for turn in turns[..system].iter().chain(&turns[start..]) {
                    example.extend(turn);
                }
                return Ok(if start == system { Fit::Whole(example) } else { Fit::Shortened(example) });
            }
        }
        left -= turns[start].ids.len();
    }
    Ok(Fit::TooLong(last))
}
