//! Which dumps are kept: the rules, and what they decide. Pure.

use crate::{domain::retention::policy::Keep, repo::dump_name::Class};

/// Which dumps of a database are kept; a rule that is None keeps nothing by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The newest of each class.
    pub daily: Option<Keep>,
    pub weekly: Option<Keep>,
    pub monthly: Option<Keep>,
    pub yearly: Option<Keep>,
    /// All that are not older than so many days.
    pub days: Option<Keep>,
    /// Never fewer good dumps of a database than these.
    pub min: u32,
}

impl Rules {
    /// The rule of a class; None of manual ones, which no rule removes.
    pub fn of(&self, class: Class) -> Option<Keep> {
        match class {
            Class::Daily => self.daily,
            Class::Weekly => self.weekly,
            Class::Monthly => self.monthly,
            Class::Yearly => self.yearly,
            Class::Manual => Some(Keep::Forever),
        }
    }
}
