//! Keys of age for repositories that are encrypted. `PGSTOW_TEST_ENCRYPTED=1` makes every repository of the
//! harness one, so that all stories are told of encrypted ones too.

use std::{env, fs, os::unix::fs::PermissionsExt, path::PathBuf};

use super::{Scratch, user};

/// A pair that age's own documents know: it protects nothing.
pub const IDENTITY: &str =
    "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
pub const RECIPIENT: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";

/// Whether repositories are encrypted that no test asks for.
pub fn are_wanted() -> bool {
    env::var_os("PGSTOW_TEST_ENCRYPTED").is_some_and(|value| value == "1")
}

/// A line for the section of a repository.
pub fn setting(scratch: &Scratch) -> String {
    let identity = identity_file(scratch);
    format!(
        "encryption = {{ recipients = [\"{RECIPIENT}\"], identity_file = \"{}\" }}\n",
        identity.display()
    )
}

/// The file of the private key.
pub fn identity_file(scratch: &Scratch) -> PathBuf {
    let path = scratch.join("identity");
    if !path.exists() {
        fs::write(&path, format!("# for tests\n{IDENTITY}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        user::own(&path);
    }
    path
}
