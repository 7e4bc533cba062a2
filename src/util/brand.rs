//! Processes that are found again wherever they went, be it into a session of their own: by a variable that they
//! inherit.

use std::{fs, process, process::Command, time::SystemTime};

use rustix::process::{Pid, Signal, kill_process};

/// What all carry that a command starts.
#[derive(Debug)]
pub struct Brand {
    name: &'static str,
    value: String,
}

impl Brand {
    /// Puts one on `command` that no other has.
    pub fn put(name: &'static str, command: &mut Command) -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let value = format!("{}-{}", process::id(), since.unwrap_or_default().as_nanos());
        command.env(name, &value);
        Self { name, value }
    }

    /// Kills all that carry it and whose environment we may read.
    pub fn kill_all(&self) {
        let wanted = format!("{}={}", self.name, self.value).into_bytes();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let pid = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            let Some(pid) = pid.and_then(Pid::from_raw) else {
                continue;
            };
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            if environment
                .split(|byte| *byte == 0)
                .any(|one| one == wanted)
            {
                // It may have ended since.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}
