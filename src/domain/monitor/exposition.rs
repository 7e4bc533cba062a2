//! Prometheus' text format (prometheus.io/docs/instrumenting/exposition_formats, version 0.0.4).

use std::fmt::Write;

pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Gauge,
    Counter,
}

/// All samples of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: Kind,
    pub samples: Vec<Sample>,
}

/// Labels and their value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub labels: Vec<(&'static str, String)>,
    pub value: f64,
}

/// The document; families without samples are left out.
pub fn text(families: &[Family]) -> String {
    let mut text = String::new();
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        let (name, kind) = (
            family.name,
            match family.kind {
                Kind::Gauge => "gauge",
                Kind::Counter => "counter",
            },
        );
        // Writing into a string can't fail.
        let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", family.help);
        for sample in &family.samples {
            let labels: Vec<String> = sample
                .labels
                .iter()
                .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
                .collect();
            let _ = match labels.is_empty() {
                true => writeln!(text, "{name} {}", sample.value),
                false => writeln!(text, "{name}{{{}}} {}", labels.join(","), sample.value),
            };
        }
    }
    text
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_stand_below_their_help_and_labels_are_escaped() {
        let family = |name, samples| Family {
            name,
            help: "What it is.",
            kind: Kind::Gauge,
            samples,
        };
        let sample = |labels: &[(&'static str, &str)], value| Sample {
            labels: labels.iter().map(|(l, v)| (*l, (*v).to_owned())).collect(),
            value,
        };
        let families = [
            family("a", vec![sample(&[("x", "q\"\\\n"), ("y", "1")], 1.5)]),
            family("none", Vec::new()),
            family("b", vec![sample(&[], 1_795_226_400.0)]),
        ];
        assert_eq!(
            text(&families),
            "# HELP a What it is.\n# TYPE a gauge\na{x=\"q\\\"\\\\\\n\",y=\"1\"} 1.5\n\
             # HELP b What it is.\n# TYPE b gauge\nb 1795226400\n"
        );
    }
}
