//! What the integration tests stand on: a fresh folder per test, real servers, the built
//! `pgstow`, writers that know the truth, and things that go wrong on purpose.

pub mod archive;
pub mod booted;
pub mod bucket;
pub mod certificate;
pub mod chromium;
pub mod cluster;
pub mod full_disk;
pub mod golden;
pub mod initdb;
pub mod judge;
pub mod keys;
pub mod load;
pub mod output;
pub mod page_cache;
pub mod peer;
pub mod pg;
pub mod proxy;
pub mod random;
pub mod recovery;
pub mod scratch;
pub mod sshd;
pub mod stand;
pub mod stored;
pub mod stow;
pub mod terminal;
pub mod tool;
pub mod user;
pub mod witness;

pub use archive::Archive;
pub use booted::Booted;
pub use certificate::certificate;
pub use chromium::{Chromium, Screen};
pub use cluster::{Cluster, Shutdown};
pub use full_disk::FullDisk;
pub use load::Load;
pub use peer::{Peer, wait_for};
pub(crate) use pg::on_every_major;
pub use pg::{PgBin, pg};
pub use scratch::Scratch;
pub use sshd::Sshd;
pub use stand::stand;
pub use stored::Stored;
pub use stow::Stow;
pub use tool::Tool;
pub use witness::Witness;
