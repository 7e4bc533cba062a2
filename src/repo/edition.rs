//! Which of several objects of one name is meant. What is encrypted anew has other bytes, and takes the place of what it heals
//! when `backup.json` names it: until then both must be there.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edition(u32);

impl Edition {
    /// The name says nothing of it.
    pub const FIRST: Self = Self(1);

    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Of what stands behind a name.
    pub fn read(behind: &str) -> Option<Self> {
        if behind.is_empty() {
            return Some(Self::FIRST);
        }
        let number = behind.strip_prefix('-')?.parse().ok()?;
        (Self(number) > Self::FIRST).then_some(Self(number))
    }
}

impl fmt::Display for Edition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::FIRST => Ok(()),
            Self(number) => write!(f, "-{number}"),
        }
    }
}
