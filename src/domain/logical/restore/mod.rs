//! Dumps back into databases: `restore-dump`, and what `verify` needs of it.

mod as_sql;
pub mod creation;
mod extract;
pub mod fresh;
mod globals;
pub mod load;
pub mod mark;
pub mod material;
pub mod pick;
pub mod programs;
pub mod properties;
pub mod ready;
pub mod run;
pub mod script;
pub mod shape;
mod target;
