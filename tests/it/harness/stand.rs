//! Has a process stand still.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// Stops a process, and returns once all its threads stand: one that is within a system call
/// finishes that first. Also returns when the process has ended meanwhile.
#[track_caller]
pub fn stand(process: Pid) {
    kill_process(process, Signal::STOP).unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    while !stands(process) {
        assert!(Instant::now() < until, "process {process:?} does not stop");
        thread::sleep(Duration::from_millis(1));
    }
}

fn stands(process: Pid) -> bool {
    let folder = format!("/proc/{}/task", process.as_raw_nonzero());
    let Ok(threads) = fs::read_dir(folder) else {
        return true;
    };
    threads.flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // Behind the name, which is in parentheses and may hold any (proc_pid_stat(5)).
        let state = stat.rsplit_once(") ").map(|(_, rest)| &rest[..1]);
        matches!(state, None | Some("T" | "Z" | "X"))
    })
}
