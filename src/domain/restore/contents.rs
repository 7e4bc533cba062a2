//! What a backup's parts hold, and how the reading of them is shared out. Some 100 bytes a file.

use std::{ops::Range, path::Path};

use super::recovery::{RECOVERY_SIGNAL, STANDBY_SIGNAL};
use crate::{
    error::{Error, Result},
    postgres::{control, postmaster},
    repo::{
        catalog::Backup,
        file_index::{self, FileEntry, FilePath},
        layout::BackupObject,
        repository::Repository,
    },
    util::hash::{Sha256Reader, copy},
};

/// Plain bytes that one job reads, unless a single file is larger.
const JOB_BYTES: u64 = 32 << 20;

/// Plain bytes of a frame, as pgstow writes them: who begins within one reads it from its start.
const FRAME: u64 = 2 << 20;

/// Folders of a data directory that a backup may lack: the server would make some of them, but a
/// person who looks for them should find them.
pub const FOLDERS: [&str; 4] = ["pg_wal", "pg_wal/archive_status", "pg_tblspc", "global"];

/// Say how a server ran where the backup was taken, which this one must not repeat.
const LEFT_OUT: [&str; 4] = [
    RECOVERY_SIGNAL,
    STANDBY_SIGNAL,
    postmaster::NAME,
    "postmaster.opts",
];

/// A file or folder in a part: what of the index a restore needs.
#[derive(Clone, Debug)]
pub struct Member {
    pub path: FilePath,
    pub part: u32,
    pub frame: u64,
    pub offset: u32,
    pub size: u64,
    pub mode: u32,
    /// Seconds since 1970.
    pub mtime: i64,
    pub crc32c: u32,
    pub folder: bool,
}

impl Member {
    /// Whether it is in the backup, but not wanted in a restored directory.
    pub fn is_left_out(&self) -> bool {
        let path = self.path.as_path();
        LEFT_OUT.iter().any(|name| path == Path::new(name))
    }
}

/// What a folder that is restored into holds of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing that could be used.
    Nothing,
    /// A file with other bytes.
    Other,
    /// A file of the right size, not compared yet.
    Unread,
    /// All that is wanted.
    Same,
}

/// All members, in the order in which the parts hold them.
#[derive(Debug)]
pub struct Contents {
    pub members: Vec<Member>,
}

/// Members that lie behind one another in one part, read by one worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub members: Range<usize>,
    pub bytes: u64,
    pub part: u32,
    /// Where in the stored part to begin, and before which byte the last member surely ends;
    /// None is the end of the part.
    pub from: u64,
    pub to: Option<u64>,
}

impl Contents {
    pub fn load(repository: &Repository, backup: &Backup) -> Result<Self> {
        let name = repository
            .layout()
            .backup_object(&backup.id, BackupObject::Index);
        let storage = repository.storage();
        let mut stored = Sha256Reader::new(storage.get(&name, None)?);
        let mut members = Vec::with_capacity(usize::try_from(backup.files).unwrap_or_default());
        file_index::read(&mut stored, |entry| {
            members.push(member(entry)?);
            Ok(())
        })
        .map_err(|error| error.context(format!("can't read {}", storage.place(&name))))?;
        // The decoder needn't have read the last bytes.
        copy(&mut stored, &mut std::io::sink())
            .map_err(|error| storage.failed("read", &name, error))?;
        backup
            .check_object(BackupObject::Index, stored.finish())
            .map_err(|error| error.context(format!("can't read {}", storage.place(&name))))?;
        let ordered = members
            .windows(2)
            .all(|pair| place(&pair[0]) <= place(&pair[1]));
        if !ordered
            || members
                .last()
                .is_none_or(|last| last.path.as_path() != Path::new(control::PATH))
        {
            return Err(Error::damaged(format!(
                "{} doesn't list the files as the parts hold them, {} last",
                storage.place(&name),
                control::PATH
            )));
        }
        Ok(Self { members })
    }

    /// Runs of members of one part, largest first, so that no long one begins last. Each begins and
    /// ends with one that is needed; what lies between is read over where that is cheaper than to
    /// begin anew.
    pub fn jobs(&self, needed: impl Fn(usize) -> bool) -> Vec<Job> {
        let mut jobs: Vec<Job> = Vec::new();
        // Bytes behind the last needed member.
        let mut between = 0;
        for (number, member) in self.members.iter().enumerate() {
            if !needed(number) {
                between += member.size;
                continue;
            }
            let bytes = between + member.size;
            match jobs.last_mut() {
                Some(job)
                    if job.part == member.part
                        && between <= FRAME
                        && job.bytes + bytes <= JOB_BYTES =>
                {
                    job.members.end = number + 1;
                    job.bytes += bytes;
                }
                _ => jobs.push(Job {
                    members: number..number + 1,
                    bytes: member.size,
                    part: member.part,
                    from: member.frame,
                    to: None,
                }),
            }
            between = 0;
        }
        for job in &mut jobs {
            job.to = self.end(job);
        }
        jobs.sort_by_key(|job| std::cmp::Reverse(job.bytes));
        jobs
    }

    /// The next member's frame, if it begins with that member; else that frame still holds
    /// bytes of this job, and the first known frame behind it is the end.
    fn end(&self, job: &Job) -> Option<u64> {
        let mut behind = self.members[job.members.end..]
            .iter()
            .take_while(|member| member.part == job.part);
        let next = behind.next()?;
        match next.offset {
            0 => Some(next.frame),
            _ => behind
                .map(|member| member.frame)
                .find(|frame| *frame > next.frame),
        }
    }

    /// 0600, or 0640 where the cluster allows its group to read.
    pub fn file_mode(&self) -> u32 {
        0o600 | (self.folder_mode() & 0o040)
    }

    /// 0700, or 0750 where the cluster allows its group to read.
    pub fn folder_mode(&self) -> u32 {
        let is_global = |member: &&Member| member.folder && &*member.path.0 == b"global";
        match self.members.iter().find(is_global) {
            Some(global) if global.mode & 0o050 == 0o050 => 0o750,
            _ => 0o700,
        }
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.members.iter().map(|member| member.size).sum()
    }
}

fn place(member: &Member) -> (u32, u64, u32) {
    (member.part, member.frame, member.offset)
}

/// Refuses what could be written outside the target: the index is foreign bytes. The links in
/// `pg_tblspc` are made by the plan alone; what else was there lies in the data directory, as it
/// did before.
fn member(entry: FileEntry) -> Result<Member> {
    let refused = |why: &str| {
        Err(Error::damaged(format!(
            "the index of files lists {:?}: {why}",
            entry.path
        )))
    };
    let mut parts = entry.path.0.split(|byte| *byte == b'/');
    if parts.any(|part| part.is_empty() || part == b"." || part == b".." || part.contains(&0)) {
        return refused("not a path below the data directory");
    }
    if entry.mode & !0o7777 != 0 {
        return refused("not a mode");
    }
    Ok(Member {
        path: entry.path,
        part: entry.part,
        frame: entry.frame,
        offset: entry.offset,
        size: entry.size,
        mode: entry.mode & 0o777,
        mtime: entry.mtime,
        crc32c: entry.crc32c,
        folder: entry.folder,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn entry(path: &str) -> FileEntry {
        FileEntry {
            path: FilePath(path.as_bytes().into()),
            folder: false,
            part: 1,
            frame: 0,
            offset: 0,
            size: 0,
            mode: 0o600,
            mtime: 0,
            crc32c: 0,
            sha256: None,
            facts: None,
            doubtful: Vec::new(),
        }
    }

    #[test]
    fn paths_that_leave_the_target_are_refused() {
        for good in [
            "PG_VERSION",
            "pg_tblspc",
            "pg_tblspc/16384/PG_15_1/5/1",
            "pg_tblspc/old.tmp",
            "base/1/..x",
            "a b",
        ] {
            assert!(member(entry(good)).is_ok(), "{good}");
        }
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "base/../../x",
            "base//x",
            "base/",
            "./x",
            "a\0b",
        ] {
            assert!(member(entry(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn jobs_are_runs_of_one_part_and_end_where_their_last_member_surely_does() {
        const MIB: u64 = 1 << 20;
        // (part, frame, offset, size)
        let members = [
            (1, 0, 0, 20 * MIB),
            (1, 500, 7, 10 * MIB),
            (1, 900, 3, 8 * MIB),
            (1, 900, 9, 100 * MIB),
            (1, 4000, 0, 1),
            (2, 0, 0, 5),
        ];
        let contents = Contents {
            members: members
                .iter()
                .map(|&(part, frame, offset, size)| Member {
                    part,
                    frame,
                    offset,
                    size,
                    ..member(entry("x")).unwrap()
                })
                .collect(),
        };
        let jobs = |needed: &dyn Fn(usize) -> bool| -> Vec<_> {
            let jobs = contents.jobs(needed).into_iter();
            jobs.map(|job| (job.members, job.part, job.from, job.to))
                .collect()
        };
        assert_eq!(
            jobs(&|_| true),
            [
                (3..4, 1, 900, Some(4000)),
                (0..2, 1, 0, Some(4000)),
                (2..3, 1, 900, Some(4000)),
                (5..6, 2, 0, None),
                (4..5, 1, 4000, None),
            ]
        );
        // A large one between two is not read, a small one is.
        assert_eq!(
            jobs(&|number| [2, 4, 5].contains(&number)),
            [
                (2..3, 1, 900, Some(4000)),
                (5..6, 2, 0, None),
                (4..5, 1, 4000, None),
            ]
        );
        let small = |number: usize| Member {
            offset: 512 * number as u32,
            size: 100,
            ..member(entry("x")).unwrap()
        };
        let contents = Contents {
            members: (0..5).map(small).collect(),
        };
        let jobs = contents.jobs(|number| number == 1 || number == 3);
        assert_eq!(jobs[0].members, 1..4);
        assert_eq!((jobs.len(), jobs[0].bytes), (1, 300));
    }
}
