//! How a new cluster is made.

use std::{fs::OpenOptions, io::Write, path::PathBuf};

use super::{Cluster, PgBin, Scratch, cluster::SUPERUSER, template};

impl Cluster {
    /// A new cluster, in UTF-8 and with data checksums.
    pub fn build(scratch: &Scratch, pg: PgBin) -> Builder<'_> {
        Builder {
            scratch,
            pg,
            name: "main",
            checksums: true,
            initdb: Vec::new(),
            conf: String::new(),
            tcp: false,
        }
    }
}

/// How a new cluster is made; [`Builder::start`] makes it.
pub struct Builder<'a> {
    scratch: &'a Scratch,
    pg: PgBin,
    name: &'a str,
    checksums: bool,
    initdb: Vec<String>,
    conf: String,
    tcp: bool,
}

impl<'a> Builder<'a> {
    /// The cluster's folder in the scratch folder; `main` if not said.
    pub fn name(mut self, name: &'a str) -> Self {
        self.name = name;
        self
    }

    /// An argument for initdb, such as `--wal-segsize=64`.
    pub fn initdb(mut self, argument: &str) -> Self {
        self.initdb.push(argument.to_owned());
        self
    }

    pub fn no_checksums(mut self) -> Self {
        self.checksums = false;
        self
    }

    /// A setting in postgresql.conf.
    pub fn conf(mut self, name: &str, value: &str) -> Self {
        self.conf += &format!("{name} = '{}'\n", value.replace('\'', "''"));
        self
    }

    /// Listens on 127.0.0.1 too, on a free port.
    pub fn tcp(mut self) -> Self {
        self.tcp = true;
        self
    }

    /// Where the folder of its unix socket will be.
    pub fn host(&self) -> PathBuf {
        self.scratch.join(self.name)
    }

    /// Makes the cluster, but starts no server.
    pub fn make(self) -> Cluster {
        let cluster = Cluster::stopped(
            self.scratch,
            self.pg,
            self.name,
            &self.scratch.join(self.name).join("data"),
            self.tcp,
        );
        let checksums: &[&str] = match (self.checksums, cluster.pg.major) {
            (true, _) => &["--data-checksums"],
            (false, 18..) => &["--no-data-checksums"],
            (false, _) => &[],
        };
        let mut arguments = vec!["--no-sync", "--auth=trust", "--username", SUPERUSER];
        arguments.extend(["--no-locale", "--encoding=UTF8"]);
        arguments.extend(checksums);
        arguments.extend(self.initdb.iter().map(String::as_str));
        template::make(&cluster.pg, &arguments, cluster.data_dir());
        // A crash of the machine is no part of these tests: without fsync they take half the time.
        let conf = "fsync = off\nshared_buffers = '16MB'\nmax_connections = 30\njit = off\n";
        let mut file = OpenOptions::new()
            .append(true)
            .open(cluster.data_dir().join("postgresql.conf"))
            .unwrap();
        file.write_all((conf.to_owned() + &self.conf).as_bytes())
            .unwrap();
        cluster
    }

    pub fn start(self) -> Cluster {
        let mut cluster = self.make();
        cluster.start();
        cluster
    }
}
