//! What tells the server how to recover: the signal file, and lines of postgresql.auto.conf.
//!
//! Only these two are written, since pg_verifybackup exempts them. All that is written here goes
//! again when recovery ends ([`finish`]): a target that stays makes the next replica of this
//! server promote itself. Some lines stay, since they belong to a copy: `archive_mode = off`, so that
//! it never archives among the original's files, and settings that name what is the original's, which are empty.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{
    auto_conf,
    target::{Action, Target},
};
use crate::{
    error::{Error, IoContext, Result},
    postgres::{lsn::TimelineId, wal_name::Segment},
    util::{
        clock::readable,
        fs::{NewFile, read_if_there},
    },
};

pub const RECOVERY_SIGNAL: &str = "recovery.signal";
pub const STANDBY_SIGNAL: &str = "standby.signal";
const AUTO_CONF: &str = "postgresql.auto.conf";

/// The targets, of which PostgreSQL allows one. An empty one unsets what postgresql.conf says,
/// but only in front of the one that is set: each line clears what the lines before it set
/// (assign_recovery_target in `src/backend/access/transam/xlogrecovery.c`).
const TARGETS: [&str; 5] = [
    "recovery_target",
    "recovery_target_name",
    "recovery_target_time",
    "recovery_target_xid",
    "recovery_target_lsn",
];

/// All else that governs a recovery and nothing after it.
const OTHERS: [&str; 7] = [
    "restore_command",
    "archive_cleanup_command",
    "recovery_end_command",
    "recovery_target_inclusive",
    "recovery_target_timeline",
    "recovery_target_action",
    // Delays a point-in-time recovery as it delays a standby.
    "recovery_min_apply_delay",
];

fn names() -> Vec<&'static str> {
    TARGETS.into_iter().chain(OTHERS).collect()
}

/// How restore-wal is called from the restored server.
#[derive(Clone, Debug)]
pub enum WalSource {
    /// The program and its first arguments, up to and with `restore-wal` and the flags that say
    /// which repository, cluster and system.
    Command(Vec<String>),
    /// The backup holds all WAL that it needs, and the repository can't be reached.
    Nowhere,
}

/// What is written into the restored directory.
#[derive(Clone, Debug)]
pub struct Recovery {
    pub target: Target,
    pub exclusive: bool,
    /// None: the latest, also one that comes later.
    pub timeline: Option<TimelineId>,
    pub action: Action,
    pub standby: bool,
    pub wal: WalSource,
    /// Behind this segment restore-wal may say that there is nothing more.
    pub last: Option<Segment>,
    /// The program and arguments of `restore-done`.
    pub done: Vec<String>,
    /// The value to write for archive_mode; None leaves it as it is.
    pub archive: Option<bool>,
    /// Settings that stay empty.
    pub emptied: Vec<&'static str>,
}

impl Recovery {
    /// The settings, in the order in which they must stand.
    fn settings(&self) -> Vec<(&'static str, String)> {
        let mut settings = vec![("restore_command", self.restore_command())];
        let timeline = self.timeline.map(|timeline| timeline.to_string());
        let timeline = timeline.unwrap_or("latest".to_owned());
        if !self.standby {
            settings.push(("recovery_end_command", command(&self.done)));
            settings.push(("recovery_min_apply_delay", "0".to_owned()));
        }
        settings.push(("recovery_target_timeline", timeline));
        let target = self.target();
        let unused = TARGETS
            .into_iter()
            .filter(|name| target.as_ref().is_none_or(|(used, _)| used != name));
        settings.extend(unused.map(|name| (name, String::new())));
        if let Some(target) = target {
            let inclusive = if self.exclusive { "off" } else { "on" };
            settings.push(("recovery_target_inclusive", inclusive.to_owned()));
            settings.push(("recovery_target_action", self.action.name().to_owned()));
            settings.push(target);
        }
        if let Some(archive) = self.archive {
            let mode = if archive { "on" } else { "off" };
            settings.push(("archive_mode", mode.to_owned()));
        }
        settings.extend(self.emptied.iter().map(|name| (*name, String::new())));
        settings
    }

    fn target(&self) -> Option<(&'static str, String)> {
        Some(match &self.target {
            _ if self.standby => return None,
            Target::Latest => return None,
            Target::Immediate => ("recovery_target", "immediate".to_owned()),
            Target::Name(name) => ("recovery_target_name", name.clone()),
            // With its offset: the server reads it in its own zone otherwise.
            Target::Time(time) => ("recovery_target_time", readable(*time)),
            Target::Xid(xid) => ("recovery_target_xid", xid.to_string()),
            Target::Lsn(lsn) => ("recovery_target_lsn", lsn.to_string()),
        })
    }

    fn restore_command(&self) -> String {
        match &self.wal {
            WalSource::Nowhere => "false".to_owned(),
            WalSource::Command(words) => {
                let mut words = words.clone();
                if let Some(last) = self.last {
                    words.extend(["--last".to_owned(), last.to_string()]);
                }
                format!("{} %f \"%p\"", command(&words))
            }
        }
    }

    /// Writes settings and signal file; the caller gives them their owner and syncs the folder.
    pub fn write(&self, data_dir: &Path) -> Result<Vec<PathBuf>> {
        let path = data_dir.join(AUTO_CONF);
        let old = read_if_there(&path)?.unwrap_or_default();
        let mut dropped = names();
        if self.archive.is_some() {
            dropped.push("archive_mode");
        }
        dropped.extend(&self.emptied);
        let text = auto_conf::with(auto_conf::without(&old, &dropped), &self.settings());
        replace(&path, &text)?;
        let signal = data_dir.join(match self.standby {
            true => STANDBY_SIGNAL,
            false => RECOVERY_SIGNAL,
        });
        crate::util::fs::write_over(&signal, 0o600, b"")?;
        Ok(vec![path, signal])
    }
}

/// What `restore-done` removed.
#[derive(Debug, Serialize)]
pub struct Finished {
    pub data_dir: PathBuf,
    /// Names of the settings, in the order of the file.
    pub removed: Vec<String>,
}

/// Removes by name all that governs a recovery from postgresql.auto.conf; other lines stay.
///
/// Runs as recovery_end_command, in the data directory and as the server's user. The server
/// read its settings when it started, so it needs no reload.
pub fn finish(data_dir: &Path) -> Result<Finished> {
    if !data_dir.join("PG_VERSION").exists() {
        return Err(
            Error::usage(format!("{} is not a data directory", data_dir.display())).hint(
                "restore-done is for recovery_end_command, which runs in the data directory.",
            ),
        );
    }
    let path = data_dir.join(AUTO_CONF);
    let old = read_if_there(&path)?.unwrap_or_default();
    let new = auto_conf::without(&old, &names());
    let removed = names()
        .into_iter()
        .filter(|name| auto_conf::value(&old, name).is_some())
        .map(str::to_owned)
        .collect();
    if new != old {
        replace(&path, &new)?;
    }
    Ok(Finished {
        data_dir: data_dir.to_owned(),
        removed,
    })
}

/// Durably, and with the mode that the file had: a server that allows group access shows it there.
fn replace(path: &Path, text: &[u8]) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let mode = fs::metadata(path).map_or(0o600, |meta| meta.mode() & 0o777);
    let mut file = NewFile::create(path, mode)?;
    file.write_all(text).at("write", path)?;
    file.publish_over()
}

/// A line for `sh -c`, in which PostgreSQL has replaced its `%` escapes before.
pub fn command(words: &[String]) -> String {
    let words: Vec<String> = words
        .iter()
        .map(|word| shell_word(word).replace('%', "%%"))
        .collect();
    words.join(" ")
}

/// One word for the shell.
pub fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::postgres::lsn::Lsn;

    fn recovery(target: Target) -> Recovery {
        Recovery {
            target,
            exclusive: false,
            timeline: TimelineId::new(17),
            action: Action::Promote,
            standby: false,
            wal: WalSource::Command(vec![
                "/opt/pg stow/100%/pgstow".into(),
                "restore-wal".into(),
            ]),
            last: None,
            done: vec!["/usr/bin/pgstow".into(), "restore-done".into()],
            archive: None,
            emptied: Vec::new(),
        }
    }

    fn written(recovery: &Recovery, before: &str) -> (String, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(AUTO_CONF), before).unwrap();
        fs::write(folder.path().join("PG_VERSION"), "15\n").unwrap();
        recovery.write(folder.path()).unwrap();
        let text = fs::read_to_string(folder.path().join(AUTO_CONF)).unwrap();
        (text, folder)
    }

    #[test]
    fn one_target_is_set_behind_the_empty_ones() {
        let exact = [
            (
                Target::Lsn(Lsn(0x300_0148)),
                "recovery_target_lsn = '0/3000148'",
            ),
            (Target::Xid(731), "recovery_target_xid = '731'"),
            (
                Target::Name("it's".into()),
                "recovery_target_name = 'it''s'",
            ),
            (Target::Immediate, "recovery_target = 'immediate'"),
            (
                Target::Time("2026-11-21T02:00:00.5Z".parse().unwrap()),
                "recovery_target_time = '2026-11-21 02:00:00.500+00'",
            ),
        ];
        for (target, line) in exact {
            let (text, _) = written(&recovery(target), "recovery_target_time = 'stale'\n");
            assert!(text.trim_end().ends_with(line), "{text}");
            assert_eq!(text.matches(" = ''\n").count(), 4, "{text}");
            assert!(text.contains("recovery_target_timeline = '17'\n"));
            assert!(!text.contains("stale"));
        }
        let (text, _) = written(&recovery(Target::Latest), "");
        assert_eq!(text.matches(" = ''\n").count(), 5, "{text}");
        assert!(!text.contains("recovery_target_action"));
    }

    #[test]
    fn commands_survive_the_shell_and_the_settings_file() {
        let last = "000000010000000000000003".parse().unwrap();
        let (text, _) = written(
            &Recovery {
                last: Some(last),
                ..recovery(Target::Latest)
            },
            "",
        );
        let line = "restore_command = '''/opt/pg stow/100%%/pgstow'' restore-wal \
                    --last 000000010000000000000003 %f \"%p\"'\n";
        assert!(text.contains(line), "{text}");
        assert_eq!(shell_word("a'b"), r"'a'\''b'");
        assert_eq!(shell_word(""), "''");
    }

    #[test]
    fn what_restore_wrote_goes_when_recovery_ends_and_the_rest_stays() {
        let before = "# Do not edit this file manually!\nexternal_pid_file = '/run/pid'\n\
                      work_mem = '4MB'\narchive_mode = 'on'\n";
        let copy = Recovery {
            archive: Some(false),
            emptied: vec!["external_pid_file"],
            ..recovery(Target::Xid(9))
        };
        let (_, folder) = written(&copy, before);
        let finished = finish(folder.path()).unwrap();
        assert!(finished.removed.contains(&"recovery_target_xid".to_owned()));
        let text = fs::read_to_string(folder.path().join(AUTO_CONF)).unwrap();
        let left = "# Do not edit this file manually!\nwork_mem = '4MB'\narchive_mode = 'off'\n\
                    external_pid_file = ''\n";
        assert_eq!(text, left);
        // Once more changes nothing, and a folder that is no cluster is refused.
        assert!(finish(folder.path()).unwrap().removed.is_empty());
        assert!(finish(tempfile::tempdir().unwrap().path()).is_err());
    }

    #[test]
    fn a_standby_has_no_target_and_no_end() {
        let standby = Recovery {
            standby: true,
            timeline: None,
            ..recovery(Target::Latest)
        };
        let (text, folder) = written(&standby, "primary_conninfo = 'host=x'\n");
        assert!(text.contains("recovery_target_timeline = 'latest'\n"));
        assert!(text.contains("primary_conninfo"));
        assert!(!text.contains("recovery_end_command") && !text.contains("restore-done"));
        assert!(folder.path().join(STANDBY_SIGNAL).exists());
        let fixed = Recovery {
            timeline: TimelineId::new(4),
            ..standby
        };
        let (text, _) = written(&fixed, "");
        assert!(text.contains("recovery_target_timeline = '4'\n"), "{text}");
        assert!(!folder.path().join(RECOVERY_SIGNAL).exists());
    }
}
