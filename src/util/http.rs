//! Requests to a web server: one at a time, under a time limit, over TLS with the certificates that
//! the host trusts. Only whoever sends one pays for it: nothing is set up before.

use std::{fs, sync::Arc, time::Duration};

use rustls::crypto::ring;
use ureq::{
    Agent,
    tls::{PemItem, RootCerts, TlsConfig, parse_pem},
};

use super::trust;
use crate::error::{Error, IoContext, Result};

/// For all of a request: who is that slow is down.
const LIMIT: Duration = Duration::from_secs(5);

/// What an answer's body may tell of its reason.
const REASON: u64 = 4096;

/// Puts `body` at `url`, in the place of what is there; an error unless the server says that it is.
pub fn put(url: &str, content_type: &str, body: &[u8]) -> Result<()> {
    let failed = |error: ureq::Error| {
        Error::failed(format!("can't send to {}", without_secret(url)))
            .because(error)
            .hint("see that the address is right, and that a server answers there.")
    };
    let sent = agent(url)?
        .put(url)
        .header("Content-Type", content_type)
        .send(body);
    let mut answer = sent.map_err(failed)?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let told = answer
        .body_mut()
        .with_config()
        .limit(REASON)
        .read_to_string();
    let told = told.unwrap_or_default();
    Err(Error::failed(format!(
        "{} refused what was sent ({status}): {}",
        without_secret(url),
        told.trim()
    ))
    .hint("see what its own log says."))
}

fn agent(url: &str) -> Result<Agent> {
    let config = Agent::config_builder()
        .timeout_global(Some(LIMIT))
        .http_status_as_error(false)
        .user_agent(concat!("pgstow/", env!("CARGO_PKG_VERSION")));
    let config = match url.starts_with("https://") {
        true => config.tls_config(tls()?),
        false => config,
    };
    Ok(config.build().into())
}

fn tls() -> Result<TlsConfig> {
    let mut roots = Vec::new();
    if let Some(bundle) = trust::system_bundle() {
        let pem = fs::read(bundle).at("read", bundle)?;
        for item in parse_pem(&pem) {
            // One that can't be read must not cost us the others.
            if let Ok(PemItem::Certificate(certificate)) = item {
                roots.push(certificate);
            }
        }
    }
    Ok(TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
        .root_certs(RootCerts::new_with_certs(&roots))
        .build())
}

/// The address without the name and password that may stand in it.
fn without_secret(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_addresses_are_not_shown() {
        for (url, shown) in [
            ("http://h:9091/a@b", "http://h:9091/a@b"),
            ("https://user:se@cret@h/a", "https://h/a"),
            ("h", "h"),
        ] {
            assert_eq!(without_secret(url), shown);
        }
    }
}
