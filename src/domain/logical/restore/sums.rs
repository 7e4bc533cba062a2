//! The SHA-256 of a dump is told twice: in `.sha256` and in `.json`. What was read is compared with both, and the one that
//! differs is named: with two against one it is clear which was altered.

use std::{fs::File, io::Read, path::Path};

use crate::{
    error::{Error, IoContext, Kind, Result},
    repo::{dump::Dump, dump_name::DumpObject, repository::Repository},
    util::hash::Sha256,
};

/// A file with sums is not larger.
const LIMIT: u64 = 1 << 20;

/// What is told of the data.
#[derive(Debug, Default)]
pub struct Sums {
    /// By the description.
    described: Option<Told>,
    /// By `.sha256`.
    beside: Option<Told>,
    /// Why `.sha256`, which should be there, tells nothing.
    lacking: Option<String>,
}

#[derive(Debug)]
struct Told {
    /// The name of the file that tells it.
    by: String,
    sum: Sha256,
}

impl Sums {
    /// Of a dump of a repository, which always has both.
    pub fn stored(repository: &Repository, dump: &Dump) -> Result<Self> {
        let name = |object: DumpObject| format!("{}{}", dump.name.stem(), object.ending());
        let by = name(DumpObject::Sums);
        let object = repository
            .layout()
            .dump_object(&dump.name, DumpObject::Sums);
        let text = match repository.storage().get(&object, None) {
            Err(error) if error.kind() == Kind::NotFound => Err(format!("{by} is missing")),
            Err(error) => return Err(error),
            Ok(reader) => {
                let mut text = Vec::new();
                let read = reader.take(LIMIT).read_to_end(&mut text);
                read.map_err(|error| repository.storage().failed("read", &object, error))?;
                Ok(text)
            }
        };
        let told = text.and_then(|text| sum_of(&text, &dump.data.name, &by));
        let (beside, lacking) = match told {
            Ok(sum) => (Some(Told { by, sum }), None),
            Err(why) => (None, Some(why)),
        };
        Ok(Self {
            described: Some(Told {
                by: name(DumpObject::Description),
                sum: dump.data.sha256,
            }),
            beside,
            lacking,
        })
    }

    /// Of a file, which may have neither: `path.sha256` or `x.sha256` of `x.sql.gz`, and the description beside it.
    pub fn of_file(path: &Path, description: Option<&Dump>) -> Result<Self> {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return Ok(Self::default());
        };
        let stem = DumpObject::stem(name).unwrap_or(name);
        let mut sums = Self {
            described: description.map(|dump| Told {
                by: format!("{stem}.json"),
                sum: dump.data.sha256,
            }),
            ..Self::default()
        };
        for by in [format!("{name}.sha256"), format!("{stem}.sha256")] {
            let Some(text) = read_small(&path.with_file_name(&by), LIMIT)? else {
                continue;
            };
            match sum_of(&text, name, &by) {
                Ok(sum) => {
                    (sums.beside, sums.lacking) = (Some(Told { by, sum }), None);
                    break;
                }
                Err(why) => sums.lacking = Some(why),
            }
        }
        Ok(sums)
    }

    /// Whether there is any to compare with.
    pub fn are_told(&self) -> bool {
        self.described.is_some() || self.beside.is_some()
    }

    /// Whether `.sha256` is one of them.
    pub fn are_told_beside(&self) -> bool {
        self.beside.is_some()
    }

    /// What is wrong beside data that is right, if something is.
    ///
    /// # Errors
    /// Of kind `Damaged` where the data has another sum than the description tells, or nobody else tells it.
    pub fn compare(&self, found: Sha256, name: &str) -> Result<Option<String>> {
        let differs = |told: &&Told| told.sum != found;
        match (&self.described, self.beside.as_ref()) {
            (Some(described), Some(beside)) if described.sum != found && beside.sum == found => {
                Err(format!(
                    "{} differs: it tells SHA-256 {}, but {name} has {found}, as {} tells",
                    described.by, described.sum, beside.by
                ))
            }
            (Some(described), Some(beside)) if described.sum == found && beside.sum != found => {
                return Ok(Some(format!(
                    "{} differs: it tells SHA-256 {}, but the data has {found}, as {} tells",
                    beside.by, beside.sum, described.by
                )));
            }
            (Some(described), Some(beside)) if described.sum != beside.sum => Err(format!(
                "{name} is damaged: its SHA-256 is {found}, {} tells {}, and {} tells {}",
                described.by, described.sum, beside.by, beside.sum
            )),
            (described, beside) => match described.as_ref().or(beside).filter(differs) {
                Some(told) => Err(format!(
                    "{name} is damaged: its SHA-256 is {found} instead of {}",
                    told.sum
                )),
                None => return Ok(self.lacking.clone()),
            },
        }
        .map_err(|what| {
            Error::damaged(what).hint(
                "use another dump (`pgstow list --dumps`), or a copy of this one from elsewhere.",
            )
        })
    }
}

/// The sum of file `name` in `text`, which `by` holds; or why there is none.
fn sum_of(text: &[u8], name: &str, by: &str) -> Result<Sha256, String> {
    let text = String::from_utf8_lossy(text);
    let sum = sum_in(&text, name).ok_or_else(|| format!("{by} tells nothing of {name}"))?;
    let sum: Result<Sha256> = sum.parse();
    sum.map_err(|error| format!("{by} can't be read: {}", error.in_one_line()))
}

/// The sum of file `name`, as sha256sum writes it.
pub fn sum_in<'a>(sums: &'a str, name: &str) -> Option<&'a str> {
    sums.lines().find_map(|line| {
        let (sum, file) = line.split_once(' ')?;
        let file = file.trim_start_matches([' ', '*']);
        let last = file.rsplit('/').next().unwrap_or(file);
        (last == name).then_some(sum)
    })
}

/// A file that may not be there.
pub fn read_small(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    let file = match File::open(path).at("read", path) {
        Err(error) if error.kind() == Kind::NotFound => return Ok(None),
        other => other?,
    };
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).at("read", path)?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_found_by_the_name_of_the_file() {
        let sums = "ab  x.dump\ncd *dir/y.dump\nbroken\n";
        assert_eq!(sum_in(sums, "x.dump"), Some("ab"));
        assert_eq!(sum_in(sums, "y.dump"), Some("cd"));
        assert_eq!(sum_in(sums, "z.dump"), None);
    }

    #[test]
    fn the_one_that_differs_is_named() {
        let told = |by: &str, text: &str| {
            (!text.is_empty()).then(|| Told {
                by: by.to_owned(),
                sum: Sha256::of(text.as_bytes()),
            })
        };
        // By the description, by `.sha256`, the data: what is wrong, and whether the data is.
        for (described, beside, found, wrong) in [
            ("a", "a", "a", None),
            ("a", "", "a", None),
            ("", "a", "a", None),
            ("", "", "a", None),
            ("a", "a", "b", Some(("x.dump is damaged", true))),
            ("a", "", "b", Some(("x.dump is damaged", true))),
            ("", "a", "b", Some(("x.dump is damaged", true))),
            ("a", "b", "c", Some(("x.dump is damaged", true))),
            ("b", "a", "a", Some(("x.json differs", true))),
            ("a", "b", "a", Some(("x.sha256 differs", false))),
        ] {
            let sums = Sums {
                described: told("x.json", described),
                beside: told("x.sha256", beside),
                lacking: None,
            };
            let compared = sums.compare(Sha256::of(found.as_bytes()), "x.dump");
            let said = match compared {
                Ok(None) => None,
                Ok(Some(flaw)) => Some((flaw, false)),
                Err(error) => Some((error.message().to_owned(), true)),
            };
            let case = format!("{described} {beside} {found}: {said:?}");
            match (said, wrong) {
                (None, None) => {}
                (Some((said, is_of_data)), Some((begin, expected))) => {
                    assert!(said.starts_with(begin) && is_of_data == expected, "{case}");
                }
                _ => panic!("{case}"),
            }
        }
    }
}
