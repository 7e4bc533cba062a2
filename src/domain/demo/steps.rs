//! The steps of the demo: what was done, the command for it on a real host, how long it took.

use std::{path::Path, time::Instant};

use serde::Serialize;

use crate::{postgres::programs::Programs, util::meter::Meter};

#[derive(Debug, Serialize)]
pub struct Step {
    pub title: &'static str,
    /// What somebody would type for it.
    pub command: String,
    pub notes: Vec<String>,
    pub seconds: f64,
}

/// What happens while the demo runs, for who wants to tell it at once.
pub enum Event<'a> {
    /// All is ready for the first step, in this folder.
    Begun {
        programs: &'a Programs,
        folder: &'a Path,
    },
    /// A step has ended, the first has number 1.
    Ended {
        number: usize,
        step: &'a Step,
        folder: &'a Path,
    },
}

pub type Tell<'a> = &'a dyn Fn(Event<'_>);

/// Steps as they are done; the last one is under way.
pub struct Steps<'a> {
    tell: Tell<'a>,
    folder: &'a Path,
    meter: &'a Meter,
    done: Vec<Step>,
    begun: Instant,
}

impl<'a> Steps<'a> {
    pub fn new(programs: &Programs, folder: &'a Path, tell: Tell<'a>, meter: &'a Meter) -> Self {
        tell(Event::Begun { programs, folder });
        Self {
            tell,
            folder,
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
        let number = self.done.len();
        if let Some(step) = self.done.last_mut() {
            step.seconds = seconds;
            (self.tell)(Event::Ended {
                number,
                step,
                folder: self.folder,
            });
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
