//! AWS's shared files, which hold keys and regions by profile: `~/.aws/credentials` and `~/.aws/config`.
//! Their form: <https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html>

use std::{
    env, fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use crate::{
    error::{Error, IoContext, Result},
    util::secret::Secret,
};

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Profile {
    pub key_id: Option<String>,
    pub secret_key: Option<Secret>,
    pub token: Option<Secret>,
    pub region: Option<String>,
}

impl Profile {
    /// The profile that is asked for by `name`, else by AWS_PROFILE, else `default`, which need not be there.
    pub fn find(name: Option<&str>) -> Result<Self> {
        let asked = name.map(str::to_owned).or_else(|| variable("AWS_PROFILE"));
        let wanted = asked.as_deref().unwrap_or("default");
        let credentials = place("AWS_SHARED_CREDENTIALS_FILE", "credentials");
        let config = place("AWS_CONFIG_FILE", "config");
        let mut found = Self::default();
        let mut there = false;
        for (path, section) in [
            (&credentials, wanted.to_owned()),
            (&config, in_config(wanted)),
        ] {
            let Some(path) = path else { continue };
            if let Some(text) = read(path)? {
                there |= found.take(&text, &section);
            }
        }
        if let (false, Some(name)) = (there, asked) {
            let files: Vec<_> = [credentials, config].into_iter().flatten().collect();
            let files: Vec<_> = files
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            return Err(
                Error::usage(format!("there is no AWS profile {name:?} in {}", files.join(" and ")))
                    .hint("pgstow runs as the server's user: see that it is that user's file, or name it by AWS_SHARED_CREDENTIALS_FILE."),
            );
        }
        Ok(found)
    }

    /// Takes what a section says; whether it is there.
    fn take(&mut self, text: &str, section: &str) -> bool {
        let (mut inside, mut there) = (false, false);
        for line in text.lines() {
            // What is indented belongs to a setting of several lines, none of which is ours.
            if line.starts_with([' ', '\t', '#', ';']) {
                continue;
            }
            if let Some(name) = line.strip_prefix('[') {
                let name = name.split(']').next().unwrap_or_default();
                inside = name.split_whitespace().eq(section.split_whitespace());
                there |= inside;
            } else if let (true, Some((key, value))) = (inside, line.split_once('=')) {
                let value = value.trim();
                match key.trim() {
                    "aws_access_key_id" => self.key_id = Some(value.to_owned()),
                    "aws_secret_access_key" => self.secret_key = Some(Secret::new(value)),
                    "aws_session_token" => self.token = Some(Secret::new(value)),
                    "region" => self.region = Some(value.to_owned()),
                    _ => {}
                }
            }
        }
        there
    }
}

/// A section's name in the file `config`.
fn in_config(profile: &str) -> String {
    match profile {
        "default" => "default".to_owned(),
        other => format!("profile {other}"),
    }
}

fn place(name: &str, file: &str) -> Option<PathBuf> {
    let named = variable(name).map(PathBuf::from);
    named.or_else(|| Some(Path::new(&variable("HOME")?).join(".aws").join(file)))
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|text| !text.is_empty())
}

fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        other => other.at("read", path).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_taken_out_of_its_section_alone() {
        let credentials = "# mine\n[default]\naws_access_key_id = D\naws_secret_access_key=S=1\n\n[ other ]\n\
                           aws_access_key_id=O\naws_session_token = T\n";
        let mut found = Profile::default();
        assert!(found.take(credentials, "default"));
        assert_eq!(found.key_id.as_deref(), Some("D"));
        assert_eq!(found.secret_key, Some(Secret::new("S=1")));
        assert_eq!(found.token, None);
        let mut found = Profile::default();
        assert!(found.take(credentials, "other"));
        assert_eq!(found.key_id.as_deref(), Some("O"));
        let config =
            "[profile other]\nregion = eu-north-1\ns3 =\n  region = x\n[default]\nregion = a\n";
        assert!(found.take(config, &in_config("other")));
        assert_eq!(found.region.as_deref(), Some("eu-north-1"));
        assert!(!found.take(config, &in_config("third")));
    }
}
