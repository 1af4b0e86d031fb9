//! Statistics of shares.

/// Wilson's 95 % interval of a proportion.
pub(crate) fn wilson(share: f64, n: usize) -> (f64, f64) {
    if n == 0 {
        return (0.0, 1.0);
    }
    // The normal distribution's 97.5 % quantile.
    let z = 1.959_963_984_540_054_f64;
    let n = n as f64;
    let centre = share + z * z / (2.0 * n);
    let spread = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    let by = 1.0 + z * z / n;
    (((centre - spread) / by).max(0.0), ((centre + spread) / by).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_wilsons() {
        let (low, high) = wilson(0.9, 100);
        assert!((low - 0.8256).abs() < 1e-3 && (high - 0.9448).abs() < 1e-3, "{low} {high}");
        assert_eq!(wilson(0.5, 0), (0.0, 1.0));
    }
}
