//! Where in SQL a script is: whether a line begins within a text, a name or a comment, or is one of psql's commands.
//! As psql reads it (`src/fe_utils/psqlscan.l`), in any encoding that a client may have.

/// What the next byte is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Within {
    #[default]
    Nothing,
    /// `'...'`; with escapes a backslash takes the next byte with it.
    Text {
        escapes: bool,
        escaped: bool,
    },
    /// Behind a quote that ends a text, unless another follows.
    TextEnd {
        escapes: bool,
    },
    /// `"..."`
    Name,
    /// Behind `$`, up to the next one: the tag.
    Tag(Vec<u8>),
    /// `$tag$...$tag$`, and what was read of something that may be the closing tag.
    Dollars {
        tag: Vec<u8>,
        closing: Option<Vec<u8>>,
    },
    LineComment,
    /// How many begun.
    Comment(u32),
}

/// Bytes of a tag: nobody has longer ones.
const LONGEST_TAG: usize = 1024;

#[derive(Clone, Debug, Default)]
pub struct Lexer {
    within: Within,
    /// The byte before, unless it was part of something that ended there.
    previous: u8,
    /// How long the name is that ends there.
    name: usize,
    /// Whether every text has escapes (standard_conforming_strings is off).
    pub escapes: bool,
}

impl Lexer {
    /// Whether what comes next is text, name or comment, and no statement.
    pub fn is_inside(&self) -> bool {
        use Within::{Comment, Dollars, LineComment, Name, Text};
        matches!(
            self.within,
            Text { .. } | Name | Dollars { .. } | LineComment | Comment(_)
        )
    }

    pub fn read(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.step(*byte);
        }
    }

    fn step(&mut self, byte: u8) {
        let previous = std::mem::replace(&mut self.previous, byte);
        match &mut self.within {
            Within::Nothing => self.step_outside(previous, byte),
            Within::Text { escaped, .. } if *escaped => *escaped = false,
            Within::Text { escapes, escaped } => match byte {
                b'\'' => self.within = Within::TextEnd { escapes: *escapes },
                _ => *escaped = *escapes && byte == b'\\',
            },
            Within::TextEnd { escapes } if byte == b'\'' => {
                self.within = Within::Text {
                    escapes: *escapes,
                    escaped: false,
                };
            }
            Within::Tag(tag) if byte == b'$' => {
                self.within = Within::Dollars {
                    tag: std::mem::take(tag),
                    closing: None,
                };
            }
            Within::Tag(tag)
                if is_of_name(byte)
                    && !(tag.is_empty() && byte.is_ascii_digit())
                    && tag.len() < LONGEST_TAG =>
            {
                tag.push(byte);
            }
            // It ended before this byte, or was none.
            Within::TextEnd { .. } | Within::Tag(_) => {
                self.leave();
                self.previous = byte;
                self.step_outside(0, byte);
            }
            Within::Dollars { tag, closing } => match (byte, closing.take()) {
                (b'$', Some(read)) if read == *tag => self.leave(),
                (b'$', _) => *closing = Some(Vec::new()),
                (_, Some(mut read)) if read.len() < tag.len() => {
                    read.push(byte);
                    *closing = Some(read);
                }
                _ => {}
            },
            Within::Comment(depth) => match (previous, byte) {
                (b'*', b'/') if *depth == 1 => self.leave(),
                (b'*', b'/') => (*depth, self.previous) = (*depth - 1, 0),
                (b'/', b'*') => (*depth, self.previous) = (depth.saturating_add(1), 0),
                _ => {}
            },
            Within::Name if byte == b'"' => self.leave(),
            Within::LineComment if byte == b'\n' => self.leave(),
            Within::Name | Within::LineComment => {}
        }
    }

    fn step_outside(&mut self, previous: u8, byte: u8) {
        let name = self.name;
        self.name = if is_of_name(byte) || (byte == b'$' && name > 0) {
            name + 1
        } else {
            0
        };
        let begun = match (previous, byte) {
            (b'e' | b'E', b'\'') if name == 1 => Within::Text {
                escapes: true,
                escaped: false,
            },
            (_, b'\'') => Within::Text {
                escapes: self.escapes,
                escaped: false,
            },
            (_, b'"') => Within::Name,
            (_, b'$') if name == 0 => Within::Tag(Vec::new()),
            (b'-', b'-') => Within::LineComment,
            (b'/', b'*') => Within::Comment(1),
            _ => return,
        };
        self.within = begun;
        self.previous = 0;
    }

    fn leave(&mut self) {
        self.within = Within::Nothing;
        (self.previous, self.name) = (0, 0);
    }
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_quotes_is_told_from_what_is_not() {
        for (text, inside) in [
            ("SELECT 1;\n", false),
            ("DEFAULT 'x\n", true),
            ("DEFAULT 'x'\n", false),
            ("'it''s\n", true),
            ("'it''s'\n", false),
            ("'back\\'\n", false),
            ("E'back\\'\n", true),
            ("e'\\\\'\n", false),
            ("E'a''b\\'\n", true),
            // No escapes behind a longer name.
            ("type'\\'\n", false),
            ("\"na'me\n", true),
            ("\"na'me\" \n", false),
            ("-- it's\n", false),
            ("--'", true),
            ("/* 'x' /* \n */ \n", true),
            ("/* /* */ */ '/*' \n", false),
            ("/*/ \n", true),
            ("/**/ \n", false),
            ("$$ it's \n", true),
            ("$$ it's $$\n", false),
            ("$_$ $$ $x$ \n", true),
            ("$_$ $$ $x$ $_$\n", false),
            ("$a$ $$a$ \n", false),
            ("a$b$ \n", false),
            ("$1 + $2 \n", false),
            ("x - - 'y'\n", false),
            ("''''\n", false),
            ("'' '\n", true),
        ] {
            let mut lexer = Lexer::default();
            lexer.read(text.as_bytes());
            assert_eq!(lexer.is_inside(), inside, "{text:?}");
        }
        let mut old = Lexer {
            escapes: true,
            ..Lexer::default()
        };
        old.read(b"'back\\'\n");
        assert!(old.is_inside());
    }
}
