//! Log lines on standard error, and in a file if one is set: `pgstow: WARN message key=value`.

use std::{
    fmt::{self, Write as _},
    fs::File,
    io::{self, IsTerminal, Write as _},
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
};

use super::progress;
use crate::{
    commands::options::LogLevel,
    error::{Error, Result},
    util::{clock, fs::open_log},
};

/// Lines of our own code from `level` on; `times` puts the time before each.
#[derive(Debug)]
struct Log {
    level: LevelFilter,
    times: bool,
}

/// Begins logging. PostgreSQL's log and the journal have their own times, a terminal needs none.
pub fn start(level: LogLevel, in_server_log: bool) {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let elsewhere =
        in_server_log || io::stderr().is_terminal() || std::env::var_os("JOURNAL_STREAM").is_some();
    // Only a second call could fail, and the first then stays.
    let _ = tracing::subscriber::set_global_default(Log {
        level,
        times: !elsewhere,
    });
}

/// The file that has the lines too, once one is set.
static FILE: OnceLock<LogFile> = OnceLock::new();

#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    file: Mutex<File>,
    /// Set by who moved the file away.
    reopen: Arc<AtomicBool>,
}

/// Has lines go to the file at `path` too, which is opened anew whenever the flag is set.
pub fn also_to(path: PathBuf) -> Result<Arc<AtomicBool>> {
    let file = Mutex::new(open_log(&path)?);
    let reopen = Arc::new(AtomicBool::new(false));
    // Only a second call could fail, and the first then stays.
    let _ = FILE.set(LogFile {
        path,
        file,
        reopen: Arc::clone(&reopen),
    });
    Ok(reopen)
}

/// An error that people were told already.
pub fn note_error(error: &Error) {
    if let Some(file) = FILE.get() {
        file.write(&format!("pgstow: ERROR {}\n", error.in_one_line()));
    }
}

impl LogFile {
    fn write(&self, line: &str) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // What can't be opened anew goes on in the file that was moved.
        if self.reopen.swap(false, Ordering::Relaxed)
            && let Ok(anew) = open_log(&self.path)
        {
            *file = anew;
        }
        let line = format!("{} {line}", clock::readable(clock::now()));
        // Standard error has it, and nobody could be told.
        let _ = file.write_all(line.as_bytes());
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level && metadata.target().starts_with("pgstow")
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn event(&self, event: &Event<'_>) {
        let told = format_event(event);
        if let Some(file) = FILE.get() {
            file.write(&told);
        }
        let line = match self.times {
            true => format!("{} {told}", clock::readable(clock::now())),
            false => told,
        };
        // Nowhere is left to report that standard error is gone.
        progress::beside(|| drop(io::stderr().write_all(line.as_bytes())));
    }

    // Spans aren't used: what a line needs stands in its fields.
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

fn format_event(event: &Event<'_>) -> String {
    let level = match *event.metadata().level() {
        Level::ERROR => "ERROR",
        Level::WARN => "WARN",
        Level::INFO => "INFO",
        Level::DEBUG => "DEBUG",
        Level::TRACE => "TRACE",
    };
    let mut words = Words::default();
    event.record(&mut words);
    format!("pgstow: {level} {}{}\n", words.message, words.fields)
}

#[derive(Default)]
struct Words {
    message: String,
    fields: String,
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing into a string can't fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Collects what [`Log`] would print.
    struct Collected(Log, Arc<Mutex<String>>);

    impl Subscriber for Collected {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            self.0.enabled(metadata)
        }
        fn event(&self, event: &Event<'_>) {
            self.1.lock().unwrap().push_str(&format_event(event));
        }
        fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
            self.0.new_span(attributes)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    #[test]
    fn lines_have_level_message_and_fields_from_the_level_on() {
        let lines = Arc::new(Mutex::new(String::new()));
        let log = Log {
            level: LevelFilter::INFO,
            times: false,
        };
        tracing::subscriber::with_default(Collected(log, Arc::clone(&lines)), || {
            tracing::warn!(segment = %"0001", tries = 3, "can't store {}", "it");
            tracing::info!("done");
            tracing::debug!("unseen");
            tracing::error!(target: "rustls", "unseen");
        });
        assert_eq!(
            *lines.lock().unwrap(),
            "pgstow: WARN can't store it segment=0001 tries=3\npgstow: INFO done\n"
        );
    }
}
