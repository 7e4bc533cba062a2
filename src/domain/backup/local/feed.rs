//! Hands what was met on the walk to the workers: small files in bundles, large ones in slices,
//! so that all workers are busy to the end, at no more than the rate that was asked for.

use std::{
    mem,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{
    read::{Bundle, Large, Reader},
    scan::Item,
};
use crate::{
    domain::backup::{
        member::BLOCK,
        pack::{FRAME, Packer},
        source::Order,
    },
    error::Result,
    postgres::{connection::Session, file_checksum::Algorithm},
};

/// As many members at most go to a worker at once: bounds what a job holds.
const MEMBERS: usize = 1000;

/// How long a pause for the rate's sake may be before a stop is looked for.
const PAUSE: Duration = Duration::from_millis(200);

/// How often the session is asked for a sign of life, which also keeps it open on firewalls.
const SIGN: Duration = Duration::from_secs(10);

pub struct Feed<'a> {
    order: &'a Order<'a>,
    reader: &'a Arc<Reader>,
    begun: Instant,
    /// The server ends the backup with this session: no need to copy on without it.
    session: &'a Session,
    next_sign: Instant,
    /// Plain bytes that were handed over.
    handed: u64,
    bundle: Vec<Item>,
    bundle_bytes: u64,
}

impl<'a> Feed<'a> {
    pub fn new(order: &'a Order<'a>, session: &'a Session, reader: &'a Arc<Reader>) -> Self {
        Self {
            order,
            reader,
            begun: Instant::now(),
            session,
            next_sign: Instant::now() + SIGN,
            handed: 0,
            bundle: Vec::new(),
            bundle_bytes: 0,
        }
    }

    pub fn all(mut self, items: Vec<Item>, packer: &mut Packer<'_>) -> Result<()> {
        for item in items {
            if item.size > FRAME as u64 {
                self.flush(packer)?;
                self.large(item, packer)?;
                continue;
            }
            // A header, the content, its padding; a longer path costs more, which is no matter.
            let bytes = BLOCK + item.size.next_multiple_of(BLOCK);
            if self.bundle_bytes + bytes > FRAME as u64 || self.bundle.len() == MEMBERS {
                self.flush(packer)?;
            }
            self.bundle_bytes += bytes;
            self.bundle.push(item);
        }
        self.flush(packer)
    }

    fn flush(&mut self, packer: &mut Packer<'_>) -> Result<()> {
        if self.bundle.is_empty() {
            return Ok(());
        }
        let bytes = mem::take(&mut self.bundle_bytes);
        self.hand_over(bytes)?;
        let bundle = Bundle::new(Arc::clone(self.reader), mem::take(&mut self.bundle));
        packer.make_room(bytes)?;
        packer.load(Box::new(bundle), bytes)
    }

    fn large(&mut self, item: Item, packer: &mut Packer<'_>) -> Result<()> {
        let Some((file, found)) = self.reader.open(&item.path)? else {
            return Ok(());
        };
        if found.len() <= FRAME as u64 {
            // Cut off since it was met.
            self.bundle.push(Item {
                size: found.len(),
                ..item
            });
            return self.flush(packer);
        }
        let large = Large::new(Arc::clone(self.reader), item.path, file, &found);
        if self.reader.checksums != Algorithm::Crc32c {
            self.hand_over(large.size())?;
            return large.pack_in_order(packer, false);
        }
        packer.make_room(2 * BLOCK + large.size())?;
        for (slice, bytes) in large.slices() {
            self.hand_over(bytes)?;
            packer.load(slice, bytes)?;
        }
        Ok(())
    }

    /// Waits until the rate allows so many bytes more.
    fn hand_over(&mut self, bytes: u64) -> Result<()> {
        self.order.cancel.check()?;
        if Instant::now() >= self.next_sign {
            self.session.query_one("SELECT 1", &[])?;
            self.next_sign = Instant::now() + SIGN;
        }
        if let Some(rate) = self.order.options.max_rate_kb {
            let due = Duration::from_secs_f64(self.handed as f64 / (f64::from(rate) * 1024.0));
            while let Some(early) = due.checked_sub(self.begun.elapsed()) {
                self.order.cancel.check()?;
                thread::sleep(early.min(PAUSE));
            }
        }
        self.handed += bytes;
        Ok(())
    }
}
