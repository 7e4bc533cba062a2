//! OpenSSH's server, for repositories on another host.

use std::{
    fs::{self, File},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Command,
};

use super::{Peer, Scratch, cluster::free_port, user};

/// A server that lets the tests' user in with a key of its own.
pub struct Sshd {
    peer: Peer,
    pub port: u16,
    pub key: PathBuf,
    pub known_hosts: PathBuf,
    /// Where the repository is.
    pub folder: PathBuf,
}

impl Sshd {
    pub fn start(scratch: &Scratch) -> Self {
        let folder = scratch.folder("remote");
        let [host_key, key] = ["host_key", "key"].map(|name| {
            let path = scratch.join(name);
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(&path)
                .status();
            assert!(made.unwrap().success());
            path
        });
        user::own(&key);
        user::own(&host_key);
        let port = free_port();
        let public = |path: &PathBuf| fs::read_to_string(path.with_extension("pub")).unwrap();
        let authorized = scratch.join("authorized_keys");
        fs::write(&authorized, public(&key)).unwrap();
        fs::set_permissions(&authorized, fs::Permissions::from_mode(0o644)).unwrap();
        let known_hosts = scratch.join("known_hosts");
        fs::write(
            &known_hosts,
            format!("[127.0.0.1]:{port} {}", public(&host_key)),
        )
        .unwrap();
        let config = scratch.join("sshd_config");
        let text = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nSubsystem sftp internal-sftp\n\
             UsePAM no\nStrictModes no\nPasswordAuthentication no\nMaxStartups 100\nPidFile none\n",
            host_key.display(),
            authorized.display(),
        );
        fs::write(&config, text).unwrap();
        let log = File::create(scratch.join("sshd.log")).unwrap();
        // As the tests' user: it lets nobody else in then, and asks for no password of an account.
        let mut command = user::command("/usr/sbin/sshd", "KILL");
        command.args(["-D", "-e", "-f"]).arg(config).stderr(log);
        let peer = Peer::start(&mut command, || {
            TcpStream::connect(("127.0.0.1", port)).ok().map(|_| port)
        });
        Self {
            peer,
            port,
            key,
            known_hosts,
            folder,
        }
    }

    /// As a network that breaks.
    pub fn kill_connections(&self) {
        let mut serving = children(self.peer.id());
        assert!(!serving.is_empty(), "nobody is connected");
        let mut at = 0;
        while at < serving.len() {
            serving.extend(children(serving[at]));
            at += 1;
        }
        // From below, or those would get another parent.
        for process in serving.iter().rev() {
            let _ = Command::new("kill")
                .args(["-KILL", &process.to_string()])
                .status();
        }
    }

    /// The repository's address.
    pub fn url(&self) -> String {
        format!(
            "sftp://{}@127.0.0.1:{}{}",
            login(),
            self.port,
            self.folder.display()
        )
    }

    /// The lines of `[repo.NAME]` that say how to get in.
    pub fn settings(&self) -> String {
        format!(
            "ssh_key = \"{}\"\nknown_hosts = \"{}\"\n",
            self.key.display(),
            self.known_hosts.display()
        )
    }
}

/// Who the tests' programs run as.
fn login() -> String {
    match user::is_root() {
        true => "postgres".to_owned(),
        false => std::env::var("USER").unwrap(),
    }
}

fn children(process: u32) -> Vec<u32> {
    let found = Command::new("pgrep")
        .args(["-P", &process.to_string()])
        .output()
        .unwrap();
    let text = String::from_utf8(found.stdout).unwrap();
    text.lines().map(|line| line.parse().unwrap()).collect()
}
