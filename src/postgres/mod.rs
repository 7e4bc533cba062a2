//! PostgreSQL's formats, protocols and programs. Knows no repository.

pub mod lsn;
pub mod wal_name;
