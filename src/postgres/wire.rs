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
    incoming::Incoming,
    server_error::ServerError,
    socket::{self, Encryption, Socket},
    tls, tls_verify,
};
use crate::{
    error::{Error, Result},
    util::cancel::Cancel,
};

/// Tags of the server's messages (`src/include/libpq/protocol.h`).
pub mod tag {
    pub const AUTHENTICATION: u8 = b'R';
    pub const COMMAND_COMPLETE: u8 = b'C';
    pub const COPY_BOTH: u8 = b'W';
    pub const COPY_DATA: u8 = b'd';
    pub const COPY_DONE: u8 = b'c';
    pub const COPY_IN: u8 = b'G';
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
    pub(super) info: ConnInfo,
    notices: Vec<ServerError>,
    on_notice: Option<OnNotice>,
}

impl Wire {
    /// Connects, with TLS where `encryption` says so and the server agrees.
    pub fn open(info: &ConnInfo, encryption: Encryption, cancel: &Cancel) -> Result<Self> {
        let (mut socket, with_tls) = encryption.open(info, cancel)?;
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
            info: info.clone(),
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
                Ok(0) => return Err(socket::lost(&self.info, io::ErrorKind::WriteZero.into())),
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) => socket::wait(error, &self.cancel, deadline, &self.info)?,
            }
        }
        while let Err(error) = self.stream.as_write().flush() {
            socket::wait(error, &self.cancel, deadline, &self.info)?;
        }
        Ok(())
    }

    /// The next message; notices and changes of parameters are dealt with on the way.
    pub fn read(&mut self) -> Result<Message<'_>> {
        let next = self.next_within(self.limit)?;
        let (tag, body) = next.ok_or_else(|| socket::silent(&self.info))?;
        let body = self.incoming.bytes(body);
        Ok(Message { tag, body })
    }

    /// The body of the last message.
    pub fn body(&self, body: Range<usize>) -> &[u8] {
        self.incoming.bytes(body)
    }

    /// Whether the server has sent more already.
    pub fn has_more(&mut self) -> bool {
        self.incoming.has_message() || self.stream.has_bytes()
    }

    /// The same, its body as a place for [`Wire::body`]; None if there is none within `wait`.
    pub fn next_within(&mut self, wait: Duration) -> Result<Option<(u8, Range<usize>)>> {
        loop {
            let Some((tag, body)) = self.receive(wait)? else {
                return Ok(None);
            };
            match tag {
                tag::NOTICE => {
                    let notice = ServerError::parse(self.incoming.bytes(body));
                    tracing::debug!("{}: {notice}", self.info.server());
                    if let Some(callback) = &mut self.on_notice {
                        callback(&notice);
                    }
                    self.notices.push(notice);
                }
                tag::PARAMETER_STATUS | tag::NOTIFICATION => {}
                _ => return Ok(Some((tag, body))),
            }
        }
    }

    fn receive(&mut self, wait: Duration) -> Result<Option<(u8, Range<usize>)>> {
        let deadline = Instant::now() + wait;
        loop {
            let found = self.incoming.message();
            if let Some(found) = found.map_err(|error| socket::lost(&self.info, error))? {
                return Ok(Some(found));
            }
            match self.incoming.fill(self.stream.as_read()) {
                Ok(()) => self.cancel.check()?,
                Err(error) if !socket::is_pause(&error) => {
                    return Err(socket::lost(&self.info, error));
                }
                Err(_) => {
                    self.cancel.check()?;
                    if Instant::now() >= deadline {
                        return Ok(None);
                    }
                }
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

    fn has_bytes(&mut self) -> bool {
        match self {
            Stream::Plain(socket) => socket.has_bytes(),
            Stream::Tls(stream) => {
                let decrypted = stream.conn.process_new_packets();
                decrypted.is_ok_and(|state| state.plaintext_bytes_to_read() > 0)
                    || stream.sock.has_bytes()
            }
        }
    }
}

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
            Err(error) if socket::is_pause(&error) => socket::wait(error, cancel, deadline, info)?,
            Err(error) => return Err(tls::handshake_failed(info, error)),
        }
    }
    Ok(())
}
