//! The command that starts the restored server, for people to copy. Pure.

use std::path::Path;

use super::recovery::shell_word;

/// What the host looks like.
#[derive(Clone, Copy, Debug)]
pub struct Host<'a> {
    pub major: u32,
    /// Where `pg_ctl` is, if the server is installed.
    pub bindir: Option<&'a Path>,
    /// Debian's `pg_ctlcluster` is installed.
    pub has_ctlcluster: bool,
    /// We are root, so pg_ctl needs another user.
    pub root: bool,
    /// Where configuration files that lay outside the data directory were put.
    pub config: Option<&'a Path>,
    /// The main one of them, below `config`.
    pub config_file: Option<&'a Path>,
}

pub fn command(data_dir: &Path, host: Host<'_>) -> String {
    let under = |above: &str| {
        let rest = data_dir.strip_prefix(above).ok()?;
        let mut parts = rest.iter().filter_map(|part| part.to_str());
        Some((
            parts.next()?.to_owned(),
            parts.next()?.to_owned(),
            parts.next().is_none(),
        ))
    };
    let major = host.major.to_string();
    if let Some((version, name, true)) = under("/var/lib/postgresql")
        && host.has_ctlcluster
        && version == major
    {
        return format!("pg_ctlcluster {version} {} start", shell_word(&name));
    }
    if let Some((version, name, true)) = under("/var/lib/pgsql")
        && version == major
        && name == "data"
    {
        return format!("systemctl start postgresql-{version}");
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
    let options = match (host.config, host.config_file) {
        (Some(config), Some(main)) => {
            let folder = main.parent().unwrap_or(config);
            let set = |name: &str, path: &Path| format!("-c {name}={}", word(path));
            let words = [
                set("config_file", main),
                set("data_directory", data_dir),
                set("hba_file", &folder.join("pg_hba.conf")),
                set("ident_file", &folder.join("pg_ident.conf")),
            ];
            format!(" -o {}", shell_word(&words.join(" ")))
        }
        _ => String::new(),
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
            config: None,
            config_file: None,
        };
        let elsewhere = Host {
            config: Some(Path::new("/srv/a b.config")),
            config_file: Some(Path::new("/srv/a b.config/etc/postgresql.conf")),
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
