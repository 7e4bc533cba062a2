//! Whether an application that is pointed at the restored database says that it is well.

use std::{
    io,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::{
    error::{Error, Result},
    postgres::{client_programs::variables, conninfo::ConnInfo},
    repo::verified::VerifiedCheck,
    util::{
        cancel::Cancel,
        http,
        mark::Mark,
        process::{self, NO_LIMIT},
        units,
    },
};

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(200);

/// For one answer.
const ANSWER: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub struct Application {
    /// Where it answers; None: there is none.
    pub url: Option<String>,
    /// What starts it, for a shell; None: it runs already.
    pub command: Option<String>,
    /// Until it must have answered well.
    pub limit: Duration,
}

impl Application {
    pub fn check(&self, info: &ConnInfo, cancel: &Cancel) -> Result<VerifiedCheck> {
        const NAME: &str = "health";
        let Some(url) = &self.url else {
            return Ok(VerifiedCheck::skipped(NAME, "no verify.health_url is set"));
        };
        let part = cancel.part();
        let answer = thread::scope(|scope| {
            let command = self
                .command
                .as_ref()
                .map(|command| started_by(command, info));
            let (mark, running) = command.map_or((None, None), |(mark, mut command)| {
                let part = &part;
                let running = scope.spawn(move || run(&mut command, part));
                (Some(mark), Some(running))
            });
            let ended = || {
                running
                    .as_ref()
                    .is_some_and(|running| running.is_finished())
            };
            let answer = self.wait(url, &ended, &part);
            // It is stopped with all that it started: what left its group for a session of its own, too.
            part.set();
            if let Some(mark) = mark {
                while !ended() {
                    mark.kill_all();
                    thread::sleep(PAUSE / 10);
                }
                mark.kill_all();
            }
            match (&answer, running.map(thread::ScopedJoinHandle::join)) {
                (Err(_), Some(Ok(Err(error)))) => Err(error),
                _ => answer,
            }
        });
        cancel.check()?;
        Ok(match answer {
            Ok(()) => VerifiedCheck::passed(NAME, format!("{} answers well", http::shown(url))),
            Err(error) => VerifiedCheck::failed(NAME, error.in_one_line()),
        })
    }

    fn wait(&self, url: &str, ended: &dyn Fn() -> bool, cancel: &Cancel) -> Result<()> {
        let until = Instant::now() + self.limit;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let limit = left.min(ANSWER).max(PAUSE);
            let error = match http::get(url, limit) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            cancel.check()?;
            if ended() {
                return Err(
                    Error::failed("the application ended before it answered").because(error)
                );
            }
            if Instant::now() >= until {
                let limit = units::duration(self.limit);
                return Err(error.context(format!("no good answer within {limit}")));
            }
            thread::sleep(PAUSE);
        }
    }
}

/// The application finds the database by libpq's variables.
fn started_by(command: &str, info: &ConnInfo) -> (Mark, Command) {
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", command])
        .envs(variables(info))
        .env("PGDATABASE", &info.database);
    (Mark::put("PGSTOW_HEALTH_RUN", &mut shell), shell)
}

fn run(command: &mut Command, cancel: &Cancel) -> Result<()> {
    let end = process::run_to_any_end(command, &mut io::sink(), NO_LIMIT, cancel);
    match end {
        // It was stopped, as it should be.
        Err(_) if cancel.is_set() => Ok(()),
        other => Err(other?.failure().context("verify.health_command")),
    }
}
