//! Draws the meter of a running command: a bar on a terminal, a line every 30 s elsewhere.

use std::{
    io::{self, IsTerminal, Write},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::util::{meter::Meter, units};

const FRAME: Duration = Duration::from_millis(100);
const LINE: Duration = Duration::from_secs(30);

/// The bar on the terminal, so that log lines don't run into it.
static BAR: Mutex<Option<Arc<ProgressBar>>> = Mutex::new(None);

/// Runs `write`, which writes to the terminal, while the bar is out of the way.
pub fn beside(write: impl FnOnce()) {
    let bar = BAR.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// Draws until it is dropped.
#[derive(Debug)]
pub struct Progress {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    pub fn start(meter: &Meter) -> Self {
        let meter = meter.clone();
        let (stop, stopped) = mpsc::channel();
        let draw = move || {
            if io::stderr().is_terminal() {
                draw_bar(&meter, &stopped);
            } else {
                write_lines(&meter, &stopped);
            }
        };
        // A command without progress is still a command.
        let thread = thread::Builder::new().name("progress".into()).spawn(draw);
        Self {
            stop: Some(stop),
            thread: thread.ok(),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported and harms nobody.
            let _ = thread.join();
        }
    }
}

type Stopped = mpsc::Receiver<()>;

fn draw_bar(meter: &Meter, stopped: &Stopped) {
    let bar = Arc::new(ProgressBar::with_draw_target(
        None,
        ProgressDrawTarget::stderr(),
    ));
    *BAR.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&bar));
    let mut phase = String::new();
    while stopped.recv_timeout(FRAME) == Err(RecvTimeoutError::Timeout) {
        let now = meter.phase();
        if now.is_empty() {
            continue;
        }
        let (done, total) = meter.read();
        if now != phase {
            bar.reset();
            bar.set_message(now.clone());
            phase = now;
        }
        match total {
            0 => bar.unset_length(),
            // Estimates are estimates: the bar never goes beyond its end.
            _ => bar.set_length(total.max(done)),
        }
        bar.set_style(style(done, total));
        bar.set_position(done);
        bar.tick();
    }
    *BAR.lock().unwrap_or_else(PoisonError::into_inner) = None;
    bar.finish_and_clear();
}

fn style(done: u64, total: u64) -> ProgressStyle {
    let template = match (done, total) {
        // Waiting has no bytes.
        (0, 0) => "{msg} {spinner} {elapsed}",
        (_, 0) => "{msg} {spinner} {binary_bytes}  {binary_bytes_per_sec}  {elapsed}",
        _ => {
            "{msg} [{bar:30}] {percent:>3} %  {binary_bytes} of {binary_total_bytes}  \
             {binary_bytes_per_sec}  {eta} left"
        }
    };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

fn write_lines(meter: &Meter, stopped: &Stopped) {
    let mut phase = (String::new(), Instant::now());
    let mut next = Instant::now() + LINE;
    // Looks often, so that a phase's rate counts from its own beginning.
    while stopped.recv_timeout(FRAME) == Err(RecvTimeoutError::Timeout) {
        let now = meter.phase();
        if now != phase.0 {
            phase = (now, Instant::now());
        }
        if Instant::now() >= next && !phase.0.is_empty() {
            next = Instant::now() + LINE;
            let (done, total) = meter.read();
            let line = line(&phase.0, done, total, phase.1.elapsed());
            // Nowhere is left to report that standard error is gone.
            let _ = io::stderr().write_all(line.as_bytes());
        }
    }
}

fn line(phase: &str, done: u64, total: u64, elapsed: Duration) -> String {
    if (done, total) == (0, 0) {
        return format!("pgstow: {phase}, since {}\n", units::duration(elapsed));
    }
    let seconds = elapsed.as_secs_f64().max(0.001);
    let rate = done as f64 / seconds;
    let mut line = format!("pgstow: {phase}: {}", units::bytes(done));
    if total > 0 {
        let total = total.max(done);
        let percent = (done as f64 / total as f64 * 100.0) as u64;
        line.push_str(&format!(" of {} ({percent} %)", units::bytes(total)));
    }
    line.push_str(&format!(", {}/s", units::bytes(rate as u64)));
    if total > done && rate > 0.0 {
        let left = Duration::from_secs_f64(((total - done) as f64 / rate).min(1e9));
        line.push_str(&format!(", {} left", units::duration(left)));
    }
    line + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_how_far_how_fast_how_long() {
        let ten = Duration::from_secs(10);
        for (done, total, expected) in [
            (
                100 << 20,
                400 << 20,
                "pgstow: copying: 100 MiB of 400 MiB (25 %), 10.0 MiB/s, 30 s left\n",
            ),
            (100 << 20, 0, "pgstow: copying: 100 MiB, 10.0 MiB/s\n"),
            (
                200,
                100,
                "pgstow: copying: 200 B of 200 B (100 %), 20 B/s\n",
            ),
            (0, 100, "pgstow: copying: 0 B of 100 B (0 %), 0 B/s\n"),
            (0, 0, "pgstow: copying, since 10 s\n"),
        ] {
            assert_eq!(line("copying", done, total, ten), expected);
        }
    }

    #[test]
    fn drawing_ends_when_it_is_dropped() {
        let begun = Instant::now();
        drop(Progress::start(&Meter::default()));
        assert!(begun.elapsed() < LINE);
    }
}
