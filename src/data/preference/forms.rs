//! Parses a record into pairs: its forms, and the checks on a preference.

use std::{cmp::Ordering, fmt};

use serde_json::Value;

use super::Preference;
use crate::data::{
    chat::{
        Role, Turn,
        fields::{self, LABEL, TURNS},
        forms::{QUESTIONS, asked_turns, check, list, message_turn, short, side, system_turn, task},
        value::{Fields, TurnText, field, kind, text},
    },
    read::{Fault, LOSS},
};

/// The form of a preference in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PreferenceForm {
    /// `prompt`, `chosen`, `rejected`, strings or lists of messages, as TRL has them.
    PromptPair,
    /// `chosen` and `rejected`, whole conversations that differ in the last message (TRL, minimind).
    Messages,
    /// `instruction`, `input`, `chosen`, `rejected`, as LLaMA-Factory has them.
    Alpaca,
    /// `question` or `query`, optionally `system`, with `chosen` and `rejected`, as Orca's pairs have them.
    Question,
    /// `conversations` or `messages`, and one message each as `chosen` and `rejected`, as in LLaMA-Factory.
    ShareGpt,
    /// `input` with messages, `preferred_output`, `non_preferred_output`, as OpenAI's fine-tuning takes them.
    OpenAi,
    /// `chosen` and `rejected`, strings that contain `Human:` and `Assistant:`, as in hh-rlhf.
    HhRlhf,
    /// `prompt` and `ranked`, answers from the best to the worst.
    Ranked,
    /// `prompt` with `response_1`, `response_2` and `preference_strength` (HelpSteer2), or `context` with `response1`,
    /// `response2` and `overall_preference` (HelpSteer3).
    Strength,
    /// `prompt`, `response` and `helpfulness`: neighbouring answers to one prompt are compared (HelpSteer).
    Rated,
    /// A vote cast in danlu: [`PreferenceForm::PromptPair`] with `choice`.
    Vote,
}

impl fmt::Display for PreferenceForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PromptPair => "prompt/chosen/rejected",
            Self::Messages => "messages",
            Self::Alpaca => "alpaca",
            Self::Question => "question/chosen/rejected",
            Self::ShareGpt => "sharegpt",
            Self::OpenAi => "openai",
            Self::HhRlhf => "hh-rlhf",
            Self::Ranked => "ranked",
            Self::Strength => "helpsteer pairs",
            Self::Rated => "helpsteer ratings",
            Self::Vote => "vote",
        })
    }
}

/// The names of a better and a worse answer: TRL's, Argilla's, WebGPT's, OpenAI's.
const SIDES: [[&str; 2]; 4] = [
    ["chosen", "rejected"],
    ["chosen_response", "rejected_response"],
    ["response_j", "response_k"],
    ["preferred_output", "non_preferred_output"],
];
/// The fields that are read besides them, and those that are lists of messages or one message.
const OTHERS: [&str; 20] = [
    "prompt",
    "ranked",
    "conversations",
    "instruction",
    "question",
    "query",
    "input",
    "output",
    "context",
    "history",
    "system",
    "choice",
    "messages",
    "response_1",
    "response_2",
    "preference_strength",
    "response1",
    "response2",
    "overall_preference",
    "helpfulness",
];
pub(super) const LISTS: [&str; 8] = [
    "prompt",
    "context",
    "chosen",
    "rejected",
    "conversations",
    "messages",
    "preferred_output",
    "non_preferred_output",
];

/// All fields that a form reads. TRL's and UltraFeedback's records repeat the chosen conversation in `messages`.
pub(super) fn read() -> Vec<&'static str> {
    OTHERS.into_iter().chain(SIDES.into_iter().flatten()).collect()
}

/// Most answers of a ranking; all pairs of them are made.
const MOST_RANKED: usize = 64;
/// The beginning of a turn in hh-rlhf's strings.
const HUMAN: &str = "\n\nHuman:";
const ASSISTANT: &str = "\n\nAssistant:";

/// The content of a record.
#[derive(Clone, Debug)]
pub(super) enum Found {
    Pairs(Vec<Preference>),
    /// An answer with its rating, which is compared with others to the same prompt.
    Rated(Rated),
    /// A vote for neither: both equally good.
    Tie,
    /// A vote for neither: both bad.
    BothBad,
    /// A vote without an opinion.
    Skip,
    /// Takes back the newest vote.
    Unvote,
}

/// An answer with its rating.
#[derive(Clone, Debug)]
pub(super) struct Rated {
    pub prompt: Vec<Turn>,
    pub answer: String,
    pub task: Option<String>,
    /// HelpSteer's helpfulness: more is better.
    pub rating: f64,
}

impl Rated {
    /// The pair that two answers to one prompt form; None if they are rated alike.
    pub(super) fn against(&self, other: &Rated) -> Option<Result<Preference, Fault>> {
        let (better, worse) = match self.rating.partial_cmp(&other.rating)? {
            Ordering::Greater => (self, other),
            Ordering::Less => (other, self),
            Ordering::Equal => return None,
        };
        let made = pair(&self.prompt, better.answer.clone(), worse.answer.clone(), self.task.clone(), false);
        Some(made.map_err(|reason| Fault::new(TURNS, reason)))
    }
}

/// The pairs of HelpSteer's two answers with a preference between them, negative for the first.
const STRENGTHS: [[&str; 3]; 2] =
    [["response_1", "response_2", "preference_strength"], ["response1", "response2", "overall_preference"]];

/// A number that HelpSteer rates with.
fn number(value: &Value, name: &str) -> Result<f64, Fault> {
    let number = value.as_f64().or_else(|| value.as_str().and_then(|text| text.trim().parse().ok()));
    match number.filter(|n| n.is_finite()) {
        Some(number) => Ok(number),
        None => Err(format!("{name:?} is {}; a number is expected", kind(value)).into()),
    }
}

/// The turns before HelpSteer's answers: `prompt`, or HelpSteer3's list of messages in `context`.
fn before(fields: &Fields, how: TurnText) -> Result<Vec<Turn>, Fault> {
    let prompt = match (field(fields, "prompt"), field(fields, "context")) {
        (Some(prompt), _) => {
            fields::check_context(fields, "prompt", &[])?;
            side(prompt, "prompt", Role::User)?
        }
        (None, Some(context)) => side(context, "context", Role::User)?,
        (None, None) => return Err("two answers without \"prompt\" or \"context\"".to_owned().into()),
    };
    Ok(asked_only(prompt, how))
}

/// HelpSteer's forms; None if the record has neither.
fn helpsteer(fields: &Fields, how: TurnText) -> Result<Option<(PreferenceForm, Found)>, Fault> {
    for [one, other, by] in STRENGTHS {
        let (Some(first), Some(second)) = (field(fields, one), field(fields, other)) else { continue };
        let Some(by_how_much) = field(fields, by) else {
            let why = format!("{one:?} and {other:?} without {by:?}, which says which is better");
            return Err(why.into());
        };
        let strength = number(by_how_much, by)?;
        if strength == 0.0 {
            return Ok(Some((PreferenceForm::Strength, Found::Tie)));
        }
        let (first, second) = (string(first, one)?, string(second, other)?);
        let (better, worse) = if strength < 0.0 { (first, second) } else { (second, first) };
        let made = pair(&before(fields, how)?, better, worse, task(fields), false);
        let made = made.map_err(|reason| Fault::new(TURNS, reason))?;
        return Ok(Some((PreferenceForm::Strength, Found::Pairs(vec![made]))));
    }
    let (Some(answer), Some(rating)) = (field(fields, "response"), field(fields, "helpfulness")) else {
        return Ok(None);
    };
    let (prompt, rating) = (before(fields, how)?, number(rating, "helpfulness")?);
    check_prompt(&prompt).map_err(|reason| Fault::new(TURNS, reason))?;
    let rated = Rated { prompt, answer: string(answer, "response")?, task: task(fields), rating };
    Ok(Some((PreferenceForm::Rated, Found::Rated(rated))))
}

/// Parses a record, or returns why it has no preference.
pub(super) fn preference(record: &Value, how: TurnText) -> Result<(PreferenceForm, Found), Fault> {
    let Value::Object(fields) = record else {
        return Err(format!("expected an object, found {}", kind(record)).into());
    };
    let rates_one = ["chosen", "rejected", "ranked"].into_iter().all(|name| field(fields, name).is_none());
    if rates_one && field(fields, "label").is_some() && field(fields, "completion").is_some() {
        let why = "\"label\" rates a single answer, as for KTO, and two answers to compare are expected; the good ones can be fine-tuned on, as [[sft.source]]";
        return Err(Fault::new(LABEL, why));
    }
    fields::check(fields)?;
    if fields::trained(fields, false)? == Some(false) {
        return Err(Fault::new(LOSS, "it is marked as not to be trained on"));
    }
    if let Some(ranked) = field(fields, "ranked") {
        return Ok((PreferenceForm::Ranked, Found::Pairs(ranking(fields, ranked, how)?)));
    }
    if rates_one && let Some(found) = helpsteer(fields, how)? {
        return Ok(found);
    }
    let vote = match field(fields, "choice") {
        None => false,
        Some(choice) => match text(choice, "\"choice\"")?.as_str() {
            "a" | "b" | "much_a" | "much_b" => true,
            "tie" => return Ok((PreferenceForm::Vote, Found::Tie)),
            "both_bad" => return Ok((PreferenceForm::Vote, Found::BothBad)),
            "skip" => return Ok((PreferenceForm::Vote, Found::Skip)),
            "unvote" => return Ok((PreferenceForm::Vote, Found::Unvote)),
            other => {
                let short: String = other.chars().take(40).collect();
                return Err(format!(
                    "unknown choice {short:?}; known are a, b, much_a, much_b, tie, both_bad, skip and unvote"
                )
                .into());
            }
        },
    };
    let ([better, worse], chosen, rejected) = sides(fields)?;
    let asked = QUESTIONS.into_iter().find_map(|name| Some((name, field(fields, name)?)));
    let (form, mut prompt, chosen, rejected) = if let Some(Value::Object(input)) = field(fields, "input")
        && let Some(messages) = input.get("messages")
    {
        fields::check(input)?;
        let prompt = list(messages, "messages")?;
        let answers = (answer(chosen, better, &prompt)?, answer(rejected, worse, &prompt)?);
        (PreferenceForm::OpenAi, prompt, answers.0, answers.1)
    } else if let Some(asked) = field(fields, "conversations") {
        let prompt = list(asked, "conversations")?;
        (PreferenceForm::ShareGpt, prompt, message(chosen, better)?, message(rejected, worse)?)
    } else if let Some(instruction) = field(fields, "instruction") {
        let prompt = asked_turns(fields, ("instruction", instruction))?;
        (PreferenceForm::Alpaca, prompt, string(chosen, better)?, string(rejected, worse)?)
    } else if let Some(asked) = field(fields, "prompt") {
        let prompt = side(asked, "prompt", Role::User)?;
        let answers = (answer(chosen, better, &prompt)?, answer(rejected, worse, &prompt)?);
        (PreferenceForm::PromptPair, prompt, answers.0, answers.1)
    } else if let Some(asked) = asked.filter(|_| !chosen.is_array() && !chosen.as_str().is_some_and(opens_spoken)) {
        let prompt = asked_turns(fields, asked)?;
        (PreferenceForm::Question, prompt, string(chosen, better)?, string(rejected, worse)?)
    } else if let Some(asked) = field(fields, "messages").filter(|_| chosen.is_object()) {
        let prompt = list(asked, "messages")?;
        (PreferenceForm::ShareGpt, prompt, message(chosen, better)?, message(rejected, worse)?)
    } else {
        implicit(chosen, rejected)?
    };
    let (named, read): (_, &[&str]) = match form {
        PreferenceForm::Alpaca => ("instruction", &["input", "context", "history"]),
        PreferenceForm::Question => ("question", &["input", "context", "history"]),
        PreferenceForm::ShareGpt => ("conversations", &[]),
        PreferenceForm::OpenAi => ("messages", &["input"]),
        _ => ("prompt", &[]),
    };
    fields::check_context(fields, named, read)?;
    prompt.splice(0..0, system_turn(fields)?);
    let task = task(fields);
    let pair =
        pair(&asked_only(prompt, how), chosen, rejected, task, vote).map_err(|reason| Fault::new(TURNS, reason))?;
    Ok((if vote { PreferenceForm::Vote } else { form }, Found::Pairs(vec![pair])))
}

/// The better and the worse answer of a record, with the names of their fields.
fn sides(fields: &Fields) -> Result<([&'static str; 2], &Value, &Value), Fault> {
    for [better, worse] in SIDES {
        match (field(fields, better), field(fields, worse)) {
            (Some(chosen), Some(rejected)) => return Ok(([better, worse], chosen, rejected)),
            (Some(_), None) => return Err(format!("{better:?} without {worse:?}; both are expected").into()),
            (None, Some(_)) => return Err(format!("{worse:?} without {better:?}; both are expected").into()),
            (None, None) => {}
        }
    }
    // LLaMA-Factory's earlier form.
    if let Some(Value::Array(answers)) = field(fields, "output")
        && let [chosen @ Value::String(_), rejected @ Value::String(_)] = answers.as_slice()
    {
        return Ok((["output", "output"], chosen, rejected));
    }
    let names: Vec<String> = fields.keys().take(8).map(|name| format!("{:?}", short(name))).collect();
    let known = "no known field: \"chosen\" and \"rejected\", or \"prompt\" with \"ranked\"";
    Err(if names.is_empty() { known.to_owned() } else { format!("{known}; it has {}", names.join(", ")) }.into())
}

/// An answer that is a string or a message.
fn string(value: &Value, name: &str) -> Result<String, Fault> {
    if value.is_object() { message(value, name) } else { Ok(text(value, &format!("\"{name}\""))?) }
}

/// The turns of a prompt. Nothing in a prompt is trained, whatever its turns are marked as.
fn asked_only(mut prompt: Vec<Turn>, how: TurnText) -> Vec<Turn> {
    for turn in &mut prompt {
        turn.learned = true;
    }
    prompt.retain(|t| t.role != Role::System || how.keeps_system(&t.content));
    prompt
}

/// A valid pair.
fn pair(
    prompt: &[Turn],
    chosen: String,
    rejected: String,
    task: Option<String>,
    vote: bool,
) -> Result<Preference, String> {
    check_prompt(prompt)?;
    for (name, answer) in [("chosen", &chosen), ("rejected", &rejected)] {
        if answer.trim().is_empty() {
            return Err(format!("the {name} answer is empty"));
        }
    }
    if chosen.trim() == rejected.trim() {
        return Err("the chosen answer equals the rejected one, so nothing is preferred".into());
    }
    Ok(Preference::new(prompt.to_vec(), chosen, rejected, task, vote))
}

/// Rejects a prompt that does not end with a question.
fn check_prompt(prompt: &[Turn]) -> Result<(), String> {
    match prompt.last() {
        None => return Err("the prompt has no turns".into()),
        Some(last) if last.role != Role::User => {
            return Err(format!("the prompt ends with the {}; it must end with the user", last.role));
        }
        Some(_) => {}
    }
    // The checks of a conversation apply to the prompt with any answer.
    let mut whole = prompt.to_vec();
    whole.push(Turn::new(Role::Assistant, "x"));
    check(&whole).map_err(|reason| format!("the prompt: {reason}"))
}

/// All pairs of a ranking.
fn ranking(fields: &Fields, ranked: &Value, how: TurnText) -> Result<Vec<Preference>, Fault> {
    let asked = field(fields, "prompt").ok_or_else(|| "\"ranked\" without \"prompt\"; both are expected".to_owned())?;
    fields::check_context(fields, "prompt", &[])?;
    let mut prompt = side(asked, "prompt", Role::User)?;
    let Value::Array(ranked) = ranked else {
        return Err(format!("\"ranked\" is {}, not a list of answers", kind(ranked)).into());
    };
    if !(2..=MOST_RANKED).contains(&ranked.len()) {
        return Err(format!("\"ranked\" has {} answers; 2 to {MOST_RANKED} are expected", ranked.len()).into());
    }
    let answers: Result<Vec<String>, Fault> = ranked.iter().map(|value| answer(value, "ranked", &prompt)).collect();
    let answers = answers?;
    prompt.splice(0..0, system_turn(fields)?);
    let (prompt, task) = (asked_only(prompt, how), task(fields));
    let mut pairs = Vec::new();
    for (at, better) in answers.iter().enumerate() {
        for (after, worse) in answers.iter().enumerate().skip(at + 1) {
            let made = pair(&prompt, better.clone(), worse.clone(), task.clone(), false);
            pairs.push(made.map_err(|reason| {
                Fault::new(TURNS, format!("answers {} and {} of \"ranked\": {reason}", at + 1, after + 1))
            })?);
        }
    }
    Ok(pairs)
}

/// A message by the assistant.
fn message(value: &Value, name: &str) -> Result<String, Fault> {
    let turn = message_turn(value).map_err(|fault| fault.within(&format!("\"{name}\"")))?;
    spoken(turn, name)
}

fn spoken(turn: Turn, name: &str) -> Result<String, Fault> {
    match turn.role {
        Role::Assistant if !turn.learned => {
            Err(Fault::new(LOSS, format!("\"{name}\" is marked as not to be trained on")))
        }
        Role::Assistant => Ok(turn.content),
        role => Err(format!("\"{name}\" is the {role}'s; an answer of the assistant is expected").into()),
    }
}

/// An answer to a prompt: a string, a message in a list, or the whole conversation including the prompt.
fn answer(value: &Value, name: &str, prompt: &[Turn]) -> Result<String, Fault> {
    if !value.is_array() {
        return string(value, name);
    }
    let mut turns = list(value, name)?;
    if turns.len() > 1 && turns.len() > prompt.len() && same(&turns[..prompt.len()], prompt) {
        turns.drain(..prompt.len());
    }
    match <[Turn; 1]>::try_from(turns) {
        Ok([turn]) => spoken(turn, name),
        Err(turns) => Err(format!("\"{name}\" has {} messages; one answer is expected", turns.len()).into()),
    }
}

/// Whether both have the same roles and contents.
fn same(one: &[Turn], other: &[Turn]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(a, b)| a.role == b.role && a.content == b.content)
}

type Parts = (PreferenceForm, Vec<Turn>, String, String);

/// Sides that contain the prompt.
fn implicit(chosen: &Value, rejected: &Value) -> Result<Parts, Fault> {
    let (form, mut chosen, mut rejected) = match (chosen, rejected) {
        (Value::Array(_), Value::Array(_)) => {
            (PreferenceForm::Messages, list(chosen, "chosen")?, list(rejected, "rejected")?)
        }
        (Value::String(chosen), Value::String(rejected)) => {
            (PreferenceForm::HhRlhf, spoken_turns(chosen, "chosen")?, spoken_turns(rejected, "rejected")?)
        }
        _ => {
            return Err(format!(
                "\"chosen\" is {} and \"rejected\" {}; without \"prompt\" two lists of messages or two strings are expected",
                kind(chosen),
                kind(rejected)
            )
            .into());
        }
    };
    let last = |turns: &mut Vec<Turn>, name: &str| {
        let last = turns.pop().ok_or_else(|| Fault::from(format!("\"{name}\" has no messages")))?;
        spoken(last, name)
    };
    let answers = (last(&mut chosen, "chosen")?, last(&mut rejected, "rejected")?);
    if !same(&chosen, &rejected) {
        let why = "\"chosen\" and \"rejected\" differ before their last answer, so they do not answer one prompt";
        return Err(why.to_owned().into());
    }
    Ok((form, chosen, answers.0, answers.1))
}

/// Whether a string is a conversation as hh-rlhf writes it; in trimmed files the first line breaks are missing.
pub(super) fn opens_spoken(text: &str) -> bool {
    text.trim_start().starts_with(HUMAN.trim_start())
}

/// Parses a string with `Human:` and `Assistant:` into turns.
fn spoken_turns(whole: &str, name: &str) -> Result<Vec<Turn>, String> {
    let opening = |text: &str| {
        let human = text.find(HUMAN).map(|at| (at, Role::User, HUMAN));
        let assistant = text.find(ASSISTANT).map(|at| (at, Role::Assistant, ASSISTANT));
        human.into_iter().chain(assistant).min_by_key(|(at, ..)| *at)
    };
    let none =
        || format!("\"{name}\" is a string without \"prompt\" beside it, and does not open with \"\\n\\nHuman:\"");
    // In trimmed files the first line breaks are missing.
    let mut rest = if whole.starts_with("Human:") { format!("\n\n{whole}") } else { whole.to_owned() };
    let mut turns = Vec::new();
    match opening(&rest) {
        Some((at, ..)) if rest[..at].trim().is_empty() => rest.drain(..at),
        _ => return Err(none()),
    };
    let mut rest = rest.as_str();
    while let Some((_, role, marker)) = opening(rest) {
        rest = &rest[marker.len()..];
        let end = opening(rest).map_or(rest.len(), |(at, ..)| at);
        turns.push(Turn::new(role, rest[..end].trim()));
        rest = &rest[end..];
    }
    Ok(turns)
}
