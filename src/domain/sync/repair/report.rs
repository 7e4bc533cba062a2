//! What came of healing an object.

use serde::Serialize;

use crate::{domain::sync::pass::Peer, error::Error};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Repair {
    pub object: String,
    /// The repository that it came from; None: it is as it was, or was deleted.
    pub from: Option<String>,
    pub bytes: u64,
    /// Why it is as it was; None where it is not.
    pub why: Option<String>,
    /// What to do about that.
    pub hint: Option<String>,
}

impl Repair {
    pub fn of(object: String, from: &Peer, bytes: u64) -> Self {
        Self {
            object,
            from: Some(from.name.clone()),
            bytes,
            why: None,
            hint: None,
        }
    }

    /// It was deleted: another object has taken its place.
    pub fn replaced(object: String) -> Self {
        Self {
            object,
            from: None,
            bytes: 0,
            why: None,
            hint: None,
        }
    }

    pub fn is_done(&self) -> bool {
        self.why.is_none()
    }

    /// Each repository had its reason; the hint is that of the first that has one. None where none was asked.
    pub fn by_none(object: String, errors: &[Error]) -> Option<Self> {
        let all: Vec<String> = errors.iter().map(Error::in_one_line).collect();
        let mut hints = errors.iter().filter_map(Error::hint_text);
        (!all.is_empty()).then(|| Self {
            object,
            from: None,
            bytes: 0,
            why: Some(all.join("; ")),
            hint: hints.next().map(str::to_owned),
        })
    }

    pub fn none(object: String, why: &Error) -> Self {
        Self {
            object,
            from: None,
            bytes: 0,
            why: Some(why.in_one_line()),
            hint: why.hint_text().map(str::to_owned),
        }
    }
}
