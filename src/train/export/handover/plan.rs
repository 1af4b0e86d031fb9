//! The numbers of a plan, for the script.

use serde_json::{Map, Value, json};

use crate::{
    base::StageId,
    train::{
        config::{RunConfig, plan::StagePlan},
        error::TrainError,
        stages::given::{Given, Work},
    },
};

/// An f32 as it is written in run.toml: 0.95 is 0.95, not 0.949999988.
fn short(x: f32) -> f64 {
    x.to_string().parse().unwrap_or(f64::from(x))
}

/// Every number that the script trains by.
pub(super) fn plan(
    config: &RunConfig,
    stage: StageId,
    plan: &StagePlan,
    given: &Given,
) -> Result<Map<String, Value>, TrainError> {
    let s = config.settings(stage);
    let done = given.state.step as usize;
    let adamw = &plan.adamw;
    let mut all = json!({
        "steps": given.steps,
        // A stage that is extended decays at its new end.
        "schedule_steps": plan.schedule.steps.max(done + given.steps),
        "batch_size": plan.batch_size,
        "accumulation": plan.accumulation,
        "context": plan.context,
        "learning_rate": plan.schedule.peak,
        "lr_scheduler_type": plan.schedule.kind,
        "warmup_steps": plan.schedule.warmup,
        "decay_steps": plan.schedule.decay,
        "weight_decay": short(adamw.weight_decay),
        "adam_beta1": short(adamw.beta1),
        "adam_beta2": short(adamw.beta2),
        "adam_epsilon": short(adamw.eps),
        "max_grad_norm": short(adamw.clip),
        "eval_steps": plan.eval_steps,
        "save_steps": plan.save_steps,
    });
    let more = match (&given.work, stage) {
        (Work::Rows(_), _) => json!({
            "tokens_per_step": plan.batch_size * plan.accumulation * plan.context,
        }),
        (Work::Pairs(pairs), StageId::Reward) => json!({
            "center_rewards_coefficient": short(s.center_rewards_coefficient),
            "order_width": width(&pairs.order),
        }),
        (Work::Pairs(pairs), _) => json!({"beta": short(s.beta), "order_width": width(&pairs.order)}),
        (Work::Prompts(_), _) => json!({
            "beta": short(s.beta),
            "rollouts": s.rollouts,
            "num_generations": s.num_generations,
            "num_iterations": s.num_iterations,
            "num_mini_batches": s.num_mini_batches,
            "response_length": s.response_length,
            "epsilon": short(s.epsilon),
            "epsilon_high": short(s.epsilon_high),
            "loss_type": s.loss_type,
            "scale_rewards": s.scale_rewards,
            "missing_eos_penalty": short(s.missing_eos_penalty),
        }),
    };
    if let (Value::Object(all), Value::Object(more)) = (&mut all, more) {
        all.extend(more);
    }
    match all {
        Value::Object(all) => Ok(all),
        other => Err(TrainError::Work(format!("the plan is {other}, which is a bug in danlu"))),
    }
}

/// Pairs that every step has room for: the largest number that a step draws.
pub(super) fn width(order: &[Vec<usize>]) -> usize {
    order.iter().map(Vec::len).max().unwrap_or(0)
}
