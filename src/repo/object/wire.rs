//! The wire below all stores: time limits, how often a request is sent again, and what became of it.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use http::Method;
use object_store::{
    BackoffConfig, ClientOptions, RetryConfig,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
        HttpService, ReqwestConnector,
    },
};
use tokio::time::timeout;
use tracing::warn;

use super::{
    access::Bucket,
    failure::{is_untrusted, last_cause},
};
use crate::util::units;

/// A store may be away that long, as while it is restarted, before what needs it fails. Requests are signed once, and
/// S3 takes a signature for 15 minutes.
pub const PATIENCE: Duration = Duration::from_secs(4 * 60);

/// A server that neither takes nor gives a byte for so long hangs.
const SILENCE: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(10);

pub fn client_options() -> ClientOptions {
    ClientOptions::new()
        .with_connect_timeout(CONNECT)
        .with_read_timeout(SILENCE)
        // A large object takes as long as it takes.
        .with_timeout_disabled()
}

/// For requests that may be sent twice.
pub fn patient() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(10),
            base: 2.0,
        },
        max_retries: usize::MAX,
        retry_timeout: PATIENCE,
    }
}

/// For requests whose sender must know that they were sent twice.
pub fn once() -> RetryConfig {
    RetryConfig {
        max_retries: 0,
        ..patient()
    }
}

/// What became of the last try of a request that carries it: the status, 0 where there was no answer.
#[derive(Clone, Debug, Default)]
pub struct Outcome(Arc<AtomicU16>);

/// In the place of a status: there was a server, and it isn't trusted.
const NOT_TRUSTED: u16 = 1;

impl Outcome {
    /// Whether the same request may have another answer later: no answer, or one that says so.
    pub fn may_pass(&self) -> bool {
        match self.0.load(Ordering::Relaxed) {
            // 409: another conditional put of that name is under way.
            0 | 408 | 409 | 429 => true,
            status => status >= 500,
        }
    }

    /// Whether the store said that a condition of the request doesn't hold, even if its words got lost.
    pub fn is_refused(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 412
    }
}

/// So long a store may be away before people are told why they wait.
const QUIET: Duration = Duration::from_secs(5);

/// Tells the outcome of the requests that ask, and people why they wait.
#[derive(Debug)]
pub struct Telling {
    place: String,
}

impl Telling {
    pub fn of(bucket: &Bucket) -> Self {
        Self {
            place: bucket.to_string(),
        }
    }
}

impl HttpConnector for Telling {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Told {
            http: ReqwestConnector::default().connect(options)?,
            place: self.place.clone(),
            away: Mutex::default(),
        }))
    }
}

#[derive(Debug)]
struct Told {
    http: HttpClient,
    place: String,
    away: Mutex<Option<Away>>,
}

#[derive(Debug)]
struct Away {
    since: Instant,
    is_told: bool,
}

impl Told {
    fn answers(&self) {
        *self.away.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// A store that is away is asked for minutes. `since`: when a request was sent that it did not answer well.
    fn is_away(&self, since: Instant, why: &str) {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        let away = away.get_or_insert(Away {
            since,
            is_told: false,
        });
        if !away.is_told && away.since.elapsed() >= QUIET {
            away.is_told = true;
            warn!(
                "{}: {why}: it is asked again until it answers, for {} at most",
                self.place,
                units::duration(PATIENCE)
            );
        }
    }
}

impl HttpService for Told {
    fn call<'a, 'b>(
        &'a self,
        request: HttpRequest,
    ) -> BoxFuture<'b, Result<HttpResponse, HttpError>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let outcome = request.extensions().get::<Outcome>().cloned();
            let begun = Instant::now();
            // What is sent there may take longer than that, on a slow line.
            let is_short = matches!(*request.method(), Method::GET | Method::HEAD);
            let mut sent = pin!(self.http.execute(request));
            let answer = match timeout(QUIET, sent.as_mut()).await {
                Ok(answer) => answer,
                Err(_) => {
                    if is_short {
                        self.is_away(begun, "it doesn't answer");
                    }
                    sent.await
                }
            };
            let (answer, code) = match answer {
                Ok(answer) => {
                    let code = answer.status().as_u16();
                    match code == 429 || code >= 500 {
                        true => self.is_away(begun, &format!("the store answers {code}")),
                        false => self.answers(),
                    }
                    (Ok(answer), code)
                }
                // Of this kind it isn't sent again.
                Err(error) if is_untrusted(&error) => {
                    let error = HttpError::new(HttpErrorKind::Unknown, error);
                    (Err(error), NOT_TRUSTED)
                }
                Err(error) => {
                    self.is_away(begun, &last_cause(&error));
                    (Err(error), 0)
                }
            };
            if let Some(Outcome(status)) = outcome {
                status.store(code, Ordering::Relaxed);
            }
            answer
        })
    }
}
