//! What the two servers call their options.

use std::path::Path;
use std::time::Duration;

use super::{EurekaBuilder, Flavor};
use crate::{Error, servers};

/// Where the programs are among the installed servers.
const WAR: &str = "eureka-war/eureka-server.war";
const RUNNER: &str = "eureka-war/jetty-runner.jar";
const SPRING: &str = "eureka-spring/eureka-server.jar";

/// How long one peer may take to answer the other. The servers' own 200 ms are too short for a busy machine: what is
/// told then is told again, later.
const PEER_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a server that starts looks at what its peers said. Where that is nothing it looks again, half a minute later
/// if it is not told otherwise.
const SYNC_RETRIES: &str = "2";
const SYNC_WAIT: Duration = Duration::from_millis(500);

/// An option of `eureka.server`: in Netflix' words, and in Spring's for the same.
struct Name {
    war: &'static str,
    spring: &'static str,
}

macro_rules! names {
    ($($name:ident: $war:literal, $spring:literal;)*) => {
        $(const $name: Name = Name { war: $war, spring: $spring };)*
    };
}

names! {
    READ_ONLY_CACHE: "shouldUseReadOnlyResponseCache", "use-read-only-response-cache";
    CACHE_UPDATE: "responseCacheUpdateIntervalMs", "response-cache-update-interval-ms";
    CACHE_EXPIRATION: "responseCacheAutoExpirationInSeconds", "response-cache-auto-expiration-in-seconds";
    EVICTION: "evictionIntervalTimerInMs", "eviction-interval-timer-in-ms";
    SELF_PRESERVATION: "enableSelfPreservation", "enable-self-preservation";
    // Spring's spelling is right: its binder splits the name of the setter at each capital.
    DELTA_RETENTION: "retentionTimeInMSInDeltaQueue", "retention-time-in-m-s-in-delta-queue";
    DELTA_RETENTION_TIMER: "deltaRetentionTimerIntervalInMs", "delta-retention-timer-interval-in-ms";
    DISABLE_DELTA: "disableDelta", "disable-delta";
    WAIT_WHEN_EMPTY: "waitTimeInMsWhenSyncEmpty", "wait-time-in-ms-when-sync-empty";
    SYNC_WAITS: "registrySyncRetryWaitMs", "registry-sync-retry-wait-ms";
    PEER_TIMEOUTS: "peerNodeReadTimeoutMs", "peer-node-read-timeout-ms";
}

// === impl EurekaBuilder ===

impl EurekaBuilder {
    /// The path that clients have in their configuration.
    pub(super) fn base_path(&self) -> String {
        let usual = match self.flavor {
            Flavor::War => "/eureka/v2",
            Flavor::Spring => "/eureka",
        };
        format!("{}{usual}", self.context_path)
    }

    pub(super) fn base_url(&self, port: u16) -> String {
        format!("http://127.0.0.1:{port}{}", self.base_path())
    }

    /// Whether reads are refused for a while after each start.
    pub(super) fn answers_403_at_first(&self) -> bool {
        !self.wait_when_sync_empty.is_zero()
    }

    /// The command line of the virtual machine. `folder` takes its temporary files.
    pub(super) fn arguments(&self, port: u16, folder: &Path) -> Result<Vec<String>, Error> {
        let mut arguments = vec![
            format!("-Xmx{}m", self.heap_megabytes),
            // Starts in half the time: what runs for seconds need not run fast.
            "-XX:TieredStopAtLevel=1".to_owned(),
            // Would be files in the system's folder, and stay there after a kill.
            "-XX:-UsePerfData".to_owned(),
            format!("-Djava.io.tmpdir={}", folder.display()),
        ];
        let path = |program: &str| servers::find(program).map(|path| path.display().to_string());
        let properties = self.all_properties(port);
        let properties = properties.iter();
        match self.flavor {
            Flavor::War => {
                arguments.extend(properties.map(|(name, value)| format!("-D{name}={value}")));
                arguments.extend(["-jar".to_owned(), path(RUNNER)?]);
                arguments.extend(["--host", "127.0.0.1", "--port", &port.to_string()].map(str::to_owned));
                arguments.extend(["--path".to_owned(), format!("{}/eureka", self.context_path)]);
                arguments.push(path(WAR)?);
            }
            Flavor::Spring => {
                arguments.extend(["-jar".to_owned(), path(SPRING)?]);
                arguments.extend(properties.map(|(name, value)| format!("--{name}={value}")));
            }
        }
        Ok(arguments)
    }

    fn all_properties(&self, port: u16) -> Vec<(String, String)> {
        let mut properties: Vec<(String, String)> = self
            .server_options()
            .into_iter()
            .map(|(name, value)| match self.flavor {
                Flavor::War => (format!("eureka.{}", name.war), value),
                Flavor::Spring => (format!("eureka.server.{}", name.spring), value),
            })
            .collect();
        let own = format!("{}/", self.base_url(port));
        let mut all = vec![own.clone()];
        all.extend(
            self.peers
                .iter()
                .map(|peer| format!("{}/", peer.trim_end_matches('/'))),
        );
        let all = all.join(",");
        let sync = self.startup_sync.to_string();
        let more: &[(&str, &str)] = match self.flavor {
            // A server that does not know its own URL takes itself for a peer, and repeats to itself what it hears.
            Flavor::War => &[
                ("eureka.serviceUrl.default", &all),
                ("eureka.myUrl", &own),
                ("eureka.registration.enabled", "false"),
                ("eureka.shouldFetchRegistry", &sync),
                (
                    "eureka.numberRegistrySyncRetries",
                    if self.startup_sync { SYNC_RETRIES } else { "0" },
                ),
            ],
            Flavor::Spring => &[
                ("server.port", &port.to_string()),
                ("server.servlet.context-path", &self.context_path),
                ("eureka.client.service-url.defaultZone", &all),
                ("eureka.server.my-url", &own),
                ("eureka.client.fetch-registry", &sync),
                (
                    "eureka.server.registry-sync-retries",
                    if self.startup_sync { SYNC_RETRIES } else { "0" },
                ),
                (
                    // Zero is Netflix' behaviour; above, a server that found nobody opens at once.
                    "eureka.instance.registry.default-open-for-traffic-count",
                    if self.answers_403_at_first() { "0" } else { "1" },
                ),
            ],
        };
        properties.extend(
            more.iter()
                .map(|(name, value)| (name.to_string(), value.to_string())),
        );
        properties.extend(self.properties.iter().cloned());
        properties
    }

    fn server_options(&self) -> Vec<(Name, String)> {
        let mut options = vec![
            (READ_ONLY_CACHE, self.read_only_cache.to_string()),
            (CACHE_UPDATE, milliseconds(self.cache_update_interval)),
            (CACHE_EXPIRATION, self.cache_expiration.as_secs().to_string()),
            (EVICTION, milliseconds(self.eviction_interval)),
            (SELF_PRESERVATION, self.self_preservation.to_string()),
            (DISABLE_DELTA, self.disable_delta.to_string()),
            (WAIT_WHEN_EMPTY, milliseconds(self.wait_when_sync_empty)),
            (SYNC_WAITS, milliseconds(SYNC_WAIT)),
            (PEER_TIMEOUTS, milliseconds(PEER_TIMEOUT)),
        ];
        let retention = self.delta_retention.map(milliseconds);
        options.extend(retention.map(|value| (DELTA_RETENTION, value)));
        let timer = self.delta_retention_timer.map(milliseconds);
        options.extend(timer.map(|value| (DELTA_RETENTION_TIMER, value)));
        options
    }
}

fn milliseconds(duration: Duration) -> String {
    duration.as_millis().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(builder: &EurekaBuilder) -> Vec<String> {
        let properties = builder.all_properties(1);
        properties
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }

    #[test]
    fn the_same_options_have_both_servers_names() {
        let options = |flavor| {
            properties(
                &EurekaBuilder::new(flavor)
                    .disable_delta(true)
                    .delta_retention(Duration::from_secs(3))
                    .peers(["http://127.0.0.1:2/eureka"])
                    .property("a", "b"),
            )
        };
        let (war, spring) = (options(Flavor::War), options(Flavor::Spring));
        for wanted in [
            "eureka.disableDelta=true",
            "eureka.retentionTimeInMSInDeltaQueue=3000",
            "eureka.shouldUseReadOnlyResponseCache=false",
            "eureka.serviceUrl.default=http://127.0.0.1:1/eureka/v2/,http://127.0.0.1:2/eureka/",
            "a=b",
        ] {
            assert!(war.iter().any(|property| property == wanted), "{wanted}: {war:?}");
        }
        for wanted in [
            "eureka.server.disable-delta=true",
            "eureka.server.retention-time-in-m-s-in-delta-queue=3000",
            "eureka.server.use-read-only-response-cache=false",
            "eureka.server.my-url=http://127.0.0.1:1/eureka/",
            "a=b",
        ] {
            assert!(
                spring.iter().any(|property| property == wanted),
                "{wanted}: {spring:?}"
            );
        }
    }

    #[test]
    fn what_is_not_said_is_left_to_the_server() {
        let war = properties(&EurekaBuilder::new(Flavor::War));
        assert!(
            !war.iter().any(|property| property.contains("DeltaQueue")),
            "{war:?}"
        );
        assert!(war.contains(&"eureka.waitTimeInMsWhenSyncEmpty=0".to_owned()));
    }

    #[test]
    fn a_context_path_comes_before_the_usual_one() {
        let path = |flavor| EurekaBuilder::new(flavor).context_path("/ctx/").base_path();
        assert_eq!(path(Flavor::War), "/ctx/eureka/v2");
        assert_eq!(path(Flavor::Spring), "/ctx/eureka");
    }
}
