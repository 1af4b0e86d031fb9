//! Runs programs: one encoder, one pass, one submit, unless that would occupy the device too long.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use tracing::trace;

use super::{
    buffers::Buffers,
    context::Context,
    pipelines::Pipelines,
    program::{Compiled, Step},
};
use crate::compute::{error::ComputeError, kernel::Work, tensor::Tensor};

/// Longest estimated time of a submit, in milliseconds: it keeps a desktop usable and the driver's watchdog quiet.
const SUBMIT_MS: f64 = 100.0;
/// Submits in flight before the next one waits.
const IN_FLIGHT: usize = 8;
/// Calls timed at a time: two queries each, 4096 in a set.
const TIMED: usize = 2048;

/// Submits and time over which a device's speed is measured.
const MEASURED: (usize, Duration) = (32, Duration::from_millis(250));

/// The ratio of actual to estimated time of submits; estimates are for a slow card. A window counts only if the host
/// was never far ahead of the device, and only if it was faster than the ones before, since idle time looks like a slow
/// device.
struct Pace {
    factor: f64,
    since: Option<Instant>,
    submits: usize,
    estimated_ms: f64,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { factor: 1.0, since: None, submits: 0, estimated_ms: 0.0 }
    }
}

impl Pace {
    fn submitted(&mut self, estimated_ms: f64) {
        self.add(Instant::now(), estimated_ms);
    }

    fn add(&mut self, now: Instant, estimated_ms: f64) {
        let since = *self.since.get_or_insert(now);
        let elapsed = now.duration_since(since);
        if self.submits >= MEASURED.0 && elapsed >= MEASURED.1 {
            // At most IN_FLIGHT of the counted submits are unfinished.
            let done = self.estimated_ms * (1.0 - IN_FLIGHT as f64 / self.submits as f64);
            self.factor = (elapsed.as_secs_f64() * 1e3 / done).clamp(LEAST_FACTOR, self.factor);
            (self.since, self.submits, self.estimated_ms) = (Some(now), 0, 0.0);
        }
        self.submits += 1;
        self.estimated_ms += estimated_ms;
    }
}

/// Lower bound of the factor: submits are split on the fastest device too.
const LEAST_FACTOR: f64 = 0.01;

/// The queue of submits.
pub(super) struct Replay {
    context: Context,
    pace: Pace,
    in_flight: VecDeque<wgpu::SubmissionIndex>,
    /// Whether anything was submitted yet.
    pub(super) worked: bool,
}

impl Replay {
    pub(super) fn new(context: &Context) -> Replay {
        Replay { context: context.clone(), pace: Pace::default(), in_flight: VecDeque::new(), worked: false }
    }

    /// Runs programs in order, and requests a tensor after them: the copy is part of the last submit.
    pub(super) fn submit(
        &mut self,
        buffers: &mut Buffers,
        pipelines: &Pipelines,
        programs: &[&Compiled],
        wanted: Option<&Tensor>,
    ) -> Result<Option<u64>, ComputeError> {
        self.context.faults.check()?;
        let limit = SUBMIT_MS / self.pace.factor;
        let mut all = programs.iter().flat_map(|c| &c.steps).peekable();
        let mut id = None;
        self.worked |= all.peek().is_some();
        while all.peek().is_some() {
            let mut encoder = self.context.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            let (mut spent, mut set) = (0.0, None);
            while let Some(step) = all.next_if(|s| spent == 0.0 || spent + s.estimate_ms <= limit) {
                if set.replace(step.pipeline) != Some(step.pipeline) {
                    pass.set_pipeline(&pipelines.at(step.pipeline).pipeline);
                }
                dispatch(&mut pass, step);
                spent += step.estimate_ms.max(1e-6);
            }
            drop(pass);
            let last = wanted.filter(|_| all.peek().is_none());
            let copy = last.map(|t| buffers.copy(&mut encoder, t, t.bytes())).transpose()?;
            self.pace.submitted(spent);
            trace!(estimate_ms = spent, last = all.peek().is_none(), "submit");
            let index = self.context.queue.submit([encoder.finish()]);
            id = copy.map(|copy| buffers.arrange(copy, index.clone())).transpose()?;
            self.in_flight.push_back(index);
        }
        self.context.faults.check()?;
        let late = self.in_flight.len().saturating_sub(IN_FLIGHT);
        let kind = match self.in_flight.drain(..late).next_back() {
            Some(index) => wgpu::PollType::Wait { submission_index: Some(index), timeout: None },
            // Polling also frees dropped buffers.
            None => wgpu::PollType::Poll,
        };
        self.context.polled(kind).map(|()| id)
    }

    /// Runs programs once and measures every call, in order: kernel, work and milliseconds. None if the device has no
    /// timestamps.
    pub(super) fn profile(
        &mut self,
        buffers: &mut Buffers,
        pipelines: &Pipelines,
        programs: &[&Compiled],
    ) -> Result<Vec<(&'static str, Work, f64)>, ComputeError> {
        if !self.context.device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            self.submit(buffers, pipelines, programs, None)?;
            return Ok(Vec::new());
        }
        let mut times = Vec::new();
        for steps in programs.iter().flat_map(|p| p.steps.chunks(TIMED)) {
            let ms = self.timed(buffers, pipelines, steps)?;
            times.extend(steps.iter().zip(ms).map(|(step, ms)| (step.kernel, step.work, ms)));
        }
        Ok(times)
    }

    /// Milliseconds of each step, each in a separate pass with timestamps at both ends.
    fn timed(&self, buffers: &Buffers, pipelines: &Pipelines, steps: &[Step]) -> Result<Vec<f64>, ComputeError> {
        use wgpu::BufferUsages as U;
        self.context.faults.check()?;
        let count = steps.len() as u32 * 2;
        let bytes = u64::from(count) * 8;
        let queries = self.context.device.create_query_set(&wgpu::QuerySetDescriptor {
            label: None,
            ty: wgpu::QueryType::Timestamp,
            count,
        });
        let resolved = buffers.create("timestamps", bytes, U::QUERY_RESOLVE | U::COPY_SRC)?;
        let staging = buffers.create("timestamps", bytes, U::MAP_READ | U::COPY_DST)?;
        let mut encoder = self.context.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        for (i, step) in steps.iter().enumerate() {
            let at = i as u32 * 2;
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: None,
                timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                    query_set: &queries,
                    beginning_of_pass_write_index: Some(at),
                    end_of_pass_write_index: Some(at + 1),
                }),
            });
            pass.set_pipeline(&pipelines.at(step.pipeline).pipeline);
            dispatch(&mut pass, step);
        }
        encoder.resolve_query_set(&queries, 0..count, &resolved, 0);
        encoder.copy_buffer_to_buffer(&resolved, 0, &staging, 0, bytes);
        self.context.queue.submit([encoder.finish()]);
        staging.slice(..).map_async(wgpu::MapMode::Read, |_| ());
        self.context.poll(true)?;
        let view = staging.slice(..).get_mapped_range().map_err(|e| ComputeError::Lost { reason: e.to_string() })?;
        let ticks: Vec<u64> =
            view.chunks_exact(8).map(|b| b.first_chunk().map_or(0, |b| u64::from_le_bytes(*b))).collect();
        let period = f64::from(self.context.queue.get_timestamp_period()) * 1e-6;
        Ok(ticks.chunks_exact(2).map(|pair| pair[1].saturating_sub(pair[0]) as f64 * period).collect())
    }

    pub(super) fn wait(&mut self) -> Result<(), ComputeError> {
        self.in_flight.clear();
        self.context.poll(true)
    }
}

fn dispatch(pass: &mut wgpu::ComputePass<'_>, step: &Step) {
    pass.set_bind_group(0, &step.group, &[]);
    let [x, y, z] = step.grid;
    pass.dispatch_workgroups(x, y, z);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The factor after windows of (submits, estimated milliseconds each, actual milliseconds each).
    fn factor(windows: &[(usize, f64, u64)]) -> f64 {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        for (submits, estimated, ms) in windows {
            for _ in 0..*submits {
                pace.add(now, *estimated);
                now += Duration::from_millis(*ms);
            }
        }
        pace.factor
    }

    #[test]
    fn submits_grow_on_a_fast_device_and_never_shrink_on_an_idle_one() {
        assert_eq!(factor(&[(20, 100.0, 2)]), 1.0, "too few submits to judge");
        let fast = factor(&[(400, 100.0, 5)]);
        assert!((0.05..0.08).contains(&fast), "20 times as fast as thought: {fast}");
        assert_eq!(factor(&[(400, 100.0, 5), (100, 100.0, 900)]), fast, "a pause is no slow device");
        assert_eq!(factor(&[(100, 1.0, 300)]), 1.0, "nor is a slow one cut finer");
        assert_eq!(factor(&[(2000, 1e6, 1)]), LEAST_FACTOR);
    }
}
