//! Repositories in buckets: the contract of stores over each of them, and what they do when a store fails.

mod contract;
mod faults;
