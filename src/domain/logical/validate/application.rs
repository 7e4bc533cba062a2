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
        brand::Brand,
        cancel::Cancel,
        http,
        process::{self, End, NO_LIMIT},
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

/// How waiting for it ended.
enum Waited {
    Well,
    /// It ended by itself; what was last heard at its address.
    Ended(Error),
    /// The time is over; what was last heard, and whether that was an answer.
    TooLong(Error, bool),
}

impl Application {
    /// # Errors
    /// It could not be asked at all: what that means of the dump nobody knows.
    pub fn check(&self, info: &ConnInfo, cancel: &Cancel) -> Result<VerifiedCheck> {
        const NAME: &str = "health";
        let Some(url) = &self.url else {
            return Ok(VerifiedCheck::skipped(NAME, "no verify.health_url is set"));
        };
        let part = cancel.part();
        let (waited, end) = thread::scope(|scope| {
            let command = self
                .command
                .as_ref()
                .map(|command| started_by(command, info));
            let (brand, running) = command.map_or((None, None), |(brand, mut command)| {
                let part = &part;
                let running = scope.spawn(move || run(&mut command, part));
                (Some(brand), Some(running))
            });
            let ended = || {
                running
                    .as_ref()
                    .is_some_and(|running| running.is_finished())
            };
            let waited = self.wait(url, &ended, &part);
            // It is stopped with all that it started: what left its group for a session of its own, too.
            part.set();
            if let Some(brand) = brand {
                while !ended() {
                    brand.kill_all();
                    thread::sleep(PAUSE / 10);
                }
                brand.kill_all();
            }
            let end = running.and_then(|running| running.join().ok());
            (waited, end.unwrap_or(Ok(None)))
        });
        cancel.check()?;
        match self.judge(url, waited, end?)? {
            None => {
                let fine = format!("{} answers well", http::shown(url));
                Ok(VerifiedCheck::passed(NAME, fine))
            }
            Some(wrong) => Ok(VerifiedCheck::failed(NAME, wrong.in_one_line())),
        }
    }

    /// What is wrong with it, if something is; `end`: of the command, unless it was stopped by us.
    fn judge(&self, url: &str, waited: Waited, end: Option<End>) -> Result<Option<Error>> {
        /// The shell's own: it found no such program, or may not run it.
        const NOT_STARTED: [i32; 2] = [126, 127];
        let limit = units::duration(self.limit);
        let too_long = format!("no good answer within {limit}");
        match (waited, end) {
            (Waited::Well, _) => Ok(None),
            (Waited::Ended(_), Some(end))
                if end.status.code().is_some_and(|code| NOT_STARTED.contains(&code)) =>
            {
                let error = end.failure();
                Err(error.context("the application can't be started").hint(
                    "see that verify.health_command can be run by this user on this host, with the whole path of its \
                     program.",
                ))
            }
            (Waited::Ended(heard), end) => {
                let how = end.map_or(String::new(), |end| match end.words() {
                    "" => format!(" ({})", end.status),
                    words => format!(" ({}: {words})", end.status),
                });
                let what = format!("the application ended{how} before it answered well");
                Ok(Some(Error::failed(what).because(heard.in_one_line())))
            }
            (Waited::TooLong(heard, is_answer), _) if is_answer || self.command.is_some() => {
                Ok(Some(heard.context(too_long)))
            }
            (Waited::TooLong(heard, _), _) => Err(heard.context(too_long).hint(format!(
                "see that an application answers at {}, or have it started by verify.health_command.",
                http::shown(url)
            ))),
        }
    }

    fn wait(&self, url: &str, ended: &dyn Fn() -> bool, cancel: &Cancel) -> Waited {
        let until = Instant::now() + self.limit;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let limit = left.min(ANSWER).max(PAUSE);
            let (heard, is_answer) = match http::get(url, limit) {
                Ok(None) => return Waited::Well,
                Ok(Some(bad)) => (bad, true),
                Err(nothing) => (nothing, false),
            };
            match () {
                () if ended() => return Waited::Ended(heard),
                () if cancel.is_set() || Instant::now() >= until => {
                    return Waited::TooLong(heard, is_answer);
                }
                () => thread::sleep(PAUSE),
            }
        }
    }
}

/// The application finds the database by libpq's variables.
fn started_by(command: &str, info: &ConnInfo) -> (Brand, Command) {
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", command])
        .envs(variables(info))
        .env("PGDATABASE", &info.database);
    (Brand::put("PGSTOW_HEALTH_RUN", &mut shell), shell)
}

/// How it ended by itself; None: it was stopped, as it should be.
fn run(command: &mut Command, cancel: &Cancel) -> Result<Option<End>> {
    let end = process::run_to_any_end(command, &mut io::sink(), NO_LIMIT, cancel);
    match cancel.is_set() {
        true => Ok(None),
        false => end.map(Some),
    }
}
