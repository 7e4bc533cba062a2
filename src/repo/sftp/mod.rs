//! The store on a host that is reached by ssh: the system's own, with its keys, agent and known hosts, and the sftp server
//! of OpenSSH there.

mod failure;
mod read;
mod remote;
mod session;
mod store;
mod upload;

pub use remote::Remote;
pub use store::SftpStorage;
