//! Stores of objects on this host: moto for S3, Azurite for Azure, a small one of our own for Google.

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

use serde_json::json;

use super::{Peer, Scratch, certificate::certificate, cluster::free_port, user};

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
        let (_, peer) = moto(&scratch.join("moto.log"), &[]);
        let endpoint = format!("http://127.0.0.1:{}", peer.port);
        let bucket = Self {
            peer,
            url: "s3://backups/pg",
            access: open_to_all(endpoint),
        };
        let made = bucket.ask("PUT /backups HTTP/1.1\r\n");
        assert!(made.starts_with("HTTP/1.1 200"), "{made}");
        bucket
    }

    /// S3 with TLS; the certificate is that of `ca_file`, for `localhost`. The bucket is not there.
    pub fn moto_with_tls(scratch: &Scratch) -> Self {
        let (file, key) = certificate(&scratch.folder("moto-tls"), "localhost");
        let tls = ["--ssl-cert", &file, "--ssl-key", &key];
        let (_, peer) = moto(&scratch.join("moto.log"), &tls);
        let endpoint = format!("https://localhost:{}", peer.port);
        Self {
            peer,
            url: "s3://backups/pg",
            access: Access {
                ca_file: Some(file.into()),
                ..open_to_all(endpoint)
            },
        }
    }

    /// S3 that checks signatures and rights: of a bucket that keeps versions, with a key that may create and read, and with
    /// an administrator's.
    pub fn moto_with_rights(scratch: &Scratch) -> (Self, Access) {
        let log = scratch.join("moto.log");
        let (folder, peer) = moto(&log, &[]);
        let endpoint = format!("http://127.0.0.1:{}", peer.port);
        let made = Command::new("python3")
            .env("PYTHONPATH", &folder)
            .arg(data("bucket-rights.py"))
            .args([&endpoint, "make", "backups"])
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&made.stderr);
        let keys: serde_json::Value = serde_json::from_slice(&made.stdout).expect(&errors);
        let access = |user: &str| Access {
            endpoint: Some(endpoint.clone()),
            access_key: keys[user][0].as_str().map(str::to_owned),
            secret_key: keys[user][1].as_str().map(secret),
            ..Access::default()
        };
        let bucket = Self {
            peer,
            url: "s3://backups/pg",
            access: access("host"),
        };
        (bucket, access("admin"))
    }

    /// Lets `tests/data/bucket-rights.py` do `action` with the key of `access`.
    #[track_caller]
    pub fn act(&self, action: &str, access: &Access, rest: &[&str]) -> serde_json::Value {
        let (id, key) = credentials(access);
        let done = Command::new("python3")
            .env("PYTHONPATH", installed("moto"))
            .arg(data("bucket-rights.py"))
            .args([
                access.endpoint.as_deref().unwrap(),
                action,
                "backups",
                &id,
                &key,
            ])
            .args(rest)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{errors}");
        serde_json::from_slice(&done.stdout).unwrap_or_default()
    }

    /// S3 that overwrites what was to be created only if it isn't there.
    pub fn nanio(scratch: &Scratch) -> Self {
        let (log, port) = (scratch.join("nanio.log"), free_port());
        let folder = installed("nanio");
        let mut command = Command::new("python3");
        command
            .arg(folder.join("bin/nanio"))
            .args([
                "serve",
                "--host",
                "127.0.0.1",
                "--port",
                &port.to_string(),
                "--data-dir",
            ])
            .arg(scratch.folder("nanio"))
            .env("PYTHONPATH", &folder)
            .env("NANIO_ACCESS_KEY", "keykeykey")
            .env("NANIO_SECRET_KEY", "secretsecret");
        let peer = start(&mut command, &log, "running on http://127.0.0.1:");
        let bucket = Self {
            peer,
            url: "s3://backups/pg",
            access: Access {
                endpoint: Some(format!("http://127.0.0.1:{port}")),
                access_key: Some("keykeykey".to_owned()),
                secret_key: Some(secret("secretsecret")),
                ..Access::default()
            },
        };
        // Made by the administrator of such a server: a folder.
        fs::create_dir(scratch.join("nanio/backups")).unwrap();
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
            .arg(data("azure-container.py"))
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

    /// Google, of which there is no server to be had that speaks its XML API: `tests/data/google-store.py`, which checks what
    /// the service account signed.
    pub fn google(scratch: &Scratch) -> Self {
        const ACCOUNT: &str = "backup@project.iam.gserviceaccount.com";
        let (_, key) = certificate(&scratch.folder("account"), "account");
        let public = scratch.join("account.pub");
        user::run_ok(
            Command::new("openssl")
                .args(["rsa", "-in", &key, "-pubout", "-out"])
                .arg(&public),
        );
        let file = scratch.join("google.json");
        let text = json!({
            "type": "service_account",
            "client_email": ACCOUNT,
            "private_key_id": "one",
            "private_key": fs::read_to_string(key).unwrap(),
        });
        write_private(&file, &text.to_string());
        let mut command = Command::new("python3");
        command.arg(data("google-store.py"));
        command.arg("backups").arg(public).arg(ACCOUNT);
        let log = scratch.join("google.log");
        let peer = start(&mut command, &log, "listens on http://127.0.0.1:");
        Self {
            url: "gs://backups/pg",
            access: Access {
                endpoint: Some(format!("http://127.0.0.1:{}", peer.port)),
                credentials_file: Some(file),
                ..Access::default()
            },
            peer,
        }
    }

    pub fn port(&self) -> u16 {
        self.peer.port
    }

    /// The lines of `[repo.NAME]` that say how to get in, by a file in `scratch`.
    pub fn settings(&self, scratch: &Scratch) -> String {
        let endpoint = self.access.endpoint.as_deref().unwrap();
        if let Some(file) = &self.access.credentials_file {
            let file = file.display();
            return format!("endpoint = \"{endpoint}\"\ncredentials_file = \"{file}\"\n");
        }
        let file = Self::write_key(&self.access, &scratch.join("secret_key"));
        format!(
            "endpoint = \"{endpoint}\"\naccess_key = \"{}\"\nsecret_key_file = \"{}\"\n",
            self.access.access_key.as_deref().unwrap(),
            file.display(),
        )
    }

    /// Puts the key of `access` into a file that the server's user alone may read.
    pub fn write_key(access: &Access, file: &Path) -> PathBuf {
        write_private(file, &credentials(access).1);
        file.to_owned()
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

fn moto(log: &Path, more: &[&str]) -> (PathBuf, Peer) {
    let folder = installed("moto");
    let mut command = Command::new("python3");
    command
        .arg(folder.join("bin/moto_server"))
        .args(["-H", "127.0.0.1", "-p", "0"])
        .args(more)
        .env("PYTHONPATH", &folder);
    let peer = start(&mut command, log, "://127.0.0.1:");
    (folder, peer)
}

/// By a key that is nobody's: moto asks for any.
fn open_to_all(endpoint: String) -> Access {
    Access {
        endpoint: Some(endpoint),
        access_key: Some("key".to_owned()),
        secret_key: Some(secret("secret")),
        ..Access::default()
    }
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

/// The key's id and the key.
fn credentials(access: &Access) -> (String, String) {
    let Some(SecretFrom::Setting(key)) = &access.secret_key else {
        panic!("a secret of a test is no file");
    };
    (access.access_key.clone().unwrap(), key.expose().to_owned())
}

/// A file of the server's user, for nobody else.
fn write_private(file: &Path, text: &str) {
    fs::write(file, text).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    user::own(file);
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
