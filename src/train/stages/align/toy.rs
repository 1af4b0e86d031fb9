//! A task with a known optimum, trained with PPO's own sampling, scoring and updates: shortest paths on a graph
//! (`randomwalks` of trlx).
//!
//! A prompt is a node, an answer the nodes of a walk; its reward is higher the fewer steps it takes to the goal, and 0
//! if it leaves the edges. The policy starts from random weights and learns only from this number.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::{
    episode::Episode,
    passes::mean,
    ppo::Learner,
    roles::{Roles, Split},
    rollouts::Sampler,
};
use crate::{
    base::StageId,
    compute::{
        Device,
        rng::{self, Purpose},
    },
    nn::{AdamW, ModelConfig, PolicyLearner, ScalarLearner, preset},
    train::config::{RunConfig, StageSettings},
};

/// Nodes, of which the first is the goal; edges per node; steps of a walk.
const NODES: usize = 10;
const EDGES: usize = 3;
const LONGEST: usize = 6;
/// Updates, and their learning rate, which decays to 0.
const UPDATES: usize = 90;
const RATE: f32 = 1e-3;
/// The token that ends a walk; the ids before it are nodes.
const END: u32 = NODES as u32;

/// A graph with the length of the shortest path from every node.
struct Graph {
    edges: Vec<Vec<usize>>,
    shortest: Vec<usize>,
}

impl Graph {
    fn new(seed: u64) -> Graph {
        let edge = |from: usize, i: usize| {
            // The first edge leads closer, so that the goal can be reached from every node.
            if i == 0 { from.saturating_sub(1) } else { rng::below(seed, Purpose::Bench, from as u64, i as u64, NODES) }
        };
        let edges: Vec<Vec<usize>> = (0..NODES).map(|from| (0..EDGES).map(|i| edge(from, i)).collect()).collect();
        let mut shortest = vec![usize::MAX; NODES];
        shortest[0] = 0;
        for _ in 0..NODES {
            for from in 1..NODES {
                let best = edges[from].iter().map(|to| shortest[*to]).min().unwrap();
                shortest[from] = shortest[from].min(best.saturating_add(1));
            }
        }
        Graph { edges, shortest }
    }

    /// 1 for a shortest path, less for longer ones, 0 for an invalid walk.
    fn optimality(&self, walk: &Episode) -> f32 {
        let mut at = walk.ids[0] as usize;
        let nodes = &walk.ids[1..];
        for (steps, next) in nodes.iter().enumerate() {
            let next = *next as usize;
            if !self.edges[at].contains(&next) {
                return 0.0;
            }
            at = next;
            if at == 0 {
                return self.shortest[walk.ids[0] as usize] as f32 / (steps + 1) as f32;
            }
        }
        0.0
    }
}

#[test]
fn ppo_finds_the_shortest_ways() {
    let graph = Graph::new(3);
    let mut device = Device::cpu();
    let model = ModelConfig {
        vocab_size: NODES + 2,
        hidden_size: 32,
        intermediate_size: 64,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        num_key_value_heads: 2,
        head_dim: 16,
        max_position_embeddings: 16,
        ..preset("1m").unwrap().config()
    };
    let adamw = AdamW { eps: 1e-5, weight_decay: 0.0, ..AdamW::default() };
    let (rows, context) = (32, 8);
    let mut policy = PolicyLearner::new(&mut device, &model, rows, context, adamw).unwrap();
    let table = policy.table().clone();
    let slab = table.initial(1);
    policy.write_params(&mut device, &slab).unwrap();
    let mut value = ScalarLearner::new(&mut device, &model, rows, context, adamw).unwrap();
    let scalar = value.table().clone();
    value.write_params(&mut device, &scalar.from_language_model(&table, &slab, 0.0, 1).unwrap()).unwrap();
    let mut roles = Roles::new(&mut device, policy, &slab, NODES as u32 + 1).unwrap();
    let starts: Vec<Vec<u32>> = (0..128).map(|i| vec![1 + i % (NODES as u32 - 1)]).collect();
    let how = (END, LONGEST, 1);
    let mut sampler = Sampler::new(&mut device, &model, roles.policy.params(), starts.len(), context, how).unwrap();
    // As in trlx: only the reward, no KL to the untrained policy.
    let how = StageSettings {
        kl_coef: 0.0,
        num_ppo_epochs: 4,
        value_learning_rate: f64::from(RATE),
        value_warmup_steps: 0,
        max_approx_kl: f64::INFINITY,
        ..RunConfig::default().settings(StageId::Ppo)
    };
    let (epochs, minibatches) = (how.num_ppo_epochs, how.num_mini_batches);
    let mut learner = Learner::new(how, value, 0.0);
    let mut scores = Vec::new();
    for step in 0..UPDATES {
        let walks = sampler.answers(&mut device, starts.clone(), (step * starts.len()) as u64).unwrap();
        let paid: Vec<f32> = walks.iter().map(|w| graph.optimality(w)).collect();
        let rate = RATE * (UPDATES - step) as f32 / UPDATES as f32;
        let split = Split { seed: 1, step, epochs, minibatches };
        learner.update(&mut device, &mut roles, None, (split, rate), (walks, &paid)).unwrap();
        scores.push(mean(&paid));
    }
    let (first, last) = (scores[0], scores.iter().rev().take(5).sum::<f64>() / 5.0);
    assert!(first < 0.3, "at random it finds {first}");
    // The optimum is 1.
    assert!(last >= 0.9, "{first} became {last}: {scores:?}");
}
