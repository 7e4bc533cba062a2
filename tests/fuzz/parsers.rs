//! Every parser of foreign bytes, by name: what a disk, a network or another program gave us
//! must never make them panic. Used by the fuzzer beside this file, and in short by the tests.

use std::{io::Read, path::Path};

use pgstow::{
    cli::settings::env_file,
    domain::restore::{auto_conf, target},
    postgres::{
        backup_label::BackupLabel,
        base_backup,
        control::Control,
        incoming::Incoming,
        lsn::{Lsn, TimelineId},
        manifest, page, page_failures, passfile, pgdata,
        postmaster::Postmaster,
        relation_file::{RelationFile, RelationPath},
        replication,
        server_error::ServerError,
        service_file,
        timeline::TimelineHistory,
        tls_verify,
        wal_header::WalHeader,
        wal_name::WalName,
    },
    repo::{backup_id::BackupId, catalog::Backup, codec::Codec, file_index},
    util::{clock::Time, units},
};

pub type Parser = fn(&[u8]);

pub const PARSERS: &[(&str, Parser)] = &[
    ("wal_header", |bytes| drop(WalHeader::parse(bytes))),
    ("control", |bytes| drop(Control::parse(bytes))),
    ("timeline", timeline),
    ("manifest", |bytes| drop(manifest::read(bytes, |_| Ok(())))),
    ("backup_label", |bytes| drop(BackupLabel::parse(bytes))),
    ("page", |bytes| {
        page::verify(bytes, 7);
        page::lsn(bytes);
        page::has_plausible_header(bytes);
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
    ("restore_words", |bytes| {
        text(bytes, |text| {
            drop(target::short_form(&text.split('\n').collect::<Vec<_>>()))
        });
    }),
    ("backup_json", |bytes| {
        drop(serde_json::from_slice::<Backup>(bytes))
    }),
    ("file_index", |bytes| {
        drop(file_index::read(bytes, |_| Ok(())))
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

fn names(bytes: &[u8]) {
    pgdata::treatment(bytes);
    RelationFile::parse(bytes);
    RelationPath::parse(bytes);
    text(bytes, |text| {
        drop(text.parse::<WalName>());
        drop(text.parse::<Lsn>());
        drop(text.parse::<BackupId>());
        let _ = text.parse::<Time>();
        drop(units::parse_bytes(text));
        drop(units::parse_duration(text));
    });
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
