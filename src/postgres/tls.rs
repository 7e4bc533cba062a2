//! TLS as libpq's sslmode, sslrootcert, sslcert and sslkey ask for it.

use std::{fs, os::unix::fs::MetadataExt, path::Path, sync::Arc};

use rustls::{ClientConfig, crypto::ring};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};

use super::{
    conninfo::{ConnInfo, RootCerts, SslMode},
    tls_verify::{Check, Verifier},
};
use crate::{
    error::{Error, IoContext, Kind, Result},
    util::trust::{SYSTEM_BUNDLES, system_bundle},
};

/// The settings for one connection; files are read anew, since certificates get renewed.
pub fn client_config(info: &ConnInfo) -> Result<ClientConfig> {
    let (check, roots) = trust(info)?;
    let provider = Arc::new(ring::default_provider());
    let verifier = Verifier::new(check, roots, provider.clone())
        .map_err(|error| Error::failed("can't use the root certificates").because(error))?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::failed("can't set up TLS").because(error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    match client_certificate(info)? {
        None => Ok(builder.with_no_client_auth()),
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| Error::failed("can't use the client certificate").because(error)),
    }
}

/// What is checked, against which certificates.
fn trust(info: &ConnInfo) -> Result<(Check, Vec<CertificateDer<'static>>)> {
    let file = match &info.sslrootcert {
        Some(RootCerts::System) => system_bundle(),
        Some(RootCerts::File(file)) => Some(file.clone()).filter(|file| file.exists()),
        None => None,
    };
    let check = match (info.sslmode, &file) {
        (SslMode::VerifyFull, _) => Check::ChainAndName,
        (SslMode::VerifyCa, _) => Check::Chain,
        // As in libpq, a root file turns "require" into "verify-ca".
        (SslMode::Require, Some(_)) => Check::Chain,
        _ => return Ok((Check::Nothing, Vec::new())),
    };
    let Some(file) = file else {
        return Err(no_roots(info));
    };
    let certificates = CertificateDer::pem_file_iter(&file)
        .and_then(|all| all.collect::<Result<Vec<_>, _>>())
        .map_err(|error| bad_pem(&file, error))?;
    if certificates.is_empty() {
        return Err(bad_pem(&file, pem::Error::NoItemsFound));
    }
    Ok((check, certificates))
}

fn no_roots(info: &ConnInfo) -> Error {
    let name = match &info.sslrootcert {
        Some(RootCerts::File(file)) => file.display().to_string(),
        _ => SYSTEM_BUNDLES[0].to_owned(),
    };
    Error::new(
        Kind::NotFound,
        format!("root certificate file {name} does not exist"),
    )
    .hint(
        "put the certificate of the authority that signed the server's there, name it in sslrootcert, \
         or use sslmode=require to go without the check.",
    )
}

type ClientCertificate = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The certificate that we show if the server asks; none if its file isn't there.
fn client_certificate(info: &ConnInfo) -> Result<Option<ClientCertificate>> {
    let Some(cert_file) = info.sslcert.as_ref().filter(|file| file.exists()) else {
        return Ok(None);
    };
    let key_file = info
        .sslkey
        .as_ref()
        .filter(|file| file.exists())
        .ok_or_else(|| {
            Error::new(
                Kind::NotFound,
                format!("certificate {} has no private key", cert_file.display()),
            )
            .hint("name the file of its key in sslkey.")
        })?;
    check_key_mode(key_file)?;
    let chain = CertificateDer::pem_file_iter(cert_file)
        .and_then(|all| all.collect::<Result<Vec<_>, _>>())
        .map_err(|error| bad_pem(cert_file, error))?;
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(|error| {
        bad_pem(key_file, error).hint("the key must be PEM, without a passphrase.")
    })?;
    Ok(Some((chain, key)))
}

/// libpq's rule (`initialize_SSL`, `src/interfaces/libpq/fe-secure-openssl.c`): no access for
/// group and others, but root's key may be readable for its group.
fn check_key_mode(file: &Path) -> Result<()> {
    let facts = fs::metadata(file).at("read", file)?;
    let forbidden = if facts.uid() == 0 { 0o037 } else { 0o077 };
    if facts.is_file() && facts.mode() & forbidden == 0 {
        return Ok(());
    }
    Err(Error::failed(format!(
        "private key file {} has group or world access, or is no plain file",
        file.display()
    ))
    .hint("set its mode to 0600, or to 0640 if root owns it."))
}

fn bad_pem(file: &Path, error: pem::Error) -> Error {
    match error {
        pem::Error::Io(error) => Error::io("read", file, error),
        other => Error::damaged(format!("can't read {} as PEM", file.display()))
            .because(other.to_string()),
    }
}

/// What to do when the handshake failed.
pub fn handshake_failed(info: &ConnInfo, error: std::io::Error) -> Error {
    use rustls::{CertificateError as Bad, Error as Tls};

    let hint = match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Tls>())
    {
        Some(Tls::InvalidCertificate(Bad::UnknownIssuer | Bad::BadSignature)) => {
            "sslrootcert must name the certificate of the authority that signed the server's."
        }
        Some(Tls::InvalidCertificate(
            Bad::NotValidForName | Bad::NotValidForNameContext { .. },
        )) => "use the host name that the server's certificate was made for, or sslmode=verify-ca.",
        Some(Tls::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. })) => {
            "renew the server's certificate, and check this host's clock."
        }
        Some(Tls::InvalidCertificate(Bad::BadEncoding | Bad::Other(_))) => {
            "give the server an X.509 version 3 certificate with its name as subjectAltName."
        }
        Some(Tls::AlertReceived(_)) => {
            "the server refused the client certificate; check sslcert and the server's ssl_ca_file."
        }
        _ => "the server's log may say more.",
    };
    Error::failed(format!("TLS with {} failed", info.server()))
        .because(error)
        .hint(hint)
}
