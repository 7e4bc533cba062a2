//! Stands between a program and a server of HTTP, counts requests, and does to one of them what networks do.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection ends before the server hears of the request.
    Cut,
    /// The server did what was asked, and its answer is lost.
    Deaf,
    /// The server refuses for the moment.
    Refuse(u16),
    /// The answer ends in the middle.
    Truncate,
    /// A byte in the middle of the answer is another.
    Alter,
    /// The answer comes late.
    Delay(Duration),
}

#[derive(Default)]
struct State {
    /// First line of each request.
    seen: Vec<String>,
    /// (the how many-th request from now, counted from 1; what is done to it).
    fault: Option<(usize, Fault)>,
    /// Refuses to overwrite: a policy that asks for If-None-Match at each put.
    create_only: bool,
    /// Refuses to store what comes without a sum.
    wants_sums: bool,
}

pub struct Proxy {
    pub port: u16,
    state: Arc<Mutex<State>>,
    ends: Arc<AtomicBool>,
}

impl Proxy {
    pub fn start(upstream: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State::default()));
        let ends = Arc::new(AtomicBool::new(false));
        let (shared, stop) = (state.clone(), ends.clone());
        thread::spawn(move || {
            for client in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let shared = shared.clone();
                thread::spawn(move || serve(client.unwrap(), upstream, &shared));
            }
        });
        Self { port, state, ends }
    }

    /// Has the `number`-th request from now on meet a fault; counts anew.
    pub fn fail(&self, number: usize, fault: Fault) {
        let mut state = self.state.lock().unwrap();
        state.seen.clear();
        state.fault = Some((number, fault));
    }

    /// From now on nobody may overwrite, or put what may.
    pub fn allow_to_create_only(&self) {
        self.state.lock().unwrap().create_only = true;
    }

    /// As AWS does it in a bucket with object lock: a put needs its SHA-256. moto takes one only if that is announced by
    /// another header, too.
    pub fn want_sums(&self) {
        self.state.lock().unwrap().wants_sums = true;
    }

    /// The requests since the last `fail`.
    pub fn seen(&self) -> Vec<String> {
        self.state.lock().unwrap().seen.clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// One request of a connection, which ends after it. None of its errors is ours: who fails is the test's.
fn serve(mut client: TcpStream, upstream: u16, state: &Mutex<State>) -> Option<()> {
    let request = message(&mut client)?;
    let head = String::from_utf8_lossy(&request[..head_end(&request)?]).to_lowercase();
    let line = String::from_utf8_lossy(&request);
    let line = line.lines().next().unwrap_or_default().to_owned();
    // The server is told that no other follows.
    let mut words = "Connection: close\r\n".to_owned();
    let fault = {
        let mut state = state.lock().unwrap();
        let is_put = line.starts_with("PUT /backups/");
        let has_sum = head.contains("\r\nx-amz-checksum-sha256:");
        if state.create_only && is_put && !head.contains("if-none-match") {
            return refuse(&mut client, 403, "AccessDenied");
        }
        if state.wants_sums && is_put && !has_sum {
            return refuse(&mut client, 400, "InvalidRequest");
        }
        state.seen.push(line);
        let number = state.seen.len();
        if state.wants_sums && has_sum {
            words += "x-amz-sdk-checksum-algorithm: SHA256\r\n";
        }
        state.fault.filter(|(wanted, _)| *wanted == number)
    };
    let fault = fault.map(|(_, fault)| fault);
    match fault {
        Some(Fault::Cut) => return None,
        Some(Fault::Refuse(status)) => {
            let answer =
                format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            return client.write_all(answer.as_bytes()).ok();
        }
        _ => {}
    }
    let mut server = TcpStream::connect(("127.0.0.1", upstream)).ok()?;
    server.write_all(&saying(&request, &words)).ok()?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).ok()?;
    match fault {
        Some(Fault::Deaf) => None,
        Some(Fault::Truncate) => {
            let half = head_end(&answer)? + (answer.len() - head_end(&answer)?) / 2;
            client.write_all(&answer[..half]).ok()
        }
        Some(Fault::Alter) => {
            let middle = head_end(&answer)? + (answer.len() - head_end(&answer)?) / 2;
            if let Some(byte) = answer.get_mut(middle) {
                *byte ^= 0x40;
            }
            client.write_all(&answer).ok()
        }
        Some(Fault::Delay(time)) => {
            thread::sleep(time);
            client.write_all(&answer).ok()
        }
        _ => client.write_all(&answer).ok(),
    }
}

fn refuse(client: &mut TcpStream, status: u16, code: &str) -> Option<()> {
    let body = format!("<Error><Code>{code}</Code><Message>no</Message></Error>");
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status} No\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    client.write_all(answer.as_bytes()).ok()
}

/// A whole request.
fn message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        if let Some(head) = head_end(&bytes) {
            let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
            let length = text.split_once("content-length:");
            let length = length.map_or(Some(0), |(_, rest)| {
                rest.lines().next()?.trim().parse::<usize>().ok()
            })?;
            if bytes.len() >= head + length {
                return Some(bytes);
            }
        }
        match stream.read(&mut buffer).ok()? {
            0 => return None,
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

/// Where the head of a message ends.
fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .map(|at| at + 4)
}

/// The request with more lines in its head.
fn saying(request: &[u8], words: &str) -> Vec<u8> {
    let line = request
        .windows(2)
        .position(|two| two == b"\r\n")
        .map_or(0, |at| at + 2);
    [&request[..line], words.as_bytes(), &request[line..]].concat()
}
