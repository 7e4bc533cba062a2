//! What is there beside the request.

use crate::{
    postgres::{conninfo::ConnInfo, programs::Search},
    repo::repository::Repository,
    util::{cancel::Cancel, meter::Meter},
};

pub struct Surroundings<'a> {
    pub repository: &'a Repository,
    /// The living server; None: it goes into a file.
    pub info: Option<&'a ConnInfo>,
    /// For client programs.
    pub search: &'a Search,
    pub cancel: &'a Cancel,
    pub meter: &'a Meter,
}
