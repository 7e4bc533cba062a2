//! A repository that knows the systems of the test's clusters, and `pgstow` set up to use it.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use pgstow::{
    postgres::{control::Control, wal_name::WalName},
    repo::{
        codec::Compression,
        document::FORMAT,
        location::Location,
        repository::{Repository, System},
    },
    util::clock::now,
};

use super::{Cluster, Scratch, Tool, initdb::Builder, keys, user};

pub struct Archive {
    pub tool: Tool,
    root: PathBuf,
    repository: Repository,
    compression: Compression,
    encrypted: bool,
}

impl Archive {
    pub fn new(scratch: &Scratch, compression: &str) -> Self {
        Self::at(scratch, &scratch.folder("repository"), compression)
    }

    /// Encrypted for the key of [`keys`], which opens it here.
    pub fn encrypted(scratch: &Scratch, compression: &str) -> Self {
        Self::with(scratch, &scratch.folder("repository"), compression, true)
    }

    /// In the folder `root`, which is there.
    pub fn at(scratch: &Scratch, root: &Path, compression: &str) -> Self {
        Self::with(scratch, root, compression, keys::are_wanted())
    }

    fn with(scratch: &Scratch, root: &Path, compression: &str, encrypted: bool) -> Self {
        let keys = match encrypted {
            true => keys::setting(scratch),
            false => String::new(),
        };
        let location = Location::Folder(root.to_owned());
        let (repository, _) =
            Repository::open_or_create(&location, "main".parse().unwrap()).unwrap();
        own_all(root);
        let url = root.display();
        let tool = Tool::new(scratch).config(&format!(
            "state_dir = \"{}\"\n\
             [repo.local]\nurl = \"{url}\"\ncompression = \"{compression}\"\n{keys}[cluster.main]\n",
            scratch.folder("state").display()
        ));
        Self {
            tool,
            root: root.to_owned(),
            repository,
            compression: compression.parse().unwrap(),
            encrypted,
        }
    }

    /// Lets `cluster` archive here.
    pub fn register(&self, cluster: &Cluster) -> System {
        let control = Control::read(cluster.data_dir()).unwrap();
        let system = System {
            format: FORMAT,
            system_id: control.system,
            postgres_major: control.major.number(),
            segment_size: control.segment_size,
            wal_codec: self.compression.codec,
            encrypted: self.encrypted,
            registered: now(),
        };
        self.repository.register(&system).unwrap();
        own_all(&self.root);
        system
    }

    /// Where `file` of `system` is stored.
    pub fn object(&self, system: &System, file: &str) -> PathBuf {
        let file: WalName = file.parse().unwrap();
        let coding = system.coding_of(file);
        let layout = self.repository.layout();
        self.root
            .join(layout.wal_file(system.system_id, file, coding).as_str())
    }

    pub fn stored(&self) -> Vec<String> {
        stored_in(&self.root)
    }

    /// Has the tool use another repository too, with the same keys.
    pub fn add_repository(&self, name: &str, root: &Path) {
        let config = self.tool.config_file();
        let text = fs::read_to_string(config).unwrap();
        let url = root.display();
        let keys = text.lines().find(|line| line.starts_with("encryption"));
        let keys = keys.unwrap_or_default();
        let section = format!("[repo.{name}]\nurl = \"{url}\"\n{keys}\n");
        fs::write(config, text + &section).unwrap();
    }
}

/// The names of all files below a repository's WAL, without their folders; without `.age` where all tests are run on
/// encrypted repositories, so that they need not know it.
pub fn stored_in(root: &Path) -> Vec<String> {
    let mut names = Vec::new();
    collect(&root.join("main/wal"), &mut names);
    if keys::are_wanted() {
        for name in &mut names {
            name.truncate(name.trim_end_matches(".age").len());
        }
    }
    names.sort();
    names
}

/// A piece of a segment that is being received.
#[derive(Debug)]
pub struct StoredPiece {
    pub segment: String,
    pub bytes: Range<u64>,
    pub path: PathBuf,
}

/// All of a repository, by segment and beginning.
pub fn pieces_in(root: &Path) -> Vec<StoredPiece> {
    let mut pieces = Vec::new();
    let folders = |folder: PathBuf| {
        let entries = fs::read_dir(folder).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path())
    };
    for segment in folders(root.join("main/wal")).flat_map(|system| folders(system.join("live"))) {
        for path in folders(segment.clone()) {
            let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
            let file = name(&path);
            // On its way.
            if file.starts_with('.') {
                continue;
            }
            let (from, to) = file.split('.').next().unwrap().split_once('-').unwrap();
            let offset = |text| u64::from_str_radix(text, 16).unwrap();
            pieces.push(StoredPiece {
                segment: name(&segment),
                bytes: offset(from)..offset(to),
                path,
            });
        }
    }
    pieces.sort_by_key(|piece| (piece.segment.clone(), piece.bytes.start, piece.bytes.end));
    pieces
}

/// Waits until all that `cluster` has flushed of its segment is in pieces; that segment, and how much it is.
#[track_caller]
pub fn wait_for_pieces(root: &Path, cluster: &Cluster) -> (String, u64) {
    let now = cluster.psql(
        "select file_name, file_offset from pg_walfile_name_offset(pg_current_wal_flush_lsn())",
    );
    let (segment, offset) = now.split_once('|').unwrap();
    let offset: u64 = offset.parse().unwrap();
    let limit = Instant::now() + Duration::from_secs(60);
    let is_it = |piece: &StoredPiece| piece.segment == segment && piece.bytes.end >= offset;
    while !pieces_in(root).iter().any(is_it) {
        assert!(Instant::now() < limit, "{now}: {:?}", pieces_in(root));
        thread::sleep(Duration::from_millis(20));
    }
    (segment.to_owned(), offset)
}

/// Files anywhere below `folder` that are hidden, as those are that a killed process left.
pub fn hidden_in(folder: &Path) -> Vec<PathBuf> {
    let mut hidden = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().as_encoded_bytes();
        if path.is_dir() {
            hidden.extend(hidden_in(&path));
        } else if name.starts_with(b".") || name.ends_with(b".tmp") {
            hidden.push(path);
        }
    }
    hidden
}

impl Builder<'_> {
    /// Archives by `command`, which may say `%p` and `%f`.
    pub fn archiving(self, command: &str) -> Self {
        self.conf("archive_mode", "on")
            .conf("archive_command", command)
    }
}

fn collect(folder: &Path, names: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, names);
        } else {
            names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
    }
}

fn own_all(path: &Path) {
    user::own(path);
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            own_all(&entry.unwrap().path());
        }
    }
}
