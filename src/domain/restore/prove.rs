//! Looks for the target in the WAL itself, with the server's own pg_waldump.
//!
//! Reads records' names and times from its output: `xact_desc` in
//! `src/backend/access/rmgrdesc/xactdesc.c`, `xlog_desc` in `xlogdesc.c`.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use chrono::{NaiveDateTime, TimeDelta};
use serde::Serialize;

use super::choice::Choice;
use crate::{
    error::{Error, IoContext, Kind, Result},
    postgres::{
        lsn::Lsn,
        wal_name::{Segment, SegmentSize},
    },
    repo::repository::{Repository, System},
    util::{
        cancel::Cancel,
        clock::{Time, readable},
        hash::copy,
    },
};

/// A record that recovery can stop at.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    lsn: Lsn,
    kind: RecordKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum RecordKind {
    /// A commit or an abort: recovery stops at either.
    End {
        xid: u32,
        time: Option<Time>,
    },
    RestorePoint(String),
    Other,
}

/// What the search found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// The server will come by this record.
    Found {
        lsn: Lsn,
        segment: String,
        what: String,
    },
    /// Nothing was looked for: positions and names of segments are enough.
    NotNeeded,
    /// Why nothing is known.
    NotProven(String),
}

pub struct Prover<'a> {
    pub repository: &'a Repository,
    pub system: &'a System,
    pub choice: &'a Choice,
    pub waldump: &'a Path,
    /// Holds two segments at a time.
    pub scratch: &'a Path,
    /// Where rescued segments lie.
    pub old_wal: Option<&'a Path>,
    pub cancel: &'a Cancel,
}

/// By how much a store's clock may be off against the server's.
const CLOCKS_APART: TimeDelta = TimeDelta::hours(1);

/// How many segments more are read only to name the last commit in a message.
const FOR_THE_MESSAGE: u32 = 8;

impl Prover<'_> {
    fn size(&self) -> SegmentSize {
        self.system.segment_size
    }

    /// Segments on the way from the backup's end, which is where targets lie, oldest first.
    fn segments(&self) -> impl DoubleEndedIterator<Item = Segment> {
        let first = *self.choice.backup.needed_segments().end();
        let last = self
            .choice
            .reach
            .last(self.size())
            .map_or(0, |last| last.number(self.size()));
        (first..=last).filter_map(|number| self.choice.reach.segment(number, self.size()))
    }

    /// A commit or abort behind `time`, or at it where the target is exclusive. Commit times
    /// rise but for moments, so the last segment that has any decides.
    pub fn time(&self, time: Time, exclusive: bool) -> Result<Proof> {
        let mut latest: Option<Time> = None;
        let mut newer: Option<Segment> = None;
        let mut too_old = 0;
        for segment in self.segments().rev() {
            let mut found = None;
            self.records(segment, newer, &["--rmgr=Transaction"], |record| {
                if let RecordKind::End { time: Some(at), .. } = record.kind {
                    latest = Some(latest.map_or(at, |latest| latest.max(at)));
                    if at > time || exclusive && at == time {
                        found.get_or_insert((record.lsn, at));
                    }
                }
            })?;
            if let Some((lsn, at)) = found {
                return Ok(self.found(lsn, format!("a transaction that ended at {}", readable(at))));
            }
            too_old += u32::from(too_old > 0 || self.arrived_before(segment, time)?);
            if latest.is_some() || too_old > FOR_THE_MESSAGE {
                break;
            }
            newer = Some(segment);
        }
        let what = match latest {
            Some(latest) => format!(
                "the last transaction in the repository ended at {}",
                readable(latest)
            ),
            None => format!(
                "no transaction is in the repository behind the end of backup {}",
                self.choice.backup.id
            ),
        };
        let hole = self
            .choice
            .reach
            .hole
            .map(|hole| hole.describe(self.size()));
        let what = match hole {
            Some(hole) => format!("{what}, and WAL segment {hole} is missing behind it"),
            None => what,
        };
        Err(Error::failed(format!("nothing in the WAL is later than {}: {what}", readable(time)))
            .hint("leave the time out to restore to the end of the archive; if the server still runs, its last WAL may be on its way (pg_switch_wal())."))
    }

    /// The end of a transaction; None if it isn't on the way.
    pub fn xid(&self, xid: u64) -> Result<Option<Lsn>> {
        // The server compares 32 bits.
        let wanted = (xid & u64::from(u32::MAX)) as u32;
        self.first(
            &["--rmgr=Transaction"],
            |kind| matches!(kind, RecordKind::End { xid, .. } if *xid == wanted),
        )
    }

    /// A restore point; None if it isn't on the way.
    pub fn name(&self, name: &str) -> Result<Option<Lsn>> {
        self.first(
            &["--rmgr=XLOG"],
            |kind| matches!(kind, RecordKind::RestorePoint(point) if point == name),
        )
    }

    /// The first record at or behind `lsn`, where an inclusive target stops. It may begin segments
    /// later: behind a switch a segment is empty, and a record may be longer than a segment.
    pub fn lsn(&self, lsn: Lsn) -> Result<Option<Lsn>> {
        let holding = lsn.0 / self.size().bytes();
        let behind = |segment: &Segment| segment.number(self.size()) >= holding;
        let segments: Vec<Segment> = self.segments().filter(behind).collect();
        let start = format!("--start={lsn}");
        for (at, segment) in segments.iter().enumerate() {
            let filter: &[&str] = match at {
                0 => &["--limit=1", &start],
                _ => &["--limit=1"],
            };
            let next = segments.get(at + 1).copied();
            let mut found = None;
            self.records(*segment, next, filter, |record| found = Some(record.lsn))?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    pub fn found(&self, lsn: Lsn, what: String) -> Proof {
        let segment = self
            .choice
            .reach
            .segment(lsn.0 / self.size().bytes(), self.size());
        Proof::Found {
            lsn,
            segment: segment.map_or(String::new(), |segment| segment.to_string()),
            what,
        }
    }

    fn first(&self, filter: &[&str], wanted: impl Fn(&RecordKind) -> bool) -> Result<Option<Lsn>> {
        let segments: Vec<Segment> = self.segments().collect();
        for (at, segment) in segments.iter().enumerate() {
            let mut found = None;
            let next = segments.get(at + 1).copied();
            self.records(*segment, next, filter, |record| {
                if wanted(&record.kind) && record.lsn >= self.choice.backup.stop_lsn {
                    found.get_or_insert(record.lsn);
                }
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn arrived_before(&self, segment: Segment, time: Time) -> Result<bool> {
        let name = self.repository.layout().wal_file(
            self.system.system_id,
            self.choice.stored_as(segment),
            self.system.wal_codec,
        );
        match self.repository.storage().head(&name) {
            Ok(info) => Ok(info.modified < time - CLOCKS_APART),
            Err(error) if error.kind() == Kind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Gives each record of `segment` to `take`. A record that begins there may end in `next`.
    fn records(
        &self,
        segment: Segment,
        next: Option<Segment>,
        filter: &[&str],
        mut take: impl FnMut(Record),
    ) -> Result<()> {
        self.cancel.check()?;
        let next = next.filter(|next| next.timeline == segment.timeline);
        for wanted in [Some(segment), next].into_iter().flatten() {
            match self.fetch(wanted) {
                // It lies in the backup's own parts.
                Err(error) if error.kind() == Kind::NotFound && self.choice.backup.standalone => {
                    return Ok(());
                }
                other => other?,
            }
        }
        self.forget_all_but(segment, next)?;
        let mut child = Command::new(self.waldump)
            .arg("--path")
            .arg(self.scratch)
            .args(filter)
            .arg(segment.to_string())
            .args(next.map(|next| next.to_string()))
            .env("TZ", "UTC")
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // It always ends with a complaint: the WAL goes on behind the last segment.
            .stderr(Stdio::null())
            .spawn()
            .at("run", self.waldump)?;
        if let Some(stdout) = child.stdout.take() {
            for line in BufReader::new(stdout).split(b'\n') {
                let line = line.at("read the output of", self.waldump)?;
                if let Some(record) = read_record(&String::from_utf8_lossy(&line)) {
                    take(record);
                }
            }
        }
        child.wait().at("wait for", self.waldump).map(drop)
    }

    /// Puts a segment into the scratch folder, unless it is there.
    fn fetch(&self, segment: Segment) -> Result<()> {
        let path = self.scratch.join(segment.to_string());
        if path.exists() {
            return Ok(());
        }
        let temporary = self.scratch.join("fetching");
        let mut file = File::create(&temporary).at("create", &temporary)?;
        match self
            .old_wal
            .filter(|_| self.choice.rescued.contains(&segment))
        {
            Some(old) => {
                let old = old.join(segment.to_string());
                let mut from = File::open(&old).at("read", &old)?;
                copy(&mut from, &mut file).at("copy to", &temporary)?;
            }
            None => read_stored(
                self.repository,
                self.system,
                self.choice,
                segment,
                &mut file,
            )?,
        }
        // A `.partial` may be short.
        file.set_len(self.size().bytes()).at("write", &temporary)?;
        fs::rename(&temporary, &path).at("rename to", &path)
    }

    fn forget_all_but(&self, segment: Segment, next: Option<Segment>) -> Result<()> {
        for entry in fs::read_dir(self.scratch).at("read", self.scratch)? {
            let entry = entry.at("read", self.scratch)?;
            let name = entry.file_name();
            let kept = [Some(segment), next]
                .into_iter()
                .flatten()
                .any(|kept| name == *kept.to_string());
            if !kept
                && name
                    .to_str()
                    .is_some_and(|name| name.parse::<Segment>().is_ok())
            {
                fs::remove_file(entry.path()).at("remove", entry.path())?;
            }
        }
        Ok(())
    }
}

/// Writes a segment of the repository, decoded, to `out`.
pub fn read_stored(
    repository: &Repository,
    system: &System,
    choice: &Choice,
    segment: Segment,
    out: &mut impl Write,
) -> Result<()> {
    let name = repository.layout().wal_file(
        system.system_id,
        choice.stored_as(segment),
        system.wal_codec,
    );
    let storage = repository.storage();
    let stored = storage.get(&name, None)?;
    let mut plain = system
        .wal_codec
        .decoder(stored)
        .map_err(|error| storage.failed("read", &name, error))?;
    io::copy(&mut plain, out)
        .map_err(|error| storage.failed("read", &name, error))
        .map(drop)
}

/// A scratch folder that goes when it is dropped.
#[derive(Debug)]
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn make(above: &Path) -> Result<Self> {
        let path = above.join(format!("pgstow-prove-{}", std::process::id()));
        if path.exists() {
            fs::remove_dir_all(&path).at("remove", &path)?;
        }
        crate::util::fs::create_folders(&path, 0o700, None)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What can't be removed does no harm: the next one clears it.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn read_record(line: &str) -> Option<Record> {
    let line = line.strip_prefix("rmgr: ")?;
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
}
