//! A store with TLS is asked if its certificate is trusted, and never otherwise.

use std::{
    fs::{self, File},
    path::Path,
    process::Command,
};

use pgstow::{error::Kind, repo::layout};

use super::open;
use crate::harness::{
    Peer, Scratch, bucket::Bucket, certificate::self_signed, cluster::free_port, wait_for,
};

#[test]
fn the_certificate_of_ca_file_is_trusted() {
    let scratch = Scratch::new();
    let bucket = Bucket::moto_with_tls(&scratch);
    let name = layout::probe().object("a");
    // Only the bucket is wanting.
    let error = open(&bucket).create(&name, b"x").unwrap_err();
    assert!(error.in_one_line().contains("NoSuchBucket"), "{error}");
}

/// At once: what is refused by us is not asked again for minutes.
#[test]
fn an_unknown_certificate_is_refused_and_not_asked_for_again() {
    let scratch = Scratch::new();
    let mut bucket = Bucket::moto_with_tls(&scratch);
    for (constraints, hint) in [
        ("CA:FALSE", "by ca_file"),
        ("CA:TRUE", "basicConstraints = CA:FALSE"),
    ] {
        let folder = scratch.folder(constraints);
        let certificate = self_signed(&folder, "localhost", constraints);
        let server = server(&folder, &certificate);
        bucket.access.endpoint = Some(format!("https://localhost:{}", server.port));
        if constraints == "CA:TRUE" {
            bucket.access.ca_file = Some(certificate.0.into());
        }
        let name = layout::probe().object("a");
        let store = open(&bucket);
        let errors = [
            store.create(&name, b"x").unwrap_err(),
            store.head(&name).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), Kind::Failed);
            assert!(error.in_one_line().contains("certificate"), "{error}");
            let told = error.hint_text().unwrap();
            assert!(told.contains(hint), "{told}");
        }
        let log = || fs::read_to_string(folder.join("log")).unwrap();
        let refusals = || log().matches("SSL alert number").count();
        wait_for(|| refusals() >= 2);
        assert_eq!(refusals(), 2, "{}", log());
    }
}

/// A server that tells of each connection that it was left for its certificate, which is `certificate`.
fn server(folder: &Path, (certificate, key): &(String, String)) -> Peer {
    let (port, log) = (free_port(), folder.join("log"));
    let file = File::create(&log).unwrap();
    let mut command = Command::new("openssl");
    command
        .args(["s_server", "-www", "-cert", certificate, "-key", key])
        .args(["-accept", &format!("127.0.0.1:{port}")])
        .stdout(file.try_clone().unwrap())
        .stderr(file);
    let accepts = || fs::read_to_string(&log).unwrap().contains("ACCEPT");
    Peer::start(&mut command, || accepts().then_some(port))
}
