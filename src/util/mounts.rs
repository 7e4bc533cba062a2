//! File systems that fstab(5) has for this host, and those that are mounted: the empty folder in the place of one that
//! is not looks as if nothing had ever been there.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use super::fs::real;

const FSTAB: &str = "/etc/fstab";

/// As libmount has it, for which mount(8) looks.
const VARIABLE: &str = "LIBMOUNT_FSTAB";

/// What is mounted for this process (proc_pid_mountinfo(5)).
const MOUNTED: &str = "/proc/self/mountinfo";

/// The mount point at or above `path` that is to have a file system, and has none. What can't be read promises nothing.
pub fn awaited(path: &Path) -> Option<PathBuf> {
    let fstab = env::var_os(VARIABLE).filter(|name| !name.is_empty());
    let fstab = fstab.map_or_else(|| PathBuf::from(FSTAB), PathBuf::from);
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    let promised = points(&read(&fstab), 1);
    let mounted = points(&read(Path::new(MOUNTED)), 4);
    let promised: Vec<PathBuf> = promised.iter().map(|point| real(point)).collect();
    missing(&real(path), &promised, &mounted)
}

/// What is mounted below a missing one is there all the same.
fn missing(path: &Path, promised: &[PathBuf], mounted: &[PathBuf]) -> Option<PathBuf> {
    let nearest = |points: &[PathBuf]| {
        let above = points.iter().filter(|point| path.starts_with(point));
        above
            .max_by_key(|point| point.components().count())
            .cloned()
    };
    let (promised, mounted) = (nearest(promised)?, nearest(mounted)?);
    let is_below = promised != mounted && promised.starts_with(&mounted);
    is_below.then_some(promised)
}

/// The mount points in field `number` of each line.
fn points(text: &str, number: usize) -> Vec<PathBuf> {
    let lines = text.lines().map(str::trim_start);
    let lines = lines.filter(|line| !line.starts_with('#'));
    let fields = lines.filter_map(|line| line.split_ascii_whitespace().nth(number));
    let points = fields.map(unescaped).filter(|point| point.starts_with('/'));
    points.map(PathBuf::from).collect()
}

/// Blanks, tabs, line ends, backslashes and `#` are written as octal numbers.
fn unescaped(field: &str) -> String {
    let escaped = [
        (" ", "\\040"),
        ("\t", "\\011"),
        ("\n", "\\012"),
        ("#", "\\043"),
        ("\\", "\\134"),
    ];
    let all = escaped.into_iter();
    all.fold(field.to_owned(), |text, (plain, escaped)| {
        text.replace(escaped, plain)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_promised_and_not_there() {
        let fstab = "# /dev/sdz /srv ext4\nUUID=1 / ext4 defaults 0 1\nUUID=2 none swap sw 0 0\n\
                     UUID=3 /mnt/back\\040up xfs\n//nas/pg /mnt/back\\040up/deep cifs\n\n";
        let promised = points(fstab, 1);
        let names = ["/", "/mnt/back up", "/mnt/back up/deep"];
        assert_eq!(promised, names.map(PathBuf::from));
        let line = |point: &str| format!("36 35 98:0 / {point} rw shared:1 - ext4 /dev/x rw\n");
        let awaited = |path: &str, mounted: &[&str]| {
            let mounted: String = mounted.iter().map(|point| line(point)).collect();
            let found = missing(Path::new(path), &promised, &points(&mounted, 4));
            found.map(|point| point.display().to_string())
        };
        let (outer, deep) = ("/mnt/back\\040up", "/mnt/back\\040up/deep");
        for (path, mounted, expected) in [
            ("/srv/repo", &["/"][..], None),
            ("/mnt/back up", &["/"], Some(names[1])),
            ("/mnt/back up/repo", &["/", "/mnt"], Some(names[1])),
            ("/mnt/back up/repo", &["/", outer], None),
            ("/mnt/back upper/repo", &["/"], None),
            ("/mnt/back up/deep/repo", &["/", outer], Some(names[2])),
            ("/mnt/back up/deep/repo", &["/", deep], None),
            ("/mnt/back up/deep/repo", &["/", outer, deep], None),
        ] {
            assert_eq!(
                awaited(path, mounted).as_deref(),
                expected,
                "{path} {mounted:?}"
            );
        }
    }
}
