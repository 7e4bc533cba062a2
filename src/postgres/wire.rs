//! Blocking conversation with the server: messages out, messages in, out of one large buffer.
//!
//! A message is a tag byte, a length that counts itself, and a body
//! (`doc/src/sgml/protocol.sgml`, "Message Formats"). postgres-protocol writes our messages;
//! those of the server are taken apart here, because its parser copies every CopyData and
//! refuses CopyBothResponse.

use std::{
    io::{self, Read, Write},
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use rustls::{ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;

use super::{
    conninfo::{ConnInfo, Host},
    server_error::ServerError,
    socket::{self, Encryption, Socket},
    tls, tls_verify,
};
use crate::{
    error::{Error, Kind, Result},
    util::cancel::Cancel,
};

/// Tags of the server's messages (`src/include/libpq/protocol.h`).
pub mod tag {
    pub const AUTHENTICATION: u8 = b'R';
    pub const COMMAND_COMPLETE: u8 = b'C';
    pub const COPY_DATA: u8 = b'd';
    pub const COPY_DONE: u8 = b'c';
    pub const COPY_OUT: u8 = b'H';
    pub const DATA_ROW: u8 = b'D';
    pub const ERROR: u8 = b'E';
    pub const NOTICE: u8 = b'N';
    pub const NOTIFICATION: u8 = b'A';
    pub const PARAMETER_STATUS: u8 = b'S';
    pub const READY: u8 = b'Z';
    pub const ROW_DESCRIPTION: u8 = b'T';
}

/// Eight messages of a base backup, whose data comes in pieces of 32 KiB.
const BUFFER: usize = 256 << 10;

/// PostgreSQL's own limit of a message (MaxAllocSize, `src/include/utils/memutils.h`).
const LONGEST: usize = 0x3FFF_FFFF;

/// How soon a stop is noticed while the server is silent.
const TICK: Duration = Duration::from_millis(200);

/// A message of the server, valid until the next one is read.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub tag: u8,
    pub body: &'a [u8],
}

enum Stream {
    Plain(Socket),
    Tls(Box<StreamOwned<ClientConnection, Socket>>),
}

type OnNotice = Box<dyn FnMut(&ServerError) + Send>;

/// One connection, before and after authentication.
pub struct Wire {
    stream: Stream,
    incoming: Incoming,
    pub outgoing: BytesMut,
    cancel: Cancel,
    limit: Duration,
    server: String,
    notices: Vec<ServerError>,
    on_notice: Option<OnNotice>,
}

impl Wire {
    /// Connects, with TLS where `encryption` says so and the server agrees.
    pub fn open(info: &ConnInfo, encryption: Encryption, cancel: &Cancel) -> Result<Self> {
        let (mut socket, with_tls) = encryption.open(info)?;
        socket
            .set_timeout(TICK)
            .map_err(|error| socket::lost(info, error))?;
        let stream = if with_tls {
            let mut connection = client(info)?;
            handshake(&mut connection, &mut socket, info, cancel)?;
            Stream::Tls(Box::new(StreamOwned::new(connection, socket)))
        } else {
            Stream::Plain(socket)
        };
        Ok(Self {
            stream,
            incoming: Incoming::new(BUFFER),
            outgoing: BytesMut::new(),
            cancel: cancel.clone(),
            limit: info.connect_timeout,
            server: info.server(),
            notices: Vec::new(),
            on_notice: None,
        })
    }

    /// How long the server may be silent from now on.
    pub fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// Calls `callback` with each notice as it comes.
    pub fn on_notice(&mut self, callback: impl FnMut(&ServerError) + Send + 'static) {
        self.on_notice = Some(Box::new(callback));
    }

    /// The notices since the last call.
    pub fn take_notices(&mut self) -> Vec<ServerError> {
        std::mem::take(&mut self.notices)
    }

    /// What ties a SCRAM exchange to this TLS connection; None without TLS, or where the
    /// server's certificate allows none.
    pub fn channel_binding(&self) -> Option<Vec<u8>> {
        match &self.stream {
            Stream::Plain(_) => None,
            Stream::Tls(stream) => stream
                .conn
                .peer_certificates()
                .and_then(|chain| chain.first())
                .and_then(tls_verify::server_end_point),
        }
    }

    /// Sends what was put into `outgoing`.
    pub fn send(&mut self) -> Result<()> {
        let deadline = Instant::now() + self.limit;
        let bytes = self.outgoing.split();
        let mut rest: &[u8] = &bytes;
        while !rest.is_empty() {
            let stream = self.stream.as_write();
            match stream.write(rest) {
                Ok(0) => return Err(lost(&self.server, io::ErrorKind::WriteZero.into())),
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) => wait(error, &self.cancel, deadline, &self.server)?,
            }
        }
        while let Err(error) = self.stream.as_write().flush() {
            wait(error, &self.cancel, deadline, &self.server)?;
        }
        Ok(())
    }

    /// The next message; notices and changes of parameters are dealt with on the way.
    pub fn read(&mut self) -> Result<Message<'_>> {
        let (tag, body) = loop {
            let (tag, body) = self.receive()?;
            match tag {
                tag::NOTICE => {
                    let notice = ServerError::parse(self.incoming.bytes(body));
                    tracing::debug!("{}: {notice}", self.server);
                    if let Some(callback) = &mut self.on_notice {
                        callback(&notice);
                    }
                    self.notices.push(notice);
                }
                tag::PARAMETER_STATUS | tag::NOTIFICATION => {}
                _ => break (tag, body),
            }
        };
        let body = self.incoming.bytes(body);
        Ok(Message { tag, body })
    }

    fn receive(&mut self) -> Result<(u8, Range<usize>)> {
        let deadline = Instant::now() + self.limit;
        loop {
            let found = self.incoming.message();
            if let Some(found) = found.map_err(|error| lost(&self.server, error))? {
                return Ok(found);
            }
            match self.incoming.fill(self.stream.as_read()) {
                Ok(()) => self.cancel.check()?,
                Err(error) => wait(error, &self.cancel, deadline, &self.server)?,
            }
        }
    }
}

impl Stream {
    fn as_read(&mut self) -> &mut dyn Read {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => stream,
        }
    }

    fn as_write(&mut self) -> &mut dyn Write {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => stream,
        }
    }
}

/// Received bytes, of which `start..end` are not consumed.
struct Incoming {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes that the message in progress needs in all, as far as is known.
    needed: usize,
}

impl Incoming {
    fn new(size: usize) -> Self {
        Self {
            buffer: vec![0; size],
            start: 0,
            end: 0,
            needed: HEADER,
        }
    }

    fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.buffer.get(range).unwrap_or_default()
    }

    /// Consumes the next message, if it is there in full.
    fn message(&mut self) -> io::Result<Option<(u8, Range<usize>)>> {
        self.needed = HEADER;
        let Some(&[tag, a, b, c, d]) = self.bytes(self.start..self.end).first_chunk::<HEADER>()
        else {
            return Ok(None);
        };
        // The length counts its own four bytes but not the tag.
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if !(4..=LONGEST).contains(&length) {
            let what = format!("message {tag:#04x} of impossible length {length}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        self.needed = 1 + length;
        if self.end - self.start < self.needed {
            return Ok(None);
        }
        let body = self.start + HEADER..self.start + self.needed;
        self.start = body.end;
        Ok(Some((tag, body)))
    }

    /// Reads once, as much as there is place for.
    fn fill(&mut self, from: &mut dyn Read) -> io::Result<()> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.buffer.len() - self.start < self.needed || self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            // Twice at most, so that a made-up length alone costs no memory.
            let size = self.needed.min(2 * self.buffer.len());
            self.buffer.resize(size, 0);
        }
        let place = self.buffer.get_mut(self.end..).unwrap_or_default();
        match from.read(place)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.end += count;
                Ok(())
            }
        }
    }
}

/// Tag and length.
const HEADER: usize = 5;

fn client(info: &ConnInfo) -> Result<ClientConnection> {
    let Host::Tcp { name, .. } = &info.host else {
        return Err(Error::failed("unix sockets carry no TLS"));
    };
    let name = ServerName::try_from(name.clone())
        .map_err(|error| Error::usage(format!("not a host name: {name:?}")).because(error))?;
    let config = Arc::new(tls::client_config(info)?);
    ClientConnection::new(config, name)
        .map_err(|error| tls::handshake_failed(info, io::Error::other(error)))
}

fn handshake(
    connection: &mut ClientConnection,
    socket: &mut Socket,
    info: &ConnInfo,
    cancel: &Cancel,
) -> Result<()> {
    let deadline = Instant::now() + info.connect_timeout;
    while connection.is_handshaking() {
        match connection.complete_io(socket) {
            Ok(_) => {}
            Err(error) if is_pause(&error) => wait(error, cancel, deadline, &info.server())?,
            Err(error) => return Err(tls::handshake_failed(info, error)),
        }
    }
    Ok(())
}

/// A read or write that found nothing to do within a [`TICK`].
fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

/// Lets the caller go on after a pause, until a stop is asked for or the time is up.
fn wait(error: io::Error, cancel: &Cancel, deadline: Instant, server: &str) -> Result<()> {
    if !is_pause(&error) {
        return Err(lost(server, error));
    }
    cancel.check()?;
    if Instant::now() < deadline {
        return Ok(());
    }
    Err(Error::new(
        Kind::TimedOut,
        format!("no answer from {server} within the time limit"),
    ))
}

fn lost(server: &str, error: io::Error) -> Error {
    Error::failed(format!("lost the connection to {server}"))
        .because(error)
        .hint("the server's log says why, if the server ended it.")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![tag];
        bytes.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        bytes.extend(body);
        bytes
    }

    /// Gives at most `step` bytes a read.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let step = self.1.min(buffer.len());
            self.0.take(step as u64).read(buffer).inspect(|&count| {
                self.0 = &self.0[count..];
            })
        }
    }

    fn all(bytes: &[u8], buffer: usize, step: usize) -> (Vec<(u8, Vec<u8>)>, io::ErrorKind) {
        let mut incoming = Incoming::new(buffer);
        let mut from = Slow(bytes, step);
        let mut found = Vec::new();
        loop {
            match incoming.message() {
                Ok(Some((tag, body))) => found.push((tag, incoming.bytes(body).to_vec())),
                Ok(None) => {
                    if let Err(error) = incoming.fill(&mut from) {
                        return (found, error.kind());
                    }
                }
                Err(error) => return (found, error.kind()),
            }
        }
    }

    #[test]
    fn messages_come_whole_whatever_the_pieces() {
        let bodies: Vec<Vec<u8>> = [0, 1, 7, 40, 3, 200, 0, 9]
            .iter()
            .map(|&length| (0..length).collect())
            .collect();
        let bytes: Vec<u8> = bodies.iter().flat_map(|body| frame(b'd', body)).collect();
        for buffer in [5, 8, 16, 64, 1024] {
            for step in [1, 3, 17, 1000] {
                let (found, end) = all(&bytes, buffer, step);
                assert_eq!(end, io::ErrorKind::UnexpectedEof);
                let found: Vec<_> = found.into_iter().map(|(_, body)| body).collect();
                assert_eq!(found, bodies, "buffer {buffer}, step {step}");
            }
        }
    }

    #[test]
    fn impossible_lengths_are_refused_and_long_ones_cost_nothing() {
        for length in [0, 3, 0x4000_0000, u32::MAX] {
            let mut bytes = vec![b'd'];
            bytes.extend(length.to_be_bytes());
            assert_eq!(all(&bytes, 64, 9).1, io::ErrorKind::InvalidData, "{length}");
        }
        let mut incoming = Incoming::new(64);
        let mut from = Slow(b"d\x3F\xFF\xFF\xFFabc", 100);
        while incoming.message().unwrap().is_none() && incoming.fill(&mut from).is_ok() {}
        assert!(incoming.buffer.len() <= 128);
    }
}
