//! Measures phases of what reports of drills tell: time, and time on processors.

use std::time::{Duration, Instant};

use super::drill::Phase;
use crate::util::cpu;

pub struct Stopwatch {
    begun: Instant,
    cpu: Option<Duration>,
}

impl Stopwatch {
    pub fn start() -> Self {
        Self {
            begun: Instant::now(),
            cpu: cpu::of_self(),
        }
    }

    pub fn stop(&self, name: &str, bytes: Option<u64>) -> Phase {
        self.stop_with(name, bytes, None)
    }

    /// With what another process took meanwhile.
    pub fn stop_with(&self, name: &str, bytes: Option<u64>, other: Option<Duration>) -> Phase {
        let own = cpu::of_self().zip(self.cpu);
        let own = own.map(|(now, before)| now.saturating_sub(before));
        Phase {
            name: name.to_owned(),
            seconds: self.begun.elapsed().as_secs_f64(),
            cpu_seconds: own.map(|own| (own + other.unwrap_or_default()).as_secs_f64()),
            bytes,
        }
    }

    /// Two phases at the same time: one that waits for something, and one that does the rest.
    pub fn split(&self, waits: (&str, Duration, u64), works: (&str, u64)) -> [Phase; 2] {
        let all = self.stop(works.0, Some(works.1));
        let waited = waits.1.as_secs_f64().min(all.seconds);
        [
            Phase {
                name: waits.0.to_owned(),
                seconds: waited,
                cpu_seconds: None,
                bytes: Some(waits.2),
            },
            Phase {
                seconds: all.seconds - waited,
                ..all
            },
        ]
    }
}
