//! SQL for blocking code: one session, kept for hours, every wait under a time limit.
//!
//! tokio-postgres speaks the protocol on a runtime of the session's own, which runs only while
//! somebody waits. In between the kernel's keepalive watches over the connection.

use std::{
    cell::Cell,
    future::Future,
    pin::pin,
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    runtime::{Builder, Runtime},
    task::JoinHandle,
};
use tokio_postgres::{
    Client, Config, NoTls,
    config::{self, SslNegotiation},
    tls::{MakeTlsConnect, TlsConnect},
    types::Type,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    auth,
    conninfo::{ChannelBinding, ConnInfo, Host},
    row::{Param, Row},
    server_error::ServerError,
    socket::{self, Encryption, Socket},
    tls,
};
use crate::{
    error::{Error, Result},
    util::cancel::Cancel,
};

/// Long for any catalog query, short for a server that hangs.
const QUERY_LIMIT: Duration = Duration::from_secs(300);

/// How long a session's end may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Rows handed over at once: bounds memory, and spares a switch to the runtime for each row.
const ROWS_AT_ONCE: usize = 1000;

/// Names are qualified or nothing: nobody's schema comes before pg_catalog. The second row is
/// there from PostgreSQL 17 on.
const SET_UP: &str = "SELECT pg_catalog.set_config('search_path', '', false) UNION ALL \
     SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings \
     WHERE name = 'transaction_timeout'";

/// An SQL session. A query that ran out of time leaves it unusable: make a new one.
#[derive(Debug)]
pub struct Session {
    runtime: Runtime,
    /// None only while the session ends.
    client: Option<Client>,
    driver: JoinHandle<()>,
    info: ConnInfo,
    cancel: Cancel,
    limit: Cell<Duration>,
}

impl Session {
    pub fn connect(info: &ConnInfo, cancel: &Cancel) -> Result<Self> {
        let session = socket::connect_with(info, cancel, |encryption| {
            Self::attempt(info, encryption, cancel)
        })?;
        session.query_rows(SET_UP, &[])?;
        Ok(session)
    }

    fn attempt(info: &ConnInfo, encryption: Encryption, cancel: &Cancel) -> Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::failed("can't start the client for SQL").because(error))?;
        let (socket, with_tls) = encryption.open(info, cancel)?;
        let config = config(info, with_tls)?;
        let broken = |error| socket::lost(info, error);
        let logged_in = runtime.block_on(within(cancel, info.connect_timeout, info, async {
            match socket {
                Socket::Unix(socket) => {
                    socket.set_nonblocking(true).map_err(broken)?;
                    let socket = UnixStream::from_std(socket).map_err(broken)?;
                    log_in(info, &config, socket, NoTls).await
                }
                Socket::Tcp(socket) => {
                    socket.set_nonblocking(true).map_err(broken)?;
                    let socket = TcpStream::from_std(socket).map_err(broken)?;
                    if with_tls {
                        log_in(info, &config, socket, tls_for(info)?).await
                    } else {
                        log_in(info, &config, socket, NoTls).await
                    }
                }
            }
        }));
        let (client, driver) = logged_in?;
        Ok(Self {
            runtime,
            client: Some(client),
            driver,
            info: info.clone(),
            cancel: cancel.clone(),
            limit: Cell::new(QUERY_LIMIT),
        })
    }

    /// Another one on the same server, in another database.
    pub fn of_database(&self, name: &str) -> Result<Self> {
        Self::connect(&self.info.clone().with_database(name), &self.cancel)
    }

    /// Runs `work`, in which each query may take as long as `limit`, and each pause between rows.
    pub fn with_limit<T>(&self, limit: Duration, work: impl FnOnce(&Self) -> T) -> T {
        let usual = self.limit.replace(limit);
        let result = work(self);
        self.limit.set(usual);
        result
    }

    /// For example 150019.
    pub fn server_version_num(&self) -> Result<u32> {
        self.query_one("SHOW server_version_num", &[])?.parse(0)
    }

    /// The only row of a result.
    pub fn query_one(&self, sql: &str, params: &[&str]) -> Result<Row> {
        let mut rows = self.query_rows(sql, params)?;
        match (rows.pop(), rows.pop()) {
            (Some(row), None) => Ok(row),
            _ => Err(Error::failed(format!(
                "not exactly one row came back for: {sql}"
            ))),
        }
    }

    pub fn query_rows(&self, sql: &str, params: &[&str]) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        self.each_chunk(sql, params, |chunk| {
            rows.extend(chunk);
            Ok(())
        })?;
        Ok(rows)
    }

    /// Hands each row over as it comes; `$1`, `$2` ... in `sql` stand for `params`.
    pub fn for_each_row(
        &self,
        sql: &str,
        params: &[&str],
        mut consume: impl FnMut(&Row) -> Result<()>,
    ) -> Result<()> {
        self.each_chunk(sql, params, |chunk| chunk.iter().try_for_each(&mut consume))
    }

    /// Runs a statement; returns how many rows it touched.
    pub fn execute(&self, sql: &str, params: &[&str]) -> Result<u64> {
        let params: Vec<Param<'_>> = params.iter().map(|text| Param(text)).collect();
        let params: Vec<(&(dyn tokio_postgres::types::ToSql + Sync), Type)> = params
            .iter()
            .map(|param| (param as _, Type::UNKNOWN))
            .collect();
        let client = self.client()?;
        self.wait(async {
            let done = client.execute_typed(sql, &params).await;
            done.map_err(|error| self.explain(sql, error))
        })
    }

    fn each_chunk(
        &self,
        sql: &str,
        params: &[&str],
        mut consume: impl FnMut(Vec<Row>) -> Result<()>,
    ) -> Result<()> {
        // A parameter of unknown type gets the type that its place in the query asks for.
        let params: Vec<_> = params
            .iter()
            .map(|text| (Param(text), Type::UNKNOWN))
            .collect();
        let client = self.client()?;
        let stream = self.wait(async {
            let stream = client.query_typed_raw(sql, params).await;
            stream.map_err(|error| self.explain(sql, error))
        })?;
        let mut stream = pin!(stream.ready_chunks(ROWS_AT_ONCE));
        while let Some(chunk) = self.wait(async { Ok(stream.next().await) })? {
            let rows: Result<Vec<_>, _> = chunk.into_iter().map(|row| row.map(Row::new)).collect();
            // Outside of the runtime, so that the consumer may use another session.
            consume(rows.map_err(|error| self.explain(sql, error))?)?;
        }
        Ok(())
    }

    fn client(&self) -> Result<&Client> {
        self.client
            .as_ref()
            .ok_or_else(|| Error::failed("the session has ended"))
    }

    fn wait<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let work = within(&self.cancel, self.limit.get(), &self.info, work);
        self.runtime.block_on(work)
    }

    fn explain(&self, sql: &str, error: tokio_postgres::Error) -> Error {
        match error.as_db_error() {
            Some(error) => {
                ServerError::from(error).explain(format!("the query failed: {sql}"), &self.info)
            }
            None => broken(&self.info, error),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The server hears goodbye, instead of logging a connection that was cut.
        drop(self.client.take());
        let driver = &mut self.driver;
        let _ = self
            .runtime
            .block_on(async { tokio::time::timeout(FAREWELL, driver).await });
    }
}

fn config(info: &ConnInfo, with_tls: bool) -> Result<Config> {
    let mut config = Config::new();
    config
        .user(&info.user)
        .dbname(&info.database)
        .application_name(&info.application_name)
        .options(info.session_options())
        // The question for TLS has been asked and answered on this socket.
        .ssl_negotiation(SslNegotiation::Direct)
        .ssl_mode(if with_tls {
            config::SslMode::Require
        } else {
            config::SslMode::Disable
        })
        .channel_binding(match info.channel_binding {
            ChannelBinding::Disable => config::ChannelBinding::Disable,
            ChannelBinding::Prefer => config::ChannelBinding::Prefer,
            ChannelBinding::Require => config::ChannelBinding::Require,
        });
    if let Some(password) = info.password_for(&info.database)? {
        config.password(password.expose());
    }
    Ok(config)
}

type TlsFor<S> = <MakeRustlsConnect as MakeTlsConnect<S>>::TlsConnect;

fn tls_for(info: &ConnInfo) -> Result<TlsFor<TcpStream>> {
    let name = match &info.host {
        Host::Tcp { name, .. } => name.as_str(),
        Host::Socket(_) => "",
    };
    let mut maker = MakeRustlsConnect::new(tls::client_config(info)?);
    MakeTlsConnect::<TcpStream>::make_tls_connect(&mut maker, name)
        .map_err(|error| Error::failed("can't set up TLS").because(error))
}

async fn log_in<S, T>(
    info: &ConnInfo,
    config: &Config,
    stream: S,
    tls: T,
) -> Result<(Client, JoinHandle<()>)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: TlsConnect<S>,
    T::Stream: Send + 'static,
{
    let (client, connection) = config
        .connect_raw(stream, tls)
        .await
        .map_err(|error| not_logged_in(info, error))?;
    // What goes wrong here shows in the query that waits, or in the next one.
    let driver = tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok((client, driver))
}

fn not_logged_in(info: &ConnInfo, error: tokio_postgres::Error) -> Error {
    if let Some(error) = error.as_db_error() {
        return auth::refused(info, error.into());
    }
    let text = error.to_string();
    match error
        .into_source()
        .map(|source| source.downcast::<std::io::Error>())
    {
        Some(Ok(error)) if error.get_ref().is_some_and(|e| e.is::<rustls::Error>()) => {
            tls::handshake_failed(info, *error)
        }
        Some(Ok(error)) => socket::lost(info, *error),
        // tokio-postgres has no kind for this.
        Some(Err(cause)) if cause.to_string() == "password missing" => auth::no_password(info),
        Some(Err(cause)) if info.channel_binding == ChannelBinding::Require => {
            auth::no_binding(info).because(cause)
        }
        Some(Err(cause)) => Error::failed(format!(
            "can't log in to {} as {}",
            info.server(),
            info.user
        ))
        .because(cause),
        None => socket::lost(info, std::io::Error::other(text)),
    }
}

fn broken(info: &ConnInfo, error: tokio_postgres::Error) -> Error {
    Error::failed(format!("lost the SQL session with {}", info.server()))
        .because(error)
        .hint("the server's log says why, if the server ended it.")
}

/// Waits for `work`, at most `limit`, until a stop is asked for.
async fn within<T>(
    cancel: &Cancel,
    limit: Duration,
    info: &ConnInfo,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let mut work = pin!(work);
    let deadline = Instant::now() + limit;
    loop {
        if let Ok(outcome) = tokio::time::timeout(socket::TICK, work.as_mut()).await {
            return outcome;
        }
        cancel.check()?;
        if Instant::now() >= deadline {
            return Err(socket::silent(info));
        }
    }
}
