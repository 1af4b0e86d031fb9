//! Voting: two answers of the live weights, the user's choice, and the reward model that learns from it.

use std::{collections::VecDeque, time::Duration};

use super::{checkpoints::Saves, core::Core};
use crate::{
    base::shell,
    compute::rng::{self, AnswerSeed, Purpose, Stream},
    data::{self, tokens::shuffle::permute},
    protocol::{Choice, Event, Pair, Tally, Vote, Who},
    store::{Log, RunView},
    train::{
        config::setup::Setup,
        error::TrainError,
        run::{best::Figures, checkpoint::Stay, lineage, pins},
        stages::{
            answer::Answer,
            opening::Opening,
            reward::{
                standby::{self, Before, StandbyRewardModel},
                votes::{self, REFIT_AFTER},
            },
            sampling::{LONGEST, drawn, question},
            stage_run::{Preference, StageRun},
        },
    },
};

/// Every this many offers an earlier pair is repeated.
const AGAIN: u64 = 10;
/// The newest pairs are not repeated, since the user remembers them.
const FRESH: usize = 3;
/// Answers sampled for a pair before giving up.
const TRIES: usize = 6;
/// Most pairs on offer.
const OFFERED: usize = 16;

/// A pair whose answers are being sampled.
struct Draft {
    pair: Pair,
    /// The prompt's ids.
    ids: Vec<u32>,
    /// Whether its first answer is complete.
    half: bool,
    now: Option<Answer>,
    tries: usize,
}

/// The votes of a run, the pairs on offer, and the standby reward model.
#[derive(Default)]
pub(super) struct Voting {
    votes: Vec<Vote>,
    log: Option<Log>,
    /// The number of the next pair.
    next: u64,
    prompts: Vec<String>,
    drafts: VecDeque<Draft>,
    offered: VecDeque<Pair>,
    standby: Option<StandbyRewardModel>,
    /// Whether a reward model was searched for in the run.
    looked: bool,
    /// A fit of the stage itself that is in progress.
    fit: Option<Before>,
}

/// The reward model, if there is one: the stage's own, or the standby one.
fn model<'a>(
    work: &'a mut (dyn StageRun + Send + 'static),
    beside: &'a mut Option<StandbyRewardModel>,
) -> Option<&'a mut dyn Preference> {
    match work.preference() {
        Some(model) => Some(model),
        None => beside.as_mut().map(|s| &mut s.model as &mut dyn Preference),
    }
}

/// Chooses the side of a pair's first answer at random.
fn sided(seed: u64, mut pair: Pair) -> Pair {
    pair.swapped = rng::bits(seed, Purpose::Shuffle, Stream::VoteSides.number(), pair.id) >> 31 == 1;
    if pair.swapped {
        pair.swap();
    }
    pair
}

/// Calls a function with the opening of the reward stage, and emits its notes.
fn beside<T>(
    core: &mut Core<'_>,
    work: impl FnOnce(&mut Opening<'_>, &mut Log) -> Result<T, TrainError>,
) -> Result<T, TrainError> {
    let (mut notes, stage) = (Vec::new(), standby::STAGE);
    let (plan, model) = (core.config.plan(stage)?, core.config.model()?);
    let setup = Setup { stage, ..Setup::default() };
    let mut opening = Opening {
        run: &core.open.run,
        device: &mut core.open.device,
        config: &core.config,
        setup: &setup,
        stage,
        plan: &plan,
        model,
        notes: &mut notes,
    };
    let result = core.out.metrics().map_err(TrainError::from).and_then(|log| work(&mut opening, log));
    for text in notes {
        core.note(text);
    }
    result
}

fn reward_context(core: &Core<'_>) -> Result<usize, TrainError> {
    Ok(core.config.plan(standby::STAGE)?.context)
}

impl Voting {
    pub(super) fn new(view: &RunView, notes: &mut Vec<String>) -> Result<Voting, TrainError> {
        let votes = votes::read(view, notes)?;
        let next = votes.iter().map(|v| v.pair.id).max().unwrap_or(0).saturating_add(1);
        Ok(Voting { votes, next, ..Voting::default() })
    }

    /// Whether there is nothing to sample.
    pub(super) fn idle(&self) -> bool {
        self.drafts.is_empty()
    }

    /// Makes the answer in progress reread its text, after the decoder was used for another one.
    pub(super) fn reread(&mut self) {
        if let Some(answer) = self.drafts.front_mut().and_then(|d| d.now.as_mut()) {
            answer.reread();
        }
    }

    // ---- pairs ----

    /// The run's next built-in prompt, in shuffled order; PPO uses the same ones for rollouts.
    fn prompt(&mut self, seed: u64, id: u64) -> Result<String, TrainError> {
        if self.prompts.is_empty() {
            self.prompts = data::builtin_prompts()?.into_iter().map(|p| p.prompt).collect();
        }
        let (n, at) = (self.prompts.len(), id as usize);
        Ok(self.prompts[permute(seed, Stream::VotePrompts((at / n) as u64), n, at % n)].clone())
    }

    /// An earlier pair to repeat, with new random sides.
    fn again(&self, seed: u64, id: u64) -> Option<Pair> {
        let repeats = |v: &Vote| self.votes.iter().any(|w| w.pair.repeat == Some(v.pair.id) && w.until.is_none());
        let decided: Vec<&Vote> =
            self.votes.iter().filter(|v| v.until.is_none() && v.teaches() && !repeats(v)).collect();
        let old = decided.len().checked_sub(FRESH).filter(|n| *n > 0)?;
        let earlier = &decided[rng::below(seed, Purpose::Shuffle, Stream::VoteSides.number(), id, old)].pair;
        let mut pair = Pair { id, ..earlier.clone() };
        if pair.swapped {
            pair.swap();
        }
        pair.repeat = Some(earlier.id);
        Some(sided(seed, pair))
    }

    /// Starts sampling two answers to a prompt, or repeats an earlier pair.
    pub(super) fn offer(&mut self, core: &mut Core<'_>, prompt: Option<String>) -> Result<(), TrainError> {
        if !core.stage.chat() {
            return TrainError::refused(format!(
                "{} answers no questions yet; fine-tune the model first (stage sft)",
                core.stage
            ));
        }
        let (seed, id) = (core.config.seed, self.next);
        self.next += 1;
        if prompt.is_none()
            && id.is_multiple_of(AGAIN)
            && let Some(again) = self.again(seed, id)
        {
            self.show(core, again);
            return Ok(());
        }
        let prompt = match prompt {
            Some(prompt) => prompt,
            None => self.prompt(seed, id)?,
        };
        if prompt.trim().is_empty() {
            return TrainError::refused("the prompt is empty; type one, or press n for a built-in prompt");
        }
        let ids = question(&prompt, &core.tokenizer)?;
        // Two answers and their ends must fit both the model and the reward model's context.
        let most = core.work.decoder().capacity().min(reward_context(core)?).saturating_sub(LONGEST + 2);
        if ids.len() > most {
            return TrainError::refused(format!(
                "the prompt has {} tokens, more than the {most} that leave room for an answer",
                ids.len()
            ));
        }
        let pair = Pair { id, prompt, ..Pair::default() };
        self.drafts.push_back(Draft { pair, ids, half: false, now: None, tries: 0 });
        Ok(())
    }

    /// Works on the first pair for `budget`.
    pub(super) fn draw(&mut self, core: &mut Core<'_>, saves: &Saves, budget: Duration) -> Result<(), TrainError> {
        let seed = core.config.seed;
        let Some(draft) = self.drafts.front_mut() else { return Ok(()) };
        let tokenizer = &core.tokenizer;
        let answer = draft.now.get_or_insert_with(|| {
            let sampling = drawn(seed, 1.0, AnswerSeed::Offered(draft.pair.id as usize * TRIES + draft.tries).number());
            Answer::new(0, draft.ids.clone(), Who::Live, sampling, LONGEST, true, tokenizer)
        });
        let (device, decoder) = (&mut core.open.device, core.work.decoder());
        let (_, Some(reason)) = answer.advance(device, decoder, tokenizer, budget)? else { return Ok(()) };
        let text = answer.words(tokenizer);
        let (length, logprob) = (answer.drawn().len(), answer.logprob());
        (draft.now, draft.tries) = (None, draft.tries + 1);
        let same = draft.half && draft.pair.answers[0].trim() == text.trim();
        if same || text.trim().is_empty() {
            if draft.tries >= TRIES {
                let what = if same { "all the same" } else { "empty" };
                let text =
                    format!("{} answers to {:?} were {what}; try another prompt", draft.tries, draft.pair.prompt);
                self.drafts.pop_front();
                core.refuse(text);
            }
            return Ok(());
        }
        let side = usize::from(draft.half);
        draft.pair.answers[side] = text;
        let pair = &mut draft.pair;
        (pair.lengths[side], pair.logprobs[side], pair.ended[side]) = (length, logprob, reason == "stop");
        draft.half = true;
        if side == 1
            && let Some(Draft { mut pair, .. }) = self.drafts.pop_front()
        {
            (pair.stage, pair.step, pair.checkpoint) = (core.stage.into(), core.done as u64, saves.answers_from(core));
            self.show(core, sided(seed, pair));
        }
        Ok(())
    }

    /// Offers a pair.
    fn show(&mut self, core: &mut Core<'_>, pair: Pair) {
        // The current step also of an earlier pair, which the user should not recognise.
        let offer = Pair { step: core.done as u64, ..pair.clone() };
        self.offered.push_back(pair);
        if self.offered.len() > OFFERED {
            self.offered.pop_front();
        }
        core.out.emit(Event::Offered(Box::new(offer)));
    }

    // ---- votes ----

    /// Stores a vote: on disk first, with the reward model's scores before it. True if the reward model should be
    /// fitted now.
    pub(super) fn vote(
        &mut self,
        core: &mut Core<'_>,
        id: u64,
        choice: Choice,
        seconds: f64,
    ) -> Result<bool, TrainError> {
        let Some(at) = self.offered.iter().position(|p| p.id == id) else {
            return TrainError::refused(format!("pair {id} is not on offer any more; take another one"));
        };
        let mut pair = self.offered[at].clone();
        let end = core.tokenizer.turn_end();
        let asked = question(&pair.prompt, &core.tokenizer)?;
        let mut sides = Vec::with_capacity(2);
        for text in &pair.answers {
            let mut ids = asked.clone();
            ids.extend(core.tokenizer.encode_turn(text)?);
            ids.extend(end);
            sides.push(ids);
        }
        let scores = match self.scores(core, &sides)?.as_deref() {
            Some([Some(a), Some(b)]) => Some([*a, *b]),
            _ => None,
        };
        let from = self.reward_step(core)?;
        pair = Pair {
            scores,
            seen: self.votes.iter().any(|v| v.pair.is_same(&pair)),
            reward_model: scores.map(|_| match &self.standby {
                Some(standby) => standby.name.clone(),
                None => format!("{} {from}", core.stage),
            }),
            seconds: if seconds.is_finite() { seconds.max(0.0) } else { 0.0 },
            ..pair
        };
        let vote = Vote { pair, choice, from, until: None };
        let line = votes::line(&vote).map_err(|e| TrainError::Work(format!("cannot write the vote: {e}")))?;
        self.keep(core, &line).map_err(|e| TrainError::Refused(format!("the vote was not saved: {e}")))?;
        self.offered.remove(at);
        let example = votes::example(&vote, &core.tokenizer, reward_context(core)?)?;
        if let (Some(example), Some(model)) = (example, model(&mut *core.work, &mut self.standby)) {
            model.vote(example);
        }
        let teaches = vote.teaches();
        self.votes.push(vote.clone());
        let tally = self.tally(core, from);
        core.out.emit(Event::Voted { vote: Box::new(vote), tally });
        // A reward model in training learns from it at its next step.
        let trains = core.work.preference().is_some() && core.submitted < core.target;
        let due = teaches && !trains && self.waiting(core, from) >= REFIT_AFTER;
        Ok(due && model(&mut *core.work, &mut self.standby).is_some())
    }

    /// Takes a vote back, the newest one if none is named, by appending a line. True if the taste has it and should be
    /// fitted again.
    pub(super) fn unvote(&mut self, core: &mut Core<'_>, pair: Option<u64>) -> Result<bool, TrainError> {
        self.open_standby(core)?;
        let from = self.reward_step(core)?;
        let is = |v: &Vote| v.until.is_none() && pair.is_none_or(|pair| v.pair.id == pair);
        let Some(at) = self.votes.iter().rposition(is) else {
            return TrainError::refused(match pair {
                Some(pair) => format!("pair {pair} has no vote to take back"),
                None => "there is no vote to take back".to_owned(),
            });
        };
        let pair = self.votes[at].pair.id;
        self.keep(core, &votes::unvote_line(pair, from))
            .map_err(|e| TrainError::Refused(format!("the vote was not taken back: {e}")))?;
        self.votes[at].until = Some(from);
        let mut learned = false;
        if let Some(model) = model(&mut *core.work, &mut self.standby) {
            model.unvote(pair, from);
            learned = model.taste().is_some_and(|(taste, _)| taste.votes.contains(&pair));
        }
        // It can be voted on again.
        self.offered.push_back(self.votes[at].pair.clone());
        let tally = self.tally(core, from);
        core.out.emit(Event::Unvoted { pair, tally });
        let trains = core.work.preference().is_some() && core.submitted < core.target;
        Ok(learned && !trains)
    }

    /// Writes a line to disk.
    fn keep(&mut self, core: &Core<'_>, line: &serde_json::Value) -> Result<(), TrainError> {
        let mut log = match self.log.take() {
            Some(log) => log,
            None => core.open.run.preferences()?,
        };
        let kept = log.append(line).and_then(|()| log.sync());
        self.log = Some(log);
        kept?;
        Ok(())
    }

    /// Votes to train on that the reward model has not drawn at this step, or that its taste does not have.
    fn waiting(&mut self, core: &mut Core<'_>, step: u64) -> usize {
        let taste = model(&mut *core.work, &mut self.standby).and_then(|model| model.taste());
        let new = |v: &&Vote| match taste {
            Some((taste, _)) => !taste.votes.contains(&v.pair.id),
            None => v.from >= step,
        };
        self.votes.iter().filter(|v| v.until.is_none() && v.teaches()).filter(new).count()
    }

    /// The counts of the votes, with the part of the reward model, which is at `step`.
    fn tally(&mut self, core: &mut Core<'_>, step: u64) -> Tally {
        let mut tally = votes::tally(&self.votes);
        tally.until_refit = REFIT_AFTER.saturating_sub(self.waiting(core, step));
        if let Some(model) = model(&mut *core.work, &mut self.standby) {
            (tally.version, tally.weight) = (model.version(), model.vote_counts_for(step as usize));
        }
        tally
    }

    /// Sends the counts of the votes of earlier launches.
    pub(super) fn show_count(&mut self, core: &mut Core<'_>) -> Result<(), TrainError> {
        if !self.votes.is_empty() {
            let step = self.reward_step(core)?;
            let tally = self.tally(core, step);
            core.out.show(Event::Counted(Box::new(tally)));
        }
        Ok(())
    }

    // ---- the reward model ----

    /// Fails if there is no reward model or nothing to learn from.
    pub(super) fn require_fit(&mut self, core: &mut Core<'_>) -> Result<(), TrainError> {
        self.open_standby(core)?;
        let step = self.reward_step(core)? as usize;
        let dir = shell::path(core.view().dir());
        let Some(model) = model(&mut *core.work, &mut self.standby) else {
            return TrainError::refused(format!(
                "the run has no reward model to train on votes; train it first: danlu train --stage reward --run {dir}"
            ));
        };
        if model.votes(step) == 0 && model.waits(step) != Some(true) {
            return TrainError::refused("there is no vote for either side yet, so nothing to learn from");
        }
        Ok(())
    }

    /// Fits the reward model to the votes: its taste, or the network by a few further steps. No step or save of the
    /// stage may be in progress. True if the stage must be saved again.
    pub(super) fn refit(&mut self, core: &mut Core<'_>) -> Result<bool, TrainError> {
        if core.work.preference().is_some() {
            return self.extend_stage(core);
        }
        let mut pinned = lineage::needed(core.view(), &core.state)?;
        let figures = Figures::read(core.view(), standby::STAGE, u64::MAX)?;
        pinned.extend(pins::read(core.view())?);
        let best = figures.ranked(&core.view().checkpoints().list()?).into_iter().cloned().collect();
        let stay = Stay { pinned, before: None, best };
        let Some(standby) = &mut self.standby else { return Ok(false) };
        let tokenizer = core.tokenizer.clone();
        let fit = beside(core, |o, log| standby.refit(o, &tokenizer, log, &stay))
            .map_err(|e| TrainError::Refused(format!("the reward model was not fitted: {e}")))?;
        core.out.emit(Event::Refitted(fit));
        Ok(false)
    }

    /// The reward stage is at its end: fit its taste, or extend it.
    fn extend_stage(&mut self, core: &mut Core<'_>) -> Result<bool, TrainError> {
        let Some(model) = core.work.preference() else { return Ok(false) };
        if core.submitted < core.target {
            return TrainError::refused(match model.waits(0) {
                Some(_) => "the reward model is being trained and learns from votes at every save already",
                None => "the reward model is being trained and learns from votes at every step already",
            });
        }
        if model.waits(0).is_some() {
            self.fit = Some(Before::measure(model, &mut core.open.device, core.done)?);
            return model.learn(&mut core.open.device);
        }
        core.target = model.begin_refit(core.submitted).end() as usize;
        self.measure_before_fit(core)?;
        if core.paused {
            core.resume();
        }
        Ok(false)
    }

    /// A complete reward stage whose taste is of other votes than those that count learns it. True if it must be saved
    /// again.
    pub(super) fn learn_at_end(&mut self, core: &mut Core<'_>) -> Result<bool, TrainError> {
        let Some(model) = core.work.preference() else { return Ok(false) };
        if core.done == 0 || model.waits(core.done) != Some(true) {
            return Ok(false);
        }
        self.fit = Some(Before::measure(model, &mut core.open.device, core.done)?);
        model.learn(&mut core.open.device)
    }

    /// Measures before a fit of the stage itself.
    pub(super) fn measure_before_fit(&mut self, core: &mut Core<'_>) -> Result<(), TrainError> {
        let Some(model) = core.work.preference() else { return Ok(()) };
        if model.refit_at(core.done).is_some() {
            self.fit = Some(Before::measure(model, &mut core.open.device, core.done)?);
        }
        Ok(())
    }

    /// Reports a fit of the stage itself, once it is saved.
    pub(super) fn report_fit(&mut self, core: &mut Core<'_>, saves: &Saves) -> Result<(), TrainError> {
        if saves.saved_at < core.done {
            return Ok(());
        }
        let (Some(model), Some(before)) = (core.work.preference(), self.fit.take()) else { return Ok(()) };
        let name = saves.newest_name().unwrap_or_default();
        let fit = before.report(model, &mut core.open.device, core.done, name)?;
        core.out.emit(Event::Refitted(fit));
        Ok(())
    }

    /// Loads the run's newest reward model, once, unless the stage trains it.
    fn open_standby(&mut self, core: &mut Core<'_>) -> Result<(), TrainError> {
        if self.looked || core.work.preference().is_some() {
            return Ok(());
        }
        self.looked = true;
        let tokenizer = core.tokenizer.clone();
        match beside(core, |o, _| StandbyRewardModel::open(o, &self.votes, &tokenizer)) {
            Ok(standby) => self.standby = standby,
            // Votes are stored all the same.
            Err(e) => core.note(format!("the reward model cannot be asked: {e}")),
        }
        Ok(())
    }

    /// Normalised scores of whole texts; None without a reward model.
    pub(super) fn scores(
        &mut self,
        core: &mut Core<'_>,
        texts: &[Vec<u32>],
    ) -> Result<Option<Vec<Option<f64>>>, TrainError> {
        self.open_standby(core)?;
        let Some(model) = model(&mut *core.work, &mut self.standby) else { return Ok(None) };
        Ok(Some(model.judge(&mut core.open.device, texts)?))
    }

    /// The reward model's step from which a vote cast now is drawn.
    fn reward_step(&mut self, core: &mut Core<'_>) -> Result<u64, TrainError> {
        if core.work.preference().is_some() {
            return Ok(core.submitted as u64);
        }
        if let Some(standby) = &self.standby {
            return Ok(standby.step() as u64);
        }
        let there = core.view().checkpoints().list()?;
        Ok(there.iter().filter(|id| id.stage == standby::STAGE).map(|id| id.step).max().unwrap_or(0))
    }
}
