//! Who reads standard output while a dump is written there.

use std::io::{self, Write};

/// Who reads what is written, and may have seen enough.
pub struct Reader<'a> {
    output: &'a mut (dyn Write + Send),
    pub has_left: bool,
}

impl<'a> Reader<'a> {
    pub fn of(output: &'a mut (dyn Write + Send)) -> Self {
        Self {
            output,
            has_left: false,
        }
    }

    fn note<T>(&mut self, done: io::Result<T>) -> io::Result<T> {
        done.inspect_err(|error| self.has_left |= error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl Write for Reader<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.output.write(bytes);
        self.note(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.output.flush();
        self.note(flushed)
    }
}
