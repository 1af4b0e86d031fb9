//! AdamW, with the gradient's norm and the loss scale on the device.

use super::{
    push::{Done, ELEMENTS, expect_len, line, push, segments},
    reduce::{norm_partials, square_sum},
};
use crate::compute::{cpu::Params, device::Recording, tensor::Tensor};

/// Words of the hyper-parameter block, in order: learning rate, share of a token (1 / trained tokens),
/// weight decay, β₁, β₂, ε, clip (0: none), unused.
pub const HYPER: usize = 8;

/// Words of the control block, in order: gradient norm before clipping, factor on the gradients, finite flag (1 or 0),
/// AdamW's step count, β₁ᵗ, β₂ᵗ, loss, skipped steps; then those of half precision, otherwise 0: loss scale, applied
/// steps since it changed, times it was halved, the scale of the last step's gradients.
pub const CONTROL: usize = 12;

/// Words of the control block without half precision.
pub const CONTROL_F32: usize = 8;

/// The initial loss scale in half precision.
pub const FIRST_LOSS_SCALE: f32 = 32_768.0;

/// One AdamW update of a flat slab (Loshchilov and Hutter 2019, as torch.optim.AdamW), with the
/// global norm, the clip factor (clip / (norm + 1e-6), at most 1, as torch's clip_grad_norm_) and
/// the finite check on the device.
pub struct Update<'a> {
    /// Parameters, one flat slab.
    pub params: &'a Tensor,
    /// The same in f16, for products, if needed.
    pub shadow: Option<&'a Tensor>,
    /// Their gradients.
    pub grads: &'a Tensor,
    /// First moments.
    pub m: &'a Tensor,
    /// Second moments.
    pub v: &'a Tensor,
    /// Elements at the slab's start that weight decay applies to.
    pub decayed: usize,
    /// The summed loss \[1\] of the step's micro-batches.
    pub loss: &'a Tensor,
    /// \[HYPER\].
    pub hyper: &'a Tensor,
    /// \[CONTROL\].
    pub control: &'a Tensor,
}

/// Records norm, control and update. If gradient norm or loss is not finite, parameters, moments and step count stay
/// unchanged and the control block counts a skipped step.
///
/// `adamw_prepare`: partials \[G\], loss \[1\], hyper, control: norm = √Σ partials / S; control\[6\] = loss ·
/// hyper\[1\]. `adamw`: grads, hyper, control → params, m, v and the f16 copy.
///
/// S is the loss scale: gradients are multiplied by S, so that small ones do not underflow in f16. If they overflow
/// though the loss is finite, S is halved and the step counts as lowered, not as skipped, until S is 1; after 1,000
/// applied steps in a row it is doubled, up to 2²⁴. Without half precision it is 0 in the block and has no effect.
pub fn adamw(rec: &mut Recording<'_>, u: &Update<'_>) -> Done {
    for t in [u.grads, u.m, u.v].into_iter().chain(u.shadow) {
        expect_len("adamw", t, u.params.len())?;
    }
    expect_len("adamw", u.hyper, HYPER)?;
    expect_len("adamw", u.control, CONTROL)?;
    let partials = rec.scratch(&[norm_partials(rec, u.grads.len())])?;
    square_sum(rec, u.grads, &partials)?;
    push(rec, "adamw_prepare", Params::new(&[partials.len()]), &[&partials, u.loss, u.hyper, u.control], [1, 1, 1])?;
    for (start, n) in segments(rec, u.params.len()) {
        let cut = |t: &Tensor| t.part(&t.name, start, &[n]);
        let params = Params::new(&[n, u.decayed.saturating_sub(start).min(n)]);
        let grid = line(rec, n, ELEMENTS);
        let cuts = [u.params, u.m, u.v].into_iter().chain(u.shadow).map(cut);
        let args: Vec<Tensor> = [cut(u.grads), u.hyper.clone(), u.control.clone()].into_iter().chain(cuts).collect();
        push(rec, "adamw", params, &args.iter().collect::<Vec<_>>(), grid)?;
    }
    Ok(())
}
