//! Runs for tests of the tree.

use danlu::{
    base::StageId,
    protocol::{
        BestOf, Comparison, Differing, ForkPoint, SameProbe, TrainedCurve, TrainedRun, TreeCheckpoint, TreeCurve,
        TreeProbe, TreeRun,
    },
};

/// Two runs, and a fork of the open one.
pub fn runs() -> Vec<TreeRun> {
    let checkpoint = |run: &str, stage: StageId, step: u64, figure: f64| TreeCheckpoint {
        run: run.to_owned(),
        checkpoint: format!("{stage}-{step:08}"),
        stage: stage.into(),
        step,
        metric: "eval_loss",
        figure: Some(figure),
        bytes: 15_820_000,
        digest: format!("{run}-{stage}-{step}"),
        ..TreeCheckpoint::default()
    };
    let curve = |stage: StageId, worst: f64| TreeCurve {
        stage: stage.into(),
        metric: "eval_loss",
        points: (1..=12).map(|i| (100 * i, 5.0 - 2.0 * (i as f64).min(worst) / 12.0 + 0.04 * i as f64)).collect(),
    };
    let probe = |stage: StageId, text: &str, matched| TreeProbe {
        stage: stage.into(),
        step: 1200,
        prompt: "春眠不觉晓，".to_owned(),
        text: text.to_owned(),
        matched,
        length: 18,
    };
    let pretrain =
        [(400, 4.1), (800, 3.2), (1200, 3.4)].map(|(step, x)| checkpoint("chunxiao-0007", StageId::Pretrain, step, x));
    let mut checkpoints = pretrain.to_vec();
    (checkpoints[1].best, checkpoints[1].needed_by) = (true, vec!["sft".to_owned(), "run-0009".to_owned()]);
    checkpoints[0].pinned = true;
    checkpoints[2].newest = true;
    checkpoints.push(TreeCheckpoint {
        best: true,
        newest: true,
        parent: Some("pretrain-00000800".to_owned()),
        ..checkpoint("chunxiao-0007", StageId::Sft, 1600, 0.41)
    });
    let open = TreeRun {
        run: "chunxiao-0007".to_owned(),
        path: "runs/chunxiao-0007".into(),
        size: "1m".to_owned(),
        engine: "cpu".to_owned(),
        bytes: 63_000_000,
        checkpoints,
        curves: vec![curve(StageId::Pretrain, 8.0)],
        probes: vec![probe(StageId::Pretrain, super::POEM, 18)],
        ..TreeRun::default()
    };
    let fork = TreeRun {
        run: "run-0009".to_owned(),
        path: "runs/run-0009".into(),
        size: "1m".to_owned(),
        engine: "cpu".to_owned(),
        bytes: 16_000_000,
        fork: Some(ForkPoint {
            run: "chunxiao-0007".to_owned(),
            checkpoint: "pretrain-00000800".to_owned(),
            digest: "chunxiao-0007-pretrain-800".to_owned(),
        }),
        changed: vec!["pretrain.learning_rate 0.003 → 0.001".to_owned()],
        checkpoints: vec![
            checkpoint("run-0009", StageId::Pretrain, 800, 3.2),
            checkpoint("run-0009", StageId::Pretrain, 1200, 2.9),
        ],
        curves: vec![curve(StageId::Pretrain, 12.0)],
        probes: vec![probe(StageId::Pretrain, "处处闻啼鸟。夜来风", 9)],
        ..TreeRun::default()
    };
    let other = TreeRun {
        run: "gpu".to_owned(),
        path: "runs/gpu".into(),
        size: "5m".to_owned(),
        engine: "wgpu".to_owned(),
        bytes: 180_000_000,
        used_by: Some(7),
        checkpoints: vec![checkpoint("gpu", StageId::Pretrain, 350, 2.1)],
        ..TreeRun::default()
    };
    vec![open, other, fork]
}

/// The open run beside its fork.
pub fn comparison() -> Comparison {
    let probes: Vec<Option<TreeProbe>> = [0, 2].map(|at| runs()[at].probes.first().cloned()).into();
    Comparison {
        runs: vec!["chunxiao-0007".to_owned(), "run-0009".to_owned()],
        settings: vec![Differing {
            key: "pretrain.learning_rate".to_owned(),
            values: vec![Some("0.003".to_owned()), Some("0.001".to_owned())],
        }],
        figures: Vec::new(),
        best: vec![BestOf {
            stage: StageId::Pretrain.into(),
            metric: "eval_loss",
            values: vec![Some((800, 3.2)), Some((1200, 2.9))],
        }],
        probes: vec![SameProbe { prompt: "春眠不觉晓，".to_owned(), values: probes }],
    }
}

/// The training losses of the fork.
pub fn trained() -> Vec<TrainedRun> {
    let points = (1..=150).map(|i| (8 * i, 1.4 + 7.0 / (1.0 + i as f64 / 9.0).sqrt())).collect();
    vec![TrainedRun {
        path: "runs/run-0009".into(),
        curves: vec![TrainedCurve { stage: StageId::Pretrain.into(), every: 8, points }],
    }]
}
