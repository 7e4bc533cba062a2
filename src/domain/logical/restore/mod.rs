//! Dumps back into databases: `restore-dump`, and what `verify` needs of it.

mod as_sql;
pub mod aside;
pub mod creation;
mod extract;
pub mod fit;
pub mod fresh;
mod globals;
mod lexer;
pub mod load;
pub mod material;
pub mod needs;
mod old;
mod owner;
pub mod pick;
pub mod programs;
pub mod properties;
mod reader;
pub mod reading;
pub mod ready;
pub mod run;
mod schemas;
pub mod script;
pub mod shape;
mod subscriptions;
pub mod sums;
pub mod target;
