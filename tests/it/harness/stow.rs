//! A cluster that archives into a repository, set up by `pgstow init`: what nearly every story
//! begins with. pgstow connects as the role of docs/roles.md.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    Cluster, PgBin, Scratch, Stored, Tool, initdb::Builder as ClusterBuilder, keys, output::Output,
    tool::Invocation,
};

/// What pgstow connects as.
pub const ROLE: &str = "pgstow";

pub struct Stow {
    pub cluster: Cluster,
    pub tool: Tool,
    root: PathBuf,
}

impl Stow {
    pub fn build(scratch: &Scratch, pg: PgBin) -> Builder<'_> {
        Builder {
            scratch,
            cluster: Cluster::build(scratch, pg),
            root: None,
            url: None,
            compression: "zstd:1",
            repo: String::new(),
            settings: String::new(),
            archive_command: ArchiveCommand::ArchiveWal,
            encrypted: keys::are_wanted(),
        }
    }

    /// With all defaults.
    pub fn start(scratch: &Scratch, pg: PgBin) -> Self {
        Self::build(scratch, pg).start()
    }

    /// The repository's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `pgstow base` with a checkpoint at once.
    pub fn base(&self, arguments: &[&str]) -> Invocation {
        let fixed = ["--json", "base", "--checkpoint", "fast"];
        self.tool.command(&[&fixed, arguments].concat())
    }

    /// Takes a backup that must succeed.
    #[track_caller]
    pub fn backup(&self, arguments: &[&str]) -> Stored {
        self.stored(&self.base(arguments).ok())
    }

    /// The backup that `pgstow base` reported.
    #[track_caller]
    pub fn stored(&self, output: &Output) -> Stored {
        let id = output.json()["backup"]["id"].as_str().unwrap().to_owned();
        self.stored_as(&id)
    }

    pub fn stored_as(&self, id: &str) -> Stored {
        Stored::at(&self.root.join("main/base").join(id))
    }

    /// `pgstow list --json`.
    #[track_caller]
    pub fn list(&self) -> Value {
        self.tool.command(&["list", "--json"]).ok().json()
    }

    /// What `pgstow list` shows of each backup, oldest first.
    #[track_caller]
    pub fn backups(&self) -> Vec<Value> {
        self.list()["backups"].as_array().unwrap().clone()
    }

    /// Where a WAL file is stored, whatever its system and codec.
    #[track_caller]
    pub fn wal_object(&self, file: &str) -> PathBuf {
        self.wal_object_in(&self.root, file)
    }

    /// The same in another repository.
    #[track_caller]
    pub fn wal_object_in(&self, root: &Path, file: &str) -> PathBuf {
        let mut folders = vec![root.join("main/wal")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let endings = ["", ".zst", ".gz", ".lz4"].map(|ending| format!("{file}{ending}"));
                let path_without = path.with_extension("");
                let path_without = match path.extension().is_some_and(|ending| ending == "age") {
                    true => &path_without,
                    false => &path,
                };
                if path.is_dir() {
                    folders.push(path);
                } else if endings.iter().any(|name| path_without.ends_with(name)) {
                    return path;
                }
            }
        }
        panic!("{file} is not stored")
    }

    /// The names of all folders of backups, whatever is in them.
    pub fn folders(&self) -> Vec<String> {
        let Ok(entries) = self.root.join("main/base").read_dir() else {
            return Vec::new();
        };
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<String> = entries
            .map(|entry| name(entry).into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

enum ArchiveCommand<'a> {
    ArchiveWal,
    Other(&'a str),
    Off,
}

pub struct Builder<'a> {
    scratch: &'a Scratch,
    cluster: ClusterBuilder<'a>,
    root: Option<PathBuf>,
    url: Option<String>,
    compression: &'a str,
    repo: String,
    settings: String,
    archive_command: ArchiveCommand<'a>,
    encrypted: bool,
}

impl<'a> Builder<'a> {
    /// How the cluster is made.
    pub fn cluster(
        mut self,
        change: impl FnOnce(ClusterBuilder<'a>) -> ClusterBuilder<'a>,
    ) -> Self {
        self.cluster = change(self.cluster);
        self
    }

    /// A folder for the repository, which is there.
    pub fn root(mut self, root: &Path) -> Self {
        self.root = Some(root.to_owned());
        self
    }

    /// Where the repository is, if not in a folder.
    pub fn url(mut self, url: &str) -> Self {
        self.url = Some(url.to_owned());
        self
    }

    pub fn compression(mut self, compression: &'a str) -> Self {
        self.compression = compression;
        self
    }

    /// A line below `[repo.local]`.
    pub fn repo(mut self, line: &str) -> Self {
        self.repo += &format!("{line}\n");
        self
    }

    /// A line below `[cluster.main]`.
    pub fn setting(mut self, line: &str) -> Self {
        self.settings += &format!("{line}\n");
        self
    }

    /// Archives by another command than archive-wal.
    pub fn archive_command(mut self, command: &'a str) -> Self {
        self.archive_command = ArchiveCommand::Other(command);
        self
    }

    pub fn no_archiving(mut self) -> Self {
        self.archive_command = ArchiveCommand::Off;
        self
    }

    /// Encrypted for the key of [`keys`], which opens it here.
    pub fn encrypted(mut self) -> Self {
        self.encrypted = true;
        self
    }

    pub fn start(self) -> Stow {
        let keys = match self.encrypted {
            true => keys::setting(self.scratch),
            false => String::new(),
        };
        let root = self
            .root
            .unwrap_or_else(|| self.scratch.folder("repository"));
        let host = self.cluster.host();
        let tool = Tool::new(self.scratch).config(&format!(
            "state_dir = \"{}\"\n\
             [repo.local]\nurl = \"{}\"\ncompression = \"{}\"\n{}{keys}\
             [cluster.main]\nhost = \"{}\"\nuser = \"{ROLE}\"\n{}",
            self.scratch.folder("state").display(),
            self.url
                .as_deref()
                .map_or(root.display().to_string(), str::to_owned),
            self.compression,
            self.repo,
            host.display(),
            self.settings,
        ));
        let archive_wal = tool.shell("archive-wal %p");
        let archives = matches!(self.archive_command, ArchiveCommand::ArchiveWal);
        let cluster = match self.archive_command {
            ArchiveCommand::ArchiveWal => self.cluster.archiving(&archive_wal),
            ArchiveCommand::Other(command) => self.cluster.archiving(command),
            ArchiveCommand::Off => self.cluster,
        };
        let cluster = cluster.start();
        cluster.psql(&sql_of_roles("sql"));
        tool.command(&["init"]).ok();
        if archives {
            // A segment that was full before there was a repository is offered again.
            cluster.wait_until(
                "select failed_count = 0 or last_archived_time > last_failed_time
                 from pg_stat_archiver",
                "t",
            );
        }
        Stow {
            cluster,
            tool,
            root,
        }
    }
}

/// The SQL that docs/roles.md tells people to run: what is needed (`sql`), or what more there
/// is (`sql optional`).
pub fn sql_of_roles(kind: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/roles.md");
    let text = fs::read_to_string(path).unwrap();
    let (_, block) = text.split_once(&format!("```{kind}\n")).unwrap();
    block.split_once("```").unwrap().0.to_owned()
}
