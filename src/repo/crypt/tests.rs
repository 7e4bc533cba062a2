use std::{
    io::{Cursor, Read, Seek, SeekFrom},
    os::unix::fs::PermissionsExt,
};

use super::*;
use crate::util::secret::{Secret, SecretFrom};

fn keys(recipients: &[&Recipient], identity: Option<&Secret>) -> Keys {
    let recipients = recipients.iter().map(|&one| one.clone()).collect();
    let identity = identity.map(|secret| SecretFrom::Setting(secret.clone()));
    Keys::new(recipients, None, identity)
}

fn sealed(keys: &Keys, plain: &[u8], hash: Option<Sha256>) -> Vec<u8> {
    let mut writer = keys.encryptor(Vec::new(), hash).unwrap().unwrap();
    writer.write_all(plain).unwrap();
    writer.finish().unwrap()
}

fn opened(keys: &Keys, stored: &[u8]) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    let read = keys.decryptor(stored)?.read_to_end(&mut plain);
    read.map_err(|error| Error::io("read", "x".as_ref(), error))?;
    Ok(plain)
}

#[test]
fn each_recipient_opens_it_and_others_learn_nothing_but_the_hash() {
    let (first, second, third) = (make_pair(), make_pair(), make_pair());
    let plain = b"plain bytes ".repeat(20_000);
    let hash = Sha256::of(&plain);
    let writer = keys(&[&first.1, &second.1], None);
    let stored = sealed(&writer, &plain, Some(hash));
    for (secret, _) in [&first, &second] {
        assert!(opened(&keys(&[], Some(secret)), &stored).unwrap() == plain);
    }
    assert_eq!(clear_hash(&stored[..]).unwrap(), Some(hash));
    assert!(is_encrypted(&stored));
    assert!(!stored.windows(12).any(|window| window == b"plain bytes "));

    let error = opened(&keys(&[], Some(&third.0)), &stored).unwrap_err();
    assert_eq!(error.kind(), Kind::Key);
    assert!(error.message().contains(&third.1.to_string()), "{error}");
    let error = opened(&writer, &stored).unwrap_err();
    assert_eq!(error.kind(), Kind::Key);
    assert!(error.message().contains("no identity"), "{error}");
    let nobody = keys(&[], None).encryptor(Vec::new(), None).map(drop);
    assert_eq!(nobody.unwrap_err().kind(), Kind::Usage);
}

/// Whatever byte changes, it is damage: never another key, never other plain bytes.
#[test]
fn damage_is_told_apart_from_a_wrong_key() {
    let (secret, recipient) = make_pair();
    let (stranger, _) = make_pair();
    let plain = b"0123456789".to_vec();
    let hash = Sha256::of(&plain);
    let stored = sealed(&keys(&[&recipient], None), &plain, Some(hash));
    let text = String::from_utf8_lossy(&stored);
    let own = text.find("pgstow-sha256").unwrap();
    let header = text.find("\n---").unwrap();
    // What follows ours is a stanza that age makes up to keep readers honest.
    let ours = text[own..header].find("\n->").map_or(header, |at| own + at);
    for at in 0..stored.len() {
        let mut flipped = stored.clone();
        flipped[at] ^= 1;
        let error = opened(&keys(&[], Some(&secret)), &flipped).unwrap_err();
        assert_eq!(error.kind(), Kind::Damaged, "{at}: {error}");
        if at >= ours || (own..own + "pgstow-sha256 ".len()).contains(&at) {
            // What isn't known to be ours tells nothing.
            continue;
        }
        let told = opened(&keys(&[], Some(&stranger)), &flipped).unwrap_err();
        assert_eq!(told.kind(), Kind::Damaged, "{at}: {told}");
        // Who has no key at all takes no other hash for the right one.
        if let Ok(Some(found)) = clear_hash(&flipped[..]) {
            assert_eq!(found, hash, "{at}");
        }
    }
    for length in 0..stored.len() {
        let error = opened(&keys(&[], Some(&secret)), &stored[..length]).unwrap_err();
        assert_eq!(error.kind(), Kind::Damaged, "{length}: {error}");
    }
}

#[test]
fn any_range_can_be_read() {
    let (secret, recipient) = make_pair();
    let keys = keys(&[&recipient], Some(&secret));
    let plain: Vec<u8> = (0..5 * CHUNK as u32 / 4)
        .flat_map(u32::to_le_bytes)
        .collect();
    let stored = sealed(&keys, &plain, None);
    for from in [1, CHUNK - 1, CHUNK + 1, 3 * CHUNK + 7, 5 * CHUNK - 1] {
        let mut reader = keys.decryptor(Cursor::new(&stored)).unwrap();
        reader.seek(SeekFrom::Start(from)).unwrap();
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        assert!(rest == plain[from as usize..], "{from}");
    }
}

#[test]
fn files_of_keys_are_read_as_age_writes_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recipients");
    let (one, two) = (make_pair(), make_pair());
    let text = format!("# those who restore\n\n{}\n  {}  \n{0}\n", one.1, two.1);
    std::fs::write(&path, text).unwrap();
    let both = Keys::new(vec![one.1.clone()], Some(path.clone()), None);
    assert!(both.encrypt());
    assert_eq!(both.recipients().unwrap(), [one.1.clone(), two.1.clone()]);
    // Who may change it adds a reader.
    let of_mode = |mode| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let keys = Keys::new(Vec::new(), Some(path.clone()), None);
        keys.recipients().map(<[Recipient]>::len)
    };
    let error = of_mode(0o646).unwrap_err();
    assert!(error.message().contains("changed by every user"), "{error}");
    assert_eq!(of_mode(0o644).unwrap(), 2);

    std::fs::write(&path, "# nobody yet\n").unwrap();
    let nobody = Keys::new(Vec::new(), Some(path.clone()), None);
    assert!(nobody.encrypt());
    assert!(
        nobody
            .recipients()
            .unwrap_err()
            .message()
            .contains("no recipient")
    );
    // An identity by mistake: it is not told on.
    std::fs::write(&path, one.0.expose()).unwrap();
    let mistaken = Keys::new(Vec::new(), Some(path), None);
    let error = mistaken.recipients().unwrap_err().in_one_line();
    assert!(error.contains(":3: bad recipient"), "{error}");
    assert!(
        !error.to_uppercase().contains("AGE-SECRET-KEY-1"),
        "{error}"
    );

    for (text, why) in [
        ("", "no private key"),
        ("# x\n", "no private key"),
        ("AGE-SECRET-KEY-1XXX", "line 1: not a private key"),
        (&one.1.to_string(), "a public key stands"),
    ] {
        let keys = Keys::new(
            Vec::new(),
            None,
            Some(SecretFrom::Setting(Secret::new(text))),
        );
        let error = keys.check_identity().unwrap_err();
        assert_eq!(error.kind(), Kind::Key);
        assert!(error.in_one_line().contains(why), "{error:?}");
    }
    for (text, good) in [
        (one.1.to_string().as_str(), true),
        ("age1xyz", false),
        ("ssh-ed25519 AAAA", false),
        (one.0.expose(), false),
    ] {
        let read = text.parse::<Recipient>();
        assert_eq!(read.is_ok(), good);
        let shown = format!("{read:?}").to_uppercase();
        assert!(!shown.contains("AGE-SECRET-KEY-1"), "{shown}");
    }
    assert!(!format!("{both:?} {:?}", keys(&[], Some(&one.0))).contains("SECRET-KEY"));
}
