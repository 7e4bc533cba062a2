//! Alerts: what real mail and web servers get of `monitor` and jobs.

mod hangs;
mod jobs;
mod mail;
mod state;
mod units;
mod webhook;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::harness::{Peer, Scratch, Tool, tool::Invocation, user};

/// A server of this test alone, that keeps what it gets.
struct Receiver {
    peer: Peer,
    folder: PathBuf,
}

impl Receiver {
    /// Runs a script, of which the checkout's folder may be closed to the servers' user.
    fn start(scratch: &Scratch, name: &str, script: &str, arguments: &[&str]) -> Self {
        let folder = scratch.folder(name);
        let told = folder.join("told");
        let mut command = user::command("/usr/bin/python3", "KILL");
        command
            .args(["-c", script])
            .arg(&folder)
            .args(arguments)
            .stdout(File::create(&told).unwrap())
            .stderr(File::create(folder.join("log")).unwrap());
        let peer = Peer::start(&mut command, || {
            let told = fs::read_to_string(&told).unwrap();
            told.strip_prefix("port ")?.strip_suffix('\n')?.parse().ok()
        });
        Self { peer, folder }
    }

    /// A web server.
    fn web(scratch: &Scratch, name: &str) -> Self {
        let script = include_str!("../../data/alerts/web_server.py");
        Self::start(scratch, name, script, &[])
    }

    /// One that speaks TLS, with this certificate and key.
    fn secure_web(scratch: &Scratch, name: &str, certificate: &(String, String)) -> Self {
        let script = include_str!("../../data/alerts/web_server.py");
        let (certificate, key) = certificate;
        Self::start(scratch, name, script, &[certificate, key])
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.peer.port)
    }

    /// Everything that it got, in order.
    fn got(&self) -> Vec<Value> {
        let read = |number: u32| fs::read(self.folder.join(format!("{number}.json")));
        let all = (1..).map_while(|number| read(number).ok());
        all.map(|bytes| serde_json::from_slice(&bytes).unwrap())
            .collect()
    }

    /// The kinds of alerts in the posted documents of our own form, in order.
    fn kinds(&self) -> Vec<String> {
        let got = self.got();
        let alerts = got.iter().flat_map(|one| {
            let alerts = one["body"]["alerts"].as_array();
            alerts.unwrap_or_else(|| panic!("{one:#}"))
        });
        alerts
            .map(|alert| alert["kind"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// A host without a server, whose disk is well or not as a test wants it.
struct Host {
    tool: Tool,
    state: PathBuf,
}

impl Host {
    fn new(scratch: &Scratch) -> Self {
        Self::of(scratch, scratch.folder("state"))
    }

    fn of(scratch: &Scratch, state: PathBuf) -> Self {
        let tool = Tool::new(scratch).config(&format!(
            "state_dir = \"{}\"\nconnect.retries = 0\n[repo.local]\nurl = \"{}\"\n\
             [cluster.main]\nhost = \"/nowhere\"\n",
            state.display(),
            scratch.folder("repository").display(),
        ));
        Self { tool, state }
    }

    /// `monitor` of the disk, which is in this state: ok or warning. None of our checks has as few
    /// needs.
    fn monitor(&self, state: &str, alerts: &[(&str, &str)]) -> Invocation {
        let limit = match state {
            "ok" => "off",
            _ => "1",
        };
        let words = ["--json", "monitor", "--only", "disk,alerts"];
        let mut command = self
            .tool
            .command(&words)
            .env("PGSTOW_MONITOR_DISK_USED_WARNING", limit)
            .env("PGSTOW_MONITOR_DISK_USED_CRITICAL", "off");
        for (name, value) in alerts {
            command = command.env(name, *value);
        }
        command
    }

    fn ledger(&self) -> PathBuf {
        self.state.join("main/alerts.json")
    }
}

/// A file that holds a secret.
fn secret(folder: &Path, name: &str, text: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join(name);
    fs::write(&path, format!("{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    user::own(&path);
    path.to_str().unwrap().to_owned()
}
