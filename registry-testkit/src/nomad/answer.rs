//! The answer to a request, as the tables are now.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::access::Rights;
use super::state::State;
use crate::proxy::http1::{Answer, Request, path_of};
use crate::replay::blocking::Blocking;

/// A request, as far as the play understands it.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) path: String,
    query: Vec<(String, String)>,
    pub(super) blocking: Result<Blocking, &'static str>,
    pub(super) token: Option<String>,
}

/// The server that answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Server {
    /// Whether there is a leader.
    pub(super) leader: bool,
    /// How long ago it last heard of one.
    pub(super) last_contact: Duration,
    /// Moves the order of lists, which is another one each time.
    pub(super) shuffle: u64,
}

/// An answer, and what a blocking query would wait for.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) answer: Answer,
    /// The index that it carries, where it may block.
    pub(super) index: Option<u64>,
    /// The index of the last change that concerns it.
    pub(super) touched: u64,
}

impl Asked {
    pub(super) fn of(request: &Request, token: Option<String>) -> Self {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let decoded = |text: &str| {
            // A name in a path is escaped as in a query, but for the plus sign.
            let text = text.replace('+', "%2B");
            let mut pairs = form_urlencoded::parse(text.as_bytes());
            pairs
                .next()
                .map(|(name, _)| name.into_owned())
                .unwrap_or_default()
        };
        Self {
            path: path_of(path)
                .split('/')
                .map(decoded)
                .collect::<Vec<_>>()
                .join("/"),
            query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            blocking: Blocking::of(&request.target),
            token,
        }
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.query.iter().filter(move |(held, _)| held == name);
        named.map(|(_, value)| value.as_str())
    }

    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(held, _)| held == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    pub(super) fn namespace(&self) -> &str {
        self.query("namespace").unwrap_or("default")
    }

    /// Whether any server may answer.
    pub(super) fn is_stale(&self) -> bool {
        self.query.iter().any(|(name, _)| name == "stale")
    }
}

/// Answers a request of somebody with these rights; `None` where the token is unknown.
pub(super) fn answer(state: &State, server: &Server, asked: &Asked, rights: Option<&Rights>) -> Found {
    if asked.query("region").is_some_and(|region| region != "global") {
        return plain(500, "No path to region");
    }
    if !server.leader && !asked.is_stale() {
        return plain(500, "No cluster leader");
    }
    let Some(rights) = rights else {
        return plain(403, "Permission denied");
    };
    let look = Look {
        state,
        server,
        asked,
        rights,
    };
    match asked.path.split('/').collect::<Vec<_>>()[..] {
        ["", "v1", "services"] => look.list(),
        ["", "v1", "service", name] => look.service(name),
        ["", "v1", "namespaces"] => look.namespaces(),
        ["", "v1", "allocations"] => look.allocations(),
        ["", "v1", "allocation", id, "checks"] => look.checks(id),
        ["", "v1", "status", "leader"] => look.found(&json!("127.0.0.1:4647"), None, 0),
        ["", "v1", "regions"] => look.found(&json!(["global"]), None, 0),
        ["", "v1", "agent", "self"] => look.agent(),
        _ => plain(404, ""),
    }
}

pub(super) fn plain(status: u16, text: &'static str) -> Found {
    Found {
        answer: Answer::text(status, text),
        index: None,
        touched: 0,
    }
}

struct Look<'a> {
    state: &'a State,
    server: &'a Server,
    asked: &'a Asked,
    rights: &'a Rights,
}

impl Look<'_> {
    /// An answer with the headers of a query, where it has an index.
    fn found(&self, body: &Value, index: Option<u64>, touched: u64) -> Found {
        let header = |name: &str, value: String| (name.to_owned(), Bytes::from(value));
        let mut headers = vec![
            header("Content-Type", "application/json".to_owned()),
            header("Vary", "Accept-Encoding".to_owned()),
        ];
        if let Some(index) = index {
            let contact = self.server.last_contact.as_millis().to_string();
            headers.push(header("X-Nomad-Index", index.to_string()));
            headers.push(header("X-Nomad-Knownleader", self.server.leader.to_string()));
            headers.push(header("X-Nomad-Lastcontact", contact));
        }
        Found {
            answer: Answer::new(200, headers, Bytes::from(body.to_string())),
            index,
            touched,
        }
    }

    fn list(&self) -> Found {
        let namespace = self.asked.namespace();
        if namespace == "*" {
            // Nobody is told that there is nothing for them; the index of such an answer is none.
            if !self.rights.allow("*") {
                return self.found(&json!([]), Some(0), 0);
            }
        } else if !self.rights.allow(namespace) {
            return plain(403, "Permission denied");
        }
        let mut tags: BTreeMap<&str, BTreeMap<&str, BTreeSet<&str>>> = BTreeMap::new();
        for ((held, name), instances) in &self.state.services {
            if (namespace == "*" || namespace == held) && self.rights.allow(held) {
                let all = instances.values().flat_map(|instance| &instance.tags);
                let named = tags.entry(held).or_default();
                named.insert(name, all.map(String::as_str).collect());
            }
        }
        let stubs = |services: BTreeMap<&str, BTreeSet<&str>>| {
            let stub = |(name, tags): (&str, BTreeSet<&str>)| json!({ "ServiceName": name, "Tags": self.shuffled(tags.into_iter().collect()) });
            self.shuffled(services.into_iter().map(stub).collect())
        };
        let listed = tags
            .into_iter()
            .map(|(namespace, services)| json!({ "Namespace": namespace, "Services": stubs(services) }));
        let body = json!(self.shuffled(listed.collect()));
        self.found(&body, Some(self.state.shown_index()), self.touched(namespace))
    }

    fn service(&self, name: &str) -> Found {
        let namespace = self.asked.namespace();
        // A namespace of this name there is not, but whoever may read any namespace may ask for it.
        if !self.rights.allow(namespace) {
            return plain(403, "Permission denied");
        }
        let service = (namespace.to_owned(), name.to_owned());
        let instances = self.state.services.get(&service);
        let body: Vec<_> = instances.into_iter().flat_map(BTreeMap::values).collect();
        self.found(
            &json!(body),
            Some(self.state.shown_index()),
            self.touched(namespace),
        )
    }

    fn namespaces(&self) -> Found {
        let allowed = self
            .state
            .namespaces
            .iter()
            .filter(|name| self.rights.allow(name));
        let body: Vec<_> = allowed
            .map(|name| json!({ "Name": name, "Description": "", "CreateIndex": 1, "ModifyIndex": 1 }))
            .collect();
        self.found(&json!(body), Some(self.state.index), self.state.index)
    }

    fn allocations(&self) -> Found {
        let namespace = self.asked.namespace();
        if !self.rights.allow(namespace) {
            return plain(403, "Permission denied");
        }
        let mut all: Vec<_> = self
            .state
            .allocations
            .values()
            .filter(|one| {
                (namespace == "*" || namespace == one.namespace) && self.rights.allow(&one.namespace)
            })
            .map(|one| (format!("{:020}.{}", one.create_index, one.id), one))
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        let per_page = self.asked.query("per_page").and_then(|text| text.parse().ok());
        let per_page = per_page.filter(|&count| count > 0).unwrap_or(usize::MAX);
        let from = self.asked.query("next_token").unwrap_or_default();
        let mut rest = all.into_iter().filter(|(token, _)| token.as_str() >= from);
        let page: Vec<Value> = rest.by_ref().take(per_page).map(|(_, one)| one.stub()).collect();
        let index = self.state.allocations_index;
        let mut found = self.found(&json!(page), Some(index), index);
        if let Some((token, _)) = rest.next() {
            found.answer.set_header("X-Nomad-Nexttoken", Bytes::from(token));
        }
        found
    }

    fn checks(&self, id: &str) -> Found {
        let Some(allocation) = self.state.allocations.get(id) else {
            let unknown = Answer::text(404, format!("Unknown allocation \"{id}\""));
            return Found {
                answer: unknown,
                index: None,
                touched: 0,
            };
        };
        if !self.rights.allow(&allocation.namespace) {
            return plain(403, "Permission denied");
        }
        let results = self.state.checks.get(id).into_iter().flatten();
        let body: BTreeMap<String, Value> = results.map(|result| (result.key(), result.shown())).collect();
        self.found(&json!(body), None, 0)
    }

    fn agent(&self) -> Found {
        if *self.rights != Rights::All {
            return plain(403, "Permission denied");
        }
        let config = json!({ "Region": "global", "Datacenter": "dc1", "Version": { "Version": "2.0.6" } });
        self.found(
            &json!({ "config": config, "member": { "Name": "server-1.global" } }),
            None,
            0,
        )
    }

    fn touched(&self, namespace: &str) -> u64 {
        let touched = &self.state.touched;
        match namespace {
            "*" => self.state.services_index,
            one => touched.get(one).copied().unwrap_or_default(),
        }
    }

    /// In another order each time.
    fn shuffled<T>(&self, mut list: Vec<T>) -> Vec<T> {
        let mut seed = self.server.shuffle;
        for at in (1..list.len()).rev() {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let other = usize::try_from(seed >> 33).unwrap_or_default() % (at + 1);
            list.swap(at, other);
        }
        list
    }
}
