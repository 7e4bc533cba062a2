//! PostgreSQL's formats, protocols and programs. Knows no repository.

pub mod control;
pub mod file_checksum;
pub mod lsn;
pub mod manifest;
pub mod page;
pub mod timeline;
pub mod version;
pub mod wal_header;
pub mod wal_name;
