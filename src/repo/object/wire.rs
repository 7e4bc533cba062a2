//! The wire below all stores: time limits, how often a request is sent again, and what became of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use object_store::{
    BackoffConfig, ClientOptions, RetryConfig,
    client::{
        HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService,
        ReqwestConnector,
    },
};

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

/// Tells the outcome of the requests that ask.
#[derive(Debug, Default)]
pub struct Telling(ReqwestConnector);

impl HttpConnector for Telling {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Told(self.0.connect(options)?)))
    }
}

#[derive(Debug)]
struct Told(HttpClient);

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
            let answer = self.0.execute(request).await;
            if let Some(Outcome(status)) = outcome {
                let code = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
                status.store(code, Ordering::Relaxed);
            }
            answer
        })
    }
}
