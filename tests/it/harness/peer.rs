//! Servers of others that a test starts for itself: they choose their ports, and end with the test.

use std::{
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

pub struct Peer {
    child: Child,
    pub port: u16,
}

impl Peer {
    /// Starts it; `port` says what it told of its own, once it did.
    #[track_caller]
    pub fn start(command: &mut Command, port: impl Fn() -> Option<u16>) -> Self {
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        let mut peer = Self { child, port: 0 };
        wait_for(|| port().is_some());
        peer.port = port().unwrap();
        peer
    }
}

impl Peer {
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
pub fn wait_for(done: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < until, "it does not come");
        thread::sleep(Duration::from_millis(20));
    }
}
