//! Stores of objects on this host: moto for S3, Azurite for Azure.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use pgstow::{
    repo::object::Access,
    util::secret::{Secret, SecretFrom},
};

use super::{Peer, Scratch, user};

/// Azurite's own, which everybody knows: <https://learn.microsoft.com/azure/storage/common/storage-use-azurite>.
const AZURITE_ACCOUNT: &str = "devstoreaccount1";
const AZURITE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A server with one empty bucket.
pub struct Bucket {
    peer: Peer,
    pub url: &'static str,
    pub access: Access,
}

impl Bucket {
    /// S3.
    pub fn moto(scratch: &Scratch) -> Self {
        let log = scratch.join("moto.log");
        let folder = installed("moto");
        let peer = start(
            Command::new("python3")
                .arg(folder.join("bin/moto_server"))
                .args(["-H", "127.0.0.1", "-p", "0"])
                .env("PYTHONPATH", &folder),
            &log,
            "Running on http://127.0.0.1:",
        );
        let endpoint = format!("http://127.0.0.1:{}", peer.port);
        let bucket = Self {
            peer,
            url: "s3://backups/pg",
            access: Access {
                endpoint: Some(endpoint),
                access_key: Some("key".to_owned()),
                secret_key: Some(secret("secret")),
                ..Access::default()
            },
        };
        let made = bucket.ask("PUT /backups HTTP/1.1\r\n");
        assert!(made.starts_with("HTTP/1.1 200"), "{made}");
        bucket
    }

    pub fn azurite(scratch: &Scratch) -> Self {
        let log = scratch.join("azurite.log");
        let program = installed("azurite/node_modules/.bin/azurite-blob");
        let peer = start(
            Command::new(program)
                .args(["--blobHost", "127.0.0.1", "--blobPort", "0"])
                .args([
                    "--inMemoryPersistence",
                    "--skipApiVersionCheck",
                    "--disableTelemetry",
                ]),
            &log,
            "successfully listens on http://127.0.0.1:",
        );
        let endpoint = format!("http://127.0.0.1:{}/{AZURITE_ACCOUNT}", peer.port);
        let made = Command::new("python3")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/azure-container.py"))
            .args([&endpoint, AZURITE_ACCOUNT, AZURITE_KEY, "backups"])
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        Self {
            peer,
            url: "az://backups/pg",
            access: Access {
                endpoint: Some(endpoint),
                access_key: Some(AZURITE_ACCOUNT.to_owned()),
                secret_key: Some(secret(AZURITE_KEY)),
                ..Access::default()
            },
        }
    }

    pub fn port(&self) -> u16 {
        self.peer.port
    }

    /// The lines of `[repo.NAME]` that say how to get in, by a file in `scratch`.
    pub fn settings(&self, scratch: &Scratch) -> String {
        let SecretFrom::Setting(key) = self.access.secret_key.clone().unwrap() else {
            panic!("a secret of a test is no file");
        };
        let file = scratch.join("secret_key");
        fs::write(&file, key.expose()).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        user::own(&file);
        format!(
            "endpoint = \"{}\"\naccess_key = \"{}\"\nsecret_key_file = \"{}\"\n",
            self.access.endpoint.as_deref().unwrap(),
            self.access.access_key.as_deref().unwrap(),
            file.display(),
        )
    }

    /// Sends the head of a request, without a body, and reads the whole answer.
    pub fn ask(&self, head: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.peer.port)).unwrap();
        let head =
            format!("{head}Host: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

fn secret(text: &str) -> SecretFrom {
    SecretFrom::Setting(Secret::new(text))
}

/// What tests/setup.sh put beside PostgreSQL's.
fn installed(name: &str) -> PathBuf {
    let found = super::pg::folder().parent().unwrap().join(name);
    assert!(
        found.exists(),
        "{} is missing: run tests/setup.sh",
        found.display()
    );
    found
}

fn start(command: &mut Command, log: &Path, words: &str) -> Peer {
    let file = File::create(log).unwrap();
    command
        .current_dir(log.parent().unwrap())
        .stdout(file.try_clone().unwrap())
        .stderr(file);
    Peer::start(command, || {
        let text = fs::read_to_string(log).unwrap();
        let (_, rest) = text.split_once(words)?;
        let (port, _) = rest.split_once(|c: char| !c.is_ascii_digit())?;
        port.parse().ok()
    })
}
