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
mod registration;
pub mod repair;
mod servers;
pub mod status;
mod stock;
mod systems;
pub mod tally;
mod there;
mod wal;
mod wal_file;

use std::collections::BTreeSet;

use tracing::warn;

pub use self::pass::Peer;
use self::{
    backup::Fate,
    pass::Pass,
    stock::{Lacking, Shown},
    tally::{Copied, Tally},
    there::{Doubts, There},
};
use crate::{
    error::{Error, Kind, Result},
    repo::{
        backup_id::BackupId, brought::Brought, dump_name::DumpName, missing::Missing,
        repository::System,
    },
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
    /// None: all that is missing.
    pub only: Option<&'a Only>,
}

/// What is chosen, whether the target's own retention deleted it or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Only {
    pub backups: BTreeSet<BackupId>,
    /// As people name them.
    pub dumps: BTreeSet<String>,
}

impl Only {
    fn names(&self, dump: &DumpName) -> bool {
        let is_it = |word: &String| *word == dump.stem() || *word == dump.to_string();
        self.dumps.iter().any(is_it)
    }
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

/// What the sources have.
#[derive(Default)]
struct Had {
    backups: BTreeSet<BackupId>,
    dumps: BTreeSet<DumpName>,
    /// Segments that came from them in the place of damaged ones.
    anew: Vec<(System, Missing)>,
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
        let (known, doubts) = (target.brought()?, Doubts::of(target)?);
        let (mut brought, mut had) = (known.clone(), Had::default());
        let mut sources = self.order.sources.iter();
        let mut there = None;
        let filled = sources.try_for_each(|source| {
            self.fill_from(source, &mut there, &doubts, &mut brought, &mut had)
        });
        let noted = match self.order.dry_run {
            true => Ok(()),
            false => {
                let forgets = filled.is_ok() && self.order.all_sources && self.order.only.is_none();
                self.note(&known, brought, doubts, &had, forgets)
            }
        };
        filled?;
        noted?;
        if let Some(only) = self.order.only {
            self.refuse_missing(only, &had)?;
        }
        Ok(self.tally.take())
    }

    /// What was named must be somewhere.
    fn refuse_missing(&self, only: &Only, had: &Had) -> Result<()> {
        let backups = only.backups.iter().filter(|id| !had.backups.contains(id));
        let names = |word: &&String| {
            let one = Only {
                dumps: [(*word).clone()].into(),
                ..Only::default()
            };
            !had.dumps.iter().any(|dump| one.names(dump))
        };
        let dumps = only.dumps.iter().filter(names).cloned();
        let missing: Vec<String> = backups.map(ToString::to_string).chain(dumps).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let sources = self.order.sources.iter().map(|source| source.name.as_str());
        let sources = Vec::from_iter(sources).join(" or ");
        let what = format!("there is no {} in {sources}", missing.join(", no "));
        Err(Error::new(Kind::NotFound, what)
            .hint("`pgstow list` shows all backups, `pgstow list --dumps` all dumps."))
    }

    /// Notes what was brought; where it `forgets`, what no source `had` is forgotten.
    fn note(
        &self,
        known: &Brought,
        mut brought: Brought,
        mut doubts: Doubts,
        had: &Had,
        forgets: bool,
    ) -> Result<()> {
        let target = &self.order.target.repository;
        {
            let copied = self.tally.so_far();
            if self.order.verify {
                doubts.settle(target, &copied, &had.anew)?;
            }
            // What was there before is noted already.
            let backups = copied.backups.iter().map(|backup| backup.id);
            let dumps = copied.dumps.iter().map(|dump| dump.name.clone());
            brought.backups.extend(backups);
            brought.dumps.extend(dumps);
        }
        doubts.take_from(&mut brought);
        if forgets {
            brought.backups.retain(|id| had.backups.contains(id));
            brought.dumps.retain(|name| had.dumps.contains(name));
        }
        if (&brought.backups, &brought.dumps) == (&known.backups, &known.dumps) {
            return Ok(());
        }
        target.note_brought(&Brought {
            time: clock::now(),
            ..brought
        })
    }

    /// `seen`: what the target has, as it was looked at for an earlier source and still is.
    fn fill_from(
        &self,
        source: &Peer,
        seen: &mut Option<There>,
        doubts: &Doubts,
        brought: &mut Brought,
        had: &mut Had,
    ) -> Result<()> {
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
        let all = match seen.take() {
            Some(all) => all,
            None => There::look(&order.target.repository, doubts)?,
        };
        // Seen before anything is copied: a cleanup may delete some of it meanwhile.
        all.note_in(brought, doubts);
        let (there, before) = (&all.backups, self.tally.state());
        had.backups.extend(stock.keys().copied());

        let lacking = match order.only {
            Some(only) => Lacking::chosen(&stock, there, &only.backups),
            None => Lacking::look(&stock, there, order.target, &pairs, brought)?,
        };
        for pair in &pairs {
            let needed = order.only.map(|_| lacking.needed_wal(&stock, &pair.source));
            let damaged = doubts.wal(&pair.target);
            let anew = wal::copy(&pass, pair, needed.as_deref(), &damaged)?;
            let of_system = |segment| (pair.target.clone(), segment);
            had.anew.extend(anew.into_iter().map(of_system));
        }
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
            match backup::copy(&pass, &pairs, id)? {
                Fate::Copied => copied.insert(id),
                Fate::PassedOver => false,
                Fate::Later => break,
            };
        }
        let is_chosen = |name: &DumpName| match order.only {
            Some(only) => only.names(name),
            None => true,
        };
        let is_brought = |name: &DumpName| order.only.is_none() && brought.dumps.contains(name);
        let dumps = dumps::copy(&pass, &pairs, &all.dumps, is_chosen, is_brought)?;
        had.dumps.extend(dumps);
        if order.only.is_none() {
            let was_there = |id| matches!(there.get(&id), Some(Shown::Complete(_)));
            pins::copy(&pass, |id| copied.contains(&id) || was_there(id))?;
        }
        *seen = (self.tally.state() == before).then_some(all);
        Ok(())
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
