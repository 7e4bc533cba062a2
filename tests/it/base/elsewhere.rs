//! Backups by a user who can't read the data directory, as on another host.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    process::Command,
};

use crate::harness::{Cluster, PgBin, Scratch, pg, stow::sql_of_roles, user};

/// Debian's user without rights.
const NOBODY: u32 = 65534;

/// A folder with all that pgstow needs, of a user who may not enter the test's own.
struct Elsewhere(tempfile::TempDir);

impl Elsewhere {
    fn of(cluster: &Cluster) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::copy(env!("CARGO_BIN_EXE_pgstow"), path.join("pgstow")).unwrap();
        let config = format!(
            "state_dir = '{0}/state'\n[repo.local]\nurl = '{0}/repository'\n\
             [cluster.main]\nhost = '127.0.0.1'\nport = {1}\nuser = 'pgstow'\n",
            path.display(),
            cluster.port()
        );
        fs::write(path.join("pgstow.toml"), config).unwrap();
        fs::set_permissions(path.join("pgstow"), fs::Permissions::from_mode(0o755)).unwrap();
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        fs::set_permissions(path.join("pgstow.toml"), fs::Permissions::from_mode(0o644)).unwrap();
        let elsewhere = Self(folder);
        elsewhere.run(&["init"]);
        elsewhere
    }

    /// What it says on standard output and standard error.
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> (String, String) {
        let path = self.0.path();
        let id = NOBODY.to_string();
        let output = Command::new("/usr/bin/setpriv")
            .args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"])
            .arg(path.join("pgstow"))
            .arg("--config")
            .arg(path.join("pgstow.toml"))
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", path)
            .current_dir(path)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {stdout}{stderr}");
        (stdout, stderr)
    }

    /// `config_files` and `config_missing` of a new backup, and what was said.
    fn backup(&self) -> (Vec<String>, Vec<String>, String) {
        let words = ["--json", "base", "--standalone", "--checkpoint", "fast"];
        let (stdout, stderr) = self.run(&words);
        let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
        let id = report["backup"]["id"].as_str().unwrap();
        let path = self.0.path().join("repository/main/base").join(id);
        let json = fs::read(path.join("backup.json")).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let list = |key: &str| {
            let list = json[key].as_array().cloned().unwrap_or_default();
            let texts = list.iter().map(|one| one.as_str().unwrap().to_owned());
            texts.collect::<Vec<_>>()
        };
        self.run(&["verify", id]);
        (list("config_files"), list("config_missing"), stderr)
    }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    user::own(path);
}

fn configuration_comes_through_the_server(pg: PgBin) {
    if !user::is_root() {
        return;
    }
    let scratch = Scratch::new();
    let mut cluster = Cluster::build(&scratch, pg).tcp().start();
    cluster.psql(&sql_of_roles("sql"));
    let etc = scratch.folder("etc");
    let data_dir = cluster.data_dir().to_owned();
    let at = |name: &str| etc.join(name).display().to_string();
    fs::create_dir(etc.join("conf.d")).unwrap();
    user::own(&etc.join("conf.d"));
    write(&etc.join("in force.conf"), "work_mem = '5MB'\n");
    write(&etc.join("conf.d/shadowed.conf"), "work_mem = '4MB'\n");
    write(&etc.join("conf.d/empty.conf"), "# nothing\n");
    let hba = fs::read_to_string(data_dir.join("pg_hba.conf")).unwrap();
    write(&etc.join("pg_hba.conf"), &hba);
    let conf = data_dir.join("postgresql.conf");
    let text = fs::read_to_string(&conf).unwrap();
    fs::write(
        &conf,
        format!(
            "{text}hba_file = '{}'\ninclude_dir '{}'\ninclude_if_exists '{}'\ninclude '{}'\n",
            at("pg_hba.conf"),
            at("conf.d"),
            at("none.conf"),
            at("in force.conf")
        ),
    )
    .unwrap();
    cluster.restart();
    let elsewhere = Elsewhere::of(&cluster);

    // The documented role alone: what is missing is said, and noted.
    let (files, missing, said) = elsewhere.backup();
    assert_eq!(files, [""; 0]);
    assert_eq!(missing.len(), 2, "{missing:?}");
    for name in ["pg_hba.conf", "in force.conf"] {
        let names = |text: &String| text.contains(&at(name)) && text.contains("permission denied");
        assert!(missing.iter().any(names), "{missing:?}");
        assert!(said.contains(&at(name)), "{said}");
    }

    // What the server itself tells of its files.
    let tells = "grant execute on function pg_catalog.pg_show_all_file_settings() to pgstow";
    cluster.psql(tells);
    let (_, missing, _) = elsewhere.backup();
    assert_eq!(missing.len(), 3, "{missing:?}");
    assert!(
        missing.iter().any(|text| text.contains("shadowed.conf")),
        "{missing:?}"
    );

    cluster.psql(&sql_of_roles("sql optional"));
    let (files, missing, said) = elsewhere.backup();
    let expected = [
        "conf.d/empty.conf",
        "conf.d/shadowed.conf",
        "in force.conf",
        "pg_hba.conf",
    ];
    assert_eq!(files, expected.map(at), "{said}");
    assert_eq!(missing, [""; 0], "{said}");
    assert_eq!(said.matches("WARN").count(), 0, "{said}");
}

#[test]
fn configuration_comes_through_the_server_15() {
    configuration_comes_through_the_server(pg(15));
}

#[test]
fn configuration_comes_through_the_server_18() {
    configuration_comes_through_the_server(pg(18));
}
