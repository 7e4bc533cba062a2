//! The lock of a process that works ahead of its turn: held from before it was started until it is
//! gone, however it ends, since it is its standard input. It says which segments it works on.

use std::{
    fs::File, io::Read, ops::RangeInclusive, os::unix::fs::FileExt, path::PathBuf, time::Duration,
};

use crate::{
    error::{IoContext, Result},
    postgres::wal_name::Segment,
    util::fs::open_lock,
};

/// Two names, a space, a new line.
const RANGE_LENGTH: usize = 50;

#[derive(Clone, Debug)]
pub struct Running {
    path: PathBuf,
}

/// The process that has the lock, or the last one that had it.
#[derive(Debug)]
pub struct Seen {
    pub lives: bool,
    pub segments: RangeInclusive<Segment>,
    /// How long ago it was started; None where the clock was set back since.
    pub age: Option<Duration>,
}

impl Running {
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// The lock, unless a process has it. Its file is to be given to the process that will work on the
    /// segments from `first` to `last`. Its folder is there.
    pub fn lock(&self, first: Segment, last: Segment) -> Result<Option<File>> {
        let file = open_lock(&self.path)?;
        if !is_free(&file) {
            return Ok(None);
        }
        file.write_all_at(format!("{first} {last}\n").as_bytes(), 0)
            .at("write", &self.path)?;
        Ok(Some(file))
    }

    /// None where there never was one.
    pub fn look(&self) -> Option<Seen> {
        let mut file = File::open(&self.path).ok()?;
        let mut text = [0; RANGE_LENGTH];
        file.read_exact(&mut text).ok()?;
        let (first, last) = std::str::from_utf8(&text)
            .ok()?
            .trim_end()
            .split_once(' ')?;
        let segments = first.parse().ok()?..=last.parse().ok()?;
        let started = file.metadata().ok()?.modified().ok()?;
        Some(Seen {
            lives: !is_free(&file),
            segments,
            age: started.elapsed().ok(),
        })
    }
}

/// Takes the lock where nobody has it.
fn is_free(file: &File) -> bool {
    file.try_lock().is_ok()
}
