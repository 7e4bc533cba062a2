//! How the reading of a backup's parts is shared out.

use std::{collections::VecDeque, ops::Range};

use super::index::Member;

/// Plain bytes that one job reads, unless a single file is larger, and its members, which cost some
/// 100 bytes each while it waits. The next job begins with a frame, so that none is unpacked twice.
const JOB_BYTES: u64 = 32 << 20;
const JOB_MEMBERS: usize = 512;

/// Plain bytes of a frame, as pgstow writes them: who begins within one reads it from its start.
const FRAME: u64 = 2 << 20;

/// Plain bytes in front of each member: its tar header.
const HEADER: u64 = 512;

/// Members that lie behind one another in one part, read by one worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// By their numbers, counted in the order of the parts.
    pub members: Range<usize>,
    /// Of the files alone.
    pub bytes: u64,
    pub part: u32,
    /// Where in the stored part to begin, and before which byte the last member surely ends;
    /// None is the end of the part.
    pub from: u64,
    pub to: Option<u64>,
}

/// Jobs for the members that are needed, largest first, so that no long one begins last.
pub fn largest_first(members: &[Member], needed: impl Fn(usize) -> bool) -> Vec<Job> {
    let mut cutter = Cutter::default();
    for (number, member) in members.iter().enumerate() {
        cutter.push(member, needed(number));
    }
    let mut jobs: Vec<Job> = cutter.finish().collect();
    jobs.sort_by_key(|job| std::cmp::Reverse(job.bytes));
    jobs
}

/// Cuts members, as they come in the order of the parts, into jobs. Each job begins and ends with
/// a member that is needed; what lies between is read over where that is cheaper than to begin anew.
#[derive(Debug, Default)]
pub struct Cutter {
    /// The last of them may still grow.
    cuts: VecDeque<Cut>,
    /// Plain bytes behind the last needed member, and those of its files.
    between: (u64, u64),
    seen: usize,
}

#[derive(Debug)]
struct Cut {
    job: Job,
    plain: u64,
    /// In which the last member begins.
    frame: u64,
    end: End,
}

/// What is known of the byte before which a job's last member surely ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Unknown,
    /// The next member begins in this frame, which still holds bytes of the job: the first frame
    /// behind it is the end.
    Within(u64),
    Known,
}

impl Cutter {
    pub fn push(&mut self, member: &Member, needed: bool) {
        let number = self.seen;
        self.seen += 1;
        let mut last = self.cuts.pop_back();
        for cut in &mut self.cuts {
            cut.see_behind(member);
        }
        let plain = HEADER + member.size;
        if !needed {
            self.between.0 += plain;
            self.between.1 += member.size;
            if let Some(cut) = &mut last {
                cut.see_behind(member);
            }
        } else {
            let (between, files) = self.between;
            match &mut last {
                Some(cut)
                    if cut.job.part == member.part
                        && between <= FRAME
                        && (cut.frame == member.frame
                            || cut.plain + between + plain <= JOB_BYTES
                                && number - cut.job.members.start < JOB_MEMBERS) =>
                {
                    cut.frame = member.frame;
                    cut.job.members.end = number + 1;
                    cut.job.bytes += files + member.size;
                    cut.plain += between + plain;
                    cut.job.to = None;
                    cut.end = End::Unknown;
                }
                _ => {
                    if let Some(mut cut) = last.replace(Cut::begin(number, member)) {
                        cut.see_behind(member);
                        self.cuts.push_back(cut);
                    }
                }
            }
            self.between = (0, 0);
        }
        self.cuts.extend(last);
    }

    /// The next job of which all is known.
    pub fn next(&mut self) -> Option<Job> {
        let last = self.cuts.len() == 1 && self.between.0 <= FRAME;
        let first = self.cuts.front()?;
        if last || !matches!(first.end, End::Known) {
            return None;
        }
        self.cuts.pop_front().map(|cut| cut.job)
    }

    /// The jobs that are left at the end.
    pub fn finish(self) -> impl Iterator<Item = Job> {
        self.cuts.into_iter().map(|cut| cut.job)
    }

    /// The first member that a job to come may hold.
    pub fn first(&self) -> usize {
        let first = self.cuts.front().map(|cut| cut.job.members.start);
        first.unwrap_or(self.seen)
    }
}

impl Cut {
    fn begin(number: usize, member: &Member) -> Self {
        Self {
            job: Job {
                members: number..number + 1,
                bytes: member.size,
                part: member.part,
                from: member.frame,
                to: None,
            },
            plain: HEADER + member.size,
            frame: member.frame,
            end: End::Unknown,
        }
    }

    /// A member that comes behind the last one of the job.
    fn see_behind(&mut self, member: &Member) {
        let same_part = member.part == self.job.part;
        match self.end {
            End::Known => return,
            _ if !same_part => {}
            End::Unknown if member.offset > 0 => {
                self.end = End::Within(member.frame);
                return;
            }
            End::Within(frame) if member.frame <= frame => return,
            End::Unknown | End::Within(_) => self.job.to = Some(member.frame),
        }
        self.end = End::Known;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::repo::file_index::FilePath;

    const MIB: u64 = 1 << 20;

    fn member(&(part, frame, offset, size): &(u32, u64, u32, u64)) -> Member {
        Member {
            path: FilePath(b"x"[..].into()),
            part,
            frame,
            offset,
            size,
            crc32c: 0,
            mode: 0o600,
            mtime: 0,
            folder: false,
            blocks: false,
        }
    }

    fn members() -> Vec<Member> {
        // (part, frame, offset, size)
        let members = [
            (1, 0, 0, 20 * MIB),
            (1, 500, 7, 10 * MIB),
            (1, 900, 3, 8 * MIB),
            (1, 950, 9, 100 * MIB),
            (1, 4000, 0, 1),
            (2, 0, 0, 5),
        ];
        members.iter().map(member).collect()
    }

    #[test]
    fn jobs_are_runs_of_one_part_and_end_where_their_last_member_surely_does() {
        let jobs = |needed: &dyn Fn(usize) -> bool| -> Vec<_> {
            let jobs = largest_first(&members(), needed).into_iter();
            jobs.map(|job| (job.members, job.part, job.from, job.to))
                .collect()
        };
        assert_eq!(
            jobs(&|_| true),
            [
                (3..4, 1, 950, Some(4000)),
                (0..2, 1, 0, Some(950)),
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
        let small: Vec<Member> = (0..5).map(|n| member(&(1, 0, 512 * n, 100))).collect();
        let jobs = largest_first(&small, |number| number == 1 || number == 3);
        assert_eq!(jobs[0].members, 1..4);
        assert_eq!((jobs.len(), jobs[0].bytes), (1, 300));
    }

    #[test]
    fn a_job_holds_no_more_than_so_many_empty_files() {
        let frames = (0..5000).map(|number| (1, number / 200, 512 * (number % 200) as u32, 0));
        let empty: Vec<Member> = frames.map(|place| member(&place)).collect();
        let jobs = largest_first(&empty, |_| true);
        let lengths: Vec<usize> = jobs.iter().map(|job| job.members.len()).collect();
        // Whole frames.
        assert_eq!(lengths, [600, 600, 600, 600, 600, 600, 600, 600, 200]);
        assert!(jobs.iter().all(|job| job.members.start % 200 == 0));
    }

    #[test]
    fn jobs_come_as_soon_as_all_of_them_is_known() {
        for wanted in 0..64_usize {
            let needed = |number: usize| wanted & (1 << number) > 0;
            let (mut cutter, mut jobs) = (Cutter::default(), Vec::new());
            for (number, member) in members().iter().enumerate() {
                cutter.push(member, needed(number));
                while let Some(job) = cutter.next() {
                    jobs.push(job);
                }
                // Nothing is lost that a job needs.
                assert!(cutter.first() <= number + 1);
            }
            // The last two at most wait for what comes behind them.
            let behind: Vec<Job> = cutter.finish().collect();
            assert!(behind.len() <= 2, "{wanted:b}: {behind:?}");
            jobs.extend(behind);
            assert!(jobs.is_sorted_by_key(|job| job.members.start));
            jobs.sort_by_key(|job| std::cmp::Reverse(job.bytes));
            assert_eq!(jobs, largest_first(&members(), needed), "{wanted:b}");
        }
    }
}
