//! Time on processors, of a process and of all that it started and waited for: `/proc/PID/stat`.

use std::{fs, time::Duration};

/// Milliseconds: Linux counts in hundredths of a second for whoever asks, whatever it counts in itself (USER_HZ).
const TICK: u64 = 10;

/// Of this process, and of programs that it ran to their end.
pub fn of_self() -> Option<Duration> {
    of("self")
}

/// Of another process, as [`of_self`], and of its children that still run.
pub fn of_tree(pid: u32) -> Option<Duration> {
    let own = of(&pid.to_string())?;
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = list.split_whitespace().filter_map(of);
    Some(own + children.sum::<Duration>())
}

fn of(process: &str) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let ticks = ticks(&stat)?;
    Some(Duration::from_millis(ticks.saturating_mul(TICK)))
}

/// utime, stime, cutime and cstime are the fields 14 to 17 (proc(5)); the second one, a name in brackets, may
/// hold blanks.
fn ticks(stat: &str) -> Option<u64> {
    let (_, behind) = stat.rsplit_once(')')?;
    let mut fields = behind.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()? + next()? + next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_those_of_the_manual() {
        let stat = "7 (a) b (c) R 1 2 3 4 5 6 7 8 9 10 100 20 3 4 20 0 1 0 12345";
        assert_eq!(ticks(stat), Some(127));
        assert_eq!(ticks("7 (a"), None);
    }

    #[test]
    fn work_is_seen() {
        let before = of_self();
        let mut sum = 0_u64;
        while of_self() == before {
            sum = sum.wrapping_add(std::hint::black_box(1));
        }
        assert!(sum > 0 && of_self() > before);
        assert!(of_tree(std::process::id()) >= before);
    }
}
