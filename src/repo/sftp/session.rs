//! A connection: an `ssh` of the system, which ends with us.

use std::{
    os::{fd::OwnedFd, unix::net::UnixStream as StdStream},
    process::{Child, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use openssh_sftp_client::{Error as SftpError, Sftp, SftpOptions};
use tokio::{net::UnixStream, runtime::Runtime};

use super::{
    failure::{failure, is_answer},
    remote::Remote,
};
use crate::{
    error::{Error, Result},
    repo::runtime,
    util::process::last_lines,
};

/// A host may be away that long, as while it is restarted, before what needs it fails.
const PATIENCE: Duration = Duration::from_secs(4 * 60);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// One host, and the connection to it while there is one.
#[derive(Debug)]
pub struct Sessions {
    pub remote: Remote,
    runtime: &'static Runtime,
    open: Mutex<Option<Arc<Session>>>,
}

#[derive(Debug)]
pub struct Session {
    pub sftp: Sftp,
    ssh: Mutex<Child>,
    complaints: Mutex<Option<JoinHandle<String>>>,
}

impl Sessions {
    pub fn new(remote: &Remote) -> Result<Self> {
        Ok(Self {
            remote: remote.clone(),
            runtime: runtime::runtime()?,
            open: Mutex::default(),
        })
    }

    pub fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    pub fn spawn<F>(&self, future: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.runtime.spawn(future)
    }

    /// The connection, made where there is none.
    pub fn session(&self) -> Result<Arc<Session>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = &*open {
            return Ok(Arc::clone(session));
        }
        let session = Arc::new(self.connect()?);
        *open = Some(Arc::clone(&session));
        Ok(session)
    }

    /// Asks what may be asked twice, again by a new connection where one breaks.
    pub fn ask<T, F>(
        &self,
        doing: &str,
        place: &str,
        mut question: impl FnMut(Arc<Session>) -> F,
    ) -> Result<std::result::Result<T, SftpError>>
    where
        F: Future<Output = std::result::Result<T, SftpError>>,
    {
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let session = match self.session() {
                Ok(session) => session,
                Err(error) if begun.elapsed() + pause > PATIENCE || is_refusal(&error) => {
                    return Err(error);
                }
                Err(_) => {
                    thread::sleep(pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    continue;
                }
            };
            match self.wait(question(Arc::clone(&session))) {
                Err(error) if !is_answer(&error) => {
                    self.forget(&session);
                    if begun.elapsed() + pause > PATIENCE {
                        return Err(self.broken(&session, failure(doing, place, &error)));
                    }
                }
                answer => return Ok(answer),
            }
            thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// A connection that broke is not used again.
    pub fn forget(&self, session: &Arc<Session>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.as_ref().is_some_and(|open| Arc::ptr_eq(open, session)) {
            *open = None;
        }
    }

    /// With what ssh said.
    pub fn broken(&self, session: &Session, error: Error) -> Error {
        let words = session.last_words();
        match words.is_empty() {
            true => error,
            false => Error::failed(error.in_one_line()).because(words),
        }
    }

    fn connect(&self) -> Result<Session> {
        let unreached = || Error::failed(format!("can't reach {} by ssh", self.remote));
        let (ours, theirs) = StdStream::pair().map_err(|error| unreached().because(error))?;
        let theirs: OwnedFd = theirs.into();
        let output = theirs
            .try_clone()
            .map_err(|error| unreached().because(error))?;
        let mut command = self.remote.ssh();
        command
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::from(output))
            .stderr(Stdio::piped());
        let spawned = command.spawn();
        // It holds the other end of the stream.
        drop(command);
        let mut ssh = spawned.map_err(|error| {
            unreached()
                .because(error)
                .hint("install OpenSSH's client: Debian's package is openssh-client.")
        })?;
        let errors = ssh.stderr.take();
        let complaints = errors.map(|errors| thread::spawn(move || last_lines(errors)));
        let complaints = Mutex::new(complaints);
        let speak = async {
            ours.set_nonblocking(true)?;
            let (output, input) = UnixStream::from_std(ours)?.into_split();
            Sftp::new(input, output, SftpOptions::new()).await
        };
        match self.wait(speak) {
            Ok(sftp) => {
                let session = Session {
                    sftp,
                    ssh: Mutex::new(ssh),
                    complaints,
                };
                session.check(&self.remote)?;
                Ok(session)
            }
            Err(error) => {
                end(&mut ssh);
                let said = words(&complaints);
                let because = match said.is_empty() {
                    true => error.to_string(),
                    false => said,
                };
                let hint = hint(&because);
                let error = unreached().because(because);
                Err(match hint {
                    Some(hint) => error.hint(hint),
                    None => error,
                })
            }
        }
    }
}

impl Session {
    /// What durable and create-only objects need.
    fn check(&self, remote: &Remote) -> Result<()> {
        for (is_there, name) in [
            (self.sftp.support_fsync(), "fsync"),
            (self.sftp.support_hardlink(), "hardlink"),
        ] {
            if !is_there {
                return Err(Error::failed(format!(
                    "the sftp server of {remote} doesn't know {name}@openssh.com"
                ))
                .hint("use the sftp server of OpenSSH there: without it nothing is durable, or may be overwritten."));
            }
        }
        Ok(())
    }

    /// What ssh complained of; it has ended, or is ended now.
    fn last_words(&self) -> String {
        end(&mut self.ssh.lock().unwrap_or_else(PoisonError::into_inner));
        words(&self.complaints)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        end(&mut self.ssh.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn end(ssh: &mut Child) {
    // Both fail only where it has ended.
    let _ = ssh.kill();
    let _ = ssh.wait();
}

fn words(complaints: &Mutex<Option<JoinHandle<String>>>) -> String {
    let taken = complaints
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    taken
        .and_then(|thread| thread.join().ok())
        .unwrap_or_default()
}

/// Whether asking again is of no use.
fn is_refusal(error: &Error) -> bool {
    let text = error.in_one_line();
    [
        "Permission denied",
        "Host key verification failed",
        "doesn't know",
        "No such file",
    ]
    .iter()
    .any(|words| text.contains(words))
}

fn hint(words: &str) -> Option<&'static str> {
    [
        (
            "Host key verification failed",
            "compare the host's key with what its administrator says, and add it to the known_hosts of the user that runs \
             pgstow (ssh-keyscan shows it), or to the file of the setting known_hosts.",
        ),
        (
            "Permission denied",
            "add the public key of the user that runs pgstow to the authorized_keys of that user there; ssh_key names another \
             private key, which must be closed to others and have no passphrase (or be in an agent).",
        ),
        ("not resolve", "correct the host in url of this repository."),
        ("Connection refused", "see that sshd runs there, on that port."),
        ("timed out", "see that this host reaches the other one: address, port, firewall."),
    ]
    .into_iter()
    .find_map(|(found, hint)| words.contains(found).then_some(hint))
}
