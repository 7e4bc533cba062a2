//! backup_label: where recovery from a backup begins. Read only; it is stored as it came.
//!
//! Written by build_backup_content in `src/backend/access/transam/xlogbackup.c`.

use super::lsn::{Lsn, TimelineId};
use crate::error::{Error, Result};

/// Its name in a data directory.
pub const NAME: &str = "backup_label";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupLabel {
    /// Redo LSN of the backup's checkpoint: the first WAL that is needed.
    pub start: Lsn,
    /// The segment that holds it.
    pub start_segment: String,
    /// Where it ends: in the history file that a primary leaves, which has two more lines, but not in the label.
    pub stop: Option<Lsn>,
    /// Where the checkpoint's record lies.
    pub checkpoint: Lsn,
    /// `streamed`, or `backup` of a time when other methods existed.
    pub method: String,
    pub from_standby: bool,
    /// In the server's log_timezone: for people.
    pub start_time: String,
    pub label: String,
    pub start_timeline: TimelineId,
    pub incremental: Option<IncrementalFrom>,
}

/// The start of the backup that an incremental one builds on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IncrementalFrom {
    pub lsn: Lsn,
    pub timeline: TimelineId,
}

impl BackupLabel {
    /// Reads a label. Labels and time zones of the user's need not be UTF-8. The two lines of an
    /// incremental backup may stand at any place.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let text = String::from_utf8_lossy(bytes);
        let field = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(": "));
            lines.find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        let must = |name: &str| field(name).ok_or_else(|| wrong(name));
        let lsn = |name: &str, value: &str| value.parse::<Lsn>().map_err(|_| wrong(name));
        let timeline = |name: &str, value: &str| {
            let number = value.parse().ok().and_then(TimelineId::new);
            number.ok_or_else(|| wrong(name))
        };

        let location = must("START WAL LOCATION")?;
        let (start, segment) = location
            .strip_suffix(')')
            .and_then(|location| location.split_once(" (file "))
            .ok_or_else(|| wrong("START WAL LOCATION"))?;
        let incremental = match (field("INCREMENTAL FROM LSN"), field("INCREMENTAL FROM TLI")) {
            (None, None) => None,
            (Some(from), Some(on)) => Some(IncrementalFrom {
                lsn: lsn("INCREMENTAL FROM LSN", from)?,
                timeline: timeline("INCREMENTAL FROM TLI", on)?,
            }),
            _ => return Err(wrong("INCREMENTAL FROM")),
        };
        let stop = field("STOP WAL LOCATION").and_then(|location| location.split(' ').next());
        Ok(Self {
            start: lsn("START WAL LOCATION", start)?,
            start_segment: segment.to_owned(),
            stop: stop
                .map(|stop| lsn("STOP WAL LOCATION", stop))
                .transpose()?,
            checkpoint: lsn("CHECKPOINT LOCATION", must("CHECKPOINT LOCATION")?)?,
            method: must("BACKUP METHOD")?.to_owned(),
            from_standby: must("BACKUP FROM")? == "standby",
            start_time: must("START TIME")?.to_owned(),
            label: must("LABEL")?.to_owned(),
            start_timeline: timeline("START TIMELINE", must("START TIMELINE")?)?,
            incremental,
        })
    }
}

/// A server's label with the two lines of an incremental backup: where 17 and newer write them,
/// and in front for 15 and 16, which would start on the bare directory if they found their own
/// first line first.
pub fn incremental(label: Vec<u8>, major: u32, from: IncrementalFrom) -> Vec<u8> {
    let IncrementalFrom { lsn, timeline } = from;
    let lines = format!("INCREMENTAL FROM LSN: {lsn}\nINCREMENTAL FROM TLI: {timeline}\n");
    if major >= 17 {
        [label, lines.into_bytes()].concat()
    } else {
        [lines.into_bytes(), label].concat()
    }
}

/// The label without these two lines.
pub fn plain(label: &[u8]) -> Vec<u8> {
    let lines = label.split_inclusive(|byte| *byte == b'\n');
    let own = lines.filter(|line| !line.starts_with(b"INCREMENTAL FROM "));
    own.collect::<Vec<_>>().concat()
}

fn wrong(name: &str) -> Error {
    Error::damaged(format!("{name} is missing or wrong in backup_label"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// As pg_basebackup of 15 wrote it.
    const REAL: &str = "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\n\
        CHECKPOINT LOCATION: 0/2000060\n\
        BACKUP METHOD: streamed\n\
        BACKUP FROM: primary\n\
        START TIME: 2026-11-21 03:46:44 UTC\n\
        LABEL: pg_basebackup base backup\n\
        START TIMELINE: 1\n";

    #[test]
    fn a_label_of_a_real_server() {
        let label = BackupLabel::parse(REAL.as_bytes()).unwrap();
        let expected = BackupLabel {
            start: Lsn(0x200_0028),
            start_segment: "000000010000000000000002".to_owned(),
            stop: None,
            checkpoint: Lsn(0x200_0060),
            method: "streamed".to_owned(),
            from_standby: false,
            start_time: "2026-11-21 03:46:44 UTC".to_owned(),
            label: "pg_basebackup base backup".to_owned(),
            start_timeline: TimelineId::FIRST,
            incremental: None,
        };
        assert_eq!(label, expected);
    }

    #[test]
    fn odd_labels() {
        let odd = REAL
            .replace("primary", "standby")
            .replace("base backup", "a: b ");
        let odd = BackupLabel::parse(odd.as_bytes()).unwrap();
        assert_eq!(
            (odd.from_standby, odd.label.as_str()),
            (true, "pg_basebackup a: b ")
        );
        let lines = "INCREMENTAL FROM LSN: 1/28\nINCREMENTAL FROM TLI: 3\n";
        for text in [format!("{lines}{REAL}"), format!("{REAL}{lines}")] {
            let from = BackupLabel::parse(text.as_bytes())
                .unwrap()
                .incremental
                .unwrap();
            assert_eq!((from.lsn, from.timeline.get()), (Lsn(0x1_0000_0028), 3));
        }
        let half = format!("{REAL}INCREMENTAL FROM TLI: 3\n");
        assert!(BackupLabel::parse(half.as_bytes()).is_err());
    }

    #[test]
    fn every_line_is_needed() {
        for missing in 0..7 {
            let lines = REAL.lines().enumerate().filter(|(at, _)| *at != missing);
            let text: String = lines.map(|(_, line)| format!("{line}\n")).collect();
            assert!(BackupLabel::parse(text.as_bytes()).is_err(), "{text}");
        }
        for (from, to) in [
            ("(file", "(fil"),
            ("0/2000060", "here"),
            ("TIMELINE: 1", "TIMELINE: 0"),
        ] {
            assert!(
                BackupLabel::parse(REAL.replace(from, to).as_bytes()).is_err(),
                "{to}"
            );
        }
    }
}
