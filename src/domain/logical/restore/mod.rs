//! Dumps back into databases: `restore-dump`, and what `verify` needs of it.

mod as_sql;
pub mod creation;
mod extract;
pub mod fit;
pub mod fresh;
mod globals;
mod lexer;
pub mod load;
pub mod mark;
pub mod material;
pub mod needs;
mod old;
mod owner;
pub mod pick;
pub mod programs;
pub mod properties;
pub mod ready;
pub mod run;
pub mod script;
pub mod shape;
pub mod sums;
pub mod target;
