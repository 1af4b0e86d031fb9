//! `[guard]`: the thresholds that stop a stage.

use super::table::table;

table! {
    /// `[guard]`: thresholds for PPO, GRPO and DPO, and for spikes in any stage (`spikes` and the keys after it).
    GuardOverrides => GuardSettings {
        enabled: bool, ANY, = |_, _| true,
            "whether the guard stops ppo, grpo and dpo; it measures in any case", "是否由守护停止 ppo、grpo、dpo；测量总是进行";
        distinct2: f64, SHARE, = |_, _| 0.5,
            "least distinct-2, as a share of the start's", "distinct-2 的下限，相对于开始时的比例";
        repetition: f64, SHARE, = |_, _| 0.25,
            "largest rise of repetition within an answer", "回答内重复率的最大增量";
        end_rate: f64, SHARE, = |_, _| 0.5,
            "least share of answers that end, as a share of the start's", "正常结束的回答比例的下限，相对于开始时的比例";
        length: f64, ONE, = |_, _| 3.0,
            "how many times longer or shorter answers may become", "回答最多可以变长或变短多少倍";
        kl: f64, ANY, = |_, _| 40.0, "largest KL per answer, in nats", "每个回答的最大 KL（nat）";
        patience: usize, ONE, = |_, _| 2,
            "updates in a row out of bounds that stop the stage", "连续多少次更新越界就停止";
        spikes: bool, ANY, = |_, _| true, "whether a spike stops a stage", "尖峰是否停止阶段";
        spike_loss: f64, POSITIVE, = |_, _| 1.0, "least rise of the loss, in nats", "损失的最小升幅（nat）";
        spike_deviations: f64, POSITIVE, = |_, _| 12.0,
            "robust deviations of the last 128 losses", "超出最近 128 个损失的多少个稳健偏差";
        spike_grad_norm: f64, above(1.0), = |_, _| 30.0, "times the usual gradient norm", "通常梯度范数的多少倍";
        spike_patience: usize, ONE, = |_, _| 3, "steps in a row that make a spike", "连续多少步算一次尖峰";
        rollbacks: usize, ANY, = |_, _| 3,
            "returns to a checkpoint before the stage ends with an error", "回退到检查点多少次之后以错误结束";
    }
}
