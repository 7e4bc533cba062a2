//! The server of a drill: its own configuration, whatever the original's says, no way out, bounded memory.

use std::{path::PathBuf, time::Duration};

use super::{
    log::Log,
    place::{LARGER, PORT, Place},
};
use crate::{
    error::{Error, Kind, Result},
    postgres::{
        conninfo::{ConnInfo, ConnParams},
        programs::Programs,
        server::{Options, Server},
    },
    repo::backup::Backup,
    util::{cancel::Cancel, cpu, fs::write_over},
};

/// Replay takes as long as it takes; who waits can stop it.
const PATIENCE: Duration = Duration::from_secs(30 * 86_400);

/// Above what postgresql.auto.conf says, which comes with the backup. Nothing reaches out of it, nothing is run by
/// it (jobs of extensions, subscriptions), nothing has to outlive a crash; it lets nobody in before it is done, so that
/// the limits of a hot standby don't hold.
const SETTINGS: [(&str, &str); 48] = [
    ("archive_mode", "off"),
    ("archive_command", ""),
    ("archive_library", ""),
    ("hot_standby", "off"),
    ("primary_conninfo", ""),
    ("primary_slot_name", ""),
    ("wal_level", "replica"),
    ("max_logical_replication_workers", "0"),
    ("max_replication_slots", "1000"),
    ("synchronous_standby_names", ""),
    ("shared_preload_libraries", ""),
    ("session_preload_libraries", ""),
    ("local_preload_libraries", ""),
    ("autovacuum", "off"),
    ("ssl", "off"),
    ("bonjour", "off"),
    ("external_pid_file", ""),
    ("unix_socket_group", ""),
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("synchronous_commit", "off"),
    ("restart_after_crash", "off"),
    ("shared_buffers", "128MB"),
    ("huge_pages", "off"),
    // In the folder, with which it goes, were the server killed.
    ("dynamic_shared_memory_type", "mmap"),
    ("work_mem", "16MB"),
    ("maintenance_work_mem", "128MB"),
    ("temp_buffers", "8MB"),
    ("wal_buffers", "16MB"),
    ("max_parallel_workers", "2"),
    ("max_parallel_workers_per_gather", "0"),
    ("max_parallel_maintenance_workers", "0"),
    ("jit", "off"),
    ("allow_in_place_tablespaces", "on"),
    ("temp_tablespaces", ""),
    ("default_tablespace", ""),
    ("ignore_checksum_failure", "off"),
    ("zero_damaged_pages", "off"),
    ("statement_timeout", "0"),
    // Nobody else is there: who waits that long would wait for ever.
    ("lock_timeout", "10min"),
    ("idle_session_timeout", "0"),
    ("default_transaction_read_only", "off"),
    ("lc_messages", "C"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    ("log_line_prefix", ""),
    ("log_statement", "none"),
    ("log_min_messages", "warning"),
];

/// What nobody may set otherwise: it keeps the server in, or tells how it ended.
const OURS: [&str; 21] = [
    "archive_mode",
    "archive_command",
    "archive_library",
    "archive_cleanup_command",
    "restore_command",
    "recovery_end_command",
    "hot_standby",
    "primary_conninfo",
    "primary_slot_name",
    "listen_addresses",
    "port",
    "unix_socket_directories",
    "data_directory",
    "config_file",
    "hba_file",
    "ident_file",
    "external_pid_file",
    "logging_collector",
    "log_destination",
    "log_min_messages",
    "lc_messages",
];

/// An error where what is wanted for the server is not to be set.
pub fn refuse_ours(wanted: &[(String, String)]) -> Result<()> {
    let is_ours = |name: &str| {
        OURS.iter().any(|own| own.eq_ignore_ascii_case(name))
            || name.to_ascii_lowercase().starts_with("recovery_target")
    };
    match wanted.iter().find(|(name, _)| is_ours(name)) {
        None => Ok(()),
        Some((name, _)) => Err(Error::usage(format!(
            "drill.settings can't set {name}: a drill's server archives nothing, goes where it is told, and is reached by nobody"
        ))
        .hint("leave it out; what an extension or much memory needs can be set.")),
    }
}

/// What recovery needs as it was where the WAL was written, and what follows from the size of segments.
pub struct Memory {
    settings: Vec<(String, String)>,
}

impl Memory {
    pub fn of(backup: &Backup) -> Self {
        let needed = backup.settings.named();
        let needed = needed.map(|(name, value)| (name.to_owned(), value.to_string()));
        let mut settings = Vec::from(needed);
        let segment = backup.segment_size.bytes() >> 20;
        // At least two segments (ReadControlFile in `src/backend/access/transam/xlog.c`).
        for (name, least) in [("min_wal_size", 80), ("max_wal_size", 1024)] {
            let size = (2 * segment).max(least);
            settings.push((name.to_owned(), format!("{size}MB")));
        }
        let major = backup.postgres_version / 10_000;
        for (from, name, value) in [
            // Triggers of events at a login, which began with 17, could keep us out.
            (17, "event_triggers", "off"),
            // Before, max_replication_slots were their limit, too.
            (18, "max_active_replication_origins", "1000"),
        ] {
            if major >= from {
                settings.push((name.to_owned(), value.to_owned()));
            }
        }
        Self { settings }
    }
}

pub struct ScratchServer {
    server: Server,
    log: PathBuf,
}

impl ScratchServer {
    /// Starts it, with what is wanted above our own settings, and waits until recovery has ended. What the server
    /// complained of, where it did not come to that by what was restored.
    pub fn start(
        programs: &Programs,
        place: &Place,
        memory: &Memory,
        target: &str,
        wanted: &[(String, String)],
        cancel: &Cancel,
    ) -> Result<Result<Self, Vec<String>>> {
        let own = Configuration::write(place)?;
        let fixed = SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut settings = Vec::from(fixed);
        settings.extend(memory.settings.iter().cloned());
        settings.extend(own.settings());
        settings.push(("pgstow.target".to_owned(), target.to_owned()));
        settings.extend(wanted.iter().cloned());
        let options = Options {
            programs: programs.clone(),
            data_dir: place.data_dir(),
            account: place.account.clone(),
            socket_dir: place.server(),
            port: PORT,
            log: place.log(),
            settings,
            patience: PATIENCE,
        };
        match Server::start(options, cancel) {
            Ok(server) => Ok(Ok(Self {
                server,
                log: place.log(),
            })),
            // It did not come to a server.
            Err(error) if error.kind() == Kind::Interrupted || !place.log().exists() => Err(error),
            Err(error) => {
                let log = Log::read(&place.log())?;
                let words = log.words(&error);
                if words
                    .iter()
                    .any(|line| line.contains("No space left on device"))
                {
                    let error = error.context("the scratch folder has no room for replay");
                    return Err(error.hint(LARGER));
                }
                if log.tells_of_a_kill() {
                    return Err(killed());
                }
                if !log.tells_of_a_start() && !log.tells_of_the_control_file() {
                    let error = Error::failed("the restored server can't be started on this host");
                    return Err(error
                        .because(words.join("\n"))
                        .hint("see drill.settings, and the memory of this host."));
                }
                Ok(Err(words))
            }
        }
    }

    /// Time on processors so far, replay included.
    pub fn cpu(&self) -> Option<Duration> {
        cpu::of_tree(self.server.pid())
    }

    /// How it is reached, as nobody yet.
    pub fn info(&self) -> Result<ConnInfo> {
        let folder = self.server.socket_dir().to_string_lossy().into_owned();
        let params = ConnParams {
            host: Some(folder.clone()),
            port: Some(self.server.port()),
            retries: Some(0),
            ..ConnParams::default()
        };
        // Nothing of the environment and the user's own files counts here.
        ConnInfo::resolve(&params, &|name| (name == "HOME").then(|| folder.clone()))
    }

    /// In order, for pg_checksums.
    ///
    /// # Errors
    /// It was killed before: what it was asked says nothing of what is stored.
    pub fn stop(self) -> Result<()> {
        self.server.stop()?;
        match Log::read(&self.log)?.tells_of_a_kill() {
            true => Err(killed()),
            false => Ok(()),
        }
    }
}

fn killed() -> Error {
    Error::failed("the restored server was killed, by this host or somebody on it")
        .hint("see by `dmesg` whether memory ran out, then run the command again.")
}

/// Files of its own, so that those of the original, which may lie elsewhere or say anything, don't count.
struct Configuration {
    main: PathBuf,
    hba: PathBuf,
    ident: PathBuf,
}

impl Configuration {
    fn write(place: &Place) -> Result<Self> {
        let folder = place.server();
        let own = Self {
            main: folder.join("postgresql.conf"),
            hba: folder.join("pg_hba.conf"),
            ident: folder.join("pg_ident.conf"),
        };
        // Only the server's own user can enter the folder of the socket.
        for (path, text) in [
            (&own.main, ""),
            (&own.hba, "local all all trust\n"),
            (&own.ident, ""),
        ] {
            // To be read by another user where we are root: there is nothing secret in them.
            write_over(path, 0o644, text.as_bytes())?;
        }
        Ok(own)
    }

    fn settings(&self) -> [(String, String); 3] {
        let path = |path: &PathBuf| path.to_string_lossy().into_owned();
        [
            ("config_file".to_owned(), path(&self.main)),
            ("hba_file".to_owned(), path(&self.hba)),
            ("ident_file".to_owned(), path(&self.ident)),
        ]
    }
}
