// Conversion from sums, which are f32, to activations of type ${ACT}. An activation beyond the largest f16 is clamped,
// so that one number does not end a run; a gradient is not: it becomes infinite, which the step's check must see.
// Comparisons with NaN are false, so NaN passes.

#ifdef HALF
fn cut(x: f32) -> f32 {
    return select(x, sign(x) * 65504.0, abs(x) > 65504.0);
}

fn cut4(x: vec4<f32>) -> vec4<f32> {
    return select(x, sign(x) * 65504.0, abs(x) > vec4<f32>(65504.0));
}
#else
fn cut(x: f32) -> f32 {
    return x;
}

fn cut4(x: vec4<f32>) -> vec4<f32> {
    return x;
}
#endif
