//! Requests to a web server: one at a time, under a time limit, over TLS with the certificates that
//! the host trusts. Only whoever sends one pays for it: nothing is set up before.

use std::{path::Path, sync::Arc, time::Duration};

use rustls::crypto::ring;
use ureq::{
    Agent, Body,
    http::{Request, Response, Uri},
    tls::{Certificate, RootCerts, TlsConfig},
};

use super::{secret::Secret, trust};
use crate::error::{Error, Result};

/// What an answer's body may tell of its reason.
const REASON: u64 = 4096;

/// Parts of a secret address that are long enough to be the secret.
const TOKEN: usize = 6;

/// Puts `body` at `url`, in the place of what is there; an error unless the server says that it is.
pub fn put(url: &str, content_type: &str, body: &[u8], limit: Duration) -> Result<()> {
    let shown = shown(url);
    let request = Request::put(url).header("Content-Type", content_type);
    let failed = |error: ureq::Error| unsent(&shown, error.to_string());
    let request = request.body(body).map_err(|error| failed(error.into()))?;
    let agent = agent(url, limit, 10, None)?;
    accepted(agent.run(request).map_err(failed)?, &shown)
}

/// Posts `body` to an address that is a secret itself: no more than its host is shown. Whoever
/// answers with another address is not followed. `ca_file`: certificates to trust instead of the host's.
pub fn post(
    url: &Secret,
    content_type: &str,
    body: &[u8],
    limit: Duration,
    ca_file: Option<&Path>,
) -> Result<()> {
    let url = url.expose().trim();
    let shown = format!("{}/...", server(url)?);
    // The words of others may have the address in them.
    let failed = |error: String| unsent(&shown, hide(error, url));
    let request = Request::post(url).header("Content-Type", content_type);
    let request = request
        .body(body)
        .map_err(|error| failed(error.to_string()))?;
    let agent = agent(url, limit, 0, ca_file)?;
    let answer = agent.run(request);
    let answer = answer.map_err(|error| failed(error.to_string()))?;
    accepted(answer, &shown).map_err(|error| {
        let hint = error.hint_text().unwrap_or_default();
        Error::failed(hide(error.in_one_line(), url)).hint(hint)
    })
}

/// Scheme and host of `url`; an error where it is no address of a web server.
pub fn server(url: &str) -> Result<String> {
    let parsed: Option<Uri> = url.parse().ok();
    let server = parsed.and_then(|uri| {
        let scheme = uri
            .scheme_str()
            .filter(|word| ["http", "https"].contains(word))?;
        Some(format!("{scheme}://{}", uri.host()?))
    });
    server.ok_or_else(|| {
        Error::usage("the address is none of a web server")
            .hint("it begins with https:// (or http://).")
    })
}

/// Whether the server at `url` answers with success, within `limit`: None, or what it answers instead; an error where
/// nothing answers.
pub fn get(url: &str, limit: Duration) -> Result<Option<Error>> {
    let shown = shown(url);
    let agent = agent(url, limit, 10, None)?;
    let answer = agent.get(url).call();
    let answer = answer.map_err(|error| {
        Error::failed(format!("no answer from {shown}")).because(error.to_string())
    })?;
    match answer.status() {
        status if status.is_success() => Ok(None),
        status => Ok(Some(Error::failed(format!("{shown} answers {status}")))),
    }
}

fn unsent(shown: &str, why: String) -> Error {
    let hint = match why.contains("certificate") {
        true if trust::is_a_ca(&why) => trust::IS_A_CA,
        true => {
            "have this host trust who signed the server's certificate (its bundle, or the file that \
             SSL_CERT_FILE names; ca_file of an alert), and use the name that stands in it."
        }
        false => "see that the address is right, and that a server answers there.",
    };
    Error::failed(format!("can't send to {shown}"))
        .because(why)
        .hint(hint)
}

fn accepted(mut answer: Response<Body>, shown: &str) -> Result<()> {
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
        "{shown} refused what was sent ({status}): {}",
        told.trim()
    ))
    .hint("see what its own log says."))
}

fn agent(url: &str, limit: Duration, redirects: u32, ca_file: Option<&Path>) -> Result<Agent> {
    let config = Agent::config_builder()
        .timeout_global(Some(limit))
        .http_status_as_error(false)
        .max_redirects(redirects)
        .max_redirects_will_error(false)
        .user_agent(concat!("pgstow/", env!("CARGO_PKG_VERSION")));
    let config = match url.starts_with("https://") {
        true => config.tls_config(tls(ca_file)?),
        false => config,
    };
    Ok(config.build().into())
}

fn tls(ca_file: Option<&Path>) -> Result<TlsConfig> {
    let roots = trust::roots(ca_file)?;
    let roots: Vec<_> = roots
        .iter()
        .map(|root| Certificate::from_der(root).to_owned())
        .collect();
    Ok(TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
        .root_certs(RootCerts::new_with_certs(&roots))
        .build())
}

/// `text` without the parts of `url` behind its host.
fn hide(text: String, url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.find('/').map_or(rest, |at| &rest[..at]);
    let user = host.rsplit_once('@').map_or("", |(user, _)| user);
    let tokens = rest[host.len()..]
        .split(['/', '?', '&', '='])
        .chain(user.split(':'));
    let tokens = tokens.filter(|token| token.len() >= TOKEN);
    tokens.fold(text, |text, token| text.replace(token, "***"))
}

/// The address without the name and password that may stand in it.
pub fn shown(url: &str) -> String {
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
            assert_eq!(super::shown(url), shown);
        }
        let url = "https://someone:password@h/services/T00000/token?key=valuable";
        let told = "no /services/T00000/token?key=valuable for someone, password".to_owned();
        assert_eq!(hide(told, url), "no /***/***/token?key=*** for ***, ***");
    }
}
