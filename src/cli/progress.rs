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

use crate::util::{meter::Meter, terminal, units};

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
    // Everything is one message, so that it is drawn once for each look, and as a whole.
    if let Ok(style) = ProgressStyle::with_template("{msg}") {
        bar.set_style(style);
    }
    let mut phase = (String::new(), Instant::now());
    while stopped.recv_timeout(FRAME) == Err(RecvTimeoutError::Timeout) {
        let now = meter.phase();
        if now != phase.0 {
            phase = (now, Instant::now());
        }
        let (done, total) = meter.read();
        let columns = terminal::columns(&io::stderr()).unwrap_or(80);
        bar.set_message(match phase.0.as_str() {
            // What is done now takes as long as it takes: the last phase is over.
            "" => String::new(),
            name => drawn(name, done, total, phase.1.elapsed(), columns.into()),
        });
    }
    *BAR.lock().unwrap_or_else(PoisonError::into_inner) = None;
    bar.finish_and_clear();
}

/// One line of fewer than so many columns: of figures, those that fit, and a bar if it does too.
fn drawn(phase: &str, done: u64, total: u64, elapsed: Duration, columns: usize) -> String {
    let room = columns.saturating_sub(1);
    let seconds = Duration::from_secs(elapsed.as_secs());
    let figures = match (done, total) {
        // Waiting has no bytes.
        (0, 0) => vec![units::duration(seconds)],
        _ => {
            let Figures {
                percent,
                amount,
                rate,
                left,
            } = Figures::of(done, total, elapsed);
            // Right after the start they would be guesses.
            let known = elapsed >= Duration::from_secs(1);
            let (rate, left) = (known.then_some(rate), left.filter(|_| known));
            let joined = |parts: &[&Option<String>]| {
                let parts = parts.iter().filter_map(|part| part.as_deref());
                Vec::from_iter(parts).join("  ")
            };
            let amount = Some(amount);
            vec![
                joined(&[&percent, &amount, &rate, &left]),
                joined(&[&percent, &amount, &left]),
                joined(&[&percent, &left]),
                joined(&[&percent]),
            ]
        }
    };
    let taken = |figures: &String| phase.chars().count() + 1 + figures.chars().count();
    let fitting = |more: usize| figures.iter().find(|one| taken(one) + more <= room);
    // Brackets and a blank; a shorter bar says nothing.
    const AROUND: usize = 3;
    const SHORTEST: usize = 8;
    if total > 0
        && let Some(figures) = fitting(AROUND + SHORTEST)
    {
        let width = (room - taken(figures) - AROUND).min(30);
        let full = (done as f64 / total.max(done) as f64 * width as f64) as usize;
        return format!("{phase} [{:width$}] {figures}", "=".repeat(full));
    }
    match fitting(0) {
        Some(figures) => format!("{phase} {figures}"),
        None => phase.chars().take(room).collect(),
    }
}

/// What there is to say of bytes done.
struct Figures {
    percent: Option<String>,
    amount: String,
    rate: String,
    left: Option<String>,
}

impl Figures {
    fn of(done: u64, total: u64, elapsed: Duration) -> Self {
        let rate = done as f64 / elapsed.as_secs_f64().max(0.001);
        // Estimates are estimates: nothing goes beyond its end.
        let whole = total.max(done);
        let left = (total > done && rate > 0.0).then(|| {
            let seconds = ((total - done) as f64 / rate).min(1e9).ceil();
            format!("{} left", units::duration(Duration::from_secs_f64(seconds)))
        });
        let known = total > 0;
        Self {
            percent: known.then(|| format!("{} %", (done as f64 / whole as f64 * 100.0) as u64)),
            amount: match known {
                true => format!("{} of {}", units::bytes(done), units::bytes(whole)),
                false => units::bytes(done),
            },
            rate: format!("{}/s", units::bytes(rate as u64)),
            left,
        }
    }
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
    let figures = Figures::of(done, total, elapsed);
    let mut line = format!("pgstow: {phase}: {}", figures.amount);
    if let Some(percent) = figures.percent {
        line.push_str(&format!(" ({percent})"));
    }
    line.push_str(&format!(", {}", figures.rate));
    if let Some(left) = figures.left {
        line.push_str(&format!(", {left}"));
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
    fn a_bar_has_the_figures_that_fit() {
        let ten = Duration::from_secs(10);
        for (done, total, elapsed, columns, expected) in [
            (
                100 << 20,
                400 << 20,
                ten,
                80,
                "copying [=====                ] 25 %  100 MiB of 400 MiB  10.0 MiB/s  30 s left",
            ),
            (
                100 << 20,
                400 << 20,
                ten,
                45,
                "copying [====              ] 25 %  30 s left",
            ),
            (
                100 << 20,
                400 << 20,
                ten,
                40,
                "copying [===          ] 25 %  30 s left",
            ),
            (100 << 20, 400 << 20, ten, 14, "copying 25 %"),
            (100 << 20, 400 << 20, ten, 6, "copyi"),
            (
                400 << 20,
                400 << 20,
                Duration::from_millis(50),
                60,
                "copying [=======================] 100 %  400 MiB of 400 MiB",
            ),
            (200, 0, ten, 40, "copying 200 B  20 B/s"),
            (0, 0, ten, 40, "copying 10 s"),
        ] {
            let line = drawn("copying", done, total, elapsed, columns);
            assert_eq!(line, expected);
            assert!(line.len() < columns, "{line}");
        }
    }

    #[test]
    fn drawing_ends_when_it_is_dropped() {
        let begun = Instant::now();
        drop(Progress::start(&Meter::default()));
        assert!(begun.elapsed() < LINE);
    }
}
