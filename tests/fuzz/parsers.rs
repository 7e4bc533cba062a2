//! Every parser of foreign bytes, by name: what a disk, a network or another program gave us
//! must never make them panic. Used by the fuzzer beside this file, and in short by the tests.

use std::{
    io::{Read, Write},
    os::unix::ffi::OsStrExt,
    path::Path,
    time::Duration,
};

use pgstow::{
    cli::settings::env_file,
    domain::{
        logical::{
            restore::{
                creation::Creation, material::About, properties, script::Scan, sums::sum_in,
            },
            toc::Toc,
        },
        monitor::{
            alert::{self, News, Wishes},
            facts::{arrivals::Arrivals, minimal::Spell, timers},
            ledger::Ledger,
            measures::Measures,
            runs,
            verdict::{State, Verdict},
        },
        restore::{auto_conf, marker},
        wal::{acks::Acks, gaps},
    },
    postgres::{
        archive_toc::ArchiveToc,
        backup_label::BackupLabel,
        base_backup, conf_file,
        control::Control,
        incoming::Incoming,
        incremental,
        lsn::{Lsn, TimelineId},
        manifest, page, page_failures, passfile, pgdata,
        postmaster::Postmaster,
        relation_file::{RelationFile, RelationPath},
        replication,
        server_error::ServerError,
        service_file,
        timeline::TimelineHistory,
        tls_verify,
        version::Major,
        wal_event::{Happened, WalEvent},
        wal_header::WalHeader,
        wal_name::WalName,
        wal_records::WalRecords,
        wal_stream,
        wal_summary::{self, SummaryName},
    },
    repo::{
        backup::{Alive, Backup, Started},
        backup_id::BackupId,
        codec::Codec,
        crypt::{self, Keys, Recipient},
        dump::{Dump, DumpStarted},
        file_index,
        gap::Gap,
        layout::{ClusterName, Layout},
        lease::Held,
        pins::Pin,
        relations,
        repository::System,
        restoring::Restoring,
        verified::Verified,
    },
    util::{
        clock::Time,
        secret::{Secret, SecretFrom},
        units,
    },
};

pub type Parser = fn(&[u8]);

pub const PARSERS: &[(&str, Parser)] = &[
    ("wal_header", |bytes| drop(WalHeader::parse(bytes))),
    ("age_header", age_header),
    ("wal_records", wal_records),
    ("wal_event", wal_event),
    ("wal_summary", |bytes| {
        SummaryName::parse(bytes);
        drop(wal_summary::read(bytes, &mut |_, _, _| Ok(())));
    }),
    ("control", |bytes| drop(Control::parse(bytes))),
    ("timeline", timeline),
    ("manifest", |bytes| drop(manifest::read(bytes, |_| Ok(())))),
    ("backup_label", |bytes| drop(BackupLabel::parse(bytes))),
    ("page", |bytes| {
        page::verify(bytes, 7);
        page::lsn(bytes);
        page::has_plausible_header(bytes);
    }),
    ("incremental", |mut bytes| {
        drop(incremental::Header::read(&mut bytes, 1024))
    }),
    ("names", names),
    ("postmaster", |bytes| {
        text(bytes, |text| drop(Postmaster::parse(text)))
    }),
    ("passfile", |bytes| {
        let wanted = passfile::Wanted {
            host: "localhost",
            port: 5432,
            database: "x",
            user: "y",
        };
        drop(passfile::find(bytes, wanted));
    }),
    ("service_file", |bytes| {
        text(bytes, |text| drop(service_file::section(text, "x")))
    }),
    ("server_error", |bytes| {
        let error = ServerError::parse(bytes);
        page_failures::parse(&error.message);
    }),
    ("base_backup", |bytes| {
        base_backup::piece(bytes);
    }),
    ("columns", |bytes| drop(replication::columns(bytes))),
    ("streamed", |bytes| {
        let _ = wal_stream::streamed(bytes);
    }),
    ("incoming", incoming),
    ("certificate", |bytes| {
        drop(tls_verify::server_end_point(&bytes.into()))
    }),
    ("env_file", |bytes| {
        text(bytes, |text| drop(env_file::parse(Path::new("x"), text)))
    }),
    ("auto_conf", |bytes| {
        auto_conf::value(bytes, "restore_command");
        auto_conf::without(bytes, &["restore_command"]);
    }),
    ("conf_file", conf_files),
    ("backup_json", |bytes| {
        drop(serde_json::from_slice::<Backup>(bytes))
    }),
    ("dump_json", |bytes| {
        drop(serde_json::from_slice::<Dump>(bytes).map(|dump| (dump.subject(), dump.duration())));
        drop(serde_json::from_slice::<DumpStarted>(bytes));
    }),
    ("toc", |bytes| drop(Toc::parse(bytes))),
    ("archive toc", |bytes| {
        if let Ok(toc) = ArchiveToc::read(bytes) {
            drop(properties::statements(&toc, "copy", true));
            drop(Creation::of(&About::Archive(toc)));
        }
    }),
    ("plain dump", |bytes| {
        let mut scan = Scan::default();
        // It takes whatever comes.
        let _ = scan.write_all(bytes);
        drop(Creation::of(&About::Script(scan.finish())));
    }),
    ("sums", |bytes| {
        let _ = sum_in(&String::from_utf8_lossy(bytes), "x.dump");
    }),
    ("claim", |bytes| {
        drop(serde_json::from_slice::<Started>(bytes));
        drop(serde_json::from_slice::<Alive>(bytes));
    }),
    ("system", |bytes| {
        drop(serde_json::from_slice::<System>(bytes))
    }),
    ("gap", |bytes| drop(serde_json::from_slice::<Gap>(bytes))),
    ("restoring", |bytes| {
        drop(serde_json::from_slice::<Restoring>(bytes).map(|mark| mark.term()))
    }),
    ("pin", |bytes| drop(serde_json::from_slice::<Pin>(bytes))),
    ("lease", |bytes| drop(serde_json::from_slice::<Held>(bytes))),
    ("verified", |bytes| {
        drop(serde_json::from_slice::<Verified>(bytes))
    }),
    ("acknowledgements", |bytes| {
        drop(serde_json::from_slice::<Acks>(bytes))
    }),
    ("gaps", |bytes| drop(gaps::parse(bytes))),
    ("alerts", alerts),
    ("runs", |bytes| {
        for run in runs::parse(bytes) {
            run.duration();
        }
    }),
    ("restore_notes", |bytes| {
        drop(serde_json::from_slice::<marker::Notes>(bytes))
    }),
    ("measures", |bytes| drop(Measures::parse(bytes))),
    ("arrivals", |bytes| drop(Arrivals::parse(bytes))),
    ("minimal", |bytes| drop(Spell::parse(bytes))),
    ("timers", |bytes| {
        text(bytes, |text| drop(timers::parse(text)))
    }),
    ("file_index", |bytes| {
        drop(file_index::read(bytes, |_| Ok(())))
    }),
    ("relations", |bytes| {
        drop(relations::read(bytes, &mut |_, _| ()))
    }),
    ("zstd", |bytes| decode(Codec::Zstd, bytes)),
    ("gzip", |bytes| decode(Codec::Gzip, bytes)),
    ("lz4", |bytes| decode(Codec::Lz4, bytes)),
    ("tar", archive),
];

fn text(bytes: &[u8], parse: impl FnOnce(&str)) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        parse(text);
    }
}

/// Behind a header, in pages of 1 KiB, so that random bytes come further than the first page;
/// several times, so that few of them fill pages.
fn age_header(bytes: &[u8]) {
    // A key that age's own documents know.
    const IDENTITY: &str =
        "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
    drop(crypt::clear_hash(bytes));
    let keys = |text: &str| {
        let identity = SecretFrom::Setting(Secret::new(text));
        Keys::new(Vec::new(), None, Some(identity))
    };
    if let Ok(mut plain) = keys(IDENTITY).decryptor(bytes) {
        let _ = plain.read_to_end(&mut Vec::new());
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        drop(keys(text).check_identity());
        drop(text.parse::<Recipient>());
    }
}

fn wal_records(bytes: &[u8]) {
    let mut header = [0; 40];
    header[..8].copy_from_slice(&[0x18, 0xD1, 2, 0, 1, 0, 0, 0]);
    header[34] = 0x10;
    header[37] = 4;
    for before in [&header[..], &[]] {
        let mut records = WalRecords::new(TimelineId::FIRST);
        records.feed(before);
        for _ in 0..8 {
            records.feed(bytes);
        }
        records.feed(&[0; 1024]);
        let followed = records.finish();
        if let (Some(mut open), Some(rest)) = (followed.open, &followed.rest) {
            let _ = open.go_on(rest);
        }
    }
}

fn wal_event(bytes: &[u8]) {
    for major in [Major::V15, Major::V18] {
        if let Happened::Ended(ended) = WalEvent::read(Lsn(7), bytes, major).happened {
            let count = ended.parts.len() + ended.removed.len() + ended.dropped.len();
            assert!(count <= bytes.len());
        }
    }
}

fn names(bytes: &[u8]) {
    pgdata::treatment(bytes);
    RelationFile::parse(bytes);
    RelationPath::parse(bytes);
    incremental::plain_path(bytes);
    text(bytes, |text| {
        drop(text.parse::<WalName>());
        drop(text.parse::<Lsn>());
        drop(text.parse::<BackupId>());
        let _ = text.parse::<Time>();
        drop(units::parse_bytes(text));
        drop(units::parse_duration(text));
        drop("main".parse::<ClusterName>().map(|cluster| {
            let layout = Layout::new(cluster);
            let _ = layout.read_pin(&layout.pins().object(text));
            let _ = layout.read_verified(&layout.verified().object(text));
            let _ = layout.read_restore(&layout.restores().object(text));
            let _ = layout.read_dump_object(&layout.dumps().object(text));
            let _ = layout.read_lease("cleanup", &layout.locks().object(text));
        }));
    });
}

/// Notes of what was told, and what is told next.
fn alerts(bytes: &[u8]) {
    let Ok(ledger) = Ledger::parse(bytes) else {
        return;
    };
    let Ok(now) = "2026-11-21T02:00:00Z".parse::<Time>() else {
        return;
    };
    let wishes = Wishes {
        failure: true,
        recovery: true,
        success: true,
        remind: Some(Duration::from_secs(60)),
    };
    for account in ledger.notifiers.values() {
        for state in [State::Ok, State::Critical] {
            let news = News {
                verdicts: vec![Verdict::new("disk", state, "x", "y")],
                seen: now,
                of_job: false,
            };
            alert::plan(&account.known, &news, now, wishes);
        }
    }
}

fn conf_files(bytes: &[u8]) {
    for syntax in [conf_file::Syntax::Settings, conf_file::Syntax::Access] {
        conf_file::includes(syntax, bytes);
    }
    let named = Path::new(std::ffi::OsStr::from_bytes(bytes));
    conf_file::resolve(Path::new("/etc/postgresql.conf"), named);
    conf_file::counts_in_folder(bytes);
}

fn timeline(bytes: &[u8]) {
    let Some(own) = TimelineId::new(9) else {
        return;
    };
    if let Ok(history) = TimelineHistory::parse(own, bytes) {
        history.path();
        history.timeline_at(Lsn(0x300_0000));
        history.fork(TimelineId::FIRST);
    }
}

fn incoming(mut bytes: &[u8]) {
    let mut incoming = Incoming::new(64);
    while incoming.fill(&mut bytes).is_ok() {
        while let Ok(Some((_, range))) = incoming.message() {
            incoming.bytes(range);
        }
        if bytes.is_empty() {
            return;
        }
    }
}

/// Bounded: a few bytes may stand for very many.
fn decode(codec: Codec, bytes: &[u8]) {
    if let Ok(reader) = codec.decoder(bytes) {
        let mut plain = Vec::new();
        let _ = reader.take(1 << 20).read_to_end(&mut plain);
    }
}

fn archive(bytes: &[u8]) {
    let mut archive = tar::Archive::new(bytes);
    let Ok(entries) = archive.entries() else {
        return;
    };
    for mut entry in entries.flatten().take(100) {
        entry.path_bytes();
        let _ = entry.read(&mut [0; 64]);
    }
}
