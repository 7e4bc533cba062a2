//! The only place that prints: reports to standard output, errors to standard error.

use std::{
    error::Error as _,
    io::{self, IsTerminal, Write},
};

use serde::Serialize;

use super::{log, progress};
use crate::{
    commands::report::Report,
    domain::monitor::nagios,
    error::{Error, IoContext, Kind, Result},
};

/// How results are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Text,
    Json,
    /// A line for a monitoring system, which reads standard output alone.
    Line,
}

/// Prints a report. A reader who went away has seen enough.
pub fn print(form: Form, quiet: bool, report: &impl Report) -> Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    write_report(form, quiet, report, &mut out)
        .and_then(|()| out.flush())
        .or_else(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Ok(()),
            _ => Err(error),
        })
        .at("write to", "standard output")
}

/// Whether somebody watches who wants to see parts of a report as they come about. Elsewhere it
/// is printed as a whole, or not at all.
pub fn shows_at_once(form: Form) -> bool {
    form == Form::Text && io::stdout().is_terminal()
}

/// Prints a part of a report beside the progress.
pub fn print_part(text: &[u8]) {
    progress::beside(|| {
        let mut out = io::stdout().lock();
        // The rest of the report comes to the same end, and tells it.
        let _ = out.write_all(text).and_then(|()| out.flush());
    });
}

fn write_report(
    form: Form,
    quiet: bool,
    report: &impl Report,
    out: &mut dyn Write,
) -> io::Result<()> {
    match form {
        Form::Text if quiet => report.bad_news(out),
        Form::Text | Form::Line => report.text(out),
        Form::Json => {
            serde_json::to_writer_pretty(&mut *out, report)?;
            out.write_all(b"\n")
        }
    }
}

/// Prints an error for people, and on standard output what programs wait for there.
pub fn print_error(form: Form, error: &Error) {
    // Nowhere is left to report that standard error or output is gone.
    let _ = write_error(error, &mut io::stderr().lock());
    log::note_error(error);
    print_on_stdout(form, error);
}

/// A warning in the form of log lines, for when logging may not have begun.
pub fn print_warning(text: &str) {
    // Nowhere is left to report that standard error is gone.
    let _ = io::stderr().write_all(format!("pgstow: WARN {text}\n").as_bytes());
}

/// For programs, in their form, the error that people were told already.
pub fn print_on_stdout(form: Form, error: &Error) {
    let text = match form {
        Form::Text => return,
        Form::Json => serde_json::to_string_pretty(&ErrorDocument::of(error)).unwrap_or_default(),
        Form::Line => nagios::failure(&error.in_one_line()),
    };
    // Nowhere is left to report that standard output is gone.
    let _ = writeln!(io::stdout().lock(), "{text}");
}

fn write_error(error: &Error, out: &mut dyn Write) -> io::Result<()> {
    let mut text = format!("error: {error}\n");
    for cause in causes(error) {
        text.push_str(&format!("  caused by: {cause}\n"));
    }
    if let Some(hint) = error.hint_text() {
        text.push_str(&format!("hint: {hint}\n"));
    }
    // At once: the server's log collector keeps a write together.
    out.write_all(text.as_bytes())
}

fn causes(error: &Error) -> Vec<String> {
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    causes
}

/// `{"error": {...}}`: the document of a command that failed.
#[derive(Debug, Serialize)]
struct ErrorDocument {
    error: ErrorFields,
}

#[derive(Debug, Serialize)]
struct ErrorFields {
    kind: &'static str,
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
}

impl ErrorDocument {
    fn of(error: &Error) -> Self {
        let kind = match error.kind() {
            Kind::Usage => "usage",
            Kind::NotFound => "not_found",
            Kind::AlreadyExists => "already_exists",
            Kind::Damaged => "damaged",
            Kind::Key => "key",
            Kind::Foreign => "foreign",
            Kind::Unreachable => "unreachable",
            Kind::Denied => "denied",
            Kind::TimedOut => "timed_out",
            Kind::Busy => "busy",
            Kind::Full => "full",
            Kind::Interrupted => "interrupted",
            Kind::Failed => "failed",
        };
        Self {
            error: ErrorFields {
                kind,
                message: error.message().to_owned(),
                causes: causes(error),
                hint: error.hint_text().map(str::to_owned),
            },
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Greeting {
        hello: &'static str,
    }

    impl Report for Greeting {
        fn text(&self, out: &mut dyn Write) -> io::Result<()> {
            writeln!(out, "hello {}", self.hello)
        }
    }

    #[test]
    fn a_report_has_two_forms() {
        for (form, expected) in [
            (Form::Text, "hello world\n"),
            (Form::Json, "{\n  \"hello\": \"world\"\n}\n"),
        ] {
            let mut out = Vec::new();
            write_report(form, false, &Greeting { hello: "world" }, &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn an_error_has_causes_and_a_hint() {
        let error = Error::damaged("inner").hint("do it.").context("outer");
        let mut out = Vec::new();
        write_error(&error, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "error: outer\n  caused by: inner\nhint: do it.\n");
        let json = serde_json::to_value(ErrorDocument::of(&error)).unwrap();
        let expected = serde_json::json!({"error": {
            "kind": "damaged", "message": "outer", "causes": ["inner"], "hint": "do it."
        }});
        assert_eq!(json, expected);
    }
}
