//! Encrypted WAL: pushed by who has only public keys, told apart by its hash, read by who has a private one.

use std::{fs, sync::Arc};

use crate::{
    domain::wal::{fetch, push::Pushed, verify},
    error::{Error, Kind, Result},
    postgres::wal_name::WalName,
    repo::{
        crypt::{Keys, Recipient, make_pair},
        repository::Repository,
    },
    util::{
        cancel::Cancel,
        meter::Meter,
        secret::{Secret, SecretFrom},
    },
};

use super::sample::{Sample, history_file, segment_file};

const NAME: &str = "000000010000000000000003";

fn public(recipients: &[&Recipient]) -> Keys {
    let recipients = recipients.iter().map(|&one| one.clone()).collect();
    Keys::new(recipients, None, None)
}

fn private(secret: &Secret) -> Arc<Keys> {
    let identity = SecretFrom::Setting(secret.clone());
    Arc::new(Keys::new(Vec::new(), None, Some(identity)))
}

fn read(sample: &Sample, repository: &Repository) -> Result<Vec<u8>> {
    let file: WalName = NAME.parse().unwrap();
    let mut bytes = Vec::new();
    fetch::read(repository, &sample.system, file, |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(bytes)
}

#[test]
fn who_has_only_public_keys_pushes_again_and_other_bytes_are_refused() {
    for codec in ["none", "gzip", "lz4", "zstd"] {
        let (secret, recipient) = make_pair();
        let sample = Sample::with(codec, public(&[&recipient]));
        assert!(matches!(sample.push(NAME).unwrap(), Pushed::Stored { .. }));
        assert_eq!(sample.push(NAME).unwrap(), Pushed::AlreadyThere);
        let name = sample.object(NAME).display().to_string();
        assert!(name.ends_with(".age"), "{name}");

        let mut other = segment_file(NAME);
        *other.last_mut().unwrap() ^= 1;
        let error = sample.push_bytes(NAME, &other).unwrap_err();
        assert_eq!(error.kind(), Kind::AlreadyExists, "{error}");
        // Another level and other recipients make other stored bytes of the same plain ones.
        let (_, late) = make_pair();
        let repository = sample.repository.clone();
        let changed = repository.with_keys(&Arc::new(public(&[&late])));
        let offered = sample.offer(NAME, &segment_file(NAME)).unwrap();
        let again = crate::domain::wal::push::push(
            &changed,
            &offered,
            "zstd:9".parse().unwrap(),
            &Meter::default(),
        );
        assert_eq!(again.unwrap(), Pushed::AlreadyThere);

        let open = sample.repository.clone().with_keys(&private(&secret));
        assert!(
            read(&sample, &open).unwrap() == segment_file(NAME),
            "{codec}"
        );
        // History stays plain, for people to read.
        let history = history_file("1\t0/300000\tx\n");
        sample.push_history(2, &history).unwrap();
        assert_eq!(
            fs::read_to_string(sample.object("00000002.history")).unwrap(),
            history
        );
        assert_eq!(sample.strays(), Vec::<String>::new());
    }
}

#[test]
fn no_key_a_wrong_key_and_damage_are_three_errors() {
    let (secret, recipient) = make_pair();
    let (stranger, _) = make_pair();
    let sample = Sample::with("zstd", public(&[&recipient]));
    sample.push(NAME).unwrap();
    let fail = |repository: &Repository| -> Error { read(&sample, repository).unwrap_err() };
    let repository = || sample.repository.clone();

    let none = fail(&repository());
    assert_eq!(none.kind(), Kind::Key);
    assert!(
        none.in_one_line().contains("there is no identity"),
        "{none:?}"
    );
    let wrong = fail(&repository().with_keys(&private(&stranger)));
    assert_eq!(wrong.kind(), Kind::Key);
    assert!(
        wrong.in_one_line().contains("encrypted for others"),
        "{wrong:?}"
    );
    assert_ne!(none.hint_text(), wrong.hint_text());

    let whole = fs::read(sample.object(NAME)).unwrap();
    for at in [30, whole.len() / 2, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        fs::write(sample.object(NAME), bytes).unwrap();
        let error = fail(&repository().with_keys(&private(&secret)));
        assert_eq!(error.kind(), Kind::Damaged, "{at}: {error:?}");
    }
    // A header that is damaged is none of another segment.
    let mut bytes = whole.clone();
    bytes[30] ^= 4;
    fs::write(sample.object(NAME), bytes).unwrap();
    assert_eq!(sample.push(NAME).unwrap_err().kind(), Kind::Damaged);
}

#[test]
fn plain_bytes_never_get_where_all_is_encrypted_nor_the_other_way_round() {
    let (_, recipient) = make_pair();
    let mut sample = Sample::with("zstd", public(&[&recipient]));
    sample.repository = sample.repository.clone().with_keys(&Arc::default());
    let error = sample.push(NAME).unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    assert!(error.message().contains("no recipients are set"), "{error}");
    assert!(!sample.object(NAME).exists());

    let mut sample = Sample::new("zstd");
    let keys = Arc::new(public(&[&recipient]));
    sample.repository = sample.repository.clone().with_keys(&keys);
    let error = sample.push(NAME).unwrap_err();
    assert!(error.message().contains("without encryption"), "{error}");
    assert!(!sample.object(NAME).exists());
    assert_eq!(sample.strays(), Vec::<String>::new());
}

#[test]
fn verify_says_what_it_could_not_look_into() {
    let (secret, recipient) = make_pair();
    let sample = Sample::with("zstd", public(&[&recipient]));
    for number in 3..6 {
        sample
            .push(&format!("00000001000000000000000{number}"))
            .unwrap();
    }
    let check = |repository: &Repository| {
        let (cancel, meter) = (Cancel::default(), Meter::default());
        verify::verify(repository, &sample.system, 2, &cancel, &meter).unwrap()
    };
    let open = sample.repository.clone().with_keys(&private(&secret));
    let checked = check(&open);
    assert_eq!((checked.objects, checked.sealed), (3, 0));
    assert_eq!(checked.findings, []);
    let checked = check(&sample.repository);
    assert_eq!((checked.objects, checked.sealed), (3, 3));
    assert!(checked.sealed_why.unwrap().contains("no identity"));
    assert_eq!(checked.findings, []);

    // What is damaged in the header shows without a key, the rest with one.
    for (at, without) in [(30, 1), (5000, 0)] {
        let whole = fs::read(sample.object(NAME)).unwrap();
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        fs::write(sample.object(NAME), bytes).unwrap();
        assert_eq!(check(&sample.repository).findings.len(), without, "{at}");
        assert_eq!(check(&open).findings.len(), 1, "{at}");
        fs::write(sample.object(NAME), whole).unwrap();
    }
}
