//! This host and its processes, as other hosts and later runs must be able to tell them apart.

use std::{env, fmt, fs, process, str::FromStr};

use serde::{Deserialize, Serialize};

/// The host's name, as the kernel has it.
pub fn name() -> String {
    read("/proc/sys/kernel/hostname").unwrap_or_else(|| "unknown".to_owned())
}

/// A random id that the kernel makes at each start: process ids mean nothing after one.
pub fn boot_id() -> String {
    read("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

/// When the process started, in clock ticks since boot; None if there is no such process.
/// Together with the id it names one process for ever (proc(5), field 22 of `stat`).
pub fn process_start(process: u32) -> Option<u64> {
    stat(process, 22)
}

/// The process that started it; None if there is no such process (proc(5), field 4 of `stat`).
pub fn process_parent(process: u32) -> Option<u32> {
    stat(process, 4)
}

/// A number of proc(5)'s `stat`, by the field's number there, of those behind the second.
fn stat<T: FromStr>(process: u32, field: usize) -> Option<T> {
    let stat = read(&format!("/proc/{process}/stat"))?;
    // The second field is the program's name in parentheses, which may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(field - 3)?.parse().ok()
}

/// Whether the process that started then, in that run of this host's kernel, still lives.
pub fn lives(boot_id_then: &str, process: u32, start: u64) -> bool {
    boot_id_then == boot_id() && process_start(process) == Some(start)
}

/// One process of one host, for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    pub host: String,
    /// Of the host's kernel: a process id means nothing after a restart.
    pub boot_id: String,
    pub process: u32,
    /// In the kernel's ticks since boot: process ids are used again.
    pub process_start: u64,
}

impl ProcessId {
    pub fn own() -> Self {
        let process = process::id();
        Self {
            host: name(),
            boot_id: boot_id(),
            process,
            process_start: process_start(process).unwrap_or(0),
        }
    }

    /// Whether it still lives; None of another host's.
    pub fn lives(&self) -> Option<bool> {
        let here = self.host == name();
        here.then(|| lives(&self.boot_id, self.process, self.process_start))
    }
}

/// For people.
impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on host {}", self.process, self.host)
    }
}

/// systemd's name of the run of a unit that this process belongs to (systemd.exec(5)); None: of none.
pub fn invocation() -> Option<String> {
    env::var("INVOCATION_ID").ok()
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path)
        .ok()
        .map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_while_it_lives() {
        let own = std::process::id();
        assert!(process_start(own).is_some());
        assert_eq!(process_start(own), process_start(own));
        assert_eq!(process_start(u32::MAX), None);
        assert_eq!(
            process_parent(own),
            Some(std::os::unix::process::parent_id())
        );
        assert_eq!(boot_id().len(), 36);
        let start = process_start(own).unwrap_or_default();
        assert!(lives(&boot_id(), own, start));
        assert!(!lives(&boot_id(), own, start + 1) && !lives("another", own, start));
    }
}
