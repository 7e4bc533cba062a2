//! The certificates that this host trusts.

use std::{
    env,
    path::{Path, PathBuf},
};

use rustls::RootCertStore;
use rustls_pki_types::{
    CertificateDer,
    pem::{self, PemObject},
};

use crate::error::{Error, Result};

/// Where distributions keep them: Debian, Fedora, SUSE, Alpine.
pub const SYSTEM_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// As OpenSSL and libpq have it, who take its file in the place of the host's (SSL_CTX_set_default_verify_paths(3)).
const VARIABLE: &str = "SSL_CERT_FILE";

/// What to do where a server shows the certificate of a CA, as a self-signed one is by default.
pub const IS_A_CA: &str = "the server's certificate says that it is a CA, which no server's may be: make it anew with \
     basicConstraints = CA:FALSE, or have a CA sign one for the server; ca_file names that certificate, or the CA's.";

/// Names the cryptography for libraries that take the process's. That somebody did before is as good.
pub fn provide() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Whether a refusal, in the words of webpki, is about that.
pub fn is_a_ca(why: &str) -> bool {
    why.contains("CaUsedAsEndEntity")
}

/// The bundle of this host; None where there is none.
pub fn system_bundle() -> Option<PathBuf> {
    let named = env::var_os(VARIABLE).filter(|name| !name.is_empty());
    let mut bundles = SYSTEM_BUNDLES.iter().map(PathBuf::from);
    named
        .map(PathBuf::from)
        .or_else(|| bundles.find(|bundle| bundle.exists()))
}

/// The certificates of `file`, else of this host. One that can't be used must not cost us the
/// others.
pub fn roots(file: Option<&Path>) -> Result<Vec<CertificateDer<'static>>> {
    let Some(bundle) = file.map(Path::to_owned).or_else(system_bundle) else {
        return Ok(Vec::new());
    };
    let bundle = bundle.as_path();
    let all = CertificateDer::pem_file_iter(bundle).map_err(|error| match error {
        pem::Error::Io(error) => Error::io("read", bundle, error),
        other => Error::damaged(format!("can't read {} as PEM", bundle.display()))
            .because(other.to_string()),
    })?;
    let usable = |one: &CertificateDer<'static>| RootCertStore::empty().add(one.clone()).is_ok();
    let roots: Vec<_> = all.flatten().filter(usable).collect();
    match (file, roots.is_empty()) {
        (Some(file), true) => Err(Error::damaged(format!(
            "{} has no certificate that can be used",
            file.display()
        ))
        .hint("put the certificate of the authority that signed the server's there, as PEM.")),
        _ => Ok(roots),
    }
}
