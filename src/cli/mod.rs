//! Words in, words out: command line, settings, signals, printing, exit codes.

mod args;
mod ask;
mod call;
mod dispatch;
mod exit;
mod hint;
mod log;
mod options;
mod output;
mod progress;
pub mod settings;
mod signals;
mod time_limit;

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    panic::{self, PanicHookInfo},
    process::ExitCode,
};

use clap::Parser;

use crate::{commands::restore_wal, error::Error};
use args::Cli;
use exit::{InDoubt, Row};
use hint::Typed;
use output::Form;

/// The whole program.
pub fn main() -> ExitCode {
    let words = call::expand(env::args_os());
    let readable: Vec<String> = words
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let row = Row::of(call::command_word(&readable).as_deref(), || {
        let strict = readable.iter().any(|word| word == "--strict");
        match restore_wal::doubt_means_absent(strict) {
            true => InDoubt::SayAbsent,
            false => InDoubt::Fail,
        }
    });
    let says = |option| readable.iter().any(|word| word == option);
    let row = match row {
        Row::ArchiveWal if says("--ahead") => Row::Ahead,
        Row::RestoreWal(_) if says("--prefetch") => Row::Prefetch,
        Row::Monitor if says("--healthcheck") => Row::Healthcheck,
        row => row,
    };
    panic::set_hook(Box::new(move |panic| report_panic(row, panic)));
    row.guard(|| run(row, words))
}

fn run(row: Row, words: Vec<OsString>) -> u8 {
    let json = words.iter().any(|word| word == "--json");
    let line = row == Row::Monitor && words.iter().any(|word| word == "--nagios");
    let form = match (json, line) {
        (true, _) => Form::Json,
        (false, true) => Form::Line,
        (false, false) => Form::Text,
    };
    let result = match Cli::try_parse_from(words) {
        Ok(cli) => {
            let typed = Typed::of(&cli.global);
            dispatch::start(row, form, cli).map_err(|error| typed.told(error))
        }
        Err(refusal) => return refuse(row, form, &refusal),
    };
    match result {
        Ok(outcome) => row.of_outcome(outcome),
        Err(error) => {
            output::print_error(form, &error);
            row.fail(error.kind())
        }
    }
}

/// What clap wants to say: help and version, or what is wrong with the command line.
fn refuse(row: Row, form: Form, refusal: &clap::Error) -> u8 {
    // Nowhere is left to report that standard error or output is gone.
    let _ = refusal.print();
    if !refusal.use_stderr() {
        return 0;
    }
    let error = in_one_line(&refusal.render().to_string());
    output::print_on_stdout(form, &error);
    row.fail(error.kind())
}

/// What clap says in paragraphs: what is wrong, with a line for each argument that it is about; tips; usage.
fn in_one_line(text: &str) -> Error {
    let mut paragraphs = text.split("\n\n").map(str::trim);
    let first = paragraphs.next().unwrap_or_default();
    let first = first.trim_start_matches("error: ");
    let (what, about) = first.split_once('\n').unwrap_or((first, ""));
    let about: Vec<&str> = about.lines().map(str::trim).collect();
    let error = match about.is_empty() {
        true => Error::usage(what),
        false => Error::usage(format!("{what} {}", about.join(", "))),
    };
    match paragraphs.find_map(|paragraph| paragraph.strip_prefix("tip: ")) {
        Some(tip) => error.hint(tip),
        None => error,
    }
}

/// One message for the operator instead of Rust's.
fn report_panic(row: Row, panic: &PanicHookInfo<'_>) {
    let text = panic.payload_as_str().unwrap_or("unknown");
    let place = panic.location().map(|at| format!(" at {at}"));
    let place = place.unwrap_or_default();
    let message = format!(
        "error: a mistake in pgstow itself: {text}{place}\n\
         hint: please report it, with this message and the output of pgstow --version.\n"
    );
    // Nowhere is left to report that standard error is gone.
    let _ = io::stderr().write_all(message.as_bytes());
    row.warn_of_doubt();
}
