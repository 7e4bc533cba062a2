//! PostgreSQL's formats, protocols and programs. Knows no repository.

pub mod auth;
pub mod base_backup;
pub mod connection;
pub mod conninfo;
pub mod control;
pub mod file_checksum;
pub mod lsn;
pub mod manifest;
pub mod page;
pub mod page_failures;
pub mod passfile;
pub mod replication;
pub mod row;
pub mod server_error;
pub mod server_facts;
pub mod service_file;
pub mod socket;
pub mod timeline;
pub mod tls;
pub mod tls_verify;
pub mod version;
pub mod wal_header;
pub mod wal_name;
pub mod wire;
