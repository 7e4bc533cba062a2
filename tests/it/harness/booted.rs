//! A systemd of its own: a container of systemd-nspawn that sees this host's files, and whose changes nobody
//! sees. The scratch folder is in it, too. It goes with the test, however that ends. Needs root.

use std::{
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{Scratch, user};

/// For a boot, which takes some seconds, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);

/// Mounts vanish with the namespace, which ends with its last process. Nothing that this host starts at boot is
/// started, and nothing of the network is there.
const BOOT: &str = r#"
set -e
mount -t tmpfs pgstow-it "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay pgstow-it -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
rm -rf "$1"/root/etc/systemd/system/*.wants "$1"/root/etc/systemd/system/pgstow-*
printf '[Unit]\nRequires=basic.target\nAfter=basic.target\n' >"$1/root/etc/systemd/system/pgstow-it.target"
exec systemd-nspawn --quiet --register=no --keep-unit --private-network --boot --console=pipe \
    --directory="$1/root" --bind="$2" --machine=pgstow-it -- systemd.unit=pgstow-it.target
"#;

pub struct Booted {
    container: Child,
    /// The process id of its first process, as the host has it.
    leader: String,
}

impl Booted {
    /// None, after a word about it, in a container that can't start another one. A host of its own must
    /// be able to.
    pub fn boot(scratch: &Scratch) -> Option<Self> {
        assert!(
            user::is_root(),
            "only root can boot a container: run this test as root, or leave it out"
        );
        let folder = scratch.folder("booted");
        let container = Command::new("/usr/bin/setpriv")
            .args([
                "--pdeathsig",
                "KILL",
                "unshare",
                "--mount",
                "/bin/sh",
                "-c",
                BOOT,
                "boot",
            ])
            .arg(folder)
            .arg(scratch.join(""))
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut booted = Self {
            container,
            leader: String::new(),
        };
        let limit = Instant::now() + PATIENCE;
        while !booted.is_up() {
            let ended = booted.container.try_wait().unwrap();
            if ended.is_some() || Instant::now() > limit {
                let problem = format!("no systemd within {PATIENCE:?}: {ended:?}");
                assert!(is_container(), "{problem}");
                eprintln!("left out, in a container that can't start another one: {problem}");
                return None;
            }
            thread::sleep(Duration::from_millis(100));
        }
        Some(booted)
    }

    fn is_up(&mut self) -> bool {
        let parent = self.container.id().to_string();
        let Ok(leader) = user::run(Command::new("pgrep").args(["--parent", &parent])) else {
            return false;
        };
        self.leader = leader;
        let state = self
            .command("systemctl")
            .arg("is-system-running")
            .output()
            .unwrap();
        matches!(state.stdout.trim_ascii(), b"running" | b"degraded")
    }

    /// A program in the container, as root.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("/usr/bin/nsenter");
        command
            .args([
                "--target",
                &self.leader,
                "--mount",
                "--uts",
                "--ipc",
                "--net",
                "--pid",
                "--",
            ])
            .arg(program)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C")
            .current_dir("/");
        command
    }

    /// The standard output of what must succeed.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> String {
        user::run_ok(self.command(words[0]).args(&words[1..]))
    }

    /// Writes a file, and the folders above it.
    #[track_caller]
    pub fn write(&self, path: &Path, mode: &str, text: &str) {
        let script = r#"mkdir -p "$(dirname "$1")" && printf %s "$3" >"$1" && chmod "$2" "$1""#;
        let path = path.to_str().unwrap();
        self.run(&["/bin/sh", "-c", script, "write", path, mode, text]);
    }
}

fn is_container() -> bool {
    let asked = Command::new("systemd-detect-virt")
        .args(["--container", "--quiet"])
        .status();
    asked.unwrap().success()
}

impl Drop for Booted {
    fn drop(&mut self) {
        // All its processes and mounts go with the first one; killed alone, systemd-nspawn leaves it.
        if !self.leader.is_empty() {
            let _ = Command::new("kill").args(["-KILL", &self.leader]).status();
        }
        let _ = self.container.kill();
        let _ = self.container.wait();
    }
}
