//! What is there beside the request.

use crate::{
    postgres::{conninfo::ConnInfo, programs::Search},
    util::{cancel::Cancel, meter::Meter},
};

pub struct Surroundings<'a> {
    /// The living server; None: it goes into a file.
    pub info: Option<&'a ConnInfo>,
    /// For client programs.
    pub search: &'a Search,
    pub cancel: &'a Cancel,
    pub meter: &'a Meter,
}
