//! Hands what was met on the walk to the workers: small files in bundles, large ones in slices,
//! so that all workers are busy to the end.
//!
//! Members come in the order of the walk, in which the next incremental backup reads the index.
//! A large file whose changed blocks are stored is read by a worker first, since its member tells
//! their number in front; meanwhile the walk goes on for a while.

use std::{
    collections::VecDeque,
    fs::{self, Metadata},
    mem,
    sync::{
        Arc,
        mpsc::{Receiver, sync_channel},
    },
    time::{Duration, Instant},
};

use super::{
    bundle::{Bundle, Wanted, What},
    large::Large,
    reader::Reader,
    scan::{Item, Items, Kind, facts, there},
};
use crate::{
    domain::backup::{
        changes::{Extent, Known, Since},
        member::BLOCK,
        pack::{FRAME, Packer},
        parent::KnownFiles,
        source::Order,
        summaries::Summaries,
    },
    error::{Error, IoContext, Result},
    postgres::{connection::Session, file_checksum::Algorithm, relation_file::RelationPath},
    repo::file_index::{Facts, FilePath},
};

/// As many members at most go to a worker at once: bounds what a job holds.
const MEMBERS: usize = 1000;

/// How often the session is asked for a sign of life, which also keeps it open on firewalls.
const SIGN: Duration = Duration::from_secs(10);

/// What an incremental backup builds on.
pub struct Base<'scope> {
    pub since: Since,
    pub files: KnownFiles<'scope>,
    /// What tells the blocks that changed, if something does: else they are found by reading.
    pub summaries: Option<&'scope Summaries>,
}

pub struct Feed<'a> {
    order: &'a Order<'a>,
    reader: &'a Arc<Reader>,
    /// The server ends the backup with this session: no need to copy on without it.
    session: &'a Session,
    next_sign: Instant,
    /// In the order of the walk.
    waiting: VecDeque<Waiting>,
    /// Of those the ones that a worker reads.
    compared: usize,
    bundle: Vec<Wanted>,
    bundle_bytes: u64,
}

impl Base<'_> {
    fn wanted(&mut self, path: &FilePath, relation: &RelationPath, facts: Facts) -> What {
        let known = self.files.get(&path.0);
        match (self.since.extent(relation, &facts, known), self.summaries) {
            (Extent::Whole, _) => What::Whole(facts.size),
            (Extent::Nothing(notes), _) => What::Stub(facts, notes),
            (Extent::Blocks(known), None) => What::Blocks(self.since, known, facts.size),
            (Extent::Blocks(known), Some(summaries)) => {
                let length = (facts.size / u64::from(self.since.block_size)) as u32;
                match summaries.blocks(relation, &known, length) {
                    Some(blocks) => {
                        let unread = known.notes.without(&blocks);
                        What::Listed(facts, blocks, unread)
                    }
                    None => What::Whole(facts.size),
                }
            }
        }
    }
}

enum Waiting {
    Small(Wanted),
    Large(Large),
    Compared(Receiver<Result<Large>>),
}

impl<'a> Feed<'a> {
    pub fn new(order: &'a Order<'a>, session: &'a Session, reader: &'a Arc<Reader>) -> Self {
        Self {
            order,
            reader,
            session,
            next_sign: Instant::now() + SIGN,
            waiting: VecDeque::new(),
            compared: 0,
            bundle: Vec::new(),
            bundle_bytes: 0,
        }
    }

    /// Stores all items; in an incremental backup what `base` doesn't have of them.
    pub fn all(
        mut self,
        items: &Items,
        mut base: Option<Base<'_>>,
        packer: &mut Packer<'_>,
    ) -> Result<()> {
        for Item { path, kind } in items.iter() {
            let what = match (kind, &mut base) {
                (Kind::Folder, _) => What::Folder,
                (Kind::File(size), None) => What::Whole(size),
                (Kind::File(size), Some(base)) => match RelationPath::parse(&path.0) {
                    None => What::Whole(size),
                    Some(relation) => match self.look_at(&path)? {
                        Some(found) => base.wanted(&path, &relation, facts(&found)),
                        None => continue,
                    },
                },
            };
            self.take(Wanted { path, what }, packer)?;
        }
        while let Some(first) = self.waiting.pop_front() {
            self.hand_over(first, packer)?;
        }
        self.flush(packer)?;
        base.map_or(Ok(()), |base| base.files.finish())
    }

    /// None for what has vanished since it was met, or is no file any more.
    fn look_at(&self, path: &FilePath) -> Result<Option<Metadata>> {
        let path = self.reader.root.join(path.as_path());
        let found = there(fs::symlink_metadata(&path)).at("look at", &path)?;
        Ok(found.filter(Metadata::is_file))
    }

    fn take(&mut self, wanted: Wanted, packer: &mut Packer<'_>) -> Result<()> {
        self.look_around()?;
        let waiting = match wanted.is_large(self.reader.pages.size) {
            true => {
                let Some((file, found)) = self.reader.open(&wanted.path)? else {
                    return Ok(());
                };
                if found.len() <= FRAME as u64 {
                    // Cut off since it was met. It may grow again, which is in the WAL.
                    Waiting::Small(Wanted {
                        what: What::Whole(found.len()),
                        ..wanted
                    })
                } else {
                    let reader = Arc::clone(self.reader);
                    let large = Large::new(reader, wanted.path, file, &found);
                    match wanted.what {
                        What::Blocks(since, known, _)
                            if known.facts.is_same_file(&facts(&found)) =>
                        {
                            self.compare(large, since, known, packer)?
                        }
                        What::Listed(met, blocks, unread) if met.is_same_file(&facts(&found)) => {
                            Waiting::Large(large.only(blocks, met.size, unread, true))
                        }
                        _ => Waiting::Large(large),
                    }
                }
            }
            false => Waiting::Small(wanted),
        };
        self.waiting.push_back(waiting);
        // Files stay open, and blocks that were chosen take memory: as many as workers need.
        while self.compared > 2 * self.order.to.workers
            || self.waiting.len() > MEMBERS
            || (self.compared == 0 && !self.waiting.is_empty())
        {
            let Some(first) = self.waiting.pop_front() else {
                break;
            };
            self.hand_over(first, packer)?;
        }
        Ok(())
    }

    fn compare(
        &mut self,
        large: Large,
        since: Since,
        known: Known,
        packer: &mut Packer<'_>,
    ) -> Result<Waiting> {
        let (done, result) = sync_channel(1);
        packer.run(move || {
            // Who no longer waits has failed, and says so.
            let _ = done.send(large.compare(&since, known));
        })?;
        self.compared += 1;
        Ok(Waiting::Compared(result))
    }

    fn hand_over(&mut self, first: Waiting, packer: &mut Packer<'_>) -> Result<()> {
        match first {
            Waiting::Small(wanted) => self.small(wanted, packer),
            Waiting::Large(large) => self.large(large, packer),
            Waiting::Compared(result) => {
                self.compared -= 1;
                let stopped = |_| Error::failed("a worker ended before its file was read");
                let large = result.recv().map_err(stopped)??;
                self.large(large, packer)
            }
        }
    }

    fn small(&mut self, wanted: Wanted, packer: &mut Packer<'_>) -> Result<()> {
        // A header, the content, its padding; a longer path costs more, which is no matter.
        let bytes = BLOCK
            + wanted
                .bytes_stored(self.reader.pages.size)
                .next_multiple_of(BLOCK);
        if self.bundle_bytes + bytes > FRAME as u64 || self.bundle.len() == MEMBERS {
            self.flush(packer)?;
        }
        self.bundle_bytes += bytes;
        self.bundle.push(wanted);
        Ok(())
    }

    fn flush(&mut self, packer: &mut Packer<'_>) -> Result<()> {
        if self.bundle.is_empty() {
            return Ok(());
        }
        let bytes = mem::take(&mut self.bundle_bytes);
        let bundle = Bundle::new(Arc::clone(self.reader), mem::take(&mut self.bundle));
        packer.make_room(bytes)?;
        packer.load(Box::new(bundle), bytes)
    }

    fn large(&mut self, large: Large, packer: &mut Packer<'_>) -> Result<()> {
        self.flush(packer)?;
        if self.reader.checksums != Algorithm::Crc32c {
            return large.pack_in_order(packer, false);
        }
        packer.make_room(2 * BLOCK + large.size())?;
        for (slice, bytes) in large.slices() {
            self.look_around()?;
            packer.load(slice, bytes)?;
        }
        Ok(())
    }

    fn look_around(&mut self) -> Result<()> {
        self.order.cancel.check()?;
        if Instant::now() >= self.next_sign {
            self.session.query_one("SELECT 1", &[])?;
            self.next_sign = Instant::now() + SIGN;
        }
        Ok(())
    }
}
