//! Certificates for servers of one's own.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use super::user;

/// A certificate for `name` that signs itself, and its key.
pub fn certificate(folder: &Path, name: &str) -> (String, String) {
    self_signed(folder, name, "CA:FALSE")
}

/// `constraints`: `CA:TRUE`, as openssl makes it by default, or `CA:FALSE`.
pub fn self_signed(folder: &Path, name: &str, constraints: &str) -> (String, String) {
    let path = |ending: &str| {
        folder
            .join(format!("{name}.{ending}"))
            .display()
            .to_string()
    };
    let config = path("cnf");
    let text = format!(
        "[req]\ndistinguished_name=dn\nx509_extensions=v3\nprompt=no\n[dn]\nCN={name}\n\
         [v3]\nsubjectAltName=DNS:{name}\nbasicConstraints={constraints}\n"
    );
    fs::write(&config, text).unwrap();
    let (cert, key) = (path("crt"), path("key"));
    user::run_ok(
        Command::new("openssl")
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            ])
            .args(["-config", &config, "-out", &cert, "-keyout", &key]),
    );
    for file in [&cert, &key] {
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
        user::own(Path::new(file));
    }
    (cert, key)
}
