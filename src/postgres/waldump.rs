//! Records of WAL as the server's own pg_waldump shows them.
//!
//! Its lines are read as `xact_desc` in `src/backend/access/rmgrdesc/xactdesc.c` and `xlog_desc`
//! in `xlogdesc.c` write them.

use std::{
    io::{self, Write},
    path::Path,
    process::Command,
    time::Duration,
};

use chrono::NaiveDateTime;

use super::{lsn::Lsn, wal_name::Segment};
use crate::{
    error::Result,
    util::{cancel::Cancel, clock::Time, process},
};

/// For two segments; the largest, of 1 GB, take some seconds.
const PATIENCE: Duration = Duration::from_secs(600);

/// A record that recovery can stop at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub lsn: Lsn,
    pub kind: RecordKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// A commit or an abort: recovery stops at either.
    End {
        xid: u32,
        time: Option<Time>,
    },
    RestorePoint(String),
    Other,
}

/// What to look at.
#[derive(Clone, Copy, Debug)]
pub struct Dump<'a> {
    /// The program.
    pub waldump: &'a Path,
    /// Where the segments lie, under their names.
    pub folder: &'a Path,
    pub segment: Segment,
    /// Where a record that begins in `segment` may end.
    pub next: Option<Segment>,
    /// Options that leave records out.
    pub filter: &'a [&'a str],
}

impl Dump<'_> {
    /// Gives each record to `take`, as it comes.
    pub fn read(&self, cancel: &Cancel, take: impl FnMut(Record) + Send) -> Result<()> {
        let mut command = Command::new(self.waldump);
        command
            .arg("--path")
            .arg(self.folder)
            .args(self.filter)
            .arg(self.segment.to_string())
            .args(self.next.map(|next| next.to_string()))
            .env("TZ", "UTC")
            .env("LC_ALL", "C");
        let mut lines = Lines {
            rest: Vec::new(),
            take,
        };
        let end = process::run_to_any_end(&mut command, &mut lines, PATIENCE, cancel)?;
        // It nearly always complains: the WAL goes on behind the last segment.
        match end.status.code() {
            Some(0 | 1) => Ok(()),
            _ => Err(end.failure()),
        }
    }
}

/// Cuts the output into lines.
struct Lines<F> {
    rest: Vec<u8>,
    take: F,
}

impl<F: FnMut(Record)> Write for Lines<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                if let Some(record) = read_record(&String::from_utf8_lossy(&self.rest)) {
                    (self.take)(record);
                }
                self.rest.clear();
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn read_record(line: &str) -> Option<Record> {
    let line = line.trim_end().strip_prefix("rmgr: ")?;
    let (head, desc) = line.split_once("desc: ")?;
    let field = |name: &str| {
        let (_, rest) = head.split_once(name)?;
        rest.split(',').next().map(str::trim)
    };
    let lsn = field("lsn: ")?.parse().ok()?;
    let (op, rest) = desc.split_once(' ').unwrap_or((desc, ""));
    let kind = match op {
        "COMMIT" | "ABORT" => RecordKind::End {
            xid: field("tx: ")?.parse().ok()?,
            time: read_time(rest),
        },
        "COMMIT_PREPARED" | "ABORT_PREPARED" => {
            let (xid, rest) = rest.split_once(": ")?;
            RecordKind::End {
                xid: xid.parse().ok()?,
                time: read_time(rest),
            }
        }
        "RESTORE_POINT" => RecordKind::RestorePoint(rest.to_owned()),
        _ => RecordKind::Other,
    };
    Some(Record { lsn, kind })
}

/// `2026-11-21 02:00:00.123456 UTC; ...`
fn read_time(text: &str) -> Option<Time> {
    let (time, _) = text.split_once(" UTC")?;
    NaiveDateTime::parse_from_str(time, "%Y-%m-%d %H:%M:%S%.f")
        .ok()
        .map(|time| time.and_utc())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_pg_waldump() {
        let head = |rmgr: &str, desc: &str| {
            format!(
                "rmgr: {rmgr:<11} len (rec/tot):     34/    34, tx:        731, lsn: 0/01516A48, prev 0/01516A10, desc: {desc}"
            )
        };
        let time: Time = "2026-11-21T02:00:00.123456Z".parse().unwrap();
        for (line, kind) in [
            (
                head(
                    "Transaction",
                    "COMMIT 2026-11-21 02:00:00.123456 UTC; inval msgs: catcache 55",
                ),
                Some(RecordKind::End {
                    xid: 731,
                    time: Some(time),
                }),
            ),
            (
                head(
                    "Transaction",
                    "ABORT_PREPARED 12: 2026-11-21 02:00:00.123456 UTC",
                ),
                Some(RecordKind::End {
                    xid: 12,
                    time: Some(time),
                }),
            ),
            (
                head("XLOG", "RESTORE_POINT before, the fall"),
                Some(RecordKind::RestorePoint("before, the fall".into())),
            ),
            (
                head("Heap", "INSERT off 1 flags 0x00"),
                Some(RecordKind::Other),
            ),
            ("pg_waldump: first record is after 0/1".to_owned(), None),
            (String::new(), None),
        ] {
            let record = read_record(&line);
            assert_eq!(record.map(|record| record.kind), kind, "{line}");
        }
        assert_eq!(
            read_record(&head("XLOG", "SWITCH")).unwrap().lsn,
            Lsn(0x151_6A48)
        );
    }

    #[test]
    fn lines_come_in_pieces() {
        let text = "rmgr: XLOG tx: 0, lsn: 0/28, prev 0/0, desc: SWITCH\nnoise\n\
                    rmgr: XLOG tx: 0, lsn: 0/50, prev 0/0, desc: RESTORE_POINT x\nrmgr: cut";
        for size in [1, 7, 1000] {
            let mut found = Vec::new();
            let mut lines = Lines {
                rest: Vec::new(),
                take: |record: Record| found.push(record),
            };
            for piece in text.as_bytes().chunks(size) {
                lines.write_all(piece).unwrap();
            }
            drop(lines);
            assert_eq!(found.len(), 2, "{size}");
            assert_eq!(found[1].kind, RecordKind::RestorePoint("x".into()));
        }
    }
}
