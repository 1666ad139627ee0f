//! An instance as a client registers it.

use serde_json::{Map, Value, json};

/// An instance, in the words of Eureka's API.
///
/// As it is made, it is `UP`, at port 8080 of 10.0.0.1, and its lease lasts an hour, so that no test has to renew it.
///
/// ```
/// use registry_testkit::eureka::Instance;
///
/// let instance = Instance::new("orders", "orders-1").ip("10.0.0.7").metadata("zone", "a").lease(1, 2);
/// assert_eq!(instance.json(7)["instance"]["leaseInfo"]["durationInSecs"], 2);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    pub(super) app: String,
    pub(super) id: Option<String>,
    pub(super) host: String,
    pub(super) ip: String,
    pub(super) port: Port,
    pub(super) secure_port: Port,
    pub(super) status: String,
    pub(super) metadata: Vec<(String, String)>,
    pub(super) vip: Option<String>,
    pub(super) secure_vip: Option<String>,
    pub(super) renewal: u32,
    pub(super) duration: u32,
    pub(super) amazon: Option<Vec<(String, String)>>,
    pub(super) dirty: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Port {
    pub(super) number: u16,
    pub(super) enabled: bool,
}

// === impl Instance ===

impl Instance {
    /// An instance of an app, under an id of its own. Servers write the app's name in capitals.
    #[must_use]
    pub fn new(app: impl Into<String>, id: impl Into<String>) -> Self {
        let (app, id) = (app.into(), id.into());
        Self {
            host: "host-1.example".to_owned(),
            ip: "10.0.0.1".to_owned(),
            port: Port {
                number: 8080,
                enabled: true,
            },
            secure_port: Port {
                number: 8443,
                enabled: false,
            },
            status: "UP".to_owned(),
            metadata: Vec::new(),
            vip: Some(app.to_lowercase()),
            secure_vip: None,
            renewal: 30,
            duration: 3600,
            amazon: None,
            dirty: None,
            app,
            id: Some(id),
        }
    }

    /// An instance that says no id, as old clients do: servers know it by Amazon's, or else by its host name.
    #[must_use]
    pub fn nameless(app: impl Into<String>, host: impl Into<String>) -> Self {
        Self {
            id: None,
            ..Self::new(app, "").host(host)
        }
    }

    /// The name of the app, as it was given.
    #[must_use]
    pub fn app(&self) -> &str {
        &self.app
    }

    /// What servers know it by, besides the app.
    #[must_use]
    pub fn id(&self) -> &str {
        let amazon = || {
            let data = self.amazon.iter().flatten();
            data.filter(|(key, _)| key == "instance-id")
                .map(|(_, value)| value.as_str())
                .next()
        };
        self.id.as_deref().or_else(amazon).unwrap_or(&self.host)
    }

    /// The host name.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = host.into();
        self
    }

    /// The address. Servers do not look at it.
    #[must_use]
    pub fn ip(mut self, ip: impl Into<String>) -> Self {
        self.ip = ip.into();
        self
    }

    /// The port without TLS.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Port {
            number: port,
            enabled: true,
        };
        self
    }

    /// Says that there is no port without TLS.
    #[must_use]
    pub fn without_port(mut self) -> Self {
        self.port.enabled = false;
        self
    }

    /// The port with TLS; there is none otherwise.
    #[must_use]
    pub fn secure_port(mut self, port: u16) -> Self {
        self.secure_port = Port {
            number: port,
            enabled: true,
        };
        self
    }

    /// Its own word on its status: `UP`, `DOWN`, `STARTING`, `OUT_OF_SERVICE`, `UNKNOWN` or any other.
    #[must_use]
    pub fn status(mut self, status: impl Into<String>) -> Self {
        self.status = status.into();
        self
    }

    /// Adds to its metadata.
    #[must_use]
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.push((key.into(), value.into()));
        self
    }

    /// Its zone, where Spring's clients say it: in the metadata.
    #[must_use]
    pub fn zone(self, zone: impl Into<String>) -> Self {
        self.metadata("zone", zone)
    }

    /// Its virtual host names, a list with commas; as it is made, the app's name in small letters.
    #[must_use]
    pub fn vip(mut self, names: impl Into<String>) -> Self {
        self.vip = Some(names.into());
        self
    }

    /// Says no virtual host name.
    #[must_use]
    pub fn without_vip(mut self) -> Self {
        self.vip = None;
        self
    }

    /// Its virtual host names for TLS, a list with commas.
    #[must_use]
    pub fn secure_vip(mut self, names: impl Into<String>) -> Self {
        self.secure_vip = Some(names.into());
        self
    }

    /// How often it promises to renew its lease and how long that lasts, in seconds. One that was renewed once dies
    /// after twice the time.
    #[must_use]
    pub fn lease(mut self, renewal: u32, duration: u32) -> Self {
        (self.renewal, self.duration) = (renewal, duration);
        self
    }

    /// Says that it runs at Amazon, and what is known of it there, such as `availability-zone`, `instance-id` and
    /// `local-ipv4`.
    #[must_use]
    pub fn amazon(mut self, data: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>) -> Self {
        let data = data.into_iter().map(|(key, value)| (key.into(), value.into()));
        self.amazon = Some(data.collect());
        self
    }

    /// When it last changed, in milliseconds; as it is made, the time of its registration. A server ignores one that
    /// is older than what it holds.
    #[must_use]
    pub fn last_dirty(mut self, milliseconds: u64) -> Self {
        self.dirty = Some(milliseconds);
        self
    }

    /// The body of its registration at a time in milliseconds, to change what has no method here.
    #[must_use]
    pub fn json(&self, now: u64) -> Value {
        let port = |port: Port| json!({ "$": port.number, "@enabled": port.enabled.to_string() });
        let map = |pairs: &[(String, String)]| -> Map<String, Value> {
            let pairs = pairs.iter();
            pairs.map(|(key, value)| (key.clone(), json!(value))).collect()
        };
        let data_center = match &self.amazon {
            None => {
                json!({ "@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn" })
            }
            // Not with its name, which the class implies: Netflix' server refuses one that comes after the metadata, as it
            // does in the order of the alphabet, unless nothing follows.
            Some(data) => json!({ "@class": "com.netflix.appinfo.AmazonInfo", "metadata": map(data) }),
        };
        let mut instance = json!({
            "hostName": self.host,
            "app": self.app.to_uppercase(),
            "ipAddr": self.ip,
            "status": self.status,
            "port": port(self.port),
            "securePort": port(self.secure_port),
            "countryId": 1,
            "dataCenterInfo": data_center,
            "leaseInfo": { "renewalIntervalInSecs": self.renewal, "durationInSecs": self.duration },
            "metadata": map(&self.metadata),
            "lastDirtyTimestamp": self.dirty.unwrap_or(now).to_string(),
        });
        for (name, value) in [
            ("instanceId", &self.id),
            ("vipAddress", &self.vip),
            ("secureVipAddress", &self.secure_vip),
        ] {
            if let Some(value) = value {
                instance[name] = json!(value);
            }
        }
        json!({ "instance": instance })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nameless_instance_is_known_by_what_servers_know_it_by() {
        let nameless = Instance::nameless("orders", "h1");
        assert_eq!(nameless.id(), "h1");
        assert!(nameless.json(1)["instance"].get("instanceId").is_none());
        let amazon = nameless.amazon([("availability-zone", "us-east-1c"), ("instance-id", "i-1")]);
        assert_eq!(amazon.id(), "i-1");
        assert_eq!(
            amazon.json(1)["instance"]["dataCenterInfo"]["metadata"]["instance-id"],
            "i-1"
        );
    }

    #[test]
    fn the_time_of_the_last_change_is_that_of_the_registration_unless_it_is_said() {
        let instance = Instance::new("orders", "o1");
        assert_eq!(instance.json(5)["instance"]["lastDirtyTimestamp"], "5");
        let old = instance.last_dirty(3);
        assert_eq!(old.json(5)["instance"]["lastDirtyTimestamp"], "3");
    }
}
