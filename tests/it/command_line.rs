//! The program as a shell and PostgreSQL call it: links, exit codes, streams.

use std::{
    os::unix::{fs::symlink, process::CommandExt},
    process::{Command, Output},
};

const PGSTOW: &str = env!("CARGO_BIN_EXE_pgstow");

fn run(program: &str, words: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(PGSTOW)
        .arg0(program)
        .args(words)
        .env_clear()
        .env("PGSTOW_CONFIG", "/dev/null")
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn usage_and_settings_errors_have_the_code_of_their_command() {
    let bad = [("PGSTOW_LOG_LEVEL", "loud")];
    let none: [(&str, &str); 0] = [];
    for (program, words, variables, code) in [
        ("pgstow", vec![], &none[..], 2),
        ("pgstow", vec!["bace"], &none, 2),
        ("pgstow", vec!["base", "--wrong"], &none, 2),
        ("pgstow", vec!["base", "--annotate", "novalue"], &none, 2),
        ("pgstow", vec!["base", "--jobs", "many"], &none, 2),
        ("pgstow", vec!["restore", "--target-lsn", "0"], &none, 2),
        (
            "pgstow",
            vec!["restore", "--target-lsn", "0/1", "--target-xid", "1"],
            &none,
            2,
        ),
        ("pgstow", vec!["restore", "--target-exclusive"], &none, 2),
        (
            "pgstow",
            vec!["restore", "20261121T020000Z-full", "x", "--target-xid", "1"],
            &none,
            2,
        ),
        (
            "pgstow",
            vec!["restore", "2026-11-21 02:00:00Z", "--standby"],
            &none,
            2,
        ),
        ("pgstow", vec!["list"], &bad, 2),
        ("pgstow", vec!["archive-wal"], &none, 1),
        ("pgstow", vec!["archive-wal", "--wrong", "x"], &none, 1),
        ("pgstow", vec!["archive-wal", "pg_wal/nonsense"], &none, 1),
        (
            "pgstow",
            vec!["archive-wal", "pg_wal/000000010000000000000001"],
            &bad,
            1,
        ),
        ("/x/archive-wal", vec!["--wrong"], &none, 1),
        ("pgstow", vec!["restore-wal"], &none, 126),
        ("pgstow", vec!["restore-wal", "nonsense", "x"], &none, 126),
        (
            "pgstow",
            vec!["--repo", "base", "restore-wal", "--wrong"],
            &none,
            126,
        ),
        ("restore-wal", vec!["00000002.history", "x"], &bad, 126),
        ("pgstow-restore-wal", vec!["00000002.history"], &none, 126),
        ("pgstow", vec!["restore-done", "--wrong"], &none, 2),
    ] {
        let output = run(program, &words, variables);
        let line = format!("{program} {words:?}: {}", text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{line}");
        assert!(!output.stderr.is_empty(), "{line}");
        assert!(output.stdout.is_empty(), "{line}");
    }
}

#[test]
fn help_and_version_go_to_standard_output() {
    for (words, expected) in [
        (vec!["--version"], "pgstow "),
        (vec!["--help"], "Exit codes:"),
        (vec!["-h"], "Exit codes:"),
        (vec!["restore", "--help"], "Examples:"),
    ] {
        let output = run("pgstow", &words, &[]);
        assert_eq!(output.status.code(), Some(0), "{words:?}");
        assert!(text(&output.stdout).contains(expected), "{words:?}");
        assert!(output.stderr.is_empty(), "{words:?}");
    }
}

#[test]
fn a_program_of_another_name_is_the_program_itself() {
    for program in ["/opt/pgstow-1.2", "pgstow-", "backup", "pgstow.old"] {
        let output = run(program, &["restore", "--help"], &[]);
        assert_eq!(output.status.code(), Some(0), "{program}");
        assert!(
            text(&output.stdout).contains("Usage: pgstow restore"),
            "{program}"
        );
    }
    let output = run("/opt/pgstow-list", &["--help"], &[]);
    assert!(text(&output.stdout).contains("Usage: pgstow list"));
}

#[test]
fn with_json_an_error_is_one_document() {
    for (words, variables) in [
        (vec!["--json", "base", "--wrong"], vec![]),
        (vec!["--json", "list"], vec![("PGSTOW_LOG_LEVEL", "loud")]),
    ] {
        let output = run("pgstow", &words, &variables);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["error"]["kind"], "usage", "{document}");
        assert!(
            document["error"]["message"]
                .as_str()
                .is_some_and(|m| !m.is_empty())
        );
    }
}

/// A mistake is told by the first command that anybody runs, not by tonight's backup. What PostgreSQL
/// calls goes on: WAL is archived and fetched without these.
#[test]
fn a_bad_setting_is_refused_by_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("pgstow.toml");
    let place = config.display();
    for (line, key, says, hint) in [
        (
            "full_every = 'weekly'",
            "cluster.main.full_every",
            "not a duration",
            None,
        ),
        (
            "full_every = '0'",
            "cluster.main.full_every",
            "can't be 0",
            Some("leave it out, and each backup is a full one"),
        ),
        (
            "chain_max = 0",
            "cluster.main.chain_max",
            "not a number of backups (1 or more)",
            Some("leave out full_every"),
        ),
        (
            "checkpoint = 'now'",
            "cluster.main.checkpoint",
            "none of fast, spread",
            None,
        ),
        (
            "max_rate = '1kB'",
            "cluster.main.max_rate",
            "not between",
            None,
        ),
        (
            "manifest_checksums = 'md5'",
            "cluster.main.manifest_checksums",
            "none of",
            None,
        ),
        (
            "wal_timeout = 'long'",
            "cluster.main.wal_timeout",
            "not a",
            None,
        ),
        (
            "[wal]\nprefetch_size = 0",
            "wal.prefetch_size",
            "less than 1MB",
            Some("wal.prefetch = 0"),
        ),
    ] {
        let (section, number) = match line.starts_with('[') {
            true => (line.to_owned(), 2),
            false => (format!("[cluster.main]\n{line}"), 2),
        };
        std::fs::write(&config, section).unwrap();
        let variables = [("PGSTOW_CONFIG", config.to_str().unwrap())];
        for command in [
            "init", "check", "base", "restore", "list", "verify", "cleanup",
        ] {
            let output = run("pgstow", &[command, "--repo-url", "/nowhere"], &variables);
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{command} {line}: {said}");
            let blamed = format!("error: {place}:{number}: bad value for {key}\n");
            assert!(said.starts_with(&blamed), "{command} {line}: {said}");
            assert!(said.contains(says), "{line}: {said}");
            if let Some(hint) = hint {
                assert!(said.contains(&format!("hint: {hint}")), "{line}: {said}");
            }
        }
        if key.starts_with("cluster") {
            let words = [
                "archive-wal",
                "--repo-url",
                "/nowhere",
                "000000010000000000000001",
            ];
            let said = text(&run("pgstow", &words, &variables).stderr);
            assert!(!said.contains(key), "{said}");
        }
    }
}

/// Whoever reads the document has nothing else: which argument it is must stand in it.
#[test]
fn with_json_a_usage_error_names_its_arguments() {
    for (words, message, hint) in [
        (
            vec!["archive-wal"],
            "the following required arguments were not provided: <PATH>",
            None,
        ),
        (
            vec!["base", "--full", "--incremental"],
            "the argument '--full' cannot be used with '--incremental'",
            None,
        ),
        (
            vec![
                "restore",
                "--target-xid",
                "7",
                "--target-name",
                "x",
                "--target-immediate",
            ],
            "the argument '--target-xid <XID>' cannot be used with: --target-name <NAME>, --target-immediate",
            None,
        ),
        (
            vec!["base", "--method", "magic"],
            "invalid value 'magic' for '--method <METHOD>' [possible values: auto, local, stream]",
            None,
        ),
        (
            vec!["base", "--increment"],
            "unexpected argument '--increment' found",
            Some("a similar argument exists: '--incremental'"),
        ),
    ] {
        let output = run("pgstow", &[vec!["--json"], words.clone()].concat(), &[]);
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["error"]["message"], message, "{words:?}");
        assert_eq!(document["error"]["hint"].as_str(), hint, "{words:?}");
    }
}

#[test]
fn show_settings_names_sources_even_of_bad_values() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("pgstow-check");
    symlink(PGSTOW, &link).unwrap();
    let output = Command::new(&link)
        .args(["--show-settings", "--json", "--repo-url", "/x"])
        .env_clear()
        .envs([
            ("PGSTOW_CONFIG", "/dev/null"),
            ("PGPORT", "bad"),
            ("PGPASSWORD", "hush"),
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let settings = document["settings"].as_array().unwrap();
    for (key, value, source) in [
        ("repo.local.url", "/x", "--repo-url"),
        ("cluster.main.port", "bad", "variable PGPORT"),
        ("cluster.main.password", "***", "variable PGPASSWORD"),
        ("log.level", "info", "default"),
    ] {
        let found = settings
            .iter()
            .find(|setting| setting["key"] == key)
            .unwrap();
        assert_eq!(
            (found["value"].as_str(), found["source"].as_str()),
            (Some(value), Some(source))
        );
    }
}
