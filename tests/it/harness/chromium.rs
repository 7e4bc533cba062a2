//! A real browser without a screen, asked through its DevTools protocol over two pipes: messages in JSON
//! with a zero byte behind each.

use std::{
    fs::Permissions,
    io::{BufRead, BufReader, Write},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Child, ChildStdin, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};

use super::{Scratch, user};

const PATIENCE: Duration = Duration::from_secs(60);

/// The pipes are file descriptors 3 and 4; nothing is asked of the network.
const START: &str = "exec /usr/bin/chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --disable-dev-shm-usage \
    --no-first-run --disable-background-networking --disable-crash-reporter --remote-debugging-pipe \
    --user-data-dir=\"$HOME\" 3<&0 4>&1 0</dev/null 1>/dev/null 2>\"$HOME/log\"";

pub struct Chromium {
    child: Child,
    input: ChildStdin,
    told: Receiver<Value>,
    asked: u64,
    /// Of its only page.
    session: Option<String>,
}

/// How a page is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    pub width: u32,
    pub dark: bool,
}

impl Chromium {
    pub fn start(scratch: &Scratch) -> Self {
        let home = scratch.folder("chromium");
        std::fs::set_permissions(&home, Permissions::from_mode(0o700)).unwrap();
        let mut child = user::command("/bin/bash", "KILL")
            .args(["-c", START])
            .env("HOME", &home)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (say, told) = channel();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            let mut message = Vec::new();
            while output.read_until(0, &mut message).unwrap_or(0) > 0 {
                message.pop();
                let _ = say.send(serde_json::from_slice(&message).unwrap());
                message.clear();
            }
        });
        let mut browser = Self {
            input: child.stdin.take().unwrap(),
            child,
            told,
            asked: 0,
            session: None,
        };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        browser.call("Page.enable", json!({}));
        let enabled = json!({ "enabled": true });
        browser.call("Page.setLifecycleEventsEnabled", enabled);
        browser
    }

    /// Opens a file, and waits until it is drawn.
    #[track_caller]
    pub fn open(&mut self, page: &Path, screen: Screen) {
        let scheme = if screen.dark { "dark" } else { "light" };
        let metrics = json!({
            "width": screen.width, "height": 844, "deviceScaleFactor": 1, "mobile": screen.width < 600,
        });
        self.call("Emulation.setDeviceMetricsOverride", metrics);
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", media);
        self.go(&format!("file://{}", page.display()));
    }

    /// To an empty page, which has no rules.
    pub fn leave(&mut self) {
        self.go("about:blank");
    }

    /// A page may be there before the answer that names it.
    fn go(&mut self, url: &str) {
        let id = self.ask("Page.navigate", json!({ "url": url }));
        let (mut wanted, mut there) = (Value::Null, Vec::new());
        while wanted.is_null() || !there.contains(&wanted) {
            let message =
                self.hear(|message| message["id"] == id || message["params"]["name"] == "load");
            if message["id"] == id {
                wanted = message["result"]["loaderId"].clone();
                assert!(wanted.is_string(), "{message}");
            } else {
                there.push(message["params"]["loaderId"].clone());
            }
        }
    }

    /// The value of an expression of JavaScript, or of its promise.
    #[track_caller]
    pub fn eval(&mut self, expression: &str) -> Value {
        let ask = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", ask);
        let failed = &answer["exceptionDetails"];
        assert!(failed.is_null(), "{failed:#}");
        answer["result"]["value"].clone()
    }

    /// Presses a key and lets it go.
    pub fn press(&mut self, key: &str, code: u32) {
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let event = json!({
                "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text,
            });
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// A picture of the whole page: PNG in base64.
    pub fn screenshot(&mut self) -> String {
        let wanted = json!({ "format": "png", "captureBeyondViewport": true });
        let shot = self.call("Page.captureScreenshot", wanted);
        shot["data"].as_str().unwrap().to_owned()
    }

    /// What a screen reader is told: role and name of everything that isn't passed over.
    pub fn accessible(&mut self) -> Vec<(String, String)> {
        let tree = self.call("Accessibility.getFullAXTree", json!({}));
        let nodes = tree["nodes"].as_array().unwrap().iter();
        let told = nodes.filter(|node| node["ignored"] == false);
        let text = |value: &Value| value["value"].as_str().unwrap_or_default().to_owned();
        told.map(|node| (text(&node["role"]), text(&node["name"])))
            .collect()
    }

    #[track_caller]
    fn call(&mut self, method: &str, parameters: Value) -> Value {
        let id = self.ask(method, parameters);
        let answer = self.hear(|message| message["id"] == id);
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// Sends a question; its number.
    fn ask(&mut self, method: &str, parameters: Value) -> u64 {
        self.asked += 1;
        let mut message = json!({ "id": self.asked, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        let message = format!("{message}\0");
        self.input.write_all(message.as_bytes()).unwrap();
        self.asked
    }

    #[track_caller]
    fn hear(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let told = self.told.recv_timeout(PATIENCE);
            let message = told.expect("Chromium answers: run tests/setup.sh");
            if wanted(&message) {
                return message;
            }
        }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // An error says that the group has ended.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}
