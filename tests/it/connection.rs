//! Connecting, by SQL and as walsender: every way to log in, TLS, and what is said when it fails.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use pgstow::{
    error::{Error, Kind, Result},
    postgres::{
        connection::Session,
        conninfo::{ConnInfo, ConnParams},
        lsn::{Lsn, TimelineId},
        replication::Replication,
    },
    util::cancel::Cancel,
};

use crate::harness::{Cluster, PgBin, Scratch, Shutdown, on_every_major, pg, user};

/// Settings as the environment gives them, without retries.
fn info(settings: &[(&str, &str)]) -> ConnInfo {
    let params = ConnParams {
        retries: Some(0),
        ..ConnParams::default()
    };
    ConnInfo::resolve(&params, &|name| {
        let mut all = [("HOME", "/nowhere")].iter().chain(settings).rev();
        let found = all.find(|(setting, _)| *setting == name);
        found.map(|(_, value)| (*value).to_owned())
    })
    .unwrap()
}

/// Logs in both ways; both must end alike.
fn log_in(settings: &[(&str, &str)]) -> Result<()> {
    let info = info(settings);
    let sql = Session::connect(&info, &Cancel::default())
        .and_then(|session| session.query_one("SELECT current_user", &[])?.text(0));
    let walsender = Replication::connect(&info, &Cancel::default())
        .and_then(|mut session| session.identify_system());
    match (sql, walsender) {
        (Ok(user), Ok(system)) => {
            assert_eq!(user, info.user);
            assert_eq!(system.timeline, TimelineId::FIRST);
            Ok(())
        }
        (Err(sql), Err(walsender)) => {
            assert_eq!(sql.hint_text(), walsender.hint_text(), "{sql} {walsender}");
            Err(sql)
        }
        (sql, walsender) => panic!("unlike ends: {sql:?} {walsender:?}"),
    }
}

#[track_caller]
fn assert_says(outcome: Result<()>, message: &str, hint: &str) {
    let error: Error = outcome.unwrap_err();
    let (line, given) = (error.in_one_line(), error.hint_text().unwrap_or_default());
    assert!(line.contains(message), "{line:?} lacks {message:?}");
    assert!(given.contains(hint), "{given:?} lacks {hint:?} ({line})");
}

/// A server on both kinds of sockets, with these lines for pg_hba.conf.
fn cluster(scratch: &Scratch, pg: PgBin, hba: &str) -> Cluster {
    let mut cluster = Cluster::build(scratch, pg).tcp().make();
    let hba = format!("local all postgres trust\nlocal replication postgres trust\n{hba}");
    fs::write(cluster.data_dir().join("pg_hba.conf"), hba).unwrap();
    cluster.start();
    cluster
}

on_every_major!(passwords_in_every_form);

fn passwords_in_every_form(pg: PgBin) {
    let scratch = Scratch::new();
    let mut hba = String::new();
    for method in ["trust", "password", "md5", "scram-sha-256"] {
        for kind in ["local", "host"] {
            let from = if kind == "host" { "127.0.0.1/32" } else { "" };
            hba += &format!("{kind} all,replication {method} {from} {method}\n");
        }
    }
    let server = cluster(&scratch, pg, &hba);
    for method in ["trust", "password", "md5", "scram-sha-256"] {
        let stored = if method == "md5" {
            "md5"
        } else {
            "scram-sha-256"
        };
        // An apostrophe and letters that SASLprep changes.
        server.psql(&format!(
            "set password_encryption = '{stored}'; \
             create role \"{method}\" login replication password 'it''s ⅷ €';"
        ));
        let port = server.port().to_string();
        for host in [server.host().to_str().unwrap(), "127.0.0.1"] {
            let common = [("PGHOST", host), ("PGPORT", &port), ("PGUSER", method)];
            let with = |extra: &[(&str, &str)]| log_in(&[&common[..], extra].concat());
            with(&[("PGPASSWORD", "it's ⅷ €")]).unwrap();
            if method == "trust" {
                with(&[]).unwrap();
            } else {
                assert_says(
                    with(&[("PGPASSWORD", "wrong")]),
                    "can't log in",
                    "check the password",
                );
                assert_says(with(&[]), "asks for a password", "/nowhere/.pgpass");
            }
            let bound = with(&[("PGPASSWORD", "it's ⅷ €"), ("PGCHANNELBINDING", "require")]);
            assert_says(bound, "channel binding", "needs TLS");
        }
    }
}

#[test]
fn settings_from_password_and_service_files() {
    let scratch = Scratch::new();
    let server = cluster(
        &scratch,
        pg(15),
        "host all,replication s 127.0.0.1/32 scram-sha-256\n",
    );
    server.psql("create role s login replication password 'x:y'");
    let (pass, service) = (scratch.join("pass"), scratch.join("service"));
    let line = |database: &str| format!("127.0.0.1:{}:{database}:s:x\\:y\n", server.port());
    fs::write(&pass, line("replication") + &line("postgres")).unwrap();
    fs::set_permissions(&pass, fs::Permissions::from_mode(0o600)).unwrap();
    let text = format!("[main]\nhost=127.0.0.1\nport={}\nuser=s\n", server.port());
    fs::write(&service, text).unwrap();
    let env = [
        ("PGSERVICE", "main"),
        ("PGSERVICEFILE", service.to_str().unwrap()),
        ("PGPASSFILE", pass.to_str().unwrap()),
    ];
    log_in(&env).unwrap();
    fs::set_permissions(&pass, fs::Permissions::from_mode(0o644)).unwrap();
    assert_says(log_in(&env), "asks for a password", pass.to_str().unwrap());
    fs::set_permissions(&pass, fs::Permissions::from_mode(0o600)).unwrap();
    // The line of the SQL database serves a walsender session too.
    fs::write(&pass, line("postgres")).unwrap();
    log_in(&env).unwrap();
}

fn openssl(folder: &Path, arguments: &str) {
    user::run_ok(
        Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(folder),
    );
}

/// `name.crt` and `name.key`, signed by `ca` with these extensions (none: X.509 version 1).
fn certificate(folder: &Path, ca: &str, name: &str, cn: &str, extensions: &str) {
    openssl(
        folder,
        &format!(
            "req -new -newkey rsa:2048 -nodes -subj /CN={cn} -keyout {name}.key -out {name}.csr"
        ),
    );
    let mut sign = format!(
        "x509 -req -in {name}.csr -CA {ca}.crt -CAkey {ca}.key -CAcreateserial -days 2 -out {name}.crt"
    );
    if !extensions.is_empty() {
        fs::write(folder.join("ext"), extensions).unwrap();
        sign += " -extfile ext";
    }
    openssl(folder, &sign);
    fs::set_permissions(
        folder.join(format!("{name}.key")),
        fs::Permissions::from_mode(0o600),
    )
    .unwrap();
}

/// A certificate that signs itself, as PostgreSQL's documentation makes it.
fn self_signed(folder: &Path, name: &str, cn: &str) {
    openssl(
        folder,
        &format!(
            "req -new -x509 -days 2 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 \
             -subj /CN={cn} -keyout {name}.key -out {name}.crt"
        )
        .replace("  ", " "),
    );
}

/// Makes the server present this certificate.
fn present(server: &Cluster, folder: &Path, name: &str) {
    for ending in ["crt", "key"] {
        let to = server.data_dir().join(format!("server.{ending}"));
        fs::copy(folder.join(format!("{name}.{ending}")), &to).unwrap();
        fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).unwrap();
        user::own(&to);
    }
    server.psql("alter system set ssl = on");
    server.reload();
}

#[test]
fn certificates_of_the_server() {
    let scratch = Scratch::new();
    let folder = scratch.folder("tls");
    self_signed(&folder, "root", "root");
    self_signed(&folder, "foreign", "foreign");
    self_signed(&folder, "alone", "localhost");
    certificate(
        &folder,
        "root",
        "server",
        "x",
        "subjectAltName=DNS:localhost\n",
    );
    certificate(
        &folder,
        "root",
        "cn",
        "localhost",
        "basicConstraints=CA:FALSE\n",
    );
    certificate(&folder, "root", "v1", "localhost", "");
    let server = cluster(
        &scratch,
        pg(18),
        "hostssl all,replication s 127.0.0.1/32 scram-sha-256\n",
    );
    server.psql("create role s login replication password 'x'");
    let port = server.port().to_string();
    let with = |host: &str, mode: &str, root: &str| {
        let root = folder.join(format!("{root}.crt"));
        log_in(&[
            ("PGHOST", host),
            ("PGPORT", &port),
            ("PGUSER", "s"),
            ("PGPASSWORD", "x"),
            ("PGSSLMODE", mode),
            ("PGSSLROOTCERT", root.to_str().unwrap()),
            ("PGCHANNELBINDING", "require"),
        ])
    };
    let local = ["localhost", "127.0.0.1"];
    assert_says(
        with("127.0.0.1", "require", "none"),
        "does not offer TLS",
        "ssl = on",
    );

    present(&server, &folder, "server");
    for host in local {
        with(host, "require", "none").unwrap();
        with(host, "prefer", "none").unwrap();
        with(host, "require", "root").unwrap();
        with(host, "verify-ca", "root").unwrap();
        // As in libpq, a root file is heeded by "require".
        for mode in ["require", "verify-ca", "verify-full"] {
            assert_says(with(host, mode, "foreign"), "TLS", "sslrootcert");
        }
        for mode in ["verify-ca", "verify-full"] {
            assert_says(
                with(host, mode, "none"),
                "none.crt does not exist",
                "sslmode=require",
            );
        }
    }
    with("localhost", "verify-full", "root").unwrap();
    assert_says(
        with("127.0.0.1", "verify-full", "root"),
        "TLS",
        "use the host name",
    );

    for (name, root) in [("cn", "root"), ("alone", "alone")] {
        present(&server, &folder, name);
        with("127.0.0.1", "verify-ca", root).unwrap();
        with("localhost", "verify-full", root).unwrap();
        assert_says(
            with("127.0.0.1", "verify-full", root),
            "TLS",
            "use the host name",
        );
        assert_says(with("localhost", "verify-ca", "foreign"), "TLS", "");
    }
    present(&server, &folder, "v1");
    with("localhost", "require", "none").unwrap();
    assert_says(with("localhost", "verify-ca", "root"), "TLS", "version 3");
}

#[test]
fn certificates_of_the_client() {
    let scratch = Scratch::new();
    let folder = scratch.folder("tls");
    self_signed(&folder, "root", "root");
    certificate(
        &folder,
        "root",
        "server",
        "x",
        "subjectAltName=DNS:localhost\n",
    );
    certificate(
        &folder,
        "root",
        "backup",
        "backup",
        "basicConstraints=CA:FALSE\n",
    );
    certificate(
        &folder,
        "root",
        "other",
        "other",
        "basicConstraints=CA:FALSE\n",
    );
    let server = cluster(
        &scratch,
        pg(15),
        "hostssl all,replication backup 127.0.0.1/32 cert\n",
    );
    server.psql("create role backup login replication");
    let ca = server.data_dir().join("ca.crt");
    fs::copy(folder.join("root.crt"), &ca).unwrap();
    user::own(&ca);
    server.set("ssl_ca_file", "ca.crt");
    present(&server, &folder, "server");
    let port = server.port().to_string();
    let with = |name: &str, key: &str| {
        let (cert, key) = (folder.join(name), folder.join(key));
        log_in(&[
            ("PGHOST", "localhost"),
            ("PGPORT", &port),
            ("PGUSER", "backup"),
            ("PGSSLMODE", "verify-full"),
            ("PGSSLROOTCERT", folder.join("root.crt").to_str().unwrap()),
            ("PGSSLCERT", cert.to_str().unwrap()),
            ("PGSSLKEY", key.to_str().unwrap()),
        ])
    };
    with("backup.crt", "backup.key").unwrap();
    assert!(with("other.crt", "other.key").is_err());
    assert!(with("none.crt", "none.key").is_err());
    assert_says(
        with("backup.crt", "none.key"),
        "has no private key",
        "sslkey",
    );
    assert_says(with("backup.crt", "backup.crt"), "access", "0600");
    let key = folder.join("backup.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert_says(
        with("backup.crt", "backup.key"),
        "group or world access",
        "0600",
    );
}

#[test]
fn prefer_and_allow_fall_back() {
    let scratch = Scratch::new();
    let folder = scratch.folder("tls");
    self_signed(&folder, "root", "localhost");
    let server = cluster(
        &scratch,
        pg(16),
        "hostnossl all,replication plain 127.0.0.1/32 trust\n\
         hostssl all,replication secret 127.0.0.1/32 trust\n",
    );
    server.psql("create role plain login replication; create role secret login replication");
    present(&server, &folder, "root");
    let port = server.port().to_string();
    for (user, mode, fits) in [
        ("plain", "disable", true),
        ("plain", "allow", true),
        ("plain", "prefer", true),
        ("plain", "require", false),
        ("secret", "disable", false),
        ("secret", "allow", true),
        ("secret", "prefer", true),
        ("secret", "require", true),
    ] {
        let outcome = log_in(&[
            ("PGHOST", "127.0.0.1"),
            ("PGPORT", &port),
            ("PGUSER", user),
            ("PGSSLMODE", mode),
        ]);
        if fits {
            outcome.unwrap();
        } else {
            assert_says(outcome, "can't log in", "pg_hba.conf");
        }
    }
}

#[test]
fn errors_say_what_to_do() {
    let scratch = Scratch::new();
    let server = cluster(
        &scratch,
        pg(15),
        "local all,replication norepl,absent trust\nlocal all,replication nobody-here peer\n",
    );
    server.psql("create role norepl login; create role \"nobody-here\" login replication");
    let host = server.host().to_str().unwrap();
    let port = server.port().to_string();
    let as_user = |user| [("PGHOST", host), ("PGPORT", &port), ("PGUSER", user)];
    assert_says(log_in(&as_user("absent")), "absent", "CREATE ROLE absent");
    assert_says(
        log_in(&as_user("nobody-here")),
        "can't log in",
        "operating system's user",
    );
    assert_says(log_in(&as_user("other")), "can't log in", "pg_hba.conf");
    assert_says(
        log_in(&[("PGHOST", "/nowhere"), ("PGPORT", "1")]),
        "/nowhere/.s.PGSQL.1",
        "unix_socket_directories",
    );
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    assert_says(
        log_in(&[
            ("PGHOST", "127.0.0.1"),
            ("PGPORT", &free.port().to_string()),
        ]),
        "can't connect",
        "listen_addresses",
    );

    let no_replication = Replication::connect(&info(&as_user("norepl")), &Cancel::default());
    assert_says(
        no_replication.map(|_| ()),
        "can't log in",
        "ALTER ROLE norepl REPLICATION",
    );
    let mut missing = as_user("norepl").to_vec();
    missing.push(("PGDATABASE", "missing"));
    let error = Session::connect(&info(&missing), &Cancel::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);

    let session = Session::connect(&info(&as_user("norepl")), &Cancel::default()).unwrap();
    let query = |sql| session.query_rows(sql, &[]).map(|_| ());
    assert_says(
        query("SELECT pg_backup_start('x')"),
        "pg_backup_start",
        "GRANT EXECUTE ON FUNCTION pg_backup_start TO norepl;",
    );
    assert_says(
        query("SHOW data_directory"),
        "failed",
        "pg_read_all_settings",
    );
    assert_says(query("SELECT nonsense"), "nonsense", "");
    // An error leaves the session as it was.
    query("SELECT 1").unwrap();
}

#[test]
fn rows_parameters_and_settings_of_a_session() {
    let scratch = Scratch::new();
    for major in [15, 18] {
        let server = Cluster::build(&scratch, pg(major))
            .name(&major.to_string())
            .conf("statement_timeout", "1s")
            .start();
        server.psql("alter role postgres set idle_session_timeout = '1s'");
        if major >= 17 {
            server.psql("alter role postgres set transaction_timeout = '1s'");
        }
        let host = server.host().to_str().unwrap();
        let session = Session::connect(
            &info(&[("PGHOST", host), ("PGUSER", "postgres")]),
            &Cancel::default(),
        )
        .unwrap();
        assert_eq!(session.server_version_num().unwrap() / 10000, major);
        let row = session
            .query_one(
                "SELECT $1::pg_lsn, $2::int4 + 1, $3, NULL, true, '\\x00ff'::bytea, 'a'::name, \
                 oid, 1.5::float8, pg_current_xact_id(), relkind FROM pg_class WHERE relname = $4",
                &["1/AB", "41", "it's", "pg_class"],
            )
            .unwrap();
        assert_eq!(row.parse::<Lsn>(0).unwrap(), Lsn(0x1_0000_00AB));
        assert_eq!(row.parse::<i32>(1).unwrap(), 42);
        assert_eq!(row.text(2).unwrap(), "it's");
        assert_eq!(row.optional(3).unwrap(), None);
        assert!(row.text(3).is_err());
        assert!(row.parse::<bool>(4).unwrap());
        assert_eq!(row.bytes(5).unwrap(), Some(vec![0, 255]));
        assert_eq!(row.text(6).unwrap(), "a");
        assert_eq!(row.parse::<u32>(7).unwrap(), 1259);
        assert_eq!(row.text(8).unwrap(), "1.5");
        assert!(row.parse::<u64>(9).unwrap() > 0);
        assert_eq!(row.text(10).unwrap(), "r");
        assert!(row.text(99).is_err());
        // No time limit of the server's ends a long statement or a long rest.
        session.query_rows("SELECT pg_sleep(1.2)", &[]).unwrap();
        thread::sleep(Duration::from_millis(1200));

        let mut sum = 0u64;
        session
            .for_each_row("SELECT generate_series(1, $1::int)", &["100000"], |row| {
                sum += row.parse::<u64>(0)?;
                Ok(())
            })
            .unwrap();
        assert_eq!(sum, 5_000_050_000);
        // A consumer that gives up leaves the session usable.
        let stopped = session.for_each_row("SELECT generate_series(1, 100000)", &[], |_| {
            Err(Error::failed("enough"))
        });
        assert_eq!(stopped.unwrap_err().message(), "enough");
        session
            .execute("CREATE TABLE public.t (n int)", &[])
            .unwrap();
        assert_eq!(
            session
                .execute("INSERT INTO public.t VALUES ($1), (2)", &["1"])
                .unwrap(),
            2
        );
        drop(session);
        assert!(!server.log().contains("unexpected EOF"), "{}", server.log());
    }
}

#[test]
fn waits_end_by_limit_and_by_cancel() {
    let scratch = Scratch::new();
    let server = Cluster::build(&scratch, pg(17)).start();
    let host = server.host().to_str().unwrap();
    let cancel = Cancel::default();
    let session =
        Session::connect(&info(&[("PGHOST", host), ("PGUSER", "postgres")]), &cancel).unwrap();
    let begin = Instant::now();
    let late = session.with_limit(Duration::from_millis(500), |session| {
        session.query_rows("SELECT pg_sleep(5)", &[]).unwrap_err()
    });
    assert_eq!(late.kind(), Kind::TimedOut);
    cancel.set();
    let stopped = session.query_rows("SELECT 1", &[]).map(|_| ()).unwrap_err();
    assert_eq!(stopped.kind(), Kind::Interrupted);
    assert!(begin.elapsed() < Duration::from_secs(4));

    // Somebody who listens and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port().to_string();
    for mode in ["disable", "require"] {
        let begin = Instant::now();
        let outcome = log_in(&[
            ("PGHOST", "127.0.0.1"),
            ("PGPORT", &port),
            ("PGSSLMODE", mode),
            ("PGCONNECT_TIMEOUT", "1"),
        ]);
        assert_eq!(outcome.unwrap_err().kind(), Kind::TimedOut, "{mode}");
        assert!(begin.elapsed() < Duration::from_secs(4));
    }
}

#[test]
fn a_server_that_is_about_to_start_is_waited_for() {
    let scratch = Scratch::new();
    let mut server = Cluster::build(&scratch, pg(15)).make();
    let host = server.host().to_str().unwrap().to_owned();
    let mut patient = info(&[("PGHOST", &host), ("PGUSER", "postgres")]);
    (patient.retries, patient.delay) = (100, Duration::from_millis(100));
    let connected = thread::spawn(move || {
        Session::connect(&patient, &Cancel::default())?;
        Replication::connect(&patient, &Cancel::default()).map(|_| ())
    });
    thread::sleep(Duration::from_millis(300));
    server.start();
    connected.join().unwrap().unwrap();

    // A wrong answer is final.
    server.stop(Shutdown::Fast);
    fs::write(
        server.data_dir().join("pg_hba.conf"),
        "local all all reject\n",
    )
    .unwrap();
    server.start();
    let mut patient = info(&[("PGHOST", &host), ("PGUSER", "postgres")]);
    (patient.retries, patient.delay) = (100, Duration::from_secs(1));
    let begin = Instant::now();
    assert!(Session::connect(&patient, &Cancel::default()).is_err());
    assert!(begin.elapsed() < Duration::from_secs(1));
}
