//! The thresholds of `monitor`. Read for that command alone: a mistake in them must not keep WAL from
//! being archived.

use super::{
    keys::{self, Key},
    layers::Layers,
    parse,
    source::Source,
};
use crate::{
    domain::monitor::thresholds::{Limits, Thresholds},
    error::{Error, Result},
    util::units,
};

impl Layers {
    pub fn thresholds(&self) -> Result<Thresholds> {
        Ok(Thresholds {
            backup_age: self.limits(
                keys::MONITOR_BACKUP_AGE_WARNING,
                keys::MONITOR_BACKUP_AGE_CRITICAL,
                parse::duration,
            )?,
            full_age: self.limits(
                keys::MONITOR_FULL_AGE_WARNING,
                keys::MONITOR_FULL_AGE_CRITICAL,
                parse::duration,
            )?,
            dump_age: self.limits(
                keys::MONITOR_DUMP_AGE_WARNING,
                keys::MONITOR_DUMP_AGE_CRITICAL,
                parse::duration,
            )?,
            verify_age: self.limits(
                keys::MONITOR_VERIFY_AGE_WARNING,
                keys::MONITOR_VERIFY_AGE_CRITICAL,
                parse::duration,
            )?,
            drill_age: self.limits(
                keys::MONITOR_DRILL_AGE_WARNING,
                keys::MONITOR_DRILL_AGE_CRITICAL,
                parse::duration,
            )?,
            rto: self.limits(
                keys::MONITOR_RTO_WARNING,
                keys::MONITOR_RTO_CRITICAL,
                parse::duration,
            )?,
            rpo: self.limits(
                keys::MONITOR_RPO_WARNING,
                keys::MONITOR_RPO_CRITICAL,
                parse::duration,
            )?,
            waiting: self.limits(
                keys::MONITOR_WAITING_WARNING,
                keys::MONITOR_WAITING_CRITICAL,
                parse::whole,
            )?,
            waiting_age: self.limits(
                keys::MONITOR_WAITING_AGE_WARNING,
                keys::MONITOR_WAITING_AGE_CRITICAL,
                parse::duration,
            )?,
            wal_lag: self.limits(
                keys::MONITOR_WAL_LAG_WARNING,
                keys::MONITOR_WAL_LAG_CRITICAL,
                units::parse_bytes,
            )?,
            wal_age: self.limits(
                keys::MONITOR_WAL_AGE_WARNING,
                keys::MONITOR_WAL_AGE_CRITICAL,
                parse::duration,
            )?,
            unsynced_age: self.limits(
                keys::MONITOR_UNSYNCED_AGE_WARNING,
                keys::MONITOR_UNSYNCED_AGE_CRITICAL,
                parse::duration,
            )?,
            slot_wal: self.limits(
                keys::MONITOR_SLOT_WAL_WARNING,
                keys::MONITOR_SLOT_WAL_CRITICAL,
                units::parse_bytes,
            )?,
            disk_used: self.limits(
                keys::MONITOR_DISK_USED_WARNING,
                keys::MONITOR_DISK_USED_CRITICAL,
                parse::percent,
            )?,
            clock: self.limits(
                keys::MONITOR_CLOCK_WARNING,
                keys::MONITOR_CLOCK_CRITICAL,
                parse::duration,
            )?,
            failed_runs: self.failed_runs()?,
        })
    }

    pub fn failed_runs(&self) -> Result<Limits<u64>> {
        self.limits(
            keys::MONITOR_FAILED_RUNS_WARNING,
            keys::MONITOR_FAILED_RUNS_CRITICAL,
            parse::whole,
        )
    }

    fn limits<T: PartialOrd + Copy>(
        &self,
        warning: Key,
        critical: Key,
        parse: fn(&str) -> Result<T>,
    ) -> Result<Limits<T>> {
        let mut limits = Limits {
            warning: self.threshold(warning, parse)?,
            critical: self.threshold(critical, parse)?,
        };
        let by_default = self.find(warning, "")?.map(|found| found.source) == Some(Source::Default);
        if by_default && limits.critical.is_some() && limits.warning > limits.critical {
            // Nobody chose both: older scripts know but one.
            limits.warning = limits.critical;
        }
        if let (Some(early), Some(late)) = (limits.warning, limits.critical)
            && early > late
        {
            return Err(Error::usage(format!(
                "{} is above {}",
                warning.path(""),
                critical.path("")
            ))
            .hint(
                "a warning comes before the critical state: give it the lower value, or \"off\".",
            ));
        }
        Ok(limits)
    }

    fn threshold<T>(&self, key: Key, parse: fn(&str) -> Result<T>) -> Result<Option<T>> {
        let Some(found) = self.find(key, "")? else {
            return Ok(None);
        };
        super::build::parsed(key, "", &found, |text| parse::or_off(text, parse))
    }
}
