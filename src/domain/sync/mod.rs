//! Fills a repository from others: what is missing there is copied as it is compressed.
//!
//! In this order: which backups there are is looked at before their WAL, so that no copy waits for WAL that came in
//! between; then WAL, then backups, the older first, dumps, pins. Whatever is copied counts when its commit point is
//! there. A crash leaves what the next run goes on with.
//!
//! Results of `verify` and reports of drills stay where they are: they speak of what was read there.

mod backup;
mod claim;
mod dumps;
mod hold;
mod merge;
mod object;
mod pass;
mod pins;
pub mod status;
mod stock;
mod systems;
pub mod tally;
mod wal;
mod wal_file;

use std::collections::BTreeSet;

use tracing::warn;

pub use self::pass::Peer;
use self::{
    pass::Pass,
    stock::{Lacking, Shown},
    tally::{Copied, Tally},
};
use crate::{
    error::{Error, Result},
    repo::{backup_id::BackupId, brought::Brought, dump_name::DumpName},
    util::{cancel::Cancel, clock, meter::Meter, pace::Pace},
};

#[derive(Debug)]
pub struct Order<'a> {
    /// In turn: what can't be read in one may be whole in the next.
    pub sources: &'a [Peer],
    pub target: &'a Peer,
    /// Read again what was stored.
    pub verify: bool,
    pub workers: usize,
    /// Bytes a second, of all workers.
    pub rate: Option<u64>,
    /// Only say what would be copied.
    pub dry_run: bool,
    /// Whether these are all sources that there are: what none of them has is forgotten.
    pub all_sources: bool,
}

pub fn run(order: &Order<'_>, cancel: &Cancel, meter: &Meter) -> Result<Copied> {
    match order.dry_run {
        true => Filling::of(order, cancel, meter).run(),
        false => hold::while_held(&order.target.repository, cancel, |cancel| {
            Filling::of(order, cancel, meter).run()
        }),
    }
}

struct Filling<'a> {
    order: &'a Order<'a>,
    cancel: &'a Cancel,
    meter: &'a Meter,
    pace: Pace,
    tally: Tally,
}

/// What a source has.
#[derive(Default)]
struct Had {
    backups: BTreeSet<BackupId>,
    dumps: BTreeSet<DumpName>,
}

impl<'a> Filling<'a> {
    fn of(order: &'a Order<'a>, cancel: &'a Cancel, meter: &'a Meter) -> Self {
        Self {
            order,
            cancel,
            meter,
            pace: Pace::new(order.rate, cancel),
            tally: Tally::default(),
        }
    }

    fn run(self) -> Result<Copied> {
        let target = &self.order.target.repository;
        let mut brought = target.brought()?;
        let known = brought.clone();
        let mut had = Had::default();
        let mut result = Ok(());
        for source in self.order.sources {
            result = self.fill_from(source, &mut brought, &mut had);
            if result.is_err() {
                break;
            }
        }
        if !self.order.dry_run {
            // What is there now was brought, or is as good.
            let there = stock::look(target)?;
            let complete =
                |(id, shown): (BackupId, Shown)| matches!(shown, Shown::Complete(_)).then_some(id);
            brought
                .backups
                .extend(there.into_iter().filter_map(complete));
            brought.dumps.extend(target.dump_names()?);
            if result.is_ok() && self.order.all_sources {
                brought.backups.retain(|id| had.backups.contains(id));
                brought.dumps.retain(|name| had.dumps.contains(name));
            }
            if (&brought.backups, &brought.dumps) != (&known.backups, &known.dumps) {
                target.note_brought(&Brought {
                    time: clock::now(),
                    ..brought
                })?;
            }
        }
        result?;
        Ok(self.tally.take())
    }

    fn fill_from(&self, source: &Peer, brought: &mut Brought, had: &mut Had) -> Result<()> {
        let Self { order, cancel, .. } = *self;
        let pass = Pass {
            source,
            target: order.target,
            verify: order.verify,
            workers: order.workers,
            dry_run: order.dry_run,
            pace: &self.pace,
            cancel,
            meter: self.meter,
            tally: &self.tally,
        };
        self.meter.begin(&format!("looking at {}", source.name), 0);
        let pairs = systems::pairs(source, order.target, order.dry_run)?;
        let stock = stock::look(&source.repository)?;
        let there = stock::look(&order.target.repository)?;
        // Seen before anything is copied: a cleanup may delete some of it meanwhile.
        let complete = |shown: &Shown| matches!(shown, Shown::Complete(_));
        let is_there = there.iter().filter(|(_, shown)| complete(shown));
        brought.backups.extend(is_there.map(|(id, _)| *id));
        // Whoever deletes what is damaged wants it again.
        let is_bad = |id: &BackupId| matches!(there.get(id), Some(Shown::Bad(_)));
        brought.backups.retain(|id| !is_bad(id));
        had.backups.extend(stock.keys().copied());

        for pair in &pairs {
            wal::copy(&pass, pair)?;
        }
        let lacking = Lacking::look(&stock, &there, order.target, &pairs, brought)?;
        for (peer, findings) in [
            (source, &lacking.of_source),
            (order.target, &lacking.of_target),
        ] {
            for (id, error) in findings {
                let object = format!("backup {id}");
                self.tally.find(&peer.name, &object, error);
            }
        }
        let mut copied = BTreeSet::new();
        for id in lacking.backups {
            cancel.check()?;
            if !backup::copy(&pass, &pairs, id)? {
                break;
            }
            copied.insert(id);
        }
        let dumps = dumps::copy(&pass, &pairs, |name| brought.dumps.contains(name))?;
        had.dumps.extend(dumps);
        pins::copy(&pass, |id| copied.contains(&id) || there.contains_key(&id))
    }
}

/// Opens those that can be opened; an error if none can.
pub fn open_any(names: &[String], open: impl Fn(usize) -> Result<Peer>) -> Result<Vec<Peer>> {
    let mut opened = Vec::new();
    let mut failure: Option<Error> = None;
    for (number, name) in names.iter().enumerate() {
        match open(number) {
            Ok(peer) => opened.push(peer),
            Err(error) => {
                let error = error.context(format!("repository {name} can't be read"));
                if let Some(earlier) = failure.replace(error) {
                    warn!("{}", earlier.in_one_line());
                }
            }
        }
    }
    match (opened.is_empty(), failure) {
        (true, Some(error)) => Err(error),
        (_, Some(error)) => {
            warn!("{}", error.in_one_line());
            Ok(opened)
        }
        (_, None) => Ok(opened),
    }
}
