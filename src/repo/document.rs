//! JSON objects of the repository: written once, readers ignore unknown fields.
//!
//! As in PostgreSQL's manifest, the last field is the SHA-256 of all bytes before its line, so
//! that a flipped bit in a time or an LSN does not pass for the truth. A document without it was
//! written by a person, and is taken as it is.

use serde::{Serialize, de::DeserializeOwned};

use super::{layout::ObjectName, storage::Storage};
use crate::{
    error::{Error, Result},
    util::hash::Sha256,
};

/// More than any of our documents can need: `backup.json` grows with parts and tablespaces.
pub const LIMIT: u64 = 64 << 20;

/// The format that this version writes and reads.
pub const FORMAT: u32 = 1;

impl dyn Storage + '_ {
    /// Creates a JSON object from a value that has named fields.
    pub fn create_json(&self, name: &ObjectName, value: &impl Serialize) -> Result<()> {
        self.create(name, json(name, value)?.as_bytes())
    }

    /// The same in the place of one that may be there.
    pub fn replace_json(&self, name: &ObjectName, value: &impl Serialize) -> Result<()> {
        self.replace(name, json(name, value)?.as_bytes())
    }

    /// Reads a JSON object; a text that is no such document, or was changed, is damage.
    pub fn read_json<T: DeserializeOwned>(&self, name: &ObjectName) -> Result<T> {
        parse(&self.read(name, LIMIT)?, &self.place(name))
    }
}

fn json(name: &ObjectName, value: &impl Serialize) -> Result<String> {
    let json = serde_json::to_string_pretty(value)
        .map_err(|error| Error::failed(format!("can't write {name} as JSON")).because(error))?;
    Ok(sealed(&json))
}

/// A document that lies at `place`.
pub fn parse<T: DeserializeOwned>(json: &[u8], place: &str) -> Result<T> {
    if !is_intact(json) {
        return Err(Error::damaged(format!(
            "{place} is not as it was written: its SHA-256 differs"
        )));
    }
    serde_json::from_slice(json)
        .map_err(|error| Error::damaged(format!("{place} can't be understood")).because(error))
}

/// Whether a document ends with its own hash, right or wrong: those that pgstow wrote do.
pub fn has_hash(json: &[u8]) -> bool {
    seal(json).is_some()
}

const SEAL: &str = "  \"sha256\": \"";
const END: &str = "\"\n}\n";

/// Adds the last field to a pretty JSON object.
fn sealed(json: &str) -> String {
    let body = json.strip_suffix("\n}").unwrap_or(json);
    let body = format!("{body},\n");
    let sha256 = Sha256::of(body.as_bytes());
    format!("{body}{SEAL}{sha256}{END}")
}

/// False if the last field tells another hash than the bytes before it have.
fn is_intact(json: &[u8]) -> bool {
    seal(json).is_none_or(|(body, hash)| hash == Sha256::of(body).to_string().as_bytes())
}

/// What is before the last field, and the hash in that.
fn seal(json: &[u8]) -> Option<(&[u8], &[u8])> {
    const LENGTH: usize = SEAL.len() + 64 + END.len();
    let (body, seal) = json.split_at_checked(json.len().checked_sub(LENGTH)?)?;
    let hash = seal
        .strip_prefix(SEAL.as_bytes())
        .and_then(|rest| rest.strip_suffix(END.as_bytes()))?;
    Some((body, hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_byte_before_the_hash_is_seen() {
        let text = sealed("{\n  \"format\": 1,\n  \"id\": \"x\"\n}");
        assert!(
            is_intact(text.as_bytes()) && has_hash(text.as_bytes()),
            "{text}"
        );
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
        let (body, _) = text.split_at(text.len() - SEAL.len() - 64 - END.len());
        for at in 0..body.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] ^= 1;
            assert!(!is_intact(&changed), "byte {at}");
        }
        // Written by hand, or cut off, which is no JSON.
        for other in ["", "{}", "{\n  \"format\": 1\n}\n", &text[..text.len() - 3]] {
            assert!(is_intact(other.as_bytes()), "{other}");
            assert!(!has_hash(other.as_bytes()), "{other}");
        }
    }
}
