//! Who the server is: libpq's three grades of certificate checks, and channel binding.
//!
//! rustls alone is stricter than OpenSSL in three ways that PostgreSQL's own instructions for
//! making certificates run into (`doc/src/sgml/runtime.sgml`, "Creating Certificates"): a
//! self-signed certificate that serves as root and server at once, a name in the subject's
//! CN without a subjectAltName, and X.509 version 1. They are handled here.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{
        CryptoProvider, verify_tls12_signature, verify_tls13_signature,
        verify_tls13_signature_with_raw_key,
    },
    pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
};
use sha2::{Digest, Sha256, Sha384, Sha512};
use x509_cert::{
    Certificate,
    der::{
        Decode, Encode,
        asn1::{PrintableStringRef, Utf8StringRef},
        oid::{
            ObjectIdentifier,
            db::{rfc4519, rfc5280, rfc5912},
        },
    },
};

/// How much of the certificate must be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Encryption alone; anybody could be at the other end.
    Nothing,
    /// A trusted authority signed it.
    Chain,
    /// And it was given to the host that we asked for.
    ChainAndName,
}

#[derive(Debug)]
pub struct Verifier {
    check: Check,
    /// The certificates of `sslrootcert`; one that the server itself presents is trusted as it is.
    roots: Vec<CertificateDer<'static>>,
    /// None where nothing is checked.
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    /// A verifier that trusts `roots`, at least one of which must be usable for any check.
    pub fn new(
        check: Check,
        roots: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, Error> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(roots.iter().cloned());
        let chain = if check == Check::Nothing || store.is_empty() {
            None
        } else {
            let builder =
                WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone());
            Some(builder.build().map_err(|e| Error::General(e.to_string()))?)
        };
        Ok(Self {
            check,
            roots,
            chain,
            provider,
        })
    }

    /// A certificate that is itself in the root file needs no chain, only its dates.
    fn is_pinned(&self, presented: &CertificateDer<'_>, now: UnixTime) -> Result<bool, Error> {
        if !self.roots.iter().any(|root| root == presented) {
            return Ok(false);
        }
        let validity = parse(presented)?.tbs_certificate.validity;
        if now.as_secs() < validity.not_before.to_unix_duration().as_secs() {
            return Err(CertificateError::NotValidYet.into());
        }
        if now.as_secs() > validity.not_after.to_unix_duration().as_secs() {
            return Err(CertificateError::Expired.into());
        }
        Ok(true)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.check == Check::Nothing {
            return Ok(ServerCertVerified::assertion());
        }
        let name_fits = if self.is_pinned(end_entity, now)? {
            alt_name_fits(end_entity, server_name)
        } else {
            let chain = self.chain.as_ref().ok_or(CertificateError::UnknownIssuer)?;
            // The chain is checked before the name: an error about the name means a good chain.
            chain
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
                .map(|_| ())
        };
        match name_fits {
            Ok(()) => {}
            Err(error) if is_about_name(&error) => {
                let fits = self.check == Check::Chain || common_name_fits(end_entity, server_name);
                if !fits {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        let parsed = parse(cert)?;
        if parsed.tbs_certificate.version == x509_cert::Version::V3 {
            return verify_tls13_signature(message, cert, dss, algorithms);
        }
        // rustls reads no version 1 certificates, but the key in it signs as any other.
        let key = parsed.tbs_certificate.subject_public_key_info.to_der();
        let key = SubjectPublicKeyInfoDer::from(key.map_err(|_| CertificateError::BadEncoding)?);
        verify_tls13_signature_with_raw_key(message, &key, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn parse(cert: &CertificateDer<'_>) -> Result<Certificate, Error> {
    Certificate::from_der(cert).map_err(|_| CertificateError::BadEncoding.into())
}

fn alt_name_fits(cert: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<(), Error> {
    match rustls::server::ParsedCertificate::try_from(cert) {
        Ok(parsed) => rustls::client::verify_server_name(&parsed, name),
        Err(_) => Err(CertificateError::NotValidForName.into()),
    }
}

fn is_about_name(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
        )
    )
}

/// libpq's fallback for certificates without subjectAltName: the subject's common name, with
/// a wildcard for the leftmost label only (`wildcard_certificate_match`,
/// `src/interfaces/libpq/fe-secure-common.c`).
fn common_name_fits(cert: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    let Ok(parsed) = parse(cert) else {
        return false;
    };
    let wanted = name.to_str().to_ascii_lowercase();
    let extensions = parsed.tbs_certificate.extensions.unwrap_or_default();
    if extensions
        .iter()
        .any(|e| e.extn_id == rfc5280::ID_CE_SUBJECT_ALT_NAME)
    {
        return false;
    }
    let parts = parsed.tbs_certificate.subject.0.iter();
    parts
        .flat_map(|part| part.0.iter())
        .filter(|part| part.oid == rfc4519::CN)
        .filter_map(|part| {
            let utf8 = part.value.decode_as::<Utf8StringRef<'_>>();
            let text = utf8.map(|text| text.as_str().to_ascii_lowercase());
            let printable = || part.value.decode_as::<PrintableStringRef<'_>>();
            text.or_else(|_| printable().map(|text| text.as_str().to_ascii_lowercase()))
                .ok()
        })
        .any(|common_name| matches_name(&common_name, &wanted, name))
}

/// Both in lower case.
fn matches_name(common_name: &str, wanted: &str, name: &ServerName<'_>) -> bool {
    if common_name == wanted {
        return true;
    }
    let domain = common_name.strip_prefix("*.");
    let behind = wanted.split_once('.').map(|(_, behind)| behind);
    matches!(name, ServerName::DnsName(_)) && domain.is_some() && domain == behind
}

/// The tls-server-end-point binding (RFC 5929, 4.1): a hash of the certificate with the hash
/// of its signature algorithm, SHA-256 in place of MD5 and SHA-1. None for Ed25519 and the
/// like, which name no hash.
pub fn server_end_point(cert: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let algorithm = Certificate::from_der(cert).ok()?.signature_algorithm.oid;
    /// ecdsa-with-SHA1 (RFC 3279), which the table of names lacks.
    const ECDSA_WITH_SHA_1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.1");
    match algorithm {
        ECDSA_WITH_SHA_1
        | rfc5912::MD_5_WITH_RSA_ENCRYPTION
        | rfc5912::SHA_1_WITH_RSA_ENCRYPTION
        | rfc5912::SHA_256_WITH_RSA_ENCRYPTION
        | rfc5912::ECDSA_WITH_SHA_256 => Some(Sha256::digest(cert).to_vec()),
        rfc5912::SHA_384_WITH_RSA_ENCRYPTION | rfc5912::ECDSA_WITH_SHA_384 => {
            Some(Sha384::digest(cert).to_vec())
        }
        rfc5912::SHA_512_WITH_RSA_ENCRYPTION | rfc5912::ECDSA_WITH_SHA_512 => {
            Some(Sha512::digest(cert).to_vec())
        }
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_one_label() {
        for (common_name, wanted, fits) in [
            ("db.example.com", "db.example.com", true),
            ("*.example.com", "db.example.com", true),
            ("*.example.com", "a.db.example.com", false),
            ("*.example.com", "example.com", false),
            ("*", "com", false),
            ("*.0.0.1", "127.0.0.1", false),
            ("127.0.0.1", "127.0.0.1", true),
        ] {
            let name = ServerName::try_from(wanted).unwrap();
            assert_eq!(
                matches_name(common_name, wanted, &name),
                fits,
                "{common_name} {wanted}"
            );
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_binding_and_fits_nothing() {
        let name = ServerName::try_from("x").unwrap();
        for bytes in [&b""[..], b"\x30", b"\x30\x82\xFF\xFF", &[0x30; 64]] {
            let cert = CertificateDer::from(bytes);
            assert_eq!(server_end_point(&cert), None);
            assert!(!common_name_fits(&cert, &name));
        }
    }
}
