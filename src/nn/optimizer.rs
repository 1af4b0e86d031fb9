//! The optimiser's settings, and the outcome of a step.

/// Settings of AdamW; the defaults are nanoGPT's and Llama's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// Decoupled weight decay on tensors of two dimensions.
    pub weight_decay: f32,
    /// Largest global gradient norm; 0 for none.
    pub clip: f32,
}

impl Default for AdamW {
    fn default() -> AdamW {
        AdamW { beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1, clip: 1.0 }
    }
}

/// The outcome of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepOutcome {
    /// Mean loss over trained tokens, before the update.
    pub loss: f32,
    /// Global gradient norm before clipping.
    pub grad_norm: f32,
    /// False if loss or norm was not finite and nothing was changed.
    pub applied: bool,
    /// True if nothing was changed because gradients overflowed f16 with a finite loss: the next step has half the loss
    /// scale. Unlike other unapplied steps this is not a fault.
    pub lowered: bool,
}

impl StepOutcome {
    /// Parses a control block.
    pub fn from_control(control: &[f32]) -> StepOutcome {
        let at = |i: usize| control.get(i).copied().unwrap_or(f32::NAN);
        let applied = at(2) == 1.0;
        // The scale of this step and that of the next one.
        StepOutcome { loss: at(6), grad_norm: at(0), applied, lowered: !applied && at(8) < at(11) }
    }
}
