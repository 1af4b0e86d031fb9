//! `danlu estimate`: what a model costs, before anything is trained: parameters, operations, bytes, time, energy, money.

mod explain;
mod page;
mod published;
mod rates;
mod subject;

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::parts::Part;
use crate::{
    cli::{Common, Failure, Outcome, output},
    compute::Precision,
    nn::{Architecture, TrainingBytes, Weight},
    ui::strings::Tr,
};
use rates::Rate;
use subject::{Subject, Tokens};

/// Board power and hourly price that are assumed for a GPU: those of an H100 SXM.
const GPU: (f64, f64) = (700.0, 3.0);
/// The same for a computer without one.
const CPU: (f64, f64) = (100.0, 0.1);

/// What a model costs: parameters, operations, bytes, time, energy and money, with every assumption
#[derive(Args)]
pub(in crate::cli) struct Estimate {
    /// gpt1, gpt2, gpt2-xl, gpt3, llama-7b, mixtral-8x7b, grok-1, or a size: 1m, 5m, 12m, 27m, 124m
    #[arg(long)]
    preset: Option<String>,
    /// A config.json of Hugging Face (GPT-2, Llama, Mistral, Mixtral, Qwen2, Qwen3)
    #[arg(long)]
    config: Option<PathBuf>,
    /// A run: its model and its plan of pretraining
    #[arg(long)]
    run: Option<PathBuf>,
    /// Tokens to train on: 300B, 3e11, 2.5M
    #[arg(long)]
    tokens: Option<String>,
    /// Rows of a micro-batch
    #[arg(long)]
    batch: Option<u64>,
    /// Tokens of a row
    #[arg(long)]
    context: Option<u64>,
    /// Power in watts
    #[arg(long)]
    watts: Option<f64>,
    /// Price of an hour
    #[arg(long)]
    price: Option<f64>,
    /// Sign of the currency of --price; $ if neither it nor [account] of --run names one
    #[arg(long)]
    currency: Option<String>,
    /// Train the model (or a small one) on random tokens for some seconds now, on the engine of --adapter, for its rate
    #[arg(long)]
    measure: bool,
    /// Work every number out, line by line
    #[arg(long)]
    explain: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Everything that is printed.
struct Sums {
    subject: Subject,
    tokens: Tokens,
    batch: u64,
    context: u64,
    half: bool,
    training_flops: u128,
    attention_flops: u128,
    bytes: TrainingBytes,
    costs: Vec<Cost>,
    account: Account,
}

/// Power and price, where they are given.
#[derive(Clone, Debug)]
struct Account {
    watts: Option<f64>,
    price: Option<f64>,
    currency: String,
}

/// What the training costs on an adapter.
#[derive(Clone, Debug, Serialize)]
struct Cost {
    #[serde(flatten)]
    rate: Rate,
    watts: f64,
    price_per_hour: f64,
    seconds: f64,
    energy_wh: f64,
    #[serde(rename = "cost")]
    money: f64,
}

impl Cost {
    fn new(rate: Rate, flops: u128, account: &Account) -> Cost {
        let (watts, price) = if rate.engine == "cpu" { CPU } else { GPU };
        let (watts, price) = (account.watts.unwrap_or(watts), account.price.unwrap_or(price));
        let seconds = flops as f64 / rate.flops_per_second;
        let hours = seconds / 3600.0;
        Cost { rate, watts, price_per_hour: price, seconds, energy_wh: hours * watts, money: hours * price }
    }

    fn is_finite(&self) -> bool {
        [self.seconds, self.energy_wh, self.money].iter().all(|figure| figure.is_finite())
    }
}

impl Estimate {
    pub(in crate::cli::verbs) fn run(&self, common: &Common) -> Outcome {
        let subject = self.subject()?;
        let tokens = match &self.tokens {
            Some(text) => Tokens::Given(subject::count(text)?),
            None => subject.tokens,
        };
        let (batch, context) = (self.batch.unwrap_or(subject.batch), self.context.unwrap_or(subject.context));
        for (option, value) in [("--batch", batch), ("--context", context)] {
            if value == 0 || value > 1 << 32 {
                return Err(Failure::usage(format!("{option} is {value}; expected 1 to {}", 1_u64 << 32)));
            }
        }
        for (option, value) in [("--watts", self.watts), ("--price", self.price)] {
            if let Some(value) = value.filter(|value| !(value.is_finite() && *value >= 0.0)) {
                return Err(Failure::usage(format!("{option} is {value}; expected a number, 0 or more")));
            }
        }
        let half = common.precision()? == Some(Precision::F16);
        let mut all = rates::recorded(self.run.as_deref());
        if self.measure {
            all.insert(0, rates::measured(common, subject.config.as_ref())?);
        }
        // An option goes before `[account]` of the run.
        let of_run = subject.account.clone();
        let account = Account {
            watts: self.watts.or(of_run.watts),
            price: self.price.or(of_run.price),
            currency: self.currency.clone().or(of_run.currency).unwrap_or_else(|| "$".to_owned()),
        };
        let shape = subject.shape;
        let training_flops = shape.training_flops(tokens.number());
        let Some(bytes) = shape.training_bytes(batch, context, half) else {
            return Err(Failure::usage(format!(
                "training on {batch} × {context} tokens at a time would take 2^64 bytes or more; lower --batch or --context"
            )));
        };
        let costs: Vec<Cost> = all.into_iter().map(|rate| Cost::new(rate, training_flops, &account)).collect();
        if let Some(cost) = costs.iter().find(|cost| !cost.is_finite()) {
            let (watts, price) = (cost.watts, cost.price_per_hour);
            return Err(Failure::usage(format!(
                "{:e} seconds at {watts:e} W and {price:e} an hour are beyond what a number holds; lower --watts, --price or --tokens",
                cost.seconds
            )));
        }
        let sums = Sums {
            tokens,
            batch,
            context,
            half,
            training_flops,
            attention_flops: shape.attention_flops(tokens.number(), context),
            bytes,
            costs,
            account,
            subject,
        };
        if self.json {
            output::json(&sums.object());
            return Ok(());
        }
        let lang = common.language();
        output::lines(&if self.explain { explain::page(&sums, lang) } else { page::page(&sums, lang) });
        Ok(())
    }

    fn subject(&self) -> Result<Subject, Failure> {
        match (&self.preset, &self.config, &self.run) {
            (Some(name), None, None) => Subject::preset(name),
            (None, Some(path), None) => Subject::config(path),
            (None, None, Some(run)) => Subject::run(run),
            _ => Err(Failure::usage("give one of --preset NAME, --config FILE and --run R")),
        }
    }
}

/// The object of `--json`; whole numbers as large as they are.
#[derive(Serialize)]
struct Object<'a> {
    parameters: u64,
    active_parameters: u64,
    parameters_by_part: Map<String, Value>,
    training_flops: u128,
    attention_flops: u128,
    bytes: Value,
    seconds: Option<f64>,
    energy_wh: Option<f64>,
    cost: Option<f64>,
    name: &'a str,
    tokens: u64,
    batch: u64,
    context: u64,
    precision: &'static str,
    currency: &'a str,
    adapters: &'a [Cost],
    assumptions: Vec<String>,
    published: Value,
}

impl Sums {
    fn shape(&self) -> Architecture {
        self.subject.shape
    }

    /// The cost on the first adapter of the list.
    fn first(&self) -> Option<&Cost> {
        self.costs.first()
    }

    fn object(&self) -> Object<'_> {
        let b = self.bytes;
        let parts = self.parts().into_iter().map(|(part, n)| (part.name().to_owned(), json!(n)));
        Object {
            parameters: self.shape().parameters(),
            active_parameters: self.shape().active_parameters(),
            parameters_by_part: parts.collect(),
            training_flops: self.training_flops,
            attention_flops: self.attention_flops,
            bytes: json!({
                "weights": b.weights, "gradients": b.gradients, "moments": b.moments, "activations": b.activations,
                "logits": b.logits, "total": b.total(), "kv_cache": b.kv_cache,
            }),
            seconds: self.first().map(|cost| cost.seconds),
            energy_wh: self.first().map(|cost| cost.energy_wh),
            cost: self.first().map(|cost| cost.money),
            name: &self.subject.name,
            tokens: self.tokens.number(),
            batch: self.batch,
            context: self.context,
            precision: if self.half { "f16" } else { "f32" },
            currency: &self.account.currency,
            adapters: &self.costs,
            assumptions: page::assumptions(self).iter().map(|tr| tr.1.clone()).collect(),
            published: published::objects(&self.subject.name),
        }
    }

    /// The parameters by part, in the order of the model.
    fn parts(&self) -> Vec<(Part, u64)> {
        let mut all: Vec<(Part, u64)> = Vec::new();
        for group in self.shape().groups() {
            let (part, n) = (part_of(group.weight, self.shape().experts), self.shape().count(&group));
            match all.iter_mut().find(|(known, _)| *known == part) {
                Some((_, sum)) => *sum += n,
                None => all.push((part, n)),
            }
        }
        all
    }
}

/// The part that a group of parameters belongs to.
fn part_of(weight: Weight, experts: u64) -> Part {
    match weight {
        Weight::Embedding => Part::Embedding,
        Weight::Position => Part::Position,
        Weight::Query | Weight::Key | Weight::Value | Weight::Output => Part::Attention,
        Weight::Router => Part::Router,
        Weight::Gate | Weight::Up | Weight::Down if experts > 1 => Part::Experts,
        Weight::Gate | Weight::Up | Weight::Down => Part::Mlp,
        Weight::Norm | Weight::HeadNorm | Weight::FinalNorm => Part::Norm,
        Weight::Head => Part::Head,
    }
}

/// A weight's name for a reader.
fn title(weight: Weight) -> Tr {
    match weight {
        Weight::Embedding => Tr("词嵌入（词表 × 宽度）", "token embedding (vocabulary × width)"),
        Weight::Position => Tr("位置嵌入（位置 × 宽度）", "position embedding (positions × width)"),
        Weight::Query => Tr("注意力 Q", "attention Q"),
        Weight::Key => Tr("注意力 K", "attention K"),
        Weight::Value => Tr("注意力 V", "attention V"),
        Weight::Output => Tr("注意力输出 O", "attention output O"),
        Weight::Router => Tr("路由", "router"),
        Weight::Gate => Tr("前馈层门控", "feed-forward gate"),
        Weight::Up => Tr("前馈层升维", "feed-forward up"),
        Weight::Down => Tr("前馈层降维", "feed-forward down"),
        Weight::Norm => Tr("归一化", "norms"),
        Weight::HeadNorm => Tr("Q、K 的归一化", "norms of Q and K"),
        Weight::FinalNorm => Tr("最后的归一化", "final norm"),
        Weight::Head => Tr("输出层（词表 × 宽度）", "output layer (vocabulary × width)"),
    }
}
