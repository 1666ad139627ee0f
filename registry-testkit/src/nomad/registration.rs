//! What a Nomad server holds, in the words of its API.

use std::hash::Hasher;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The node of all that does not name another one.
pub const NODE: &str = "479c35df-9549-c84d-ed79-a43db40f391f";

/// One instance of a native service: an element of the answer of `/v1/service/<name>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Registration {
    /// Where it listens: an IP address or a host name.
    pub address: String,
    /// The allocation that it belongs to.
    #[serde(rename = "AllocID")]
    pub alloc_id: String,
    /// The index of its registration; the play sets it.
    #[serde(default)]
    pub create_index: u64,
    /// The data centre of its node.
    pub datacenter: String,
    /// Its id, unique in the region.
    #[serde(rename = "ID")]
    pub id: String,
    /// The job of its allocation.
    #[serde(rename = "JobID")]
    pub job_id: String,
    /// The index of its last change; the play sets it.
    #[serde(default)]
    pub modify_index: u64,
    /// The namespace of its job.
    pub namespace: String,
    /// The node that its allocation is on.
    #[serde(rename = "NodeID")]
    pub node_id: String,
    /// The port that was allocated; 0 where the service names none.
    pub port: u16,
    /// The name of the service.
    pub service_name: String,
    /// Its tags.
    #[serde(default)]
    pub tags: Vec<String>,
}

impl Registration {
    /// An instance in the namespace `default`. The same name and number make the same ids, the address `10.0.0.<number>`
    /// and the port `8000 + <number>`.
    #[must_use]
    pub fn new(service: &str, number: u8) -> Self {
        Self::within("default", service, number)
    }

    /// As [`new`](Self::new), in another namespace.
    #[must_use]
    pub fn within(namespace: &str, service: &str, number: u8) -> Self {
        let alloc_id = uuid(&format!("{namespace}/{service}/{number}"));
        Self {
            address: format!("10.0.0.{number}"),
            id: format!("_nomad-task-{alloc_id}-group-g-{service}-http"),
            alloc_id,
            create_index: 0,
            datacenter: "dc1".to_owned(),
            job_id: service.to_owned(),
            modify_index: 0,
            namespace: namespace.to_owned(),
            node_id: NODE.to_owned(),
            port: 8000 + u16::from(number),
            service_name: service.to_owned(),
            tags: Vec::new(),
        }
    }

    /// With these tags.
    #[must_use]
    pub fn tagged(mut self, tags: &[&str]) -> Self {
        self.tags = tags.iter().map(|&tag| tag.to_owned()).collect();
        self
    }

    /// On another node.
    #[must_use]
    pub fn on(mut self, node: &str) -> Self {
        node.clone_into(&mut self.node_id);
        self
    }

    /// Whether nothing but the indexes differs.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        let indexed = |one: &Self| Self {
            create_index: 0,
            modify_index: 0,
            ..one.clone()
        };
        indexed(self) == indexed(other)
    }
}

/// An allocation: an element of the answer of `/v1/allocations`, as far as anybody here reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allocation {
    /// Its id.
    pub id: String,
    /// The namespace of its job.
    pub namespace: String,
    /// Its job.
    pub job_id: String,
    /// The node that it is on.
    pub node_id: String,
    /// `run`, `stop` or `evict`.
    pub desired_status: String,
    /// `pending`, `running`, `complete`, `failed`, `lost` or `unknown`.
    pub client_status: String,
    /// The index of its creation; the play sets it.
    pub create_index: u64,
    /// The index of its last change; the play sets it.
    pub modify_index: u64,
}

impl Allocation {
    /// The allocation that runs an instance.
    #[must_use]
    pub fn of(registration: &Registration) -> Self {
        Self {
            id: registration.alloc_id.clone(),
            namespace: registration.namespace.clone(),
            job_id: registration.job_id.clone(),
            node_id: registration.node_id.clone(),
            desired_status: "run".to_owned(),
            client_status: "running".to_owned(),
            create_index: 0,
            modify_index: 0,
        }
    }

    pub(super) fn stub(&self) -> Value {
        json!({
            "ID": self.id, "Namespace": self.namespace, "JobID": self.job_id, "JobType": "service",
            "NodeID": self.node_id, "NodeName": "client-1", "TaskGroup": "g", "Name": format!("{}.g[0]", self.job_id),
            "DesiredStatus": self.desired_status, "DesiredDescription": "", "ClientStatus": self.client_status,
            "ClientDescription": "", "TaskStates": null, "DeploymentStatus": null,
            "CreateIndex": self.create_index, "ModifyIndex": self.modify_index,
            "CreateTime": 1_795_216_400_000_000_000_u64, "ModifyTime": 1_795_216_400_000_000_000_u64,
        })
    }
}

/// The result of a check: an element of the answer of `/v1/allocation/<id>/checks`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckResult {
    /// The service that it checks.
    pub service: String,
    /// The name of the check.
    pub check: String,
    /// `success`, `failure` or `pending`.
    pub status: String,
}

impl CheckResult {
    /// A check of a service.
    #[must_use]
    pub fn new(service: &str, check: &str, status: &str) -> Self {
        Self {
            service: service.to_owned(),
            check: check.to_owned(),
            status: status.to_owned(),
        }
    }

    pub(super) fn key(&self) -> String {
        format!("{:016x}", hash(&format!("{}/{}", self.service, self.check)))
    }

    pub(super) fn shown(&self) -> Value {
        let output = match self.status.as_str() {
            "success" => "nomad: http ok",
            "pending" => "nomad: waiting to run",
            _ => "nomad: dial tcp: connect: connection refused",
        };
        json!({
            "ID": self.key(), "Check": self.check, "Service": self.service, "Status": self.status, "Output": output,
            "Mode": "healthiness", "Group": "job.g[0]", "Timestamp": 1_795_216_497,
        })
    }
}

/// An id of Nomad's shape that depends on nothing but the text.
pub(super) fn uuid(text: &str) -> String {
    let (a, b) = (hash(text), hash(&format!("{text}/more")));
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xffff,
        b >> 48,
        b & 0xffff_ffff_ffff
    )
}

fn hash(text: &str) -> u64 {
    // Of a fixed key, so the same in every run.
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}
