//! Two thousand malformed inputs from wherever inputs come: answers of registries, files, requests to the API.
//!
//! Generated from a seed, so that what fails once fails again. Nothing of it may bring the daemon down, fill its memory
//! or be refused without a reason, and what a sound registry beside it says is served all the time.

mod answers;
mod files;
mod requests;

use serde_json::{Value, json};

use crate::daemon::{Daemon, SERVICES};

/// How many of each.
const REQUESTS: usize = 800;
const FILES: usize = 400;
const ANSWERS: usize = 800;

/// The most memory that the daemon may ever have had, in kB. It needs a fifth of that.
const MEMORY: u64 = 256 * 1024;

/// A small generator: the same inputs in every run of a seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn one_of<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let count = self.below(most + 1);
        (0..count).map(|_| self.byte()).collect()
    }

    /// The same with some bytes changed, left out, repeated or cut off.
    fn spoil(&mut self, sound: &[u8]) -> Vec<u8> {
        let mut bytes = sound.to_vec();
        for _ in 0..=self.below(4) {
            if bytes.is_empty() {
                break;
            }
            let at = self.below(bytes.len());
            match self.below(7) {
                0 => bytes[at] = self.byte(),
                1 => bytes.truncate(at),
                2 => drop(bytes.remove(at)),
                3 => bytes.insert(at, self.byte()),
                4 => {
                    let again = bytes[at..].to_vec();
                    bytes.extend(again);
                }
                5 => {
                    let piece = self.one_of(PIECES).as_bytes().to_vec();
                    bytes.splice(at..at, piece);
                }
                _ => bytes[at] ^= 1 << self.below(8),
            }
        }
        bytes
    }
}

/// What parsers stumble over.
const PIECES: &[&str] = &[
    "\0",
    "\u{feff}",
    "\r\n",
    "\n\n",
    "{",
    "}",
    "[[[[[[[[",
    "\"",
    "\\u0000",
    "\\ud800",
    "null",
    "-1",
    "1e999",
    "NaN",
    "99999999999999999999",
    "&a [*a, *a]",
    "<<: *a",
    "!!binary x",
    "%ff",
    "%",
    "${",
    "${A:-",
    "../../..",
    "true",
    "- ",
    ": ",
    "\t",
    "\u{202e}",
    "🦀",
];

/// The most memory that the process ever had, in kB.
fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .expect("a peak");
    line.split_whitespace()
        .nth(1)
        .and_then(|kb| kb.parse().ok())
        .expect("a number")
}

/// How many reasons are given for what is refused; each has to say something.
fn reasons(all: &Value, url: &str) -> usize {
    let mut reasons = 0;
    for registry in all["registries"].as_array().expect("registries") {
        assert_eq!(registry["panics"], 0, "{registry}");
        for part in registry["degraded"].as_array().expect("parts") {
            assert_ne!(part["error"], json!(""), "{registry}");
            reasons += 1;
        }
        if let Some(why) = registry["last_error"]["message"].as_str() {
            assert!(why.contains("files.d") || why.contains(url), "{why}");
            reasons += 1;
        }
    }
    reasons
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acceptance_7_two_thousand_malformed_inputs_are_refused_with_a_reason() {
    let server = answers::Server::start(0x5eed).await;
    let mut config = String::from(
        "http: { listen: \"127.0.0.1:0\" }\nstart_deadline: 1s\nregistries:\n  - { name: vms, file: { path: vms.yaml } }\n",
    );
    config.push_str("  - { name: files, required: false, hostname: \"{name}.files\", file: { path: files.d, debounce: 50ms } }\n");
    for n in 0..answers::REGISTRIES {
        let url = server.url();
        config.push_str(&format!(
            "  - {{ name: dc{n}, required: false, consul: {{ address: \"{url}\" }} }}\n"
        ));
    }
    let mut daemon = Daemon::start(&[("registryd.yaml", &config), ("vms.yaml", SERVICES)]).await;
    let sound = daemon.service("payments.default.file").await;
    std::fs::create_dir(daemon.path("files.d")).unwrap();

    requests::send(&daemon, &mut Chance(1), REQUESTS).await;
    files::write(&daemon, &mut Chance(2), FILES).await;
    server.gave(&daemon, ANSWERS).await;

    assert!(daemon.runs(), "{}", daemon.log());
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
    let peak = peak(daemon.pid());
    assert!(peak < MEMORY, "{peak} kB");
    // The last answers may be on their way still.
    let url = server.url();
    let told = async || {
        let (_, all) = daemon.get("/v1/registries").await;
        (reasons(&all, &url) > answers::REGISTRIES).then_some(())
    };
    daemon.wait("reasons", told).await;
    let now = daemon.service("payments.default.file").await;
    assert_eq!(
        (&now["revision"], &now["hash"]),
        (&sound["revision"], &sound["hash"])
    );
    daemon.signal("TERM");
    assert_eq!(daemon.ended().await, Some(0));
}
