//! Room that who takes a lease takes back where the repository's file system is full to the last byte: a cleanup's must
//! be stored before anything may go.

use std::io::Write;

use super::repository::Repository;
use crate::error::{Kind, Result};

/// Some leases and their folder entries; too little for any segment or part to grab it meanwhile.
const BYTES: usize = 64 << 10;

impl Repository {
    /// Lays it by where it is missing, in a folder: an object store has no end.
    pub fn lay_reserve_by(&self) -> Result<()> {
        let name = self.layout().reserve();
        if self.location().folder().is_none() || self.storage().head(&name).is_ok() {
            return Ok(());
        }
        let laid = self.storage().put_new(&name).and_then(|mut upload| {
            // Not zeros, of which some file systems store nothing.
            let bytes: Vec<u8> = (0..BYTES).map(|at| (at * 251 / 7) as u8).collect();
            let written = upload.write_all(&bytes);
            written.map_err(|error| self.storage().failed("write", &name, error))?;
            upload.finish()
        });
        match laid {
            Err(error) if error.kind() == Kind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    /// Gives it up; whether there was one.
    pub fn use_reserve(&self) -> Result<bool> {
        match self.storage().delete(&self.layout().reserve()) {
            Err(error) if error.kind() == Kind::NotFound => Ok(false),
            other => other.map(|()| true),
        }
    }
}
