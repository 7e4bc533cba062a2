//! How full the file systems are, and how fast they fill: an earlier measurement tells.

use std::{path::PathBuf, time::Instant};

use super::super::measures::{FullIn, Measures};
use crate::{
    error::{Kind, Result},
    util::{
        cancel::Cancel,
        clock::Time,
        errand::Errand,
        fs::{self, Room},
    },
};

/// What lies on a disk.
#[derive(Clone, Debug)]
pub struct Place {
    /// `data`, `pg_wal`, `repo.NAME`.
    pub name: String,
    pub path: PathBuf,
}

#[derive(Debug)]
pub struct Disk {
    pub name: String,
    pub path: PathBuf,
    pub room: Result<Room>,
    /// Until it is full at the rate since the earliest measurement that is kept, or of the last hour; None where it
    /// doesn't grow, or too little is known.
    pub full_in: Option<FullIn>,
}

pub fn send(places: &[Place]) -> Vec<(Place, Errand<Room>)> {
    let send = |place: &Place| {
        let path = place.path.clone();
        let what = format!("looking at the file system of {}", path.display());
        (place.clone(), Errand::send(what, move || fs::room(&path)))
    };
    places.iter().map(send).collect()
}

/// An error only if a stop was asked for.
pub fn wait(
    sent: Vec<(Place, Errand<Room>)>,
    measures: &Measures,
    until: Instant,
    now: Time,
    cancel: &Cancel,
) -> Result<Vec<Disk>> {
    sent.into_iter()
        .map(|(place, errand)| {
            let room = match errand.wait(until, cancel) {
                Err(error) if error.kind() == Kind::Interrupted => return Err(error),
                room => room,
            };
            let full_in = room
                .as_ref()
                .ok()
                .and_then(|room| measures.full_in(&place.name, room, now));
            Ok(Disk {
                name: place.name,
                path: place.path,
                room,
                full_in,
            })
        })
        .collect()
}
