//! What happened, with names, and how to get back to just before it.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{
    fate::{Fate, Fates, first_of},
    ledger::{Ended, Found, FoundKind},
    names::{Name, Names, Unnamed},
    prepared::Prepared,
    work::{Oid, Rows, is_of_users},
};
use crate::{
    domain::restore::{
        archive::Archive,
        choice::choose,
        target::{Target, TimelineWish, Wish},
    },
    postgres::{
        lsn::{Lsn, TimelineId},
        wal_summary::Locator,
    },
    util::clock::Time,
};

#[derive(Debug, Serialize)]
pub struct Event {
    /// Of the record before which the state was as before.
    pub lsn: Lsn,
    /// Of what has no time of its own: when the transaction before it ended.
    pub time: Option<Time>,
    #[serde(flatten)]
    pub what: What,
    /// The words behind `pgstow` that restore to just before it; None where that can't be done.
    pub restore: Option<Vec<String>>,
    /// Why it can't.
    pub no_restore: Option<String>,
    /// Prepared transactions that are open there, with their locks, the first ten; this one itself, if it was prepared.
    pub prepared: Vec<Prepared>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum What {
    Transaction(Transaction),
    RestorePoint {
        name: String,
    },
    Checkpoint,
    Promotion {
        timeline: TimelineId,
        before: TimelineId,
    },
    /// Nothing was committed since then.
    Quiet {
        since: Time,
    },
    ClockSetBack {
        from: Time,
    },
    /// What happened there is not known.
    Unread {
        segment: String,
        why: String,
    },
}

#[derive(Debug, Serialize)]
pub struct Transaction {
    pub xid: u32,
    /// Its subtransaction, where that was asked for.
    pub part: Option<u32>,
    pub committed: bool,
    /// Rows or relations of the user's went, or changed in large numbers.
    pub loss: bool,
    /// A table was asked for, and this is of relations that nobody knows: they may have been it.
    pub may_be_table: bool,
    pub databases: Vec<DroppedDatabase>,
    pub relations: Vec<Touched>,
    /// Rows of more relations than are told by name.
    pub others: Rows,
}

#[derive(Debug, Serialize)]
pub struct DroppedDatabase {
    pub oid: u32,
    pub name: Option<String>,
}

/// A relation that a transaction touched.
#[derive(Debug, Serialize)]
pub struct Touched {
    /// None of these where nobody knows them.
    pub database: Option<String>,
    pub schema: Option<String>,
    pub name: Option<String>,
    /// As pg_class.relkind.
    pub relation_kind: Option<String>,
    /// Database and relfilenode before the transaction; None where only the relation's OID is known.
    pub file: Option<String>,
    pub fate: Option<Fate>,
    /// A restore has none of its rows, as far as is known.
    pub unlogged: bool,
    #[serde(flatten)]
    pub rows: Rows,
}

impl Touched {
    /// Whether the user's rows are in it, as far as is known.
    pub fn holds_rows(&self) -> bool {
        let kind = self.relation_kind.as_deref();
        kind.is_none_or(|kind| matches!(kind, "r" | "m"))
    }

    /// Whether something of the user's went that is not made again from what is left.
    fn is_lost(&self) -> bool {
        let is_sequence = self.relation_kind.as_deref() == Some("S");
        match self.fate {
            // Truncated it starts again, or got another type.
            Some(Fate::Dropped) if is_sequence => true,
            Some(fate) => fate.loses_rows() && self.holds_rows(),
            None => false,
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        self.file.is_some() && self.file == other.file
            || self.name.is_some()
                && (&self.name, &self.schema, &self.database)
                    == (&other.name, &other.schema, &other.database)
    }
}

/// Whose names are wanted for what was found.
pub fn unnamed(found: &[Found]) -> Unnamed {
    let mut unnamed = Unnamed::default();
    for found in found {
        let FoundKind::Transaction(transaction) = &found.kind else {
            continue;
        };
        let Ended { end, .. } = &**transaction;
        let rows = end.work.rows().map(|(file, _)| file);
        let files = end.removed.iter().copied().chain(rows);
        unnamed
            .files
            .extend(files.map(|file| (file.database, file.number)));
        unnamed.oids.extend(&end.dropped);
        unnamed.databases |= !end.dropped_databases.is_empty();
        // Only where files went, locks say of which relations.
        if !end.removed.is_empty() {
            unnamed.oids.extend(&end.work.locked);
        }
        unnamed.oids.extend(end.work.columns_changed());
    }
    unnamed
}

/// Makes events of what was found.
pub struct Teller<'a> {
    pub names: &'a Names,
    pub archive: &'a Archive,
    pub timeline: TimelineId,
    /// From so many rows on it is a loss.
    pub min_rows: u64,
    /// Only what touches a table, and drops of what nobody knows, were asked for.
    pub of_table: bool,
    /// This one alone, or that with this subtransaction, was asked for.
    pub xid: Option<u32>,
    /// Also what did nothing to users' relations.
    pub all: bool,
}

impl Teller<'_> {
    /// None of what is of no interest, now that names are known.
    pub fn tell(&self, found: Found) -> Option<Event> {
        let what = match found.kind {
            FoundKind::Transaction(ended) => What::Transaction(self.transaction(*ended)?),
            FoundKind::RestorePoint(name) => What::RestorePoint { name },
            FoundKind::Checkpoint => What::Checkpoint,
            FoundKind::Promoted { timeline, before } => What::Promotion { timeline, before },
            FoundKind::Quiet { since } => What::Quiet { since },
            FoundKind::ClockSetBack { from } => What::ClockSetBack { from },
            FoundKind::Unread { segment, why } => What::Unread { segment, why },
        };
        let (restore, no_restore) = match self.restore(found.lsn) {
            Ok(words) => (Some(words), None),
            Err(why) => (None, Some(why)),
        };
        Some(Event {
            lsn: found.lsn,
            time: found.time,
            what,
            restore,
            no_restore,
            prepared: found.prepared,
        })
    }

    /// An LSN stops just before its record, whatever that is; numbers of transactions come round again, and which
    /// backup lies before one can't be told.
    fn restore(&self, lsn: Lsn) -> Result<Vec<String>, String> {
        let wish = Wish {
            target: Target::Lsn(lsn),
            exclusive: true,
            timeline: TimelineWish::Number(self.timeline),
            ..Wish::latest()
        };
        choose(self.archive, &wish).map_err(|error| error.message().to_owned())?;
        Ok(vec![
            "restore".to_owned(),
            "--target-lsn".to_owned(),
            lsn.to_string(),
            "--target-exclusive".to_owned(),
            "--target-timeline".to_owned(),
            self.timeline.to_string(),
        ])
    }

    fn transaction(&self, ended: Ended) -> Option<Transaction> {
        let Ended { end, touches_table } = ended;
        let mut fates = Fates::of(&end.removed, &end.dropped, &end.work.created);
        let files: Vec<(Locator, Option<&Name>)> = end
            .removed
            .iter()
            .map(|file| (*file, self.name_of(*file, &end.dropped)))
            .filter(|(_, name)| !name.is_some_and(Name::is_of_system))
            .collect();
        let replaced = files.iter().filter(|(file, name)| {
            name.is_none_or(Name::holds_rows) && !fates.is_dropped(*file, *name)
        });
        fates.alone = replaced.count() < 2;
        let (unharmed, files): (Vec<_>, Vec<_>) = files.into_iter().partition(|(file, name)| {
            let fate = fates.of_file(*file, *name);
            end.empty.contains(file) && matches!(fate, Fate::Truncated | Fate::Rewritten)
        });
        let unharmed: BTreeSet<Oid> = unharmed.iter().map(|(file, _)| first_of(*file)).collect();
        let locked = end.work.locked.iter();
        let locked: Vec<Oid> = locked
            .filter(|oid| !unharmed.contains(*oid))
            .copied()
            .collect();
        let mut relations: Vec<Touched> = files
            .iter()
            .map(|(file, name)| {
                let fate = fates.of_file(*file, *name);
                self.touched(Some(*file), file.database, *name, Some(fate))
            })
            .collect();
        let may_be_table = self.of_table && !touches_table;
        let mut unknown = files.iter().any(|(_, name)| name.is_none());
        if unknown {
            let (named, are_all) = self.by_oid(&end.dropped, fates, &locked, &relations);
            unknown = !are_all;
            if !may_be_table && !named.is_empty() {
                relations.retain(|one| one.name.is_some());
                relations.extend(named);
            }
        }
        let mut rows: Vec<(Locator, Rows)> = end.work.rows().collect();
        rows.retain(|(file, _)| match self.names.of_file(*file) {
            Some(name) => !name.is_of_system(),
            None => is_of_users(*file),
        });
        for (file, rows) in rows {
            let name = self.names.of_file(file);
            let mut touched = self.touched(Some(file), file.database, name, None);
            touched.rows = rows;
            // One that got another file meanwhile has rows in both.
            match relations.iter_mut().find(|one| one.is_same(&touched)) {
                Some(known) => known.rows.add(rows),
                None => relations.push(touched),
            }
        }
        // Loads and ordinary changes do it often: it is told to who asks for it.
        if self.all || self.of_table {
            for oid in end.work.columns_changed() {
                let name = self.names.oids.get(&oid).filter(|name| name.holds_rows());
                let changed = Some(Fate::ColumnsChanged);
                let changed =
                    name.map(|name| self.touched(None, oid.database, Some(name), changed));
                if let Some(changed) = changed
                    && !relations.iter().any(|one| one.is_same(&changed))
                {
                    relations.push(changed);
                }
            }
        }
        let kind_is = |one: &Touched, kinds: &[&str]| {
            let kind = one.relation_kind.as_deref();
            kind.is_some_and(|kind| kinds.contains(&kind))
        };
        // REINDEX, ALTER SEQUENCE: these are not truncated alone.
        let truncates = |one: &Touched| one.fate == Some(Fate::Truncated) && one.holds_rows();
        if !relations.iter().any(truncates) {
            let others = relations
                .iter_mut()
                .filter(|one| one.fate == Some(Fate::Truncated) && kind_is(one, &["i", "S"]));
            others.for_each(|one| one.fate = Some(Fate::Rewritten));
        }
        // REINDEX CONCURRENTLY puts another index in the place of the old one, and drops that without a lock on its table, as
        // DROP INDEX CONCURRENTLY does: which of both it was the WAL doesn't tell.
        let drops = |one: &Touched| one.fate == Some(Fate::Dropped) && one.holds_rows();
        let others_locked = || {
            let mut locked = end.work.locked.iter();
            locked.any(|oid| !end.dropped.contains(oid))
        };
        if !relations.iter().any(drops) && !others_locked() {
            let indexes = relations
                .iter_mut()
                .filter(|one| one.fate == Some(Fate::Dropped) && kind_is(one, &["i"]));
            indexes.for_each(|one| one.fate = Some(Fate::Gone));
        }
        if may_be_table {
            // What has a name has another one.
            relations.retain(|one| one.name.is_none());
            if !unknown {
                return None;
            }
        }
        let databases = end.dropped_databases.iter().map(|oid| DroppedDatabase {
            oid: *oid,
            name: self.names.databases.get(oid).cloned(),
        });
        let databases: Vec<DroppedDatabase> = databases.collect();
        let others = end.work.others;
        let mut sum = others;
        relations.iter().for_each(|one| sum.add(one.rows));
        let did_nothing = databases.is_empty() && relations.is_empty() && others.most() == 0;
        if did_nothing && !self.all {
            return None;
        }
        let many = sum.most() >= self.min_rows;
        Some(Transaction {
            xid: end.xid,
            part: self.xid.filter(|xid| *xid != end.xid),
            committed: end.committed,
            loss: end.committed
                && (!databases.is_empty() || relations.iter().any(Touched::is_lost) || many),
            may_be_table,
            databases,
            relations,
            others,
        })
    }

    /// By its file, or by its number where it was dropped: the first file of a relation has that.
    fn name_of(&self, file: Locator, dropped: &[Oid]) -> Option<&Name> {
        let oid = Oid {
            database: file.database,
            relation: file.number,
        };
        let by_oid = || self.names.oids.get(&oid).filter(|_| dropped.contains(&oid));
        self.names.of_file(file).or_else(by_oid)
    }

    /// Relations that are known by their OIDs alone, since nobody knows their files: those that were dropped, and of
    /// those that were locked those that may have got new files: a table is locked when one that refers to it is dropped.
    /// And whether each of these has a name.
    fn by_oid(
        &self,
        dropped: &[Oid],
        mut fates: Fates,
        locked: &[Oid],
        known: &[Touched],
    ) -> (Vec<Touched>, bool) {
        let is_as_before = |oid: &&Oid| self.names.kept.contains(*oid) || fates.has_made(oid);
        let replaced = locked
            .iter()
            .filter(|oid| !dropped.contains(oid) && !is_as_before(oid));
        let replaced: BTreeSet<&Oid> = replaced.filter(|_| fates.replaces()).collect();
        let named = |oid: &Oid| self.names.oids.get(oid);
        let tables = replaced.iter().filter_map(|oid| named(oid));
        fates.alone = tables.filter(|name| name.holds_rows()).count() < 2;
        let dropped = dropped.iter().map(|oid| (oid, Fate::Dropped));
        let all = dropped.chain(replaced.into_iter().map(|oid| (oid, fates.replaced())));
        let all: Vec<(&Oid, Fate)> = all.filter(|(oid, _)| !fates.has_made(oid)).collect();
        let are_all = !all.is_empty() && all.iter().all(|(oid, _)| named(oid).is_some());
        let touched = all.into_iter().filter_map(|(oid, fate)| {
            let name = named(oid)?;
            let is_known = |one: &Touched| {
                one.name.as_ref() == Some(&name.name) && one.schema.as_ref() == Some(&name.schema)
            };
            let told = name.is_of_system() || known.iter().any(is_known);
            (!told).then(|| self.touched(None, oid.database, Some(name), Some(fate)))
        });
        (touched.collect(), are_all)
    }

    fn touched(
        &self,
        file: Option<Locator>,
        database: u32,
        name: Option<&Name>,
        fate: Option<Fate>,
    ) -> Touched {
        Touched {
            database: self.names.databases.get(&database).cloned(),
            schema: name.map(|name| name.schema.clone()),
            name: name.map(|name| name.name.clone()),
            relation_kind: name.map(|name| name.kind.clone()),
            file: file.map(label),
            fate,
            // Known by a file: it gets another one where that changes.
            unlogged: file.is_some() && name.is_some_and(|name| name.unlogged),
            rows: Rows::default(),
        }
    }
}

/// Database and relfilenode.
fn label(file: Locator) -> String {
    format!("{}/{}", file.database, file.number)
}
