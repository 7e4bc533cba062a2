//! A repository on disk that no server ever wrote into: backups of a few bytes and empty segments, as
//! many as a test wants.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use chrono::TimeDelta;
use pgstow::{
    postgres::{
        lsn::{Lsn, SystemId},
        wal_name::{Segment, SegmentSize},
    },
    repo::{
        backup::{Backup, Method, Part, Started},
        backup_id::{BackupId, BackupKind},
        codec::Codec,
        document::FORMAT,
        edition::Edition,
        layout::BackupObject,
        location::Location,
        repository::{Repository, System},
    },
    util::{
        clock::Time,
        hash::Sha256,
        host::{self, ProcessId},
    },
};

use super::story::{tli, within};
use crate::harness::{Scratch, Tool, user};

pub struct Planted {
    pub tool: Tool,
    pub repository: Repository,
    root: PathBuf,
}

/// The only system.
const SYSTEM: SystemId = SystemId(7);

/// What a part holds.
const PART: &[u8] = b"part";

impl Planted {
    /// `rules` as they stand in the file: `full = 2`.
    pub fn new(scratch: &Scratch, rules: &str) -> Self {
        let root = scratch.folder("repository");
        let tool = Tool::new(scratch).config(&format!(
            "state_dir = \"{}\"\n[repo.local]\nurl = \"{}\"\nretention = {{ {rules} }}\n[cluster.main]\n",
            scratch.folder("state").display(),
            root.display(),
        ));
        let location = Location::Folder(root.clone());
        let (repository, _) =
            Repository::open_or_create(&location, "main".parse().unwrap()).unwrap();
        let system = System {
            format: FORMAT,
            system_id: SYSTEM,
            postgres_major: 17,
            segment_size: size(),
            wal_codec: Codec::None,
            encrypted: false,
            registered: "2026-01-01T00:00:00Z".parse().unwrap(),
        };
        repository.register(&system).unwrap();
        Self {
            tool,
            repository,
            root,
        }
    }

    /// A complete backup on timeline 1 that ended at `ended` and needs that one segment.
    pub fn backup(&self, ended: Time, segment: u64, parent: Option<BackupId>) -> BackupId {
        let kind = match parent {
            None => BackupKind::Full,
            Some(_) => BackupKind::Incremental,
        };
        let (id, _) = BackupId::next(
            ended - TimeDelta::minutes(1),
            kind,
            None,
            Default::default(),
        );
        self.claim(id, segment, parent);
        let part = BackupObject::Part(1, Edition::FIRST, Codec::None.into());
        self.put(id, part, PART);
        let backup = described(id, ended, segment, parent);
        let name = self
            .repository
            .layout()
            .backup_object(&id, BackupObject::Backup);
        self.repository
            .storage()
            .create_json(&name, &backup)
            .unwrap();
        id
    }

    /// The claim of a backup whose process is long gone.
    pub fn claim(&self, id: BackupId, segment: u64, parent: Option<BackupId>) {
        self.claim_by(id, segment, parent, &host::name());
    }

    /// A claim by a process of that host.
    pub fn claim_by(&self, id: BackupId, segment: u64, parent: Option<BackupId>, host: &str) {
        let started = Started {
            format: FORMAT,
            id,
            parent,
            system_id: SYSTEM,
            timeline: tli(1),
            lower_bound: within(segment, 0x28),
            time: id.time(),
            process: ProcessId {
                host: host.to_owned(),
                boot_id: "another".to_owned(),
                process: 1,
                process_start: 1,
            },
            copied_from: None,
        };
        let name = self
            .repository
            .layout()
            .backup_object(&id, BackupObject::Started);
        self.repository
            .storage()
            .create_json(&name, &started)
            .unwrap();
    }

    pub fn put(&self, id: BackupId, object: BackupObject, bytes: &[u8]) {
        let name = self.repository.layout().backup_object(&id, object);
        self.repository.storage().create(&name, bytes).unwrap();
    }

    /// Empty segments of timeline 1.
    pub fn segments(&self, numbers: std::ops::RangeInclusive<u64>) {
        let mut made = String::new();
        for number in numbers {
            let segment = Segment::nth(tli(1), number, size());
            let folder = self
                .root
                .join(format!("main/wal/{SYSTEM}/{}", segment.folder()));
            if made != segment.folder() {
                fs::create_dir_all(&folder).unwrap();
                made = segment.folder();
            }
            fs::write(folder.join(segment.to_string()), b"").unwrap();
        }
    }

    pub fn remove_segment(&self, number: u64) {
        fs::remove_file(self.root.join(Self::segment_object(number))).unwrap();
    }

    /// Another file below the WAL of the system.
    pub fn wal_file(&self, name: &str) {
        let path = self.root.join(format!("main/wal/{SYSTEM}/{name}"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"").unwrap();
    }

    /// Gives all folders to the user that pgstow runs as.
    pub fn hand_over(&self) {
        fn own(folder: &Path) {
            user::own(folder);
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    own(&path);
                } else {
                    user::own(&path);
                }
            }
        }
        own(&self.root);
    }

    /// All that is there, but for leases.
    pub fn objects(&self) -> BTreeSet<String> {
        fn collect(root: &Path, folder: &Path, objects: &mut BTreeSet<String>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    collect(root, &path, objects);
                } else {
                    let name = path.strip_prefix(root).unwrap();
                    objects.insert(name.to_str().unwrap().to_owned());
                }
            }
        }
        let mut objects = BTreeSet::new();
        collect(&self.root, &self.root, &mut objects);
        objects.retain(|name| !name.starts_with("main/locks/"));
        objects
    }

    /// As after the end of a process that held a lease.
    pub fn forget_leases(&self) {
        let locks = self.root.join("main/locks");
        if locks.exists() {
            fs::remove_dir_all(locks).unwrap();
        }
    }

    pub fn segment_object(number: u64) -> String {
        let segment = Segment::nth(tli(1), number, size());
        format!("main/wal/{SYSTEM}/{}/{segment}", segment.folder())
    }
}

fn size() -> SegmentSize {
    SegmentSize::new(16 << 20).unwrap()
}

fn described(id: BackupId, ended: Time, segment: u64, parent: Option<BackupId>) -> Backup {
    let needed = Segment::nth(tli(1), segment, size()).to_string();
    let sha256 = Sha256::of(PART);
    Backup {
        format: FORMAT,
        id,
        kind: id.kind(),
        parent,
        cluster: "main".to_owned(),
        system_id: SYSTEM,
        postgres_version: 170_005,
        timeline: tli(1),
        start_lsn: within(segment, 0x28),
        stop_lsn: Lsn(within(segment, 0x1000).0),
        start_time: ended - TimeDelta::minutes(1),
        stop_time: ended,
        start_segment: needed.clone(),
        stop_segment: needed,
        start_segment_sha256: None,
        stop_segment_sha256: None,
        segment_size: size(),
        block_size: 8192,
        data_checksums: true,
        method: Method::Local,
        standby: false,
        standalone: false,
        label: String::new(),
        data_directory: "/data".to_owned(),
        compression: Codec::None,
        level: 0,
        recipients: Vec::new(),
        tablespaces: Vec::new(),
        parts: vec![Part {
            number: 1,
            name: BackupObject::Part(1, Edition::FIRST, Codec::None.into()).to_string(),
            plain_bytes: PART.len() as u64,
            stored_bytes: PART.len() as u64,
            sha256,
            unencrypted_sha256: sha256,
        }],
        files: 1,
        bytes: 4,
        base_bytes: 4,
        stored_bytes: 4,
        objects: Vec::new(),
        config_files: Vec::new(),
        config_missing: Vec::new(),
        page_failures: Vec::new(),
        settings: Default::default(),
        verified: true,
        host: host::name(),
        pgstow_version: String::new(),
        annotations: Default::default(),
    }
}
