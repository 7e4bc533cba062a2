//! Log lines on standard error: `pgstow: WARN message key=value`.

use std::{
    fmt::{self, Write as _},
    io::{self, IsTerminal, Write as _},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
};

use super::progress;
use crate::{commands::options::LogLevel, util::clock};

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

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level && metadata.target().starts_with("pgstow")
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = String::new();
        if self.times {
            line = clock::readable(clock::now());
            line.push(' ');
        }
        line.push_str(&format_event(event));
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
