//! What is secret: never shown, and taken from where others can't read it.

use super::*;

#[test]
fn keys_of_encryption_are_checked_and_a_private_one_is_never_told() {
    const PRIVATE: &str =
        "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
    const PUBLIC: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
    let repo =
        |lines: &str, mode| Host::new().file(&format!("[repo.a]\nurl = '/a'\n{lines}"), mode);
    let keys_of = |host: &Host| host.settings().unwrap().repos[0].keys.clone();

    assert!(!keys_of(&repo("", 0o644)).encrypt());
    let host = repo(
        &format!("encryption = {{ recipients = ['{PUBLIC}', '{PUBLIC}'] }}"),
        0o644,
    );
    assert!(keys_of(&host).encrypt() && !keys_of(&host).can_decrypt());
    assert_eq!(keys_of(&host).recipients().unwrap().len(), 1);
    let host = host.env("PGSTOW_REPO_ENCRYPTION_IDENTITY", PRIVATE);
    assert!(keys_of(&host).can_decrypt());
    keys_of(&host).check_identity().unwrap();
    assert!(!format!("{:?}", host.settings()).contains("SECRET-KEY"));
    let host = repo("encryption.identity_file = '/nowhere'", 0o644);
    assert_eq!(keys_of(&host).identity_file(), Some(Path::new("/nowhere")));

    for (lines, expected) in [
        (
            "encryption.recipients = ['age1x']",
            "pgstow.toml:3: bad value for repo.a.encryption.recipients",
        ),
        (
            &format!("encryption.recipients = ['{PRIVATE}']"),
            "a private key stands where recipients do",
        ),
        (
            "encryption.recipients_file = 'x'",
            "pgstow.toml:3: bad value for repo.a.encryption.recipients_file",
        ),
        ("encryption.identity_file = 'x'", "must be an absolute path"),
    ] {
        let error = repo(lines, 0o644).error();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("SECRET-KEY-"), "{error}");
    }
    // Who only archives needs none.
    let exposed = repo(&format!("encryption.identity = '{PRIVATE}'"), 0o644);
    let error = keys_of(&exposed)
        .check_identity()
        .unwrap_err()
        .in_one_line();
    assert!(error.contains("can be read by every user"), "{error}");
    assert!(!error.contains("SECRET-KEY-"), "{error}");
}

/// In either file; only PostgreSQL's own calls use it all the same.
#[test]
fn a_secret_that_all_can_read_is_used_where_wal_would_wait() {
    let repo = "[repo.a]\nurl='s3://b/p'\n";
    let in_file = Host::new().file(&format!("{repo}secret_key='hush'"), 0o644);
    let in_env = Host::new().file(repo, 0o644);
    let in_env = in_env
        .env_file("PGSTOW_REPO_SECRET_KEY=hush")
        .env_file_mode(0o644);
    for (host, line) in [(in_file, 3), (in_env, 1)] {
        let mut layers = host.layers().unwrap();
        let secret = |layers: &Layers| {
            let found = layers.find(keys::SECRET_KEY, "a").unwrap();
            layers.secret(found.unwrap())
        };
        match secret(&layers) {
            SecretFrom::Exposed { what, cure } => {
                let place = format!(":{line}: ");
                assert!(
                    what.contains(&place) && cure.contains("chmod o-rwx"),
                    "{what} {cure}"
                );
            }
            other => panic!("{other:?}"),
        }
        assert!(layers.exposed_password().is_some());
        layers.uses_exposed = true;
        let hush = SecretFrom::Setting(Secret::new("hush"));
        assert_eq!(secret(&layers), hush);
    }
    // Closed, it is nobody else's.
    let closed = Host::new()
        .file(repo, 0o644)
        .env_file("PGSTOW_REPO_SECRET_KEY=hush");
    assert_eq!(closed.layers().unwrap().exposed_password(), None);
}

#[test]
fn secrets_are_masked() {
    let host = Host::new()
        .env("PGPASSWORD", "hush")
        .flag(keys::REPO_URL, "--repo-url", "/x");
    let layers = host.layers().unwrap();
    let shown: Vec<_> = layers.show().collect::<Result<_>>().unwrap();
    let of_alerts = KEYS.iter().filter(|key| key.scope == Scope::Alert);
    assert_eq!(shown.len(), KEYS.len() - of_alerts.count());
    let json = serde_json::to_string(&shown).unwrap();
    assert!(json.contains(
        r#"{"key":"cluster.main.password","value":"***","source":"variable PGPASSWORD"}"#
    ));
    assert!(json.contains(r#"{"key":"repo.local.url","value":"/x","source":"--repo-url"}"#));
    assert!(!json.contains("hush"));
    assert!(!format!("{:?}", layers.settings().unwrap()).contains("hush"));
}

/// WAL must not wait for it.
#[test]
fn an_exposed_password_is_refused_where_it_is_needed() {
    let text = "[cluster.main]\npassword = 'x'\n[verify]\npassword = 'y'\n[cluster.other]\npassword_file = '/z'";
    let host = Host::new().flag(keys::HOST, "--host", "h");
    let mut host = host.file(text, 0o644);
    let said = "pgstow.toml:2: cluster.main.password can be read by every user";
    for cluster in ["main", "other"] {
        host.places.cluster = Some(cluster.to_owned());
        let layers = host.layers().unwrap();
        let Some(Note::Warning(warning)) = layers.exposed_password() else {
            panic!("nothing is said");
        };
        assert!(
            warning.contains(said) && warning.contains("chmod o-rwx"),
            "{warning}"
        );
        let needed = layers.settings().unwrap().cluster.connection.resolve();
        match cluster {
            "main" => {
                let error = needed.unwrap_err();
                assert!(error.message().ends_with(said), "{error}");
                assert!(error.hint_text().unwrap().contains("chmod o-rwx"));
            }
            _ => assert!(!needed.unwrap_err().message().contains(said)),
        }
        let dumps = layers.verify_dump_settings().unwrap().password.unwrap();
        let error = dumps.read().unwrap_err();
        assert!(
            error.message().contains("pgstow.toml:4: verify.password"),
            "{error}"
        );
    }
    let host = Host::new().file(text, 0o640);
    assert_eq!(host.layers().unwrap().exposed_password(), None);
}
