//! The steps of the demo: what was done, the command for it on a real host, how long it took.

use std::time::Instant;

use serde::Serialize;

use crate::util::meter::Meter;

#[derive(Debug, Serialize)]
pub struct Step {
    pub title: &'static str,
    /// What somebody would type for it.
    pub command: String,
    pub notes: Vec<String>,
    pub seconds: f64,
}

/// Steps as they are done; the last one is under way.
pub struct Steps<'a> {
    meter: &'a Meter,
    done: Vec<Step>,
    begun: Instant,
}

impl<'a> Steps<'a> {
    pub fn new(meter: &'a Meter) -> Self {
        Self {
            meter,
            done: Vec::new(),
            begun: Instant::now(),
        }
    }

    /// Ends the present step and begins another.
    pub fn begin(&mut self, title: &'static str) {
        self.end();
        self.meter.begin(title, 0);
        self.done.push(Step {
            title,
            command: String::new(),
            notes: Vec::new(),
            seconds: 0.0,
        });
    }

    fn end(&mut self) {
        let seconds = self.begun.elapsed().as_secs_f64();
        if let Some(step) = self.done.last_mut() {
            step.seconds = seconds;
        }
        self.begun = Instant::now();
    }

    pub fn command(&mut self, command: String) {
        if let Some(step) = self.done.last_mut() {
            step.command = command;
        }
    }

    pub fn note(&mut self, note: String) {
        if let Some(step) = self.done.last_mut() {
            step.notes.push(note);
        }
    }

    /// The title of the step under way.
    pub fn current(&self) -> &'static str {
        self.done.last().map_or("start", |step| step.title)
    }

    pub fn finish(mut self) -> Vec<Step> {
        self.end();
        self.done
    }
}
