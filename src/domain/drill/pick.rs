//! Which backup is restored, and to where. Pure but for chance.

use std::{
    collections::BTreeSet,
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
};

use crate::{
    domain::restore::{
        archive::Archive,
        choice::{Choice, choose},
        target::{Target, TimelineWish, Wish},
    },
    error::{Error, Kind, Result},
    postgres::lsn::Lsn,
    repo::backup_id::BackupId,
    util::clock::{Time, readable},
};

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// The end of the archive.
    Latest,
    Time(Time),
    /// Any place between the first backup's end and the last segment: in the long run all of them.
    Random,
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            To::Latest => Target::Latest.fmt(f),
            To::Time(time) => write!(f, "time {}", readable(*time)),
            To::Random => f.write_str("a random place"),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Picked {
    pub wish: Wish,
    pub choice: Choice,
    /// None: all of the backup is wanted.
    pub part: Option<Part>,
}

/// Databases of a backup; of the others only holes.
#[derive(Clone, Debug)]
pub struct Part {
    /// For whose sake it is.
    pub database: u32,
    pub databases: BTreeSet<u32>,
    /// Of the files that are written.
    pub bytes: u64,
}

impl Picked {
    pub fn target_time(&self) -> Option<Time> {
        match self.wish.target {
            Target::Time(time) => Some(time),
            _ => None,
        }
    }

    /// The files, and what a server needs beside them while it replays: WAL until its next restartpoint, and what
    /// the files grow by, of which nobody knows how much it is.
    pub fn needed_bytes(&self, archive: &Archive) -> u64 {
        /// max_wal_size of the drill's server, and what goes beyond it.
        const WAL: u64 = 1280 << 20;
        /// Its own files, and ours.
        const BESIDE: u64 = 64 << 20;
        let files = self.bytes();
        let wal = self.choice.reach.segments() * archive.wal.size().bytes();
        // Into holes go the pages that WAL brings.
        let holes = self.choice.backup.bytes.saturating_sub(files);
        files + files / 20 + wal.min(holes) + wal.min(WAL) + BESIDE
    }

    /// Of the files that are written.
    pub fn bytes(&self) -> u64 {
        let part = self.part.as_ref();
        part.map_or(self.choice.backup.bytes, |part| part.bytes)
    }
}

pub fn pick(archive: &Archive, to: &To) -> Result<Picked> {
    let wish = match to {
        To::Latest => Wish::latest(),
        To::Time(time) => Wish {
            target: Target::Time(*time),
            ..Wish::latest()
        },
        To::Random => random(archive, RandomState::new().build_hasher().finish())?,
    };
    wish.check()?;
    let choice = choose(archive, &wish)?;
    Ok(Picked {
        wish,
        choice,
        part: None,
    })
}

/// Where recovery may be told to stop: anywhere in the segments behind a backup's end, as long as there is a record
/// behind it.
fn random(archive: &Archive, chance: u64) -> Result<Wish> {
    let timeline = choose(archive, &Wish::latest())
        .map(|choice| choice.timeline)
        .or_else(|error| archive.timelines().pop_last().ok_or(error))?;
    let size = archive.wal.size().bytes();
    let torn = archive.torn();
    let mut ways: Vec<(BackupId, u64, u64)> = Vec::new();
    let backups = archive.by_age().into_iter();
    for backup in backups.filter(|backup| !torn.contains_key(&backup.id)) {
        for window in archive.windows(backup) {
            let Some(to) = window.to_lsn.filter(|_| window.timeline == timeline) else {
                continue;
            };
            let first = backup.stop_lsn.0 / size + 1;
            // Behind the beginning of the last segment there is a record.
            let last = (to.0 / size).saturating_sub(1);
            // Where a newer backup leads, an older one needn't.
            if let Some((_, _, end)) = ways.last_mut() {
                *end = (*end).min(first.saturating_sub(1));
            }
            ways.push((backup.id, first, last));
        }
    }
    let places = ways.iter().flat_map(|(id, first, last)| {
        (*first..=*last).map(move |number| (*id, number, number < *last))
    });
    let count = places.clone().count() as u64;
    let Some((id, number, has_next)) = count
        .checked_sub(1)
        .and_then(|_| places.clone().nth((chance % count) as usize))
    else {
        return Err(Error::new(
            Kind::Failed,
            "there is no WAL behind any backup that a random place could lie in",
        )
        .hint("leave out --random, or wait until more WAL is archived."));
    };
    // Of the last one nobody knows where its last record is.
    let within = match has_next {
        true => chance / count % size,
        false => 0,
    };
    Ok(Wish {
        backup: Some(id),
        target: Target::Lsn(Lsn(number * size + within)),
        timeline: TimelineWish::Number(timeline),
        ..Wish::latest()
    })
}
