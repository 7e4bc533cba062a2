//! What this machine can do at best, for orientation beside the tools' figures: reads the files
//! of a data directory, compresses them on the way, or writes and syncs as many bytes. Nothing
//! is hashed, checked or sent, and there is no archive: nobody can be faster with this library.
#![allow(clippy::print_stdout)]

use std::{
    env,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use pgstow::repo::codec::{Codec, Compression};

/// As large as a frame of pgstow.
const PIECE: usize = 2 << 20;

const USAGE: &str = "limits read DIR | limits compress LEVEL THREADS DIR | limits write BYTES FILE | limits touch BYTES | limits start DIR COMMAND...";

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *arguments.as_slice() {
        ["read", folder] => println!("{}", read(Path::new(folder))?),
        ["compress", level, threads, folder] => {
            let stored = compress(Path::new(folder), number(level)?, number(threads)?)?;
            println!("{stored}");
        }
        ["touch", bytes] => touch(number(bytes)?)?,
        ["write", bytes, file] => write(number(bytes)?, Path::new(file))?,
        ["start", folder, command, ref arguments @ ..] => {
            println!("{}", start(folder, command, arguments)?);
        }
        _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, USAGE)),
    }
    Ok(())
}

fn number<T: std::str::FromStr>(text: &str) -> io::Result<T> {
    text.parse()
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, USAGE))
}

fn read(folder: &Path) -> io::Result<u64> {
    let mut files = Files::of(folder)?;
    let mut piece = vec![0; PIECE];
    let mut total = 0;
    loop {
        match files.fill(&mut piece)? {
            0 => return Ok(total),
            count => total += count as u64,
        }
    }
}

/// How many bytes would be stored.
fn compress(folder: &Path, level: i32, threads: usize) -> io::Result<u64> {
    let files = Mutex::new(Files::of(folder)?);
    let stored = AtomicU64::new(0);
    let work = || -> io::Result<()> {
        // The very parameters of pgstow: else the loop would do other work.
        let compression = Compression {
            codec: Codec::Zstd,
            level,
        };
        let mut compressor = compression.framer().map_err(io::Error::other)?;
        let mut piece = vec![0; PIECE];
        let mut frame = Vec::new();
        loop {
            let count = files
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .fill(&mut piece)?;
            if count == 0 {
                return Ok(());
            }
            compressor
                .frame(piece.get(..count).unwrap_or_default(), &mut frame)
                .map_err(io::Error::other)?;
            stored.fetch_add(frame.len() as u64, Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| {
            let panicked = |_| Err(io::Error::other("a thread panicked"));
            worker.join().unwrap_or_else(panicked)
        })
    })?;
    Ok(stored.into_inner())
}

/// Has the host of a virtual machine give us so much memory: the first use of a page that it took
/// back costs more than all that a tool does with it, and hits whoever comes first.
fn touch(bytes: u64) -> io::Result<()> {
    let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
    std::hint::black_box(vec![1_u8; bytes]);
    Ok(())
}

/// Nanoseconds of a command that only starts and ends. Asked of a small process, since a large one
/// takes longer to start another than that one runs.
fn start(folder: &str, command: &str, arguments: &[&str]) -> io::Result<u128> {
    let mut command = Command::new(command);
    command.args(arguments).current_dir(folder);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let begin = Instant::now();
    let status = command.status()?;
    let taken = begin.elapsed();
    if status.success() {
        Ok(taken.as_nanos())
    } else {
        Err(io::Error::other(format!("{command:?} ended with {status}")))
    }
}

fn write(bytes: u64, path: &Path) -> io::Result<()> {
    // No disk or file system makes less of these.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let piece: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
    .take(PIECE)
    .collect();
    let mut file = File::create_new(path)?;
    let mut left = bytes;
    while left > 0 {
        let count = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        file.write_all(piece.get(..count).unwrap_or_default())?;
        left -= count as u64;
    }
    file.sync_all()
}

/// The bytes of all files in a row.
struct Files {
    paths: Vec<PathBuf>,
    open: Option<File>,
}

impl Files {
    fn of(folder: &Path) -> io::Result<Self> {
        let mut paths = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                // Through the links of tablespaces; no tool copies pg_wal.
                match fs::metadata(&path)? {
                    found if found.is_file() => paths.push(path),
                    found if found.is_dir() && !path.ends_with("pg_wal") => folders.push(path),
                    _ => {}
                }
            }
        }
        Ok(Self { paths, open: None })
    }

    /// Fills `piece` unless the files end before; how many bytes are in it.
    fn fill(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(place) = piece.get_mut(filled..).filter(|place| !place.is_empty()) {
            if self.open.is_none() {
                let Some(path) = self.paths.pop() else { break };
                self.open = Some(File::open(path)?);
            }
            let Some(file) = &mut self.open else { break };
            match file.read(place)? {
                0 => self.open = None,
                count => filled += count,
            }
        }
        Ok(filled)
    }
}
