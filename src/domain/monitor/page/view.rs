//! What is shown of a repository: how much of it, in which look, at which scale.

use std::collections::BTreeSet;

use super::{
    html::Html,
    picture::in_picture,
    scale::{Scale, percent},
};
use crate::{
    domain::{
        list::{Line, LineState},
        monitor::facts::stock::{Stock, SystemWal},
    },
    postgres::lsn::SystemId,
    repo::backup_id::{BackupId, BackupKind},
    util::clock::Time,
};

/// Backups in pictures: the newest.
const DRAWN: usize = 200;

/// Percents: what has no width is not drawn.
const NARROWEST: f64 = 0.4;

pub struct View<'a> {
    pub stock: &'a Stock,
    /// The newest, oldest id first.
    pub backups: &'a [Line],
    /// What the next cleanup would delete.
    pub goes: BTreeSet<BackupId>,
    pub scale: Scale,
}

impl<'a> View<'a> {
    pub fn of(stock: &'a Stock, now: Time) -> Self {
        let all = &stock.listing.backups;
        let backups = &all[all.len().saturating_sub(DRAWN)..];
        let decisions = stock.cleanup.plan.backups.iter();
        let goes = decisions.filter(|decision| !decision.keep);
        let stretches = stock.wal.iter().flat_map(|wal| &wal.stretches);
        let arrived = stretches.flat_map(|one| [one.from, one.to]).flatten();
        Self {
            stock,
            backups,
            goes: goes.map(|decision| decision.id).collect(),
            scale: Scale::over(backups.iter().map(Self::time).chain(arrived), now),
        }
    }

    /// Backups that are in no picture.
    pub fn left_out(&self) -> usize {
        self.stock.listing.backups.len() - self.backups.len()
    }

    pub fn wal_of(&self, system: SystemId) -> Option<&'a SystemWal> {
        self.stock.wal.iter().find(|wal| wal.system == system)
    }

    /// Those in pictures whose system is known.
    pub fn backups_of(
        &self,
        system: SystemId,
    ) -> impl DoubleEndedIterator<Item = &'a Line> + Clone {
        self.backups.iter().filter(move |line| {
            let backup = line.backup.as_ref();
            backup.is_some_and(|backup| backup.system_id == system)
        })
    }

    pub fn has_backup_of(&self, system: SystemId) -> bool {
        self.backups_of(system).next().is_some()
    }

    /// Where a backup stands: at its end, if it has one.
    pub fn time(line: &Line) -> Time {
        let ended = line.backup.as_ref().map(|backup| backup.stop_time);
        ended.unwrap_or(line.id.time())
    }

    /// A stretch of time, `(top, height)` pixels from the top; seen however short it is.
    pub fn bar(
        &self,
        html: &mut Html,
        class: &'static str,
        (from, to): (Time, Time),
        (top, height): (f64, f64),
        told: &str,
    ) {
        let from = self.scale.x(from);
        let width = percent((self.scale.x(to) - from).max(NARROWEST));
        let (x, y, height) = (percent(from), in_picture(top), in_picture(height));
        let attributes = [
            ("class", class),
            ("x", &x),
            ("y", &y),
            ("width", &width),
            ("height", &height),
        ];
        html.tag("rect", &attributes, |html| html.leaf("title", &[], told));
    }
}

/// How a backup is drawn; what matters more lies on top.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Look {
    Incremental,
    Full,
    /// It runs, or waits for its WAL.
    Waits,
    /// It can't be used.
    Bad,
}

impl Look {
    pub fn of(line: &Line) -> Self {
        let restorable = || line.windows.iter().any(|one| one.window.to_lsn.is_some());
        match line.state {
            LineState::Pending | LineState::Running => Look::Waits,
            LineState::Complete if restorable() => match line.id.kind() {
                BackupKind::Full => Look::Full,
                BackupKind::Incremental => Look::Incremental,
            },
            _ => Look::Bad,
        }
    }

    pub fn class(self) -> &'static str {
        match self {
            Look::Full => "full",
            Look::Incremental => "incremental",
            Look::Waits => "waits",
            Look::Bad => "bad",
        }
    }

    /// Of those in [`super::SYMBOLS`].
    pub fn symbol(self) -> &'static str {
        match self {
            Look::Full => "#full",
            Look::Incremental => "#incremental",
            Look::Waits => "#waits",
            Look::Bad => "#bad",
        }
    }
}
