//! The segments that are received, in a folder of this host.
//!
//! The one in progress is `<segment>.partial`, as PostgreSQL's own receiver calls it: as long as a segment,
//! zeros behind what came. It is filled with zeros first, so that syncing what is written later changes nothing but bytes.
//! A session that begins in it again writes the same bytes over themselves, and never shortens it: what was
//! confirmed stays. Whole and synced it gets its own name, once the next one is begun: so the folder tells where to
//! go on, also when all that was whole has left it.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    error::{Error, IoContext, Kind, Result},
    postgres::{
        lsn::{Lsn, TimelineId},
        wal_name::{Segment, SegmentSize, WalName},
    },
    util::{
        clock::Time,
        fs::{open_lock, rename_new, sync_folder},
    },
};

static ZEROS: [u8; 128 << 10] = [0; 128 << 10];

/// How much there is of the segment in progress that outlives a crash of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub segment: Segment,
    pub bytes: u32,
}

/// That, for who looks beside the receiving.
#[derive(Clone, Debug, Default)]
pub struct Reached(Arc<Mutex<Option<Progress>>>);

impl Reached {
    /// None before anything came.
    pub fn get(&self) -> Option<Progress> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, place: Place, lsn: Lsn) {
        let segment = Segment::holding(place.timeline, lsn, place.size);
        let bytes = (lsn.0 - segment.start(place.size).0) as u32;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Progress { segment, bytes });
    }
}

pub struct Files {
    folder: PathBuf,
    /// Called after each segment that got its name; None once it has ended.
    whole: Option<Box<dyn Fn()>>,
    place: Option<Place>,
    open: Option<Open>,
    reached: Reached,
    /// The byte behind the last that was written, and that outlives a crash.
    pub written: Lsn,
    pub flushed: Lsn,
    pub finished: u64,
}

#[derive(Clone, Copy)]
struct Place {
    timeline: TimelineId,
    size: SegmentSize,
}

struct Open {
    segment: Segment,
    file: File,
    path: PathBuf,
    /// Something was received into it before.
    is_old: bool,
}

impl Files {
    pub fn new(folder: &Path, whole: impl Fn() + 'static) -> Self {
        Self {
            folder: folder.to_owned(),
            whole: Some(Box::new(whole)),
            place: None,
            open: None,
            reached: Reached::default(),
            written: Lsn::INVALID,
            flushed: Lsn::INVALID,
            finished: 0,
        }
    }

    /// What comes next is of `timeline`, from the beginning of a segment on.
    pub fn begin(&mut self, timeline: TimelineId, from: Lsn, size: SegmentSize) -> Result<()> {
        self.sync()?;
        self.open = None;
        self.place = Some(Place { timeline, size });
        (self.written, self.flushed) = (from, from);
        Ok(())
    }

    /// Nothing comes any more.
    pub fn end(&mut self) -> Result<()> {
        let synced = self.sync();
        self.whole = None;
        synced
    }

    pub fn reached(&self) -> Reached {
        self.reached.clone()
    }

    /// How far it came; None before it began.
    pub fn upto(&self) -> Option<(TimelineId, Lsn)> {
        self.place.map(|place| (place.timeline, self.flushed))
    }

    /// Bytes that a crash of this host would lose.
    pub fn unsynced(&self) -> u64 {
        self.written.0 - self.flushed.0
    }

    pub fn write(&mut self, start: Lsn, mut bytes: &[u8]) -> Result<()> {
        let Some(Place { timeline, size }) = self.place else {
            return Err(Error::failed("WAL came that was not asked for"));
        };
        if start != self.written {
            return Err(Error::damaged(format!(
                "the server left WAL out: it sent {start}, and {} should have come",
                self.written
            )));
        }
        while !bytes.is_empty() {
            let at = self.written;
            let segment = Segment::holding(timeline, at, size);
            let end = segment.end(size);
            let room = usize::try_from(end.0 - at.0).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            let open = self.open(segment, size)?;
            open.check(now, at.0 - segment.start(size).0)?;
            open.file
                .write_all_at(now, at.0 - segment.start(size).0)
                .at("write", &open.path)?;
            self.written = Lsn(at.0 + now.len() as u64);
            bytes = later;
            if self.written == end {
                self.finish(Segment::holding(timeline, end, size), size)?;
            }
        }
        Ok(())
    }

    /// Makes all that was written durable.
    pub fn sync(&mut self) -> Result<()> {
        if let Some(open) = &self.open
            && self.flushed < self.written
        {
            open.file.sync_data().at("sync", &open.path)?;
        }
        self.flushed = self.written;
        if let Some(place) = self.place {
            self.reached.set(place, self.flushed);
        }
        Ok(())
    }

    fn open(&mut self, segment: Segment, size: SegmentSize) -> Result<&Open> {
        let open = match self.open.take() {
            Some(open) if open.segment == segment => open,
            _ => Open::begin(&self.folder, segment, size)?,
        };
        Ok(self.open.insert(open))
    }

    /// Begins the next segment, and gives a whole one its name.
    fn finish(&mut self, next: Segment, size: SegmentSize) -> Result<()> {
        self.sync()?;
        let next = Open::begin(&self.folder, next, size)?;
        let Some(open) = self.open.replace(next) else {
            return Ok(());
        };
        let path = self.folder.join(open.segment.to_string());
        match rename_new(&open.path, &path) {
            // Received twice, since a session began before what waits to be stored.
            Err(error) if error.kind() == Kind::AlreadyExists => {
                fs::remove_file(&open.path).at("remove", &open.path)?;
            }
            other => other?,
        }
        self.finished += 1;
        if let Some(whole) = &self.whole {
            whole();
        }
        Ok(())
    }
}

impl Open {
    fn begin(folder: &Path, segment: Segment, size: SegmentSize) -> Result<Self> {
        let path = folder.join(WalName::Partial(segment).to_string());
        let file = open_lock(&path)?;
        let is_old = file.metadata().at("look at", &path)?.len() > 0;
        fill(&file, size.bytes()).at("write", &path)?;
        sync_folder(folder)?;
        Ok(Self {
            segment,
            file,
            path,
            is_old,
        })
    }

    /// Refuses to write over what is not the same, which may be all that there is of another server's commits. Zeros are
    /// what nothing was received for, or what was not synced.
    fn check(&self, bytes: &[u8], at: u64) -> Result<()> {
        if !self.is_old {
            return Ok(());
        }
        let mut known = vec![0; bytes.len()];
        self.file
            .read_exact_at(&mut known, at)
            .at("read", &self.path)?;
        let mut both = known.iter().zip(bytes);
        if both.all(|(known, new)| *known == 0 || known == new) {
            return Ok(());
        }
        let what = format!(
            "{} holds other WAL than what the server sends for the same place: it is another server's, or this one was restored under a \
             timeline's number that was given before",
            self.path.display()
        );
        Err(Error::new(Kind::Foreign, what).hint(
            "move that file to a safe place outside of this folder, as it may be all that there is of those commits, and start again.",
        ))
    }
}

/// Makes a file as long as a segment, durably; what is there stays.
fn fill(file: &File, length: u64) -> std::io::Result<()> {
    let mut at = file.metadata()?.len();
    if at == length {
        return Ok(());
    }
    while at < length {
        let count = (length - at).min(ZEROS.len() as u64);
        file.write_all_at(&ZEROS[..count as usize], at)?;
        at += count;
    }
    file.sync_all()
}

/// The whole segments that wait to be stored, oldest first on each timeline.
pub fn whole(folder: &Path) -> Result<BTreeSet<Segment>> {
    names(folder, |name| match name {
        WalName::Segment(segment) => Some(segment),
        _ => None,
    })
}

/// How many they are, and since when the oldest waits. Where nothing was ever received, none does.
pub fn waiting(folder: &Path) -> Result<(u64, Option<Time>)> {
    let segments = match whole(folder) {
        Err(error) if error.kind() == Kind::NotFound => return Ok((0, None)),
        other => other?,
    };
    // One that leaves meanwhile waits no more.
    let since = |segment: &Segment| -> Option<Time> {
        let found = fs::metadata(folder.join(segment.to_string())).ok()?;
        Some(found.modified().ok()?.into())
    };
    Ok((
        segments.len() as u64,
        segments.iter().filter_map(since).min(),
    ))
}

/// Those in progress: one for each timeline that was received at all.
pub fn partial(folder: &Path) -> Result<BTreeSet<Segment>> {
    names(folder, |name| match name {
        WalName::Partial(segment) => Some(segment),
        _ => None,
    })
}

fn names(folder: &Path, which: impl Fn(WalName) -> Option<Segment>) -> Result<BTreeSet<Segment>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).at("list", folder)? {
        let name = entry.at("list", folder)?.file_name();
        let name = name.to_str().and_then(|name| name.parse().ok());
        found.extend(name.and_then(&which));
    }
    Ok(found)
}

/// Where to go on: the beginning of the newest segment in progress, or the end of the newest whole one. Of two
/// neighbours in progress the first never got its name: it was stopped between the two, by a full disk or a crash,
/// and the server was not told of it.
pub fn newest(folder: &Path, size: SegmentSize) -> Result<Option<(TimelineId, Lsn)>> {
    let partial = partial(folder)?;
    let mut newest = partial.last().copied();
    let before = |segment: Segment| {
        let number = segment.number(size).checked_sub(1)?;
        let before = Segment::nth(segment.timeline, number, size);
        partial.contains(&before).then_some(before)
    };
    while let Some(segment) = newest.and_then(before) {
        newest = Some(segment);
    }
    let begun = newest.map(|segment| (segment.timeline, segment.start(size)));
    let whole = whole(folder)?
        .last()
        .map(|last| (last.timeline, last.end(size)));
    Ok(begun.max(whole))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn size() -> SegmentSize {
        SegmentSize::new(MIB as u32).unwrap()
    }

    fn tli(number: u32) -> TimelineId {
        TimelineId::new(number).unwrap()
    }

    fn nth(timeline: u32, number: u64) -> Segment {
        Segment::nth(tli(timeline), number, size())
    }

    fn wal(from: u64, to: u64) -> Vec<u8> {
        (from..to).map(|at| (at / 7) as u8 | 1).collect()
    }

    fn receive(files: &mut Files, from: u64, to: u64) {
        for start in (from..to).step_by(100_000) {
            let bytes = wal(start, to.min(start + 100_000));
            files.write(Lsn(start), &bytes).unwrap();
        }
    }

    #[test]
    fn what_another_server_sent_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let begin = || {
            let mut files = Files::new(folder.path(), || ());
            files.begin(tli(2), Lsn(MIB), size()).unwrap();
            files
        };
        receive(&mut begin(), MIB, MIB + 5000);
        // The same, and more.
        receive(&mut begin(), MIB, MIB + 7000);
        let mut other = wal(MIB, MIB + 9000);
        other[6000] ^= 2;
        let error = begin().write(Lsn(MIB), &other).unwrap_err();
        assert_eq!(error.kind(), Kind::Foreign);
        let kept = fs::read(folder.path().join(WalName::Partial(nth(2, 1)).to_string())).unwrap();
        assert_eq!(kept[..7000], wal(MIB, MIB + 7000));
        assert!(kept[7000..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn segments_get_their_names_when_they_are_whole_and_never_lose_a_byte() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let read = |name: WalName| fs::read(path.join(name.to_string())).unwrap();
        assert_eq!(newest(path, size()).unwrap(), None);
        let mut files = Files::new(path, || ());
        files.begin(tli(1), Lsn(2 * MIB), size()).unwrap();
        receive(&mut files, 2 * MIB, 4 * MIB + 500);
        assert_eq!(files.finished, 2);
        // What was left of the last one.
        assert_eq!(files.unsynced(), 500);
        files.sync().unwrap();
        assert_eq!(files.upto(), Some((tli(1), Lsn(4 * MIB + 500))));
        let progress = Progress {
            segment: nth(1, 4),
            bytes: 500,
        };
        assert_eq!(files.reached().get(), Some(progress));
        assert_eq!(whole(path).unwrap(), [nth(1, 2), nth(1, 3)].into());
        assert!(read(WalName::Segment(nth(1, 3))) == wal(3 * MIB, 4 * MIB));
        let mut begun = wal(4 * MIB, 4 * MIB + 500);
        begun.resize(MIB as usize, 0);
        assert!(read(WalName::Partial(nth(1, 4))) == begun);
        drop(files);

        // The next one begins there again; what it had stays until it is written over.
        let from = newest(path, size()).unwrap();
        assert_eq!(from, Some((tli(1), Lsn(4 * MIB))));
        let mut files = Files::new(path, || ());
        files.begin(tli(1), Lsn(4 * MIB), size()).unwrap();
        receive(&mut files, 4 * MIB, 4 * MIB + 10);
        assert!(read(WalName::Partial(nth(1, 4))) == begun);
        // Behind a switch the segment is named after the new timeline.
        files.begin(tli(2), Lsn(4 * MIB), size()).unwrap();
        receive(&mut files, 4 * MIB, 5 * MIB);
        assert_eq!(newest(path, size()).unwrap(), Some((tli(2), Lsn(5 * MIB))));
        assert!(read(WalName::Partial(nth(1, 4))) == begun);
        // Received once more, before it was stored.
        files.begin(tli(2), Lsn(4 * MIB), size()).unwrap();
        receive(&mut files, 4 * MIB, 5 * MIB);
        assert!(read(WalName::Segment(nth(2, 4))) == wal(4 * MIB, 5 * MIB));
        assert_eq!(partial(path).unwrap(), [nth(1, 4), nth(2, 5)].into());
        // Stored, and gone: what is begun tells where to go on.
        for segment in whole(path).unwrap() {
            fs::remove_file(path.join(segment.to_string())).unwrap();
        }
        assert_eq!(newest(path, size()).unwrap(), Some((tli(2), Lsn(5 * MIB))));
    }

    #[test]
    fn a_segment_that_was_stopped_before_it_got_its_name_is_received_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let mut files = Files::new(path, || ());
        files.begin(tli(1), Lsn(2 * MIB), size()).unwrap();
        receive(&mut files, 2 * MIB, 3 * MIB - 10);
        // There is no room for the next one.
        let next = path.join(WalName::Partial(nth(1, 3)).to_string());
        fs::create_dir(&next).unwrap();
        let last = wal(3 * MIB - 10, 3 * MIB);
        assert!(files.write(Lsn(3 * MIB - 10), &last).is_err());
        fs::remove_dir(&next).unwrap();
        fs::write(&next, "").unwrap();
        let from = newest(path, size()).unwrap();
        assert_eq!(from, Some((tli(1), Lsn(2 * MIB))));
        let mut files = Files::new(path, || ());
        files.begin(tli(1), Lsn(2 * MIB), size()).unwrap();
        receive(&mut files, 2 * MIB, 3 * MIB);
        assert_eq!(whole(path).unwrap(), [nth(1, 2)].into());
        assert_eq!(newest(path, size()).unwrap(), Some((tli(1), Lsn(3 * MIB))));
    }

    #[test]
    fn what_is_left_out_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Files::new(folder.path(), || ());
        files.begin(tli(1), Lsn(MIB), size()).unwrap();
        files.write(Lsn(MIB), b"abc").unwrap();
        for start in [MIB + 2, MIB + 4] {
            let error = files.write(Lsn(start), b"d").unwrap_err();
            assert_eq!(error.kind(), Kind::Damaged);
        }
    }
}
