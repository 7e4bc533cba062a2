//! What dumps a repository holds. A dump exists exactly when its `.json` does.
//!
//! They are made in this order: `.started.json`, the data, `.sha256`, `.json`, then the first goes. They
//! are deleted in this one: `.json`, the rest, `.started.json`. A crash in between leaves remains.

use std::collections::{BTreeMap, BTreeSet};

use tracing::warn;

use super::{
    catalog::Removed,
    document::FORMAT,
    dump::{Dump, DumpStarted},
    dump_name::{Class, DumpName, DumpObject, Subject},
    repository::Repository,
    storage::ObjectInfo,
    verified::Verdicts,
};
use crate::{
    error::{Error, Kind, Result},
    util::clock::{self, Time},
};

/// What is there under a dump's name.
#[derive(Clone, Debug)]
pub enum DumpState {
    /// Whole.
    Complete(Box<Dump>),
    /// Was whole, but its data is gone or has another length: how.
    Damaged(Box<Dump>, String),
    /// Is being made, or the remains of one that failed.
    Unfinished(UnfinishedDump),
    /// Its description is there, but can't be read.
    Unreadable { why: String, hint: String },
}

#[derive(Clone, Debug)]
pub struct UnfinishedDump {
    /// None if the claim is gone or can't be read.
    pub started: Option<DumpStarted>,
    /// When its newest object came, by the store's clock.
    pub newest: Time,
}

#[derive(Clone, Debug)]
pub struct DumpEntry {
    pub name: DumpName,
    /// Of all its objects.
    pub stored_bytes: u64,
    /// Whether its claim is there.
    pub has_claim: bool,
    pub state: DumpState,
}

impl DumpEntry {
    /// Its description, of those that are whole. Whether one is good, `verify` may have said
    /// ([`Verdicts::against`]).
    pub fn whole(&self) -> Option<&Dump> {
        match &self.state {
            DumpState::Complete(dump) => Some(dump),
            _ => None,
        }
    }
}

/// Which dump is meant: its name, a database, whose newest one that is, `@globals`, or `latest`. One of a part of a
/// database is meant by its name alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DumpChoice {
    /// A dump's stem, with or without its folder or an ending; what was dumped ([`Subject::of_word`]); or `latest`.
    /// None: the newest of a database.
    pub wanted: Option<String>,
    pub class: Option<Class>,
}

/// What there is of one database, but for dumps of a part of it.
#[derive(Clone, Debug, Default)]
pub struct Newest {
    /// None: not one dump of it is good.
    pub good: Option<Box<Dump>>,
    /// Whether dumps of it are made again and again: one is of another class than manual.
    pub is_regular: bool,
}

/// What two listings and a few reads show of all dumps.
#[derive(Debug, Default)]
pub struct Overview {
    /// What there is of each database, and of the globals.
    pub newest: BTreeMap<Subject, Newest>,
    /// Why dumps that were whole are not any more.
    pub lost: BTreeMap<DumpName, String>,
}

/// The objects of one dump.
struct Group {
    name: DumpName,
    /// With their lengths.
    objects: BTreeMap<DumpObject, u64>,
    newest: Time,
}

impl Group {
    /// Whether it was a dump, and nothing is left but what tells of it.
    fn lacks_data(&self) -> bool {
        let is_data = |object: &DumpObject| matches!(object, DumpObject::Data(..));
        self.objects.contains_key(&DumpObject::Description) && !self.objects.keys().any(is_data)
    }

    /// What the listing alone shows to be wrong with its data.
    fn problem(&self, dump: &Dump) -> Option<String> {
        let (name, bytes) = (&dump.data.name, dump.data.stored_bytes);
        match self.objects.get(&dump.object()) {
            None => Some(format!("{name} is missing")),
            Some(length) if *length != bytes => {
                Some(format!("{name} has {length} bytes instead of {bytes}"))
            }
            Some(_) => None,
        }
    }
}

impl Repository {
    /// All dumps and remains, oldest first. One listing, and one read for each dump.
    pub fn dumps(&self) -> Result<Vec<DumpEntry>> {
        let mut entries = Vec::new();
        let groups: Vec<Group> = self.dump_groups()?.into_values().collect();
        let states = self.read_each(&groups, |group| self.dump_state(group));
        for (group, state) in groups.iter().zip(states) {
            if let Some(state) = state? {
                entries.push(DumpEntry {
                    stored_bytes: group.objects.values().sum(),
                    has_claim: group.objects.contains_key(&DumpObject::Started),
                    name: group.name.clone(),
                    state,
                });
            }
        }
        entries.sort_by_key(|entry| entry.name.time());
        Ok(entries)
    }

    /// Whether there is any, or remains of one.
    pub fn has_dumps(&self) -> Result<bool> {
        Ok(!self.dump_groups()?.is_empty())
    }

    /// `verdicts`: what `verify` said last. One of tomorrow (by `now`) is the newest only where there is no other.
    ///
    /// On other hosts, where each read takes its time, only the names of older dumps are read: of these lost data is seen,
    /// none that was cut, which buckets don't do.
    pub fn overview_of_dumps(&self, verdicts: &Verdicts, now: Time) -> Result<Overview> {
        let mut of_series: BTreeMap<String, Vec<Group>> = BTreeMap::new();
        let mut lost = BTreeMap::new();
        let is_near = self.location().folder().is_some();
        for group in self.dump_groups()?.into_values() {
            if group.lacks_data() {
                lost.insert(group.name.clone(), "its data is missing".to_owned());
            }
            of_series
                .entry(group.name.series())
                .or_default()
                .push(group);
        }
        let mut all: BTreeMap<Subject, Newest> = BTreeMap::new();
        for mut groups in of_series.into_values() {
            groups.sort_by_key(|group| group.name.time());
            let is_regular = |group: &&Group| group.name.class() != Class::Manual;
            let mut regular = groups.iter().filter(is_regular).count();
            for group in groups.iter().rev() {
                let (dump, is_good) = match self.dump_state(group)? {
                    Some(DumpState::Complete(dump)) => {
                        let is_good = verdicts.against(&dump.name).is_none();
                        (dump, is_good)
                    }
                    Some(DumpState::Damaged(dump, why)) => {
                        lost.insert(group.name.clone(), why);
                        (dump, false)
                    }
                    Some(DumpState::Unreadable { why, .. }) => {
                        lost.insert(group.name.clone(), why);
                        continue;
                    }
                    Some(DumpState::Unfinished(_)) | None => continue,
                };
                if dump.part().is_some() {
                    regular -= usize::from(is_regular(&group));
                    continue;
                }
                // Another prefix begins another series.
                let newest = all.entry(dump.subject()).or_default();
                newest.is_regular |= regular > 0;
                if is_good {
                    let is_ahead = clock::is_ahead(dump.name.time(), now);
                    let rank = |dump: &Dump| {
                        let time = dump.name.time();
                        (!clock::is_ahead(time, now), time)
                    };
                    if newest.good.as_deref().map(rank) < Some(rank(&dump)) {
                        newest.good = Some(dump);
                    }
                    if !is_ahead && !is_near {
                        break;
                    }
                }
            }
        }
        Ok(Overview { newest: all, lost })
    }

    /// The newest whole dump that is meant; an error of kind `NotFound` if there is none.
    pub fn find_dump(&self, choice: &DumpChoice) -> Result<Box<Dump>> {
        self.find(choice, false)
    }

    /// The same, also where its data is lost, for who says so.
    pub fn find_dump_to_verify(&self, choice: &DumpChoice) -> Result<Box<Dump>> {
        self.find(choice, true)
    }

    fn find(&self, choice: &DumpChoice, also_damaged: bool) -> Result<Box<Dump>> {
        let entries = self.dumps()?;
        let wanted = choice.wanted.as_deref().filter(|word| *word != "latest");
        let named = wanted.map(|word| DumpObject::split(word).map_or(word, |(name, _)| name));
        // A name tells exactly one, whatever else is asked for.
        if let Some(named) = named {
            let is_it =
                |entry: &&DumpEntry| entry.name.stem() == named || entry.name.to_string() == named;
            if let Some(entry) = entries.iter().find(is_it) {
                return self.usable(entry, also_damaged);
            }
        }
        // A database may be called like a file.
        let subject = wanted.map(Subject::of_word);
        let is_meant = |dump: &&Dump| {
            let of_subject = match &subject {
                Some(subject) => dump.subject() == *subject,
                None => dump.database.is_some(),
            };
            let of_class = choice.class.is_none_or(|class| dump.class == class);
            of_subject && of_class && dump.part().is_none()
        };
        let mut lost = Vec::new();
        for entry in entries.iter().rev() {
            match &entry.state {
                DumpState::Complete(dump) if is_meant(&&**dump) => {
                    for (name, problem) in lost {
                        warn!(
                            "{name}, which is newer, can't be used: {problem}; it is {} that is taken",
                            dump.name
                        );
                    }
                    return Ok(dump.clone());
                }
                DumpState::Damaged(dump, _) if also_damaged && is_meant(&&**dump) => {
                    return Ok(dump.clone());
                }
                DumpState::Damaged(dump, problem) if is_meant(&&**dump) => {
                    lost.push((&entry.name, problem));
                }
                _ => {}
            }
        }
        Err(self.no_such_dump(subject.as_ref(), choice.class))
    }

    fn usable(&self, entry: &DumpEntry, also_damaged: bool) -> Result<Box<Dump>> {
        let name = &entry.name;
        let error = match &entry.state {
            DumpState::Complete(dump) => return Ok(dump.clone()),
            DumpState::Damaged(dump, _) if also_damaged => return Ok(dump.clone()),
            DumpState::Damaged(_, problem) => {
                Error::damaged(format!("dump {name} can't be used: {problem}"))
            }
            DumpState::Unreadable { why, hint } => {
                return Err(Error::damaged(format!("dump {name} can't be used: {why}")).hint(hint));
            }
            DumpState::Unfinished(_) => Error::new(
                Kind::NotFound,
                format!("dump {name} is not there yet, or was interrupted"),
            ),
        };
        Err(error.hint("`pgstow list --dumps` shows all dumps."))
    }

    fn no_such_dump(&self, subject: Option<&Subject>, class: Option<Class>) -> Error {
        let class = class.map(|class| format!("{class} "));
        let of = match subject {
            None => String::new(),
            Some(Subject::Database(name)) => format!(" of database {name:?}"),
            Some(Subject::Globals) => " of roles and tablespaces (@globals)".to_owned(),
        };
        Error::new(
            Kind::NotFound,
            format!(
                "there is no whole {}dump{of} in {}",
                class.unwrap_or_default(),
                self.location()
            ),
        )
        .hint("`pgstow list --dumps` shows all dumps.")
    }

    /// Of all dumps that are there.
    pub fn dump_names(&self) -> Result<BTreeSet<DumpName>> {
        let groups = self.dump_groups()?.into_values();
        let there = |group: &Group| group.objects.contains_key(&DumpObject::Description);
        Ok(groups.filter(there).map(|group| group.name).collect())
    }

    fn dump_groups(&self) -> Result<BTreeMap<DumpName, Group>> {
        let mut groups: BTreeMap<DumpName, Group> = BTreeMap::new();
        for info in self.storage().list(&self.layout().dumps(), None)? {
            let info = info?;
            let Some((name, object)) = self.layout().read_dump_object(&info.name) else {
                continue;
            };
            let group = groups.entry(name.clone()).or_insert_with(|| Group {
                name,
                objects: BTreeMap::new(),
                newest: info.modified,
            });
            group.objects.insert(object, info.size);
            group.newest = group.newest.max(info.modified);
        }
        Ok(groups)
    }

    /// None if the dump went while we looked.
    fn dump_state(&self, group: &Group) -> Result<Option<DumpState>> {
        if !group.objects.contains_key(&DumpObject::Description) {
            return Ok(Some(DumpState::Unfinished(self.dump_claim(group))));
        }
        match self.dump(&group.name) {
            Ok(dump) => Ok(Some(match group.problem(&dump) {
                None => DumpState::Complete(Box::new(dump)),
                Some(problem) => DumpState::Damaged(Box::new(dump), problem),
            })),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) if self.is_of_object(&error) => Ok(Some(DumpState::Unreadable {
                why: error.in_one_line(),
                hint: error
                    .hint_text()
                    .unwrap_or("put it back from a copy of the repository, or delete it.")
                    .to_owned(),
            })),
            Err(error) => Err(error),
        }
    }

    fn dump_claim(&self, group: &Group) -> UnfinishedDump {
        let name = self.layout().dump_object(&group.name, DumpObject::Started);
        UnfinishedDump {
            started: self.storage().read_json(&name).ok(),
            newest: group.newest,
        }
    }

    /// The description of a dump; an error of kind `NotFound` unless it is complete.
    pub fn dump(&self, name: &DumpName) -> Result<Dump> {
        let object = self.layout().dump_object(name, DumpObject::Description);
        let dump: Dump = self.storage().read_json(&object)?;
        let place = || self.storage().place(&object);
        if dump.format != FORMAT {
            return Err(Error::damaged(format!(
                "{} has format {}, this version of pgstow knows format {FORMAT}",
                place(),
                dump.format
            ))
            .hint("use a newer version of pgstow."));
        }
        if dump.name != *name {
            let what = format!("{} describes dump {}", place(), dump.name);
            return Err(
                Error::damaged(what).hint("give the files of the dump their own names again.")
            );
        }
        Ok(dump)
    }

    /// Whether nothing but a claim is there under a name.
    pub fn is_free_for_dump(&self, name: &DumpName) -> Result<bool> {
        let objects = self.dump_objects(name)?;
        Ok(objects.keys().all(|object| *object == DumpObject::Started))
    }

    pub fn count_dump_objects(&self, name: &DumpName) -> Result<u64> {
        Ok(self.dump_objects(name)?.len() as u64)
    }

    /// Nobody makes it any more.
    pub fn remove_dump_claim(&self, name: &DumpName) -> Result<()> {
        self.delete_if_there(&self.layout().dump_object(name, DumpObject::Started))
    }

    /// Removes all objects of a dump, its commit point first: from then on it is none; its claim last.
    pub fn remove_dump(&self, name: &DumpName) -> Result<Removed> {
        let mut removed = Removed::default();
        for info in self.dump_objects(name)?.into_values().rev() {
            self.delete_if_there(&info.name)?;
            removed.add(&info);
        }
        Ok(removed)
    }

    /// In the order in which they are made.
    fn dump_objects(&self, name: &DumpName) -> Result<BTreeMap<DumpObject, ObjectInfo>> {
        let mut objects = BTreeMap::new();
        let begin = self.layout().dump_folder(name);
        for info in self.storage().list(&begin, None)? {
            let info = info?;
            if let Some((found, object)) = self.layout().read_dump_object(&info.name)
                && found == *name
            {
                objects.insert(object, info);
            }
        }
        Ok(objects)
    }
}
