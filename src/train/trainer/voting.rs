//! Votes: two answers of the live weights, a person's choice, and the reward model that learns from it.

use std::{collections::VecDeque, time::Duration};

use super::{Emit, Trainer};
use crate::{
    compute::rng::{self, Purpose},
    data,
    protocol::{Choice, Event, Offer, Tally, VotedPair, Who},
    store::{CheckpointId, Log, RunView},
    train::{
        config::setup::Setup,
        error::TrainError,
        run::{checkpoint::Stay, lineage},
        stages::{
            answer::Answer,
            opening::Opening,
            reward::{
                model::RewardModel,
                standby::{self, Before, Critic},
                votes::{self, About, REFIT_AFTER, Vote},
            },
            sampling::{LONGEST, drawn, question, shuffled},
            stage_run::StageRun,
        },
    },
};

/// Every so many offers an earlier pair is shown again.
const AGAIN: u64 = 10;
/// The newest pairs that are not shown again: they are remembered.
const FRESH: usize = 3;
/// Answers drawn for an offer before it is given up.
const TRIES: usize = 6;
/// Offers that stand at most.
const STANDING: usize = 16;
/// The stream of numbers that sides and pairs to be shown again are drawn from, and the first of an offer's draws.
const STREAM: u64 = (1 << 44) + 1;
const DRAWS: usize = 1 << 40;

/// An answer of an offer.
#[derive(Clone, Debug)]
struct Answered {
    text: String,
    tokens: usize,
    logprob: f64,
    ended: bool,
}

/// An offer that is being drawn.
struct Draft {
    pair: u64,
    prompt: String,
    ids: Vec<u32>,
    first: Option<Answered>,
    now: Option<Answer>,
    tries: usize,
}

/// An offer that can be voted on.
#[derive(Clone)]
struct Standing {
    pair: u64,
    prompt: String,
    /// Left and right.
    answers: [Answered; 2],
    /// Whose they are, without what a vote adds.
    about: About,
}

/// The votes of a run, the offers of this stage, and the reward model beside it.
pub(super) struct Voting {
    cast: Vec<Vote>,
    log: Option<Log>,
    /// The next offer's number.
    next: u64,
    prompts: Vec<String>,
    drafts: VecDeque<Draft>,
    standing: VecDeque<Standing>,
    critic: Option<Critic>,
    /// Whether the run was looked through for a reward model.
    looked: bool,
    /// A fit of the stage itself that is under way.
    fit: Option<Before>,
}

impl Voting {
    pub(super) fn new(view: &RunView, notes: &mut Vec<String>) -> Result<Voting, TrainError> {
        let cast = votes::read(view, notes)?;
        let next = cast.iter().map(|v| v.pair).max().unwrap_or(0) + 1;
        Ok(Voting {
            cast,
            log: None,
            next,
            prompts: Vec::new(),
            drafts: VecDeque::new(),
            standing: VecDeque::new(),
            critic: None,
            looked: false,
            fit: None,
        })
    }

    /// Whether nothing is to be drawn.
    pub(super) fn idle(&self) -> bool {
        self.drafts.is_empty()
    }

    /// Makes the offer under way read its text again, after the decoder held another one.
    pub(super) fn reread(&mut self) {
        if let Some(answer) = self.drafts.front_mut().and_then(|d| d.now.as_mut()) {
            answer.reread();
        }
    }

    /// The run's next prompt: those that PPO draws answers to, in a shuffled order.
    fn prompt(&mut self, seed: u64, pair: u64) -> Result<String, TrainError> {
        if self.prompts.is_empty() {
            self.prompts = data::builtin_prompts()?.into_iter().map(|p| p.prompt).collect();
        }
        let (n, at) = (self.prompts.len(), pair as usize);
        Ok(self.prompts[shuffled(seed, (1 << 42) | (at / n) as u64, n, at % n)].clone())
    }

    /// An earlier pair to be shown again, on sides drawn anew.
    fn again(&self, seed: u64, pair: u64) -> Option<Standing> {
        let shown = |v: &Vote| self.cast.iter().any(|w| w.about.repeat == Some(v.pair) && w.until.is_none());
        let decided: Vec<&Vote> = self.cast.iter().filter(|v| v.until.is_none() && v.teaches() && !shown(v)).collect();
        let old = decided.len().checked_sub(FRESH).filter(|n| *n > 0)?;
        let vote = decided[rng::below(seed, Purpose::Shuffle, STREAM, pair, old)];
        let Standing { prompt, answers: [left, right], about, .. } = standing(vote);
        let (first, second) = if about.swapped { (right, left) } else { (left, right) };
        Some(sided(seed, pair, prompt, first, second, About { repeat: Some(vote.pair), ..about }))
    }

    /// Votes to learn from that stand and that the reward model, at this step, has not drawn.
    fn waiting(&self, step: u64) -> usize {
        self.cast.iter().filter(|v| v.until.is_none() && v.teaches() && v.from >= step).count()
    }

    /// A line on the disk.
    fn keep(&mut self, run: &crate::store::Run, line: &serde_json::Value) -> Result<(), TrainError> {
        let mut log = match self.log.take() {
            Some(log) => log,
            None => run.preferences()?,
        };
        let kept = log.append(line).and_then(|()| log.sync());
        self.log = Some(log);
        kept?;
        Ok(())
    }
}

/// An offer with the side of its first answer drawn.
fn sided(seed: u64, pair: u64, prompt: String, first: Answered, second: Answered, about: About) -> Standing {
    let swapped = rng::bits(seed, Purpose::Shuffle, STREAM, pair) >> 31 == 1;
    let answers = if swapped { [second, first] } else { [first, second] };
    Standing { pair, prompt, answers, about: About { swapped, ..about } }
}

/// The offer that a vote was about.
fn standing(vote: &Vote) -> Standing {
    let side = |i: usize| Answered {
        text: vote.answers[i].clone(),
        tokens: vote.about.lengths[i],
        logprob: vote.about.logprobs[i],
        ended: vote.about.ended[i],
    };
    Standing { pair: vote.pair, prompt: vote.prompt.clone(), answers: [side(0), side(1)], about: vote.about.clone() }
}

/// The reward model that is there: the stage's own, or the one beside it.
fn reward_model<'a>(
    work: &'a mut (dyn StageRun + Send),
    beside: &'a mut Option<Critic>,
) -> Option<&'a mut RewardModel> {
    match work.reward_model() {
        Some(model) => Some(model),
        None => beside.as_mut().map(|c| &mut c.model),
    }
}

impl Trainer {
    /// Draws two answers to a prompt, or shows an earlier pair again.
    pub(super) fn offer(&mut self, prompt: Option<String>, emit: Emit<'_>) -> Result<(), TrainError> {
        if !self.r.stage.chat() {
            let text = format!("{} answers no questions yet; fine-tune the model first (stage sft)", self.r.stage);
            self.refuse(text, emit);
            return Ok(());
        }
        let (seed, pair) = (self.r.config.seed, self.voting.next);
        self.voting.next += 1;
        if prompt.is_none()
            && pair.is_multiple_of(AGAIN)
            && let Some(again) = self.voting.again(seed, pair)
        {
            self.stand(again, emit);
            return Ok(());
        }
        let prompt = match prompt {
            Some(prompt) => prompt,
            None => self.voting.prompt(seed, pair)?,
        };
        if prompt.trim().is_empty() {
            self.refuse("there is nothing asked: give a prompt, or none for one of the run's own".to_owned(), emit);
            return Ok(());
        }
        let ids = question(&prompt, &self.r.tokenizer)?;
        // Two answers and their ends must fit both the model and what the reward model reads.
        let most = self.r.work.voice().capacity().min(self.reward_context()?).saturating_sub(LONGEST + 2);
        if ids.len() > most {
            let text =
                format!("the prompt has {} tokens, more than the {most} that leave room for an answer", ids.len());
            self.refuse(text, emit);
            return Ok(());
        }
        self.voting.drafts.push_back(Draft { pair, prompt, ids, first: None, now: None, tries: 0 });
        Ok(())
    }

    fn reward_context(&self) -> Result<usize, TrainError> {
        Ok(self.r.config.plan(standby::STAGE)?.context)
    }

    /// Works on the offer in front for `budget`.
    pub(super) fn draft(&mut self, budget: Duration, emit: Emit<'_>) -> Result<(), TrainError> {
        let seed = self.r.config.seed;
        let Some(draft) = self.voting.drafts.front_mut() else { return Ok(()) };
        let tokenizer = &self.r.tokenizer;
        let answer = draft.now.get_or_insert_with(|| {
            let mut ends: Vec<u32> = tokenizer.end_of_text().into_iter().collect();
            ends.extend(tokenizer.chat().into_iter().flat_map(|c| [c.end, c.system, c.user, c.assistant]));
            let sampling = drawn(seed, 1.0, DRAWS + draft.pair as usize * TRIES + draft.tries);
            Answer::new(0, draft.ids.clone(), Who::Live, sampling, LONGEST, ends, tokenizer)
        });
        let (device, voice) = (&mut self.shop.device, self.r.work.voice());
        let Some(reason) = answer.advance(device, voice, tokenizer, self.done, budget, &mut |_| {})? else {
            return Ok(());
        };
        let answered = Answered {
            text: answer.words(tokenizer),
            tokens: answer.drawn().len(),
            logprob: answer.logprob(),
            ended: reason == "stop",
        };
        (draft.now, draft.tries) = (None, draft.tries + 1);
        let same = draft.first.as_ref().is_some_and(|first| first.text.trim() == answered.text.trim());
        if same || answered.text.trim().is_empty() {
            if draft.tries >= TRIES {
                let what = if same { "all the same" } else { "empty" };
                let text = format!(
                    "{} answers to {:?} were {what}: there is nothing to choose between; ask something else",
                    draft.tries, draft.prompt
                );
                self.voting.drafts.pop_front();
                self.refuse(text, emit);
            }
            return Ok(());
        }
        if draft.first.is_none() {
            draft.first = Some(answered);
            return Ok(());
        }
        let checkpoint = self.answers_from();
        if let Some(Draft { pair, prompt, first: Some(first), .. }) = self.voting.drafts.pop_front() {
            let stage = self.r.stage;
            let about = About { stage, step: self.done as u64, checkpoint, ..About::default() };
            self.stand(sided(seed, pair, prompt, first, answered, about), emit);
        }
        Ok(())
    }

    /// The stage's newest checkpoint, or the one it started from.
    fn answers_from(&self) -> Option<String> {
        let name = self.checkpoint.as_ref().and_then(|p| p.file_name()).map(|n| n.to_string_lossy().into_owned());
        let own = name.or_else(|| {
            (self.saved_at > 0).then(|| CheckpointId::new(self.r.stage.name(), self.saved_at as u64).to_string())
        });
        // While the reward model is trained its parent answers.
        own.filter(|_| self.r.stage.speaks()).or_else(|| self.r.state.parent.clone())
    }

    /// Offers two answers.
    fn stand(&mut self, offer: Standing, emit: Emit<'_>) {
        let [a, b] = offer.answers.each_ref().map(|a| a.text.clone());
        let told = Offer { pair: offer.pair, step: self.done, prompt: offer.prompt.clone(), a, b };
        self.voting.standing.push_back(offer);
        if self.voting.standing.len() > STANDING {
            self.voting.standing.pop_front();
        }
        self.tell(Event::Offered(Box::new(told)), emit);
    }

    /// Keeps a choice: on disk first, with what the reward model thought before it.
    pub(super) fn vote(&mut self, pair: u64, choice: Choice, seconds: f64, emit: Emit<'_>) -> Result<(), TrainError> {
        let Some(at) = self.voting.standing.iter().position(|s| s.pair == pair) else {
            self.refuse(format!("pair {pair} is not on offer any more; take another one"), emit);
            return Ok(());
        };
        let offer = self.voting.standing[at].clone();
        let texts = offer.answers.each_ref().map(|a| a.text.clone());
        let end = self.r.tokenizer.chat().map(|c| c.end);
        let asked = question(&offer.prompt, &self.r.tokenizer)?;
        let mut sides = Vec::with_capacity(2);
        for text in &texts {
            let mut ids = asked.clone();
            ids.extend(self.r.tokenizer.encode_turn(text)?);
            ids.extend(end);
            sides.push(ids);
        }
        let scores = match self.scores(&sides, emit)?.as_deref() {
            Some([Some(a), Some(b)]) => Some([*a, *b]),
            _ => None,
        };
        let seen = self.voting.cast.iter().any(|v| v.same_pair(&offer.prompt, &texts));
        let from = self.reward_step()?;
        let about = About {
            scores,
            seen,
            reward_model: scores.map(|_| match &self.voting.critic {
                Some(critic) => critic.name.clone(),
                None => format!("{} {from}", self.r.stage),
            }),
            lengths: offer.answers.each_ref().map(|a| a.tokens),
            logprobs: offer.answers.each_ref().map(|a| a.logprob),
            ended: offer.answers.each_ref().map(|a| a.ended),
            seconds: if seconds.is_finite() { seconds.max(0.0) } else { 0.0 },
            ..offer.about
        };
        let vote = Vote { pair, choice, prompt: offer.prompt, answers: texts, from, until: None, about };
        let line = vote.line().map_err(|e| TrainError::Work(format!("a vote cannot be written: {e}")))?;
        if let Err(e) = self.voting.keep(&self.shop.run, &line) {
            self.refuse(format!("the vote is not kept: {e}"), emit);
            return Ok(());
        }
        self.voting.standing.remove(at);
        let ballot = votes::ballot(&vote, &self.r.tokenizer, self.reward_context()?)?;
        if let (Some(ballot), Some(model)) = (ballot, reward_model(&mut *self.r.work, &mut self.voting.critic)) {
            model.vote(ballot);
        }
        let (about, teaches) = (vote.about.clone(), vote.teaches());
        self.voting.cast.push(vote);
        let told = VotedPair {
            pair,
            choice,
            scores: scores.map(|[a, b]| (a, b)),
            lengths: (about.lengths[0], about.lengths[1]),
            logprobs: (about.logprobs[0], about.logprobs[1]),
            repeat: about.repeat.is_some(),
            swapped: about.swapped,
            tally: self.tally(from),
        };
        self.tell(Event::Voted(Box::new(told)), emit);
        // A reward model that is being trained learns from it at its next step.
        let trains = self.r.work.reward_model().is_some() && self.submitted < self.r.target;
        if teaches
            && !trains
            && self.voting.waiting(from) >= REFIT_AFTER
            && reward_model(&mut *self.r.work, &mut self.voting.critic).is_some()
            && let Err(e) = self.refit(emit)
        {
            // The vote itself is kept and told.
            if !self.can_wait(&e) {
                return Err(e);
            }
            self.note(format!("the reward model was not fitted: {e}"), emit);
        }
        Ok(())
    }

    /// Takes the newest vote back: a line more, none less.
    pub(super) fn unvote(&mut self, emit: Emit<'_>) -> Result<(), TrainError> {
        let from = self.reward_step()?;
        let Some(at) = self.voting.cast.iter().rposition(|v| v.until.is_none()) else {
            self.refuse("there is no vote to take back".to_owned(), emit);
            return Ok(());
        };
        let pair = self.voting.cast[at].pair;
        if let Err(e) = self.voting.keep(&self.shop.run, &votes::unvote_line(pair, from)) {
            self.refuse(format!("the vote is not taken back: {e}"), emit);
            return Ok(());
        }
        self.voting.cast[at].until = Some(from);
        if let Some(model) = reward_model(&mut *self.r.work, &mut self.voting.critic) {
            model.unvote(pair, from);
        }
        // It can be voted on again.
        let offer = standing(&self.voting.cast[at]);
        self.voting.standing.push_back(offer);
        let tally = self.tally(from);
        self.tell(Event::Unvoted { pair, tally }, emit);
        Ok(())
    }

    /// Fits the reward model to the votes: a few steps of its own.
    pub(super) fn refit(&mut self, emit: Emit<'_>) -> Result<(), TrainError> {
        self.ready_critic(emit)?;
        let step = self.reward_step()? as usize;
        let Some(model) = reward_model(&mut *self.r.work, &mut self.voting.critic) else {
            let dir = self.shop.run.view().dir().display();
            let text = format!(
                "the run has no reward model to be fitted; train it first: danlu train --stage reward --run {dir}"
            );
            self.refuse(text, emit);
            return Ok(());
        };
        if model.votes(step) == 0 {
            self.refuse("there is no vote for a side yet, so nothing to learn from".to_owned(), emit);
            return Ok(());
        }
        self.drain(emit)?;
        self.finish_writing(true, emit)?;
        if self.r.work.reward_model().is_some() { self.fit_itself(emit) } else { self.fit_beside(emit) }
    }

    /// The stage that trains the reward model is at its end: it goes on.
    fn fit_itself(&mut self, emit: Emit<'_>) -> Result<(), TrainError> {
        if self.submitted < self.r.target {
            self.refuse(
                "the reward model is being trained and learns from votes at every step already".to_owned(),
                emit,
            );
            return Ok(());
        }
        let Some(model) = self.r.work.reward_model() else { return Ok(()) };
        let span = model.begin_refit(self.submitted);
        self.r.target = span.end() as usize;
        self.expect_fit()?;
        if self.paused {
            self.resume(emit);
        }
        Ok(())
    }

    /// Measures before a fit of the stage itself that begins here.
    pub(super) fn expect_fit(&mut self) -> Result<(), TrainError> {
        let Some(model) = self.r.work.reward_model() else { return Ok(()) };
        if model.refit_at(self.done).is_some() {
            self.voting.fit = Some(Before::measure(model, &mut self.shop.device, self.done)?);
        }
        Ok(())
    }

    /// Tells what a fit of the stage itself came to, once it is saved.
    pub(super) fn tell_fit(&mut self, emit: Emit<'_>) -> Result<(), TrainError> {
        if self.saved_at < self.done {
            return Ok(());
        }
        let name = self.answers_from_own();
        let (Some(model), Some(before)) = (self.r.work.reward_model(), self.voting.fit.take()) else { return Ok(()) };
        let told = before.told(model, &mut self.shop.device, self.done, name)?;
        self.tell(Event::Refitted(told), emit);
        Ok(())
    }

    fn answers_from_own(&self) -> String {
        let name = self.checkpoint.as_ref().and_then(|p| p.file_name());
        name.map_or_else(String::new, |n| n.to_string_lossy().into_owned())
    }

    fn fit_beside(&mut self, emit: Emit<'_>) -> Result<(), TrainError> {
        let pinned = lineage::needed(self.shop.run.view(), &self.r.state)?;
        let stay = Stay { pinned, before: None };
        let Some(mut critic) = self.voting.critic.take() else { return Ok(()) };
        let tokenizer = self.r.tokenizer.clone();
        let result = self.beside(emit, |o, log, _| critic.refit(o, &tokenizer, log, &stay));
        self.voting.critic = Some(critic);
        match result {
            Ok(told) => self.tell(Event::Refitted(told), emit),
            Err(e) => self.refuse(format!("the reward model was not fitted: {e}"), emit),
        }
        Ok(())
    }

    /// Runs something with the reward stage as it would be opened, and tells its notes.
    fn beside<T>(
        &mut self,
        emit: Emit<'_>,
        work: impl FnOnce(&mut Opening<'_>, &mut Log, &[Vote]) -> Result<T, TrainError>,
    ) -> Result<T, TrainError> {
        let (mut notes, config) = (Vec::new(), &self.r.config);
        let stage = standby::STAGE;
        let (plan, model) = (config.plan(stage)?, config.model()?);
        let setup = Setup { stage, ..Setup::default() };
        let mut opening = Opening {
            run: &self.shop.run,
            device: &mut self.shop.device,
            config,
            setup: &setup,
            stage,
            plan: &plan,
            model,
            notes: &mut notes,
        };
        let result =
            self.metrics.log().map_err(TrainError::from).and_then(|log| work(&mut opening, log, &self.voting.cast));
        for text in notes {
            self.note(text, emit);
        }
        result
    }

    /// Loads the run's newest reward model, once, where the stage is not its own.
    fn ready_critic(&mut self, emit: Emit<'_>) -> Result<(), TrainError> {
        if self.voting.looked || self.r.work.reward_model().is_some() {
            return Ok(());
        }
        self.voting.looked = true;
        let tokenizer = self.r.tokenizer.clone();
        match self.beside(emit, |o, _, cast| Critic::open(o, cast, &tokenizer)) {
            Ok(critic) => self.voting.critic = critic,
            // Votes are kept all the same.
            Err(e) => self.note(format!("the reward model cannot be asked: {e}"), emit),
        }
        Ok(())
    }

    /// Normalised scores of whole texts; None without a reward model.
    pub(super) fn scores(
        &mut self,
        texts: &[Vec<u32>],
        emit: Emit<'_>,
    ) -> Result<Option<Vec<Option<f64>>>, TrainError> {
        self.ready_critic(emit)?;
        let Some(model) = reward_model(&mut *self.r.work, &mut self.voting.critic) else { return Ok(None) };
        Ok(Some(model.judge(&mut self.shop.device, texts)?))
    }

    /// The reward model's step from which a vote cast now is drawn.
    fn reward_step(&mut self) -> Result<u64, TrainError> {
        if self.r.work.reward_model().is_some() {
            return Ok(self.submitted as u64);
        }
        if let Some(critic) = &self.voting.critic {
            return Ok(critic.step() as u64);
        }
        let there = self.shop.run.view().checkpoints().list()?;
        Ok(there.iter().filter(|id| id.stage == standby::STAGE).map(|id| id.step).max().unwrap_or(0))
    }

    /// What the votes come to, with the part of the reward model, which is at `step`.
    fn tally(&mut self, step: u64) -> Tally {
        let mut tally = votes::tally(&self.voting.cast);
        tally.until_refit = REFIT_AFTER.saturating_sub(self.voting.waiting(step));
        if let Some(model) = reward_model(&mut *self.r.work, &mut self.voting.critic) {
            let model: &RewardModel = model;
            tally.version = model.version();
            tally.weight = model.vote_counts_for(step as usize);
        }
        tally
    }
}
