//! Backups that stay whatever the rules say: `pins/<backup-id>-<n>.json`.
//!
//! Each is a word on one backup, pinned or not; the highest number holds. What is said last wins, and
//! nothing that is stored changes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{backup_id::BackupId, document::FORMAT, layout::ObjectName, repository::Repository};
use crate::{
    error::{Error, Kind, Result},
    util::clock::Time,
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    pub format: u32,
    pub backup: BackupId,
    /// False: it follows the rules again.
    pub pinned: bool,
    pub reason: Option<String>,
    /// Until when; None: until it is unpinned.
    pub until: Option<Time>,
    pub time: Time,
    pub host: String,
}

impl Pin {
    /// Whether it keeps the backup at `now`.
    pub fn holds(&self, now: Time) -> bool {
        self.pinned && self.until.is_none_or(|until| now < until)
    }
}

impl Repository {
    /// What holds of each backup of which anything was ever said. A word that can't be read counts as
    /// a pin without an end: somebody may rely on it.
    pub fn pins(&self) -> Result<BTreeMap<BackupId, Pin>> {
        let mut newest: BTreeMap<BackupId, u32> = BTreeMap::new();
        for (id, number, _) in self.words()? {
            let known = newest.entry(id).or_insert(number);
            *known = number.max(*known);
        }
        let mut pins = BTreeMap::new();
        let newest: Vec<(BackupId, u32)> = newest.into_iter().collect();
        let words = self.read_each(&newest, |(id, number)| {
            let name = self.layout().pin(id, *number);
            self.storage().read_json::<Pin>(&name)
        });
        for ((id, _), word) in newest.iter().zip(words) {
            let id = *id;
            match word {
                Ok(pin) if pin.backup == id && pin.format == FORMAT => pins.insert(id, pin),
                Ok(_) => pins.insert(id, unclear(id, "it is of another backup or format")),
                Err(error) if error.kind() == Kind::NotFound => None,
                Err(error) if self.is_of_object(&error) => {
                    pins.insert(id, unclear(id, &error.in_one_line()))
                }
                Err(error) => return Err(error),
            };
        }
        Ok(pins)
    }

    /// Adds a word on a backup, which holds from now on.
    pub fn add_pin(&self, pin: &Pin) -> Result<()> {
        loop {
            let of_backup = self
                .words()?
                .into_iter()
                .filter(|(id, ..)| *id == pin.backup);
            let newest = of_backup.map(|(_, number, _)| number).max().unwrap_or(0);
            let next = newest.checked_add(1).ok_or_else(|| {
                let pins = self
                    .storage()
                    .place(&self.layout().pin(&pin.backup, newest));
                Error::damaged(format!("no number is left behind {pins}")).hint("delete that file.")
            })?;
            let name = self.layout().pin(&pin.backup, next);
            match self.storage().create_json(&name, pin) {
                // Somebody else spoke between the listing and now.
                Err(error) if error.kind() == Kind::AlreadyExists => {}
                other => return other,
            }
        }
    }

    /// Every word on backups that `gone` tells are gone.
    pub fn words_on(&self, gone: impl Fn(BackupId) -> bool) -> Result<Vec<ObjectName>> {
        let words = self.words()?.into_iter();
        Ok(words
            .filter(|(id, ..)| gone(*id))
            .map(|(.., name)| name)
            .collect())
    }

    fn words(&self) -> Result<Vec<(BackupId, u32, ObjectName)>> {
        let mut words = Vec::new();
        for info in self.storage().list(&self.layout().pins(), None)? {
            let name = info?.name;
            words.extend(
                self.layout()
                    .read_pin(&name)
                    .map(|(id, number)| (id, number, name)),
            );
        }
        Ok(words)
    }
}

fn unclear(id: BackupId, why: &str) -> Pin {
    Pin {
        format: FORMAT,
        backup: id,
        pinned: true,
        reason: Some(format!("its pin can't be read: {why}")),
        until: None,
        time: id.time(),
        host: String::new(),
    }
}
