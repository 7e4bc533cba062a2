//! The certificates that this host trusts.

use std::path::Path;

/// Where distributions keep them: Debian, Fedora, SUSE, Alpine.
pub const SYSTEM_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The bundle of this host; None where there is none.
pub fn system_bundle() -> Option<&'static Path> {
    let mut bundles = SYSTEM_BUNDLES.iter().map(Path::new);
    bundles.find(|bundle| bundle.exists())
}
