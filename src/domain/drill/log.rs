//! What the log of a drill's server tells of its end: what is stored was wrong, or this host stood in the way.

use std::{fs, path::Path};

use crate::error::{Error, IoContext, Result};

/// Whole, in English, of the levels LOG and above.
pub struct Log(String);

impl Log {
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).at("read", path)?;
        Ok(Self(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// What the server complained of, the reasons first: what it says at its end is always the same.
    pub fn words(&self, error: &Error) -> Vec<String> {
        const MOST: usize = 20;
        // Of restore-wal, and of the server.
        let begins = [
            "error:",
            "caused by:",
            "hint:",
            "ERROR:",
            "FATAL:",
            "PANIC:",
            "DETAIL:",
            "HINT:",
        ];
        let told = self.0.lines().map(str::trim);
        let told = told.filter(|line| begins.iter().any(|begin| line.starts_with(begin)));
        let mut words: Vec<String> = vec![error.message().to_owned()];
        words.extend(told.take(MOST).map(str::to_owned));
        if let [_, ..] = &words[1..] {
            words.rotate_left(1);
        }
        words
    }

    /// Whether the server, or a process of it, was killed as a host kills who takes too much memory: a server that ends
    /// in any other way says so (UnlinkLockFiles in `src/backend/utils/init/miscinit.c`).
    pub fn tells_of_a_kill(&self) -> bool {
        let unsaid = self.tells_of_a_start() && !self.0.contains("database system is shut down");
        unsaid || self.0.contains("was terminated by signal 9")
    }

    /// Whether it came so far as to look at what was restored, but for its control file: settings, libraries and memory
    /// were in order (PostmasterMain in `src/backend/postmaster/postmaster.c`).
    pub fn tells_of_a_start(&self) -> bool {
        self.0.contains("starting PostgreSQL")
    }

    /// Whether it would not begin with this control file.
    pub fn tells_of_the_control_file(&self) -> bool {
        self.0.contains("control file") || self.0.contains("pg_control")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_log_tells() {
        const START: &str = "LOG:  starting PostgreSQL 17.5 on x86_64\n";
        const END: &str = "LOG:  database system is shut down\n";
        for (text, start, kill) in [
            (
                "FATAL:  unrecognized configuration parameter \"x\"\n",
                false,
                false,
            ),
            (END, false, false),
            (START, true, true),
            (&format!("{START}FATAL:  x\n{END}"), true, false),
            (
                &format!(
                    "{START}LOG:  server process (PID 7) was terminated by signal 9: Killed\n{END}"
                ),
                true,
                true,
            ),
            (
                &format!(
                    "{START}LOG:  startup process (PID 7) was terminated by signal 6: Aborted\n{END}"
                ),
                true,
                false,
            ),
        ] {
            let log = Log(text.to_owned());
            assert_eq!(
                (log.tells_of_a_start(), log.tells_of_a_kill()),
                (start, kill),
                "{text}"
            );
        }
        let log = Log("error: it can't be used\n  caused by: its checksum differs\n".to_owned());
        let words = log.words(&Error::failed("it ended"));
        assert_eq!(
            words,
            [
                "error: it can't be used",
                "caused by: its checksum differs",
                "it ended"
            ]
        );
        let log = Log("FATAL:  incorrect checksum in control file\n".to_owned());
        assert!(log.tells_of_the_control_file());
    }
}
