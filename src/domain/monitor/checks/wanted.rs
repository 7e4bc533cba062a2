//! Which dumps the settings ask for, so that they are missed where there are none.

use crate::{
    domain::logical::{databases::Wish, request::Choice},
    repo::dump_name::Subject,
};

/// What `[dump]` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Whether the settings speak of dumps at all.
    pub spoken_of: bool,
    pub choice: Choice,
    pub globals: bool,
}

/// Why a dump is missed where it is old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The settings name it.
    Named,
    /// A pattern of the settings means it, or all are.
    Matched,
    /// There are dumps of it that were not made by hand, and the settings say nothing.
    Usual,
    /// The settings leave it out.
    Never,
}

impl Wanted {
    pub fn why(&self, subject: &Subject) -> Why {
        let Some(name) = subject.database() else {
            return match self.spoken_of && !self.globals {
                true => Why::Never,
                false => Why::Usual,
            };
        };
        let is_left_out = || {
            let others = Choice {
                names: Vec::new(),
                ..self.choice.clone()
            };
            others.wish(name) == Wish::No
        };
        match (self.spoken_of, self.choice.wish(name)) {
            (true, Wish::Named) => Why::Named,
            (true, Wish::Matched) => Why::Matched,
            (true, Wish::No) => Why::Never,
            // A list may be of databases to connect to, as in old scripts.
            (false, _) if is_left_out() => Why::Never,
            (false, _) => Why::Usual,
        }
    }
}
