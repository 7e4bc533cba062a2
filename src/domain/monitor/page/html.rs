//! Writes HTML. Markup is literal in the source; all that comes from elsewhere is escaped on its way in,
//! so that no label, reason or error can become markup.

use std::fmt::{self, Write};

use crate::util::clock::{Time, readable, whole_seconds};

/// Longer texts of others are cut, so that the page stays small whatever they hold.
const LONGEST: usize = 600;

/// Names and values; values are escaped.
pub type Attributes<'a> = &'a [(&'static str, &'a str)];

#[derive(Debug, Default)]
pub struct Html {
    text: String,
    ids: usize,
}

impl Html {
    pub fn into_text(self) -> String {
        self.text
    }

    /// An id that the page has only once.
    pub fn id(&mut self) -> String {
        self.ids += 1;
        format!("i{}", self.ids)
    }

    /// Markup: never anything that was read.
    pub fn raw(&mut self, markup: &'static str) {
        self.text.push_str(markup);
    }

    /// Text as it is shown.
    pub fn text(&mut self, text: impl fmt::Display) {
        // A string takes all that is written.
        let _ = write!(Escaped(&mut self.text), "{}", cut(&text.to_string()));
    }

    /// Sentences, in which commands stand between backticks.
    pub fn prose(&mut self, text: &str) {
        let text = cut(text);
        let parts: Vec<&str> = text.split('`').collect();
        if parts.len().is_multiple_of(2) {
            return self.text(text);
        }
        for (number, part) in parts.into_iter().enumerate() {
            match number % 2 {
                0 => self.text(part),
                _ => self.leaf("code", &[], part),
            }
        }
    }

    /// `<name attributes>`, what is inside, `</name>`.
    pub fn tag(
        &mut self,
        name: &'static str,
        attributes: Attributes<'_>,
        inside: impl FnOnce(&mut Self),
    ) {
        self.begin(name, attributes);
        self.raw(">");
        inside(self);
        self.raw("</");
        self.raw(name);
        self.raw(">");
    }

    /// A tag that has only text in it.
    pub fn leaf(
        &mut self,
        name: &'static str,
        attributes: Attributes<'_>,
        text: impl fmt::Display,
    ) {
        self.tag(name, attributes, |html| html.text(text));
    }

    /// A shape of SVG, with nothing in it.
    pub fn shape(&mut self, name: &'static str, attributes: Attributes<'_>) {
        self.begin(name, attributes);
        self.raw("/>");
    }

    /// A moment, for people and programs.
    pub fn time(&mut self, time: Time) {
        let shown = readable(whole_seconds(time));
        let exact = time.to_rfc3339();
        self.leaf("time", &[("datetime", &exact)], shown);
    }

    fn begin(&mut self, name: &'static str, attributes: Attributes<'_>) {
        self.raw("<");
        self.raw(name);
        for (name, value) in attributes {
            self.raw(" ");
            self.raw(name);
            self.raw("=\"");
            let _ = Escaped(&mut self.text).write_str(value);
            self.raw("\"");
        }
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{} ... (cut)", &text[..end]),
        None => text.to_owned(),
    }
}

struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // They would turn the text around them (Unicode, annex 9), or are no HTML.
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => self.0.push('?'),
                c if c.is_control() => self.0.push('?'),
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_was_read_becomes_markup() {
        let hostile = "</title><script>alert('1')</script>\" onload=\"x&amp;\u{202e}\0\n";
        let mut html = Html::default();
        html.tag("p", &[("title", hostile)], |html| html.text(hostile));
        let escaped = "&lt;/title&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot; \
                       onload=&quot;x&amp;amp;???";
        assert_eq!(
            html.into_text(),
            format!("<p title=\"{escaped}\">{escaped}</p>")
        );
    }

    #[test]
    fn commands_stand_out() {
        let prose = |text: &str| {
            let mut html = Html::default();
            html.prose(text);
            html.into_text()
        };
        assert_eq!(
            prose("run `a <b>`, then `c`."),
            "run <code>a &lt;b&gt;</code>, then <code>c</code>."
        );
        assert_eq!(prose("`a` or `b"), "`a` or `b");
        assert_eq!(prose(""), "");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let mut html = Html::default();
        html.text("ä".repeat(LONGEST));
        html.text("ö".repeat(LONGEST + 1));
        let text = html.into_text();
        assert_eq!(text.matches('ä').count(), LONGEST);
        assert_eq!(text.matches('ö').count(), LONGEST);
        assert!(text.ends_with("ö ... (cut)"), "{text}");
    }
}
