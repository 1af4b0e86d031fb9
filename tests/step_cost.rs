//! Upper bounds on the kernel calls and barriers of a training step. A call that waits for the one before costs at
//! least two microseconds, and a small model's step consists of little else. The recordings are those for an H100;
//! nothing runs.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use danlu::{
    compute::{DType, Device, Needs, Traits},
    nn::{AdamW, BatchDecoder, Decoder, Learner, ModelConfig, ParamTable, Weights},
};

fn h100(offers: Needs) -> Traits {
    Traits {
        cpu: false,
        software: false,
        max_binding: (1 << 31) - 4,
        max_groups: 65_535,
        workgroup_storage: 49_152,
        max_invocations: 1024,
        offers,
        act: if offers == Needs::Common { DType::F32 } else { DType::F16 },
        units: 132,
    }
}

/// Calls and barriers of a step.
fn step(offers: Needs, config: &ModelConfig, batch: usize, ctx: usize) -> (usize, usize) {
    let mut device = Device::cpu().counting_as(h100(offers));
    let learner = Learner::new(&mut device, config, batch, ctx, AdamW::default()).expect("it plans");
    (learner.calls(), learner.barriers())
}

#[test]
fn calls_and_barriers_of_a_step_stay_down() {
    let tiny = ModelConfig::llama(4, 128, 4, 4, 384, 4096, 128);
    let small = ModelConfig::llama(6, 384, 6, 6, 1024, 4096, 256);
    let base = ModelConfig::llama(12, 768, 12, 12, 2048, 50_304, 1024);
    for (name, offers, config, batch, ctx, most) in [
        ("1m f32", Needs::Common, &tiny, 32, 128, (149, 149)),
        ("1m f16", Needs::Matrix, &tiny, 32, 128, (129, 120)),
        ("12m f16", Needs::Matrix, &small, 64, 256, (178, 150)),
        ("124m f16", Needs::Matrix, &base, 16, 1024, (344, 340)),
    ] {
        let (calls, barriers) = step(offers, config, batch, ctx);
        assert!(calls <= most.0 && barriers <= most.1, "{name}: {calls} calls, {barriers} barriers, at most {most:?}");
    }
}

/// Seven calls per layer, or two where it is small; embedding, norm, head and sampling.
#[test]
fn calls_of_a_decoded_token_stay_down() {
    let tiny = ModelConfig::llama(4, 128, 4, 4, 384, 4096, 128);
    let small = ModelConfig::llama(6, 384, 6, 6, 1024, 4096, 256);
    for (name, offers, config, most) in [
        ("1m f32", Needs::Common, &tiny, 12),
        ("1m f16", Needs::Matrix, &tiny, 12),
        ("12m f32", Needs::Common, &small, 46),
        ("12m f16", Needs::Matrix, &small, 46),
    ] {
        let mut device = Device::cpu().counting_as(h100(offers));
        let weights = Weights::alloc(&mut device, "weights", &Arc::new(ParamTable::new(config))).expect("it plans");
        let one = Decoder::new(&mut device, config, &weights, 256).expect("it plans").calls();
        let many = BatchDecoder::new(&mut device, config, &weights, 64, 128).expect("it plans").calls();
        assert!(one <= most && many <= most, "{name}: {one} calls for one text, {many} for 64, at most {most}");
    }
}
