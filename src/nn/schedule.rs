//! Learning-rate schedules: warm-up, then WSD, cosine or constant.

/// What follows the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleKind {
    /// Warm-up, stable, decay (Hu et al. 2024, MiniCPM): constant until the last part, then linear to zero. Training
    /// can stop any time before the decay and continue later.
    #[default]
    Wsd,
    /// Half a cosine down to a tenth of the peak (Radford et al.; Hoffmann et al. 2022).
    Cosine,
    /// The peak throughout.
    Constant,
}

/// A learning rate for every step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// What follows the warm-up.
    pub kind: ScheduleKind,
    /// Largest rate.
    pub peak: f64,
    /// Steps of linear warm-up.
    pub warmup: usize,
    /// Steps in all.
    pub steps: usize,
    /// Steps of decay at the end (WSD).
    pub decay: usize,
}

impl Schedule {
    /// The rate of step `step` (the first is 0).
    pub fn rate(&self, step: usize) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / self.warmup as f64;
        }
        match self.kind {
            ScheduleKind::Constant => self.peak,
            ScheduleKind::Wsd => {
                let left = self.steps.saturating_sub(step);
                let part = if self.decay == 0 { 1.0 } else { left as f64 / self.decay as f64 };
                // A stage that is extended keeps the last rate of the decay.
                self.peak * part.clamp(1.0 / self.decay.max(1) as f64, 1.0)
            }
            ScheduleKind::Cosine => {
                let span = self.steps.saturating_sub(self.warmup).max(1) as f64;
                let part = ((step - self.warmup) as f64 / span).min(1.0);
                self.peak * (0.1 + 0.45 * (1.0 + (std::f64::consts::PI * part).cos()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_have_their_shape() {
        let s = Schedule { kind: ScheduleKind::Wsd, peak: 1.0, warmup: 10, steps: 100, decay: 20 };
        assert_eq!(s.rate(0), 0.1);
        assert_eq!((s.rate(9), s.rate(50), s.rate(80)), (1.0, 1.0, 1.0));
        assert_eq!((s.rate(90), s.rate(99), s.rate(1000)), (0.5, 0.05, 0.05));
        let c = Schedule { kind: ScheduleKind::Cosine, ..s };
        assert!(c.rate(10) > 0.999 && (c.rate(100) - 0.1).abs() < 1e-9 && (c.rate(55) - 0.55).abs() < 1e-9);
    }
}
