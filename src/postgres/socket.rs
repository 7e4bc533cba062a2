//! Getting through to the server: socket, keepalive, the question for TLS, and trying again.

use std::{
    io,
    io::{Read, Write},
    net::{TcpStream, ToSocketAddrs},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    path::Path,
    thread,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::Timespec,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt},
};

use super::{
    conninfo::{ConnInfo, Host, SslMode},
    server_error::{ServerError, sqlstate},
};
use crate::{
    error::{Error, Kind, Result},
    util::cancel::Cancel,
};

/// A dead peer or a cut cable is noticed after about two minutes, however long a session rests.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 6;

/// How soon a stop is noticed while the server is silent.
pub const TICK: Duration = Duration::from_millis(200);

/// A blocking socket of either family.
#[derive(Debug)]
pub enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Connects to the server, within `connect_timeout` for each of its addresses.
    fn open(info: &ConnInfo) -> Result<Socket> {
        match &info.host {
            Host::Socket(folder) => {
                let file = ConnInfo::socket_file(folder, info.port);
                unix(&file, info.connect_timeout)
                    .map(Socket::Unix)
                    .map_err(|error| unreachable_server(info, error))
            }
            Host::Tcp { name, address } => {
                let host = address.as_deref().unwrap_or(name);
                tcp(host, info).map(Socket::Tcp)
            }
        }
    }

    /// The longest that one read or write may block.
    fn set_timeout(&self, limit: Duration) -> io::Result<()> {
        match self {
            Socket::Tcp(socket) => {
                socket.set_read_timeout(Some(limit))?;
                socket.set_write_timeout(Some(limit))
            }
            Socket::Unix(socket) => {
                socket.set_read_timeout(Some(limit))?;
                socket.set_write_timeout(Some(limit))
            }
        }
    }

    /// Whether a read would find bytes, or the end, at once.
    pub fn has_bytes(&self) -> bool {
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let mut looked_at = [PollFd::new(self, PollFlags::IN)];
        poll(&mut looked_at, Some(&at_once)).is_ok_and(|ready| ready > 0)
    }

    /// Asks the server whether it speaks TLS. Exactly one byte is read, so that nothing which
    /// came before the encryption can be taken for something that came after it.
    fn ask_for_tls(&mut self, info: &ConnInfo, cancel: &Cancel) -> Result<bool> {
        let deadline = Instant::now() + info.connect_timeout;
        let mut request = BytesMut::new();
        frontend::ssl_request(&mut request);
        // A new socket takes these few bytes at once.
        self.write_all(&request)
            .map_err(|error| lost(info, error))?;
        let mut answer = [0];
        while let Err(error) = self.read_exact(&mut answer) {
            wait(error, cancel, deadline, info)?;
        }
        match answer {
            [b'S'] => Ok(true),
            [b'N'] => Ok(false),
            _ => Err(Error::failed(format!(
                "{} gave a strange answer to the request for TLS",
                info.server()
            ))
            .hint("check host and port; the server's log may say more.")),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Socket::Tcp(socket) => socket.as_fd(),
            Socket::Unix(socket) => socket.as_fd(),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.read(buffer),
            Socket::Unix(socket) => socket.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.write(bytes),
            Socket::Unix(socket) => socket.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A unix socket whose connect doesn't wait for ever while the server's backlog is full.
fn unix(file: &Path, limit: Duration) -> io::Result<UnixStream> {
    let address = SocketAddrUnix::new(file)?;
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(limit))?;
    match connect(&socket, &address) {
        Err(rustix::io::Errno::AGAIN) => Err(io::ErrorKind::TimedOut.into()),
        other => Ok(other.map(|()| UnixStream::from(socket))?),
    }
}

fn tcp(host: &str, info: &ConnInfo) -> Result<TcpStream> {
    let addresses = (host, info.port).to_socket_addrs().map_err(|error| {
        Error::failed(format!("can't find the address of {host}"))
            .because(error)
            .hint("check the host name, or this host's name service.")
    })?;
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        match TcpStream::connect_timeout(&address, info.connect_timeout) {
            Ok(socket) => {
                keep_alive(&socket).map_err(|error| unreachable_server(info, error))?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(unreachable_server(info, last))
}

fn keep_alive(socket: impl AsFd) -> io::Result<()> {
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_socket_keepalive(&socket, true)?;
    sockopt::set_tcp_keepidle(&socket, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(&socket, KEEPALIVE_INTERVAL)?;
    Ok(sockopt::set_tcp_keepcnt(&socket, KEEPALIVE_PROBES)?)
}

fn unreachable_server(info: &ConnInfo, error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Kind::TimedOut,
        _ => Kind::Failed,
    };
    let hint = match (&info.host, error.kind()) {
        (Host::Socket(folder), io::ErrorKind::NotFound) => format!(
            "is the server running, and does it have its sockets in {}? Compare unix_socket_directories \
             and port.",
            folder.display()
        ),
        (Host::Socket(_), io::ErrorKind::PermissionDenied) => {
            "this user may not use the socket; see unix_socket_permissions and \
             unix_socket_group."
                .to_owned()
        }
        (Host::Socket(_), _) => "is the server running?".to_owned(),
        (Host::Tcp { .. }, io::ErrorKind::ConnectionRefused) => format!(
            "is the server running, and does it listen there? Compare listen_addresses and port {}.",
            info.port
        ),
        (Host::Tcp { .. }, _) => "check host, port, routes and firewalls.".to_owned(),
    };
    Error::new(
        kind,
        format!("can't connect to the server at {}", info.server()),
    )
    .because(error)
    .hint(hint)
}

/// The connection ended, or broke, under us.
pub fn lost(info: &ConnInfo, error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Kind::TimedOut,
        _ => Kind::Failed,
    };
    Error::new(kind, format!("lost the connection to {}", info.server()))
        .because(error)
        .hint("the server's log says why, if the server ended it.")
}

/// A read or write that found nothing to do within a [`TICK`].
pub fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

/// Lets the caller go on after a pause, until a stop is asked for or the time is up.
pub fn wait(error: io::Error, cancel: &Cancel, deadline: Instant, info: &ConnInfo) -> Result<()> {
    if !is_pause(&error) {
        return Err(lost(info, error));
    }
    cancel.check()?;
    match Instant::now() < deadline {
        true => Ok(()),
        false => Err(silent(info)),
    }
}

/// Nothing came in time.
pub fn silent(info: &ConnInfo) -> Error {
    Error::new(
        Kind::TimedOut,
        format!("no answer from {} within the time limit", info.server()),
    )
    .hint("see whether the server answers anybody (pg_isready), and what its log says.")
}

/// Whether a connection is to be encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    Never,
    IfOffered,
    Always,
}

impl Encryption {
    /// Opens a socket whose reads and writes block for a [`TICK`] at most; true if TLS is to be started on it.
    pub fn open(self, info: &ConnInfo, cancel: &Cancel) -> Result<(Socket, bool)> {
        let mut socket = Socket::open(info)?;
        socket
            .set_timeout(TICK)
            .map_err(|error| lost(info, error))?;
        if self == Encryption::Never {
            return Ok((socket, false));
        }
        let offered = socket.ask_for_tls(info, cancel)?;
        if !offered && self == Encryption::Always {
            return Err(Error::failed(format!(
                "the server at {} does not offer TLS",
                info.server()
            ))
            .hint("set ssl = on in postgresql.conf, or choose a weaker sslmode."));
        }
        Ok((socket, offered))
    }
}

/// The first way to try, and the one to fall back on when the server or its pg_hba.conf
/// doesn't want the first (libpq's "allow" and "prefer"). sslmode has no meaning for unix sockets.
fn ways(info: &ConnInfo) -> (Encryption, Option<Encryption>) {
    match (&info.host, info.sslmode) {
        (Host::Socket(_), _) | (_, SslMode::Disable) => (Encryption::Never, None),
        (_, SslMode::Allow) => (Encryption::Never, Some(Encryption::Always)),
        (_, SslMode::Prefer) => (Encryption::IfOffered, Some(Encryption::Never)),
        (_, SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull) => {
            (Encryption::Always, None)
        }
    }
}

/// Connects by `attempt`, in the ways that sslmode allows, and again after errors that may pass.
pub fn connect_with<T>(
    info: &ConnInfo,
    cancel: &Cancel,
    mut attempt: impl FnMut(Encryption) -> Result<T>,
) -> Result<T> {
    let mut left = info.retries;
    loop {
        cancel.check()?;
        let (first, second) = ways(info);
        let outcome = match (attempt(first), second) {
            (Err(error), Some(second)) if is_about_encryption(&error) => {
                // Where both ways fail, the error of the preferred one is reported.
                attempt(second).map_err(|_| error)
            }
            (outcome, _) => outcome,
        };
        match outcome {
            Err(error) if left > 0 && may_pass(&error) => {
                tracing::warn!("{}; trying again", error.in_one_line());
                left -= 1;
                pause(info.delay, cancel)?;
            }
            other => return other,
        }
    }
}

/// Waits, unless a stop is asked for.
pub fn pause(delay: Duration, cancel: &Cancel) -> Result<()> {
    let end = Instant::now() + delay;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        cancel.check()?;
        thread::sleep(left.min(TICK));
    }
    cancel.check()
}

fn is_about_encryption(error: &Error) -> bool {
    let rejected =
        ServerError::of(error).is_some_and(|error| error.code == sqlstate::INVALID_AUTHORIZATION);
    rejected
        || io_cause(error).is_some_and(|e| e.get_ref().is_some_and(|e| e.is::<rustls::Error>()))
}

/// A server that restarts, starts up, or has no place for us right now.
fn may_pass(error: &Error) -> bool {
    if let Some(error) = ServerError::of(error) {
        return [sqlstate::CANNOT_CONNECT_NOW, sqlstate::TOO_MANY_CONNECTIONS]
            .contains(&error.code.as_str());
    }
    io_cause(error).is_some_and(|error| {
        matches!(
            error.kind(),
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
        )
    })
}

fn io_cause(error: &Error) -> Option<&io::Error> {
    use std::error::Error as _;
    let mut cause = error.source();
    while let Some(source) = cause {
        if let Some(found) = source.downcast_ref() {
            return Some(found);
        }
        cause = source.source();
    }
    None
}
