//! From where on a value is a warning, and from where on critical: `[monitor]` of pgstow.toml.

use std::time::Duration;

use super::verdict::{Figure, State, Unit};

/// None: never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits<T> {
    pub warning: Option<T>,
    pub critical: Option<T>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Of the newest good backup.
    pub backup_age: Limits<Duration>,
    /// Of the newest good full backup.
    pub full_age: Limits<Duration>,
    /// Of the newest good dump of a database.
    pub dump_age: Limits<Duration>,
    /// Since stored data was read and found right.
    pub verify_age: Limits<Duration>,
    /// Of the newest drill that found nothing wrong.
    pub drill_age: Limits<Duration>,
    /// That a restore to the end of the archive is foreseen to take.
    pub rto: Limits<Duration>,
    /// Of the first transaction that would be lost with the server.
    pub rpo: Limits<Duration>,
    /// Files that wait to be archived.
    pub waiting: Limits<u64>,
    /// Of the oldest of them.
    pub waiting_age: Limits<Duration>,
    /// Bytes of complete segments that a repository hasn't got.
    pub wal_lag: Limits<u64>,
    /// Since when the first of them is complete.
    pub wal_age: Limits<Duration>,
    /// Since when a repository that `sync` fills lacks something.
    pub unsynced_age: Limits<Duration>,
    /// Bytes of WAL that a replication slot holds back.
    pub slot_wal: Limits<u64>,
    /// Used space in percent.
    pub disk_used: Limits<u64>,
    /// Between the server's clock and ours.
    pub clock: Limits<Duration>,
    /// Runs of a job that failed in a row.
    pub failed_runs: Limits<u64>,
}

/// What is measured and compared.
pub trait Measure: Copy + PartialOrd {
    fn figure(self) -> f64;
}

impl Measure for Duration {
    fn figure(self) -> f64 {
        // More than milliseconds would only be noise.
        (self.as_secs_f64() * 1000.0).round() / 1000.0
    }
}

impl Measure for u64 {
    fn figure(self) -> f64 {
        self as f64
    }
}

impl<T: Measure> Limits<T> {
    /// A value that reaches a limit is beyond it.
    pub fn judge(&self, value: T) -> State {
        let reaches = |limit: Option<T>| limit.is_some_and(|limit| value >= limit);
        match () {
            () if reaches(self.critical) => State::Critical,
            () if reaches(self.warning) => State::Warning,
            () => State::Ok,
        }
    }

    pub fn figure(&self, name: &'static str, value: T, unit: Unit) -> Figure {
        Figure {
            name,
            value: value.figure(),
            unit,
            warning: self.warning.map(T::figure),
            critical: self.critical.map(T::figure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_reached_or_off() {
        let both = Limits {
            warning: Some(2),
            critical: Some(4),
        };
        let states = [1, 2, 3, 4, 5].map(|value: u64| both.judge(value));
        use State::{Critical, Ok, Warning};
        assert_eq!(states, [Ok, Warning, Warning, Critical, Critical]);
        let off: Limits<u64> = Limits {
            warning: None,
            critical: None,
        };
        assert_eq!(off.judge(u64::MAX), Ok);
    }
}
