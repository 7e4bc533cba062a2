//! No parser panics, whatever the bytes: real files with bytes changed, cut out and put in.

use pgstow::postgres::{
    backup_label::BackupLabel, control::Control, lsn::TimelineId, manifest, page, pgdata,
    postmaster::Postmaster, relation_file::RelationPath, timeline::TimelineHistory,
    wal_header::WalHeader,
};
use proptest::{prelude::*, sample::Index};

const LABEL: &[u8] = b"START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\n\
    CHECKPOINT LOCATION: 0/2000060\nBACKUP METHOD: streamed\nBACKUP FROM: primary\n\
    START TIME: 2026-11-21 03:46:44 UTC\nLABEL: x\nSTART TIMELINE: 1\n";
const HISTORY: &[u8] = b"1\t0/3000148\tno recovery target specified\n\n2\t0/50000A0\tat \"x\"\n";
const POSTMASTER: &[u8] = b"457\n/data\n1795234059\n5432\n/run\n\n 10059784    131135\nready   \n";
const HEADER: &[u8] = b"\x18\xd1\x06\0\x01\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\0\0\0\0\0\
    \x49\x92\x8b\x0e\x27\x14\x01\x6b\0\0\0\x01\0\x20\0\0";
const PATH: &[u8] = b"pg_tblspc/16385/PG_15_202209061/5/t3_16386_fsm.1";
const CONTROL: &[u8] = include_bytes!("../../data/pg_control/18");
const MANIFEST: &[u8] = include_bytes!("../../data/backup_manifest/17.zst");

/// One change: at a place, how many bytes go, and what comes in their stead.
type Edit = (Index, usize, Vec<u8>);

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let bytes = prop::collection::vec(any::<u8>(), 0..8);
    prop::collection::vec((any::<Index>(), 0..8_usize, bytes), 0..6)
}

fn edited(bytes: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (at, gone, new) in edits {
        let at = at.index(bytes.len() + 1);
        let end = (at + gone).min(bytes.len());
        bytes.splice(at..end, new.iter().copied());
    }
    bytes
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn parsers_give_a_value_or_an_error(edits in edits()) {
        // What they give is of no interest here: that they come back is.
        let _ = BackupLabel::parse(&edited(LABEL, &edits));
        let _ = Postmaster::parse(&String::from_utf8_lossy(&edited(POSTMASTER, &edits)));
        let _ = Control::parse(&edited(CONTROL, &edits));
        let _ = WalHeader::parse(&edited(HEADER, &edits));
        let page = edited(&[7; 8192], &edits);
        let _ = (page::verify(&page, 1), page::lsn(&page));
        let path = edited(PATH, &edits);
        let _ = (pgdata::treatment(&path), RelationPath::parse(&path));
    }

    #[test]
    fn every_history_is_a_path_without_holes(edits in edits()) {
        let own = TimelineId::new(9).unwrap();
        if let Ok(history) = TimelineHistory::parse(own, &edited(HISTORY, &edits)) {
            let path = history.path();
            prop_assert!(path[0].from.0 == 0 && path[path.len() - 1].to.is_none());
            prop_assert!(path.windows(2).all(|two| two[0].to == Some(two[1].from)));
        }
    }
}

proptest! {
    #![proptest_config(config(100))]

    #[test]
    fn a_changed_manifest_is_refused(edits in edits()) {
        let real = zstd::decode_all(MANIFEST).unwrap();
        let changed = edited(&real, &edits);
        let read = manifest::read(&changed[..], |_| Ok(()));
        // The last line, which holds the checksum, may be written in other ways.
        let signed = real.strip_suffix(b"\n").unwrap().rsplitn(2, |byte| *byte == b'\n').nth(1);
        prop_assert!(read.is_err() || changed.starts_with(signed.unwrap()));
        prop_assert!(read.is_ok() || changed != real);
    }
}
