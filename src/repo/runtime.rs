//! The threads of all stores that speak through a network.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};

use crate::error::{Error, Result};

/// TLS is what they have to do; the rest waits.
const THREADS: usize = 2;

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// The runtime of all stores of this process, made for the first.
pub fn runtime() -> Result<&'static Runtime> {
    if let Some(made) = RUNTIME.get() {
        return Ok(made);
    }
    let made = Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("store")
        .enable_all()
        .build()
        .map_err(|error| Error::failed("can't start the threads of a store").because(error))?;
    Ok(RUNTIME.get_or_init(|| made))
}
