//! The results of `verify` in the repository. One that can't be written can be verified all the same.

use tracing::warn;

use crate::repo::{repository::Repository, verified::Verified};

pub fn keep(repository: &Repository, words: &Verified) {
    if let Err(error) = repository.add_verified(words) {
        let error = error.in_one_line();
        warn!("the results can't be kept in the repository: {error}");
    }
}
