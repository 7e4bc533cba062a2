//! The command that starts the restored server, for people to copy. Pure.

use std::path::Path;

use super::recovery::shell_word;

/// What the host looks like.
#[derive(Clone, Copy, Debug)]
pub struct Host<'a> {
    pub major: u32,
    /// Where `pg_ctl` is, if the server is installed.
    pub bindir: Option<&'a Path>,
    /// Debian's `pg_ctlcluster` has a cluster of this name.
    pub has_ctlcluster: bool,
    /// We are root, so pg_ctl needs another user.
    pub root: bool,
    /// Where configuration files were put that lay outside the data directory.
    pub config_file: Option<&'a Path>,
    pub hba_file: Option<&'a Path>,
    pub ident_file: Option<&'a Path>,
    /// To be used instead of that of the configuration.
    pub port: Option<u16>,
}

/// The name of Debian's cluster whose data directory this is by default.
pub fn debian_name(data_dir: &Path, major: u32) -> Option<&str> {
    name_below("/var/lib/postgresql", data_dir, major)
}

/// NAME in ABOVE/MAJOR/NAME.
fn name_below<'a>(above: &str, data_dir: &'a Path, major: u32) -> Option<&'a str> {
    let folder = Path::new(above).join(major.to_string());
    let mut parts = data_dir.strip_prefix(folder).ok()?.iter();
    let name = parts.next()?.to_str()?;
    parts.next().is_none().then_some(name)
}

pub fn command(data_dir: &Path, host: Host<'_>) -> String {
    let major = host.major;
    if let Some(name) = debian_name(data_dir, major).filter(|_| host.has_ctlcluster) {
        return format!("pg_ctlcluster {major} {} start", shell_word(name));
    }
    if name_below("/var/lib/pgsql", data_dir, major) == Some("data") {
        return format!("systemctl start postgresql-{major}");
    }
    let word = |path: &Path| shell_word(&path.to_string_lossy());
    let pg_ctl = host
        .bindir
        .map_or("pg_ctl".to_owned(), |bindir| word(&bindir.join("pg_ctl")));
    let user = if host.root {
        "runuser -u postgres -- "
    } else {
        ""
    };
    let mut words = Vec::new();
    let mut set = |name: &str, path: &Path| words.push(format!("-c {name}={}", word(path)));
    if let Some(main) = host.config_file {
        set("config_file", main);
        set("data_directory", data_dir);
    }
    for (name, file, file_name) in [
        ("hba_file", host.hba_file, "pg_hba.conf"),
        ("ident_file", host.ident_file, "pg_ident.conf"),
    ] {
        match (file, host.config_file) {
            (Some(file), _) => set(name, file),
            // What stands in the main file may name those in use.
            (None, Some(_)) => set(name, &data_dir.join(file_name)),
            (None, None) => {}
        }
    }
    words.extend(host.port.map(|port| format!("-p {port}")));
    let options = match words.is_empty() {
        true => String::new(),
        false => format!(" -o {}", shell_word(&words.join(" "))),
    };
    let log = data_dir.with_file_name(format!(
        "{}.log",
        data_dir.file_name().unwrap_or_default().to_string_lossy()
    ));
    format!(
        "{user}{pg_ctl} -D {}{options} -l {} start",
        word(data_dir),
        word(&log)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_layout_has_its_command() {
        let host = Host {
            major: 15,
            bindir: Some(Path::new("/usr/lib/postgresql/15/bin")),
            has_ctlcluster: true,
            root: true,
            config_file: None,
            hba_file: None,
            ident_file: None,
            port: None,
        };
        let elsewhere = Host {
            config_file: Some(Path::new("/srv/a b.config/etc/postgresql.conf")),
            hba_file: Some(Path::new("/srv/a b.config/etc/pg_hba.conf")),
            ident_file: Some(Path::new("/srv/a b.config/etc/pg_ident.conf")),
            root: false,
            ..host
        };
        for (data_dir, host, expected) in [
            (
                "/var/lib/postgresql/15/main",
                host,
                "pg_ctlcluster 15 main start",
            ),
            (
                "/var/lib/postgresql/15/new",
                Host {
                    has_ctlcluster: false,
                    ..host
                },
                "runuser -u postgres -- /usr/lib/postgresql/15/bin/pg_ctl -D /var/lib/postgresql/15/new \
                 -l /var/lib/postgresql/15/new.log start",
            ),
            (
                "/srv/y",
                Host {
                    port: Some(5433),
                    ..host
                },
                "runuser -u postgres -- /usr/lib/postgresql/15/bin/pg_ctl -D /srv/y -o '-p 5433' \
                 -l /srv/y.log start",
            ),
            (
                "/srv/z",
                Host {
                    port: Some(5433),
                    config_file: Some(Path::new("/srv/c/postgresql.conf")),
                    hba_file: None,
                    ident_file: Some(Path::new("/srv/c/my_ident.conf")),
                    ..elsewhere
                },
                "/usr/lib/postgresql/15/bin/pg_ctl -D /srv/z -o '-c config_file=/srv/c/postgresql.conf \
                 -c data_directory=/srv/z -c hba_file=/srv/z/pg_hba.conf -c ident_file=/srv/c/my_ident.conf \
                 -p 5433' -l /srv/z.log start",
            ),
            (
                "/srv/u",
                Host {
                    config_file: None,
                    hba_file: Some(Path::new("/srv/c/pg_hba.conf")),
                    ident_file: None,
                    ..elsewhere
                },
                "/usr/lib/postgresql/15/bin/pg_ctl -D /srv/u -o '-c hba_file=/srv/c/pg_hba.conf' \
                 -l /srv/u.log start",
            ),
            (
                "/var/lib/pgsql/15/data",
                host,
                "systemctl start postgresql-15",
            ),
            (
                "/var/lib/postgresql/14/main",
                host,
                "runuser -u postgres -- /usr/lib/postgresql/15/bin/pg_ctl -D /var/lib/postgresql/14/main \
                 -l /var/lib/postgresql/14/main.log start",
            ),
            (
                "/srv/x",
                elsewhere,
                "/usr/lib/postgresql/15/bin/pg_ctl -D /srv/x -o '-c config_file='\\''/srv/a b.config/etc/postgresql.conf'\\'' \
                 -c data_directory=/srv/x -c hba_file='\\''/srv/a b.config/etc/pg_hba.conf'\\'' \
                 -c ident_file='\\''/srv/a b.config/etc/pg_ident.conf'\\''' -l /srv/x.log start",
            ),
        ] {
            assert_eq!(command(Path::new(data_dir), host), expected);
        }
    }
}
