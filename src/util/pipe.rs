//! Pipes to and from programs. pg_dump writes 4 KiB at a time, and each piece would wake who reads and cost a write of its
//! own: so the pipe is made wide, and what comes gathers in it for a moment.

use std::{
    io::{self, Read, Write},
    os::fd::AsFd,
    thread,
    time::Duration,
};

use rustix::pipe::fcntl_setpipe_size;

/// What the kernel gives to everybody (pipe-max-size in proc_sys_fs(5)).
const WIDE: usize = 1 << 20;

/// Bytes of a read.
const PIECE: usize = 256 << 10;

/// How long bytes gather: at first so long that who writes 500 MB/s has filled a wide pipe by then, later by what came.
const SHORT: Duration = Duration::from_millis(2);
const LONG: Duration = Duration::from_millis(16);

/// Gives `sink` all that comes out of a program.
pub fn drain(mut pipe: impl Read + AsFd, sink: &mut impl Write) -> io::Result<()> {
    let is_wide = widen(&pipe);
    let mut buffer = vec![0; PIECE];
    let mut pause = SHORT;
    loop {
        let count = match pipe.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if count == 0 {
            return Ok(());
        }
        sink.write_all(&buffer[..count])?;
        if !is_wide {
            continue;
        }
        match count {
            // There is enough already, or it comes by itself.
            count if count >= PIECE / 2 => pause = SHORT,
            count => {
                thread::sleep(pause);
                if count < PIECE / 8 {
                    pause = (pause * 2).min(LONG);
                }
            }
        }
    }
}

/// Gives `input` to a program until that takes no more: whether this is a failure shows in its exit code.
pub fn feed(input: &mut impl Read, mut pipe: impl Write + AsFd) -> io::Result<()> {
    widen(&pipe);
    let mut buffer = vec![0; PIECE];
    loop {
        let count = match input.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if count == 0 || pipe.write_all(&buffer[..count]).is_err() {
            return Ok(());
        }
    }
}

/// Whether a pipe is wide now: a user has so many pages of pipes, and no more.
fn widen(pipe: &impl AsFd) -> bool {
    fcntl_setpipe_size(pipe, WIDE).is_ok_and(|size| size >= WIDE)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// How often it is written to.
    #[derive(Default)]
    struct Counted {
        pieces: usize,
        bytes: Vec<u8>,
    }

    impl Write for Counted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.pieces += 1;
            self.bytes.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn small_pieces_gather() {
        let script = "seq 1 3000000 | dd obs=4096 status=none";
        let mut command = Command::new("/bin/sh");
        let command = command.args(["-c", script]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut sink = Counted::default();
        drain(child.stdout.take().unwrap(), &mut sink).unwrap();
        assert!(child.wait().unwrap().success());
        let expected: String = (1..=3_000_000).map(|n| format!("{n}\n")).collect();
        assert!(sink.bytes == expected.as_bytes());
        let written = expected.len() / 4096;
        assert!(sink.pieces < written / 8, "{} of {written}", sink.pieces);
    }

    #[test]
    fn what_is_no_pipe_is_read_as_well() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"abc").unwrap();
        io::Seek::rewind(&mut file).unwrap();
        let mut sink = Vec::new();
        drain(file, &mut sink).unwrap();
        assert_eq!(sink, b"abc");
    }
}
