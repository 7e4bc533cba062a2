//! PostgreSQL's formats, protocols and programs. Knows no repository.

pub mod control;
pub mod lsn;
pub mod timeline;
pub mod version;
pub mod wal_header;
pub mod wal_name;
