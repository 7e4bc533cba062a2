//! Runs the server's own pg_waldump, and takes from its lines the records that recovery can stop at.

use std::{
    io::{self, BufRead, Write},
    ops::ControlFlow,
    path::Path,
    process::Command,
    time::Duration,
};

use super::{
    lsn::Lsn,
    wal_line::{Ended, Happened, WalLine},
    wal_name::Segment,
};
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

impl Record {
    fn of(line: &WalLine<'_>) -> Self {
        let kind = match line.happened() {
            Happened::Ended(Ended { xid, time, .. }) => RecordKind::End { xid, time },
            Happened::RestorePoint(name) => {
                RecordKind::RestorePoint(String::from_utf8_lossy(name).into_owned())
            }
            _ => RecordKind::Other,
        };
        let lsn = line.lsn;
        Self { lsn, kind }
    }
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
    pub fn read(&self, cancel: &Cancel, mut take: impl FnMut(Record) + Send) -> Result<()> {
        let all = |line: &WalLine<'_>| {
            take(Record::of(line));
            ControlFlow::Continue(())
        };
        self.lines(cancel, all).map(drop)
    }

    /// Gives the line of each record to `take` until that has seen enough. What pg_waldump complained about
    /// at the end, if it came that far: mostly that the WAL goes on behind the last segment.
    pub fn lines(
        &self,
        cancel: &Cancel,
        take: impl FnMut(&WalLine<'_>) -> ControlFlow<()> + Send,
    ) -> Result<Option<String>> {
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
            enough: false,
            take,
        };
        let end = process::run_to_any_end(&mut command, &mut lines, PATIENCE, cancel);
        if lines.enough {
            cancel.check()?;
            return Ok(None);
        }
        let end = end?;
        match end.status.code() {
            Some(0) => Ok(None),
            Some(1) => Ok(Some(end.words().to_owned())),
            _ => Err(end.failure()),
        }
    }
}

/// Cuts the output into lines.
struct Lines<F> {
    rest: Vec<u8>,
    enough: bool,
    take: F,
}

impl<F: FnMut(&WalLine<'_>) -> ControlFlow<()>> Write for Lines<F> {
    /// An error once it was enough: so the program ends.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut left = bytes;
        while left.read_until(b'\n', &mut self.rest)? > 0 {
            if self.rest.ends_with(b"\n") {
                if let Some(line) = WalLine::parse(&self.rest)
                    && (self.take)(&line).is_break()
                {
                    self.enough = true;
                    return Err(io::ErrorKind::BrokenPipe.into());
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
            let line = WalLine::parse(line.as_bytes());
            assert_eq!(line.map(|line| Record::of(&line).kind), kind, "{line:?}");
        }
        let switch = head("XLOG", "SWITCH");
        assert_eq!(
            WalLine::parse(switch.as_bytes()).unwrap().lsn,
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
                enough: false,
                take: |line: &WalLine<'_>| {
                    found.push(Record::of(line));
                    ControlFlow::Continue(())
                },
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
