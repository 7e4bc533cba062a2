//! JSON objects of the repository: written once, readers ignore unknown fields.

use serde::{Serialize, de::DeserializeOwned};

use super::{layout::ObjectName, storage::Storage};
use crate::error::{Error, Result};

/// More than any of our documents can need: `backup.json` grows with parts and tablespaces.
const LIMIT: u64 = 64 << 20;

/// The format that this version writes and reads.
pub const FORMAT: u32 = 1;

impl dyn Storage + '_ {
    /// Creates a JSON object.
    pub fn create_json(&self, name: &ObjectName, value: &impl Serialize) -> Result<()> {
        let mut json = serde_json::to_vec_pretty(value)
            .map_err(|error| Error::failed(format!("can't write {name} as JSON")).because(error))?;
        json.push(b'\n');
        self.create(name, &json)
    }

    /// Reads a JSON object; a text that is no such document is damage.
    pub fn read_json<T: DeserializeOwned>(&self, name: &ObjectName) -> Result<T> {
        let json = self.read(name, LIMIT)?;
        serde_json::from_slice(&json).map_err(|error| {
            Error::damaged(format!("{} can't be understood", self.place(name))).because(error)
        })
    }
}
