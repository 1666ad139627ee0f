//! Calls to Envoy's administration interface.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::Value;

use crate::Error;
use crate::json::{Call, JsonClient};

/// The interface of one Envoy, cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Admin(JsonClient);

// === impl Admin ===

impl Admin {
    /// The one at `address:port`.
    pub(super) fn new(address: &str) -> Result<Self, Error> {
        let options = JsonClient::options(None);
        JsonClient::new(&format!("http://{address}"), options, None).map(Self)
    }

    pub(super) fn url(&self) -> String {
        self.0.url_of("")
    }

    pub(super) async fn is_ready(&self) -> Result<bool, Error> {
        let reply = self.0.send(&Call::new(Method::GET, "/ready", None)).await?;
        Ok(reply.status == 200)
    }

    pub(super) async fn get(&self, path: &str) -> Result<String, Error> {
        self.0.succeed(&Call::new(Method::GET, path, None)).await
    }

    pub(super) async fn post(&self, path: &str) -> Result<String, Error> {
        self.0.succeed(&Call::new(Method::POST, path, None)).await
    }

    pub(super) async fn json(&self, path: &str) -> Result<Value, Error> {
        self.0.json(&Call::new(Method::GET, path, None)).await
    }

    pub(super) async fn stats(&self, filter: &str) -> Result<BTreeMap<String, u64>, Error> {
        let found = self.all_stats(filter).await?.into_iter();
        Ok(found
            .filter_map(|(name, value)| Some((name, value.as_u64()?)))
            .collect())
    }

    pub(super) async fn stat(&self, name: &str) -> Result<u64, Error> {
        let found = self.stats(&exactly(name)).await?;
        Ok(found.get(name).copied().unwrap_or_default())
    }

    pub(super) async fn stat_text(&self, name: &str) -> Result<Option<String>, Error> {
        let mut found = self.all_stats(&exactly(name)).await?;
        Ok(found
            .remove(name)
            .and_then(|value| value.as_str().map(str::to_owned)))
    }

    /// Numbers and texts; histograms have neither.
    async fn all_stats(&self, filter: &str) -> Result<BTreeMap<String, Value>, Error> {
        let query: String = form_urlencoded::Serializer::new(String::new())
            .append_pair("format", "json")
            .append_pair("filter", filter)
            .finish();
        let mut answer = self.json(&format!("/stats?{query}")).await?;
        let Value::Array(stats) = answer["stats"].take() else {
            return Ok(BTreeMap::new());
        };
        let stats = stats.into_iter().filter_map(|mut stat| {
            let name = stat["name"].as_str()?.to_owned();
            Some((name, stat["value"].take()))
        });
        Ok(stats.collect())
    }
}

/// The regular expression that matches a name and nothing else.
fn exactly(name: &str) -> String {
    let mut filter = String::from("^");
    for character in name.chars() {
        if !character.is_alphanumeric() && character != '_' {
            filter.push('\\');
        }
        filter.push(character);
    }
    filter.push('$');
    filter
}

/// The hosts of each cluster in `/clusters?format=json`.
pub(super) fn hosts(clusters: &Value) -> BTreeMap<String, Vec<String>> {
    let list = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
    list(clusters, "cluster_statuses")
        .iter()
        .filter_map(|cluster| {
            let name = cluster["name"].as_str()?.to_owned();
            let mut hosts: Vec<String> = list(cluster, "host_statuses")
                .iter()
                .filter_map(|host| {
                    let address = &host["address"]["socket_address"];
                    Some(format!(
                        "{}:{}",
                        address["address"].as_str()?,
                        address["port_value"]
                    ))
                })
                .collect();
            hosts.sort();
            Some((name, hosts))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_matches_itself_alone() {
        assert_eq!(exactly("cluster.a|80.x_y"), r"^cluster\.a\|80\.x_y$");
    }

    #[test]
    fn clusters_without_hosts_are_there_too() {
        let host = |port: u16| json!({ "address": { "socket_address": { "address": "127.0.0.1", "port_value": port } } });
        let clusters = json!({ "cluster_statuses": [
            { "name": "a", "host_statuses": [host(20), host(10)] },
            { "name": "b" },
        ] });
        let wanted = [
            (
                "a".to_owned(),
                vec!["127.0.0.1:10".to_owned(), "127.0.0.1:20".to_owned()],
            ),
            ("b".to_owned(), Vec::new()),
        ];
        assert_eq!(hosts(&clusters), BTreeMap::from(wanted));
    }
}
