//! Now, and times as pgstow writes them: RFC 3339 in UTC.

use chrono::{DateTime, SecondsFormat, SubsecRound, TimeDelta, Utc};

/// A moment in UTC.
pub type Time = DateTime<Utc>;

/// The present, to the microsecond (PostgreSQL's resolution).
pub fn now() -> Time {
    Utc::now().trunc_subsecs(6)
}

/// True of what is dated so far behind `now` that a clock is or was wrong, not just a little off.
pub fn is_ahead(time: Time, now: Time) -> bool {
    time - now > TimeDelta::hours(1)
}

/// For people: `2026-11-21 02:00:00+00`, with fractions only where there are any.
pub fn readable(time: Time) -> String {
    let text = time.to_rfc3339_opts(SecondsFormat::AutoSi, true);
    text.replacen('T', " ", 1).replacen('Z', "+00", 1)
}

/// Without the fraction of the second.
pub fn whole_seconds(time: Time) -> Time {
    time.trunc_subsecs(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_an_offset_and_no_needless_zeros() {
        let time = |micros| DateTime::from_timestamp_micros(micros).map(readable);
        assert_eq!(
            time(1_795_226_400_000_000).as_deref(),
            Some("2026-11-21 02:00:00+00")
        );
        assert_eq!(
            time(1_795_226_400_120_000).as_deref(),
            Some("2026-11-21 02:00:00.120+00")
        );
    }
}
