//! Files of services that nobody should write.

use registry_file::{FileConfig, FileRegistry};

use super::Chance;
use crate::daemon::{Daemon, SERVICES};

/// So many at a time: a status names a hundred parts that cannot be read.
const BATCH: usize = 80;

/// What else can be in a file of services.
const MORE: &str = "\
services:
  - name: orders
    namespace: shop
    aliases: [orders.internal]
    labels: { team: goods, tier: \"1\" }
    metadata: { owner: me }
    addresses: [10.96.0.9]
    ports: [{ name: http, number: 80, protocol: http }, { name: dns, number: 53, transport: udp }]
    endpoints:
      - { address: 10.0.0.7, ports: { http: 8080 }, weight: 3, health: draining, locality: { region: eu, zone: a } }
      - { address: \"fd00::1\", port: 8080, labels: { version: v2 }, node: n, cluster: c, network: w }
      - { address: host.example, port: 8080, identity: spiffe://a/b, priority: 1 }
";

/// Writes so many, some at a time, and waits until the daemon has said of each what is wrong with it.
pub(super) async fn write(daemon: &Daemon, chance: &mut Chance, count: usize) {
    let directory = daemon.path("files.d");
    let mut refused = 0;
    for begin in (0..count).step_by(BATCH) {
        let mut wrong = Vec::new();
        for n in begin..count.min(begin + BATCH) {
            let name = format!("f{n}.{}", chance.one_of(&["yaml", "json", "yml"]));
            let path = directory.join(&name);
            std::fs::write(&path, text(chance)).expect("a file");
            // The same code says here what is wrong, and the daemon has to have found that out by itself.
            let errors = FileRegistry::new(FileConfig::new(&path)).check();
            if let Some(error) = errors.first() {
                assert!(error.report().contains(&name), "{}", error.report());
                wrong.push(name);
            }
        }
        refused += wrong.len();
        daemon
            .wait("a reason for each file that is wrong", async || {
                let files = daemon.registry("files").await;
                let degraded = files["degraded"].as_array()?;
                let told = |name: &String| {
                    let mut errors = degraded.iter().filter_map(|part| part["error"].as_str());
                    errors.any(|error| error.contains(name.as_str()) && error.contains("found"))
                };
                wrong.iter().all(told).then_some(())
            })
            .await;
        for entry in std::fs::read_dir(&directory).expect("a directory") {
            std::fs::remove_file(entry.expect("an entry").path()).expect("a file");
        }
    }
    assert!(refused > count / 2, "{refused} of {count} were wrong");
}

fn text(chance: &mut Chance) -> Vec<u8> {
    match chance.below(10) {
        0 => chance.bytes(3_000),
        1 => chance
            .one_of(&["[", "{a: ", "- ", "? ", "&a [*a", "|\n ", "\"\\"])
            .repeat(2_000)
            .into_bytes(),
        2 => {
            // Aliases of aliases: little to read, much to hold.
            let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
            for n in 1..4 {
                let before = n - 1;
                bomb.push_str(&format!(
                    "a{n}: &a{n} [{}]\n",
                    vec![format!("*a{before}"); 9].join(", ")
                ));
            }
            format!("{bomb}services: *a3\n").into_bytes()
        }
        3 => format!(
            "services: [{{ name: \"{}\" }}]\n",
            "n".repeat(60_000 + chance.below(20_000))
        )
        .into_bytes(),
        _ => {
            let sound = chance.one_of(&[SERVICES, MORE]);
            chance.spoil(sound.as_bytes())
        }
    }
}
