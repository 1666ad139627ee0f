//! `exports`: what clusters export to their clustersets, as a running daemon knows it.

use clap::Args;
use serde_json::Value;

use super::ServerArgs;
use super::client::Client;
use super::output::{print_as, table};
use super::show::{list, text};
use crate::error::Error;

#[derive(Debug, Args)]
pub(super) struct ExportsArgs {
    /// Only services whose hostname fits the pattern, such as "db.*.svc.clusterset.local"
    #[arg(value_name = "HOST")]
    host: Option<String>,
    /// Only what this registry exports
    #[arg(long, value_name = "NAME")]
    registry: Option<String>,
    /// Only services of this namespace
    #[arg(long, short, value_name = "NAMESPACE")]
    namespace: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn show(args: &ExportsArgs) -> Result<(), Error> {
    let parameters = [
        ("host", &args.host),
        ("registry", &args.registry),
        ("namespace", &args.namespace),
    ];
    let query: Vec<(&str, &str)> = parameters
        .iter()
        .filter_map(|(key, value)| Some((*key, value.as_deref()?)))
        .collect();
    let value = Client::new(&args.server)?.get("/v1/exports", &query).await?;
    print_as(args.server.output.output, &value, exports)
}

/// The conditions of an export, in the order of their columns.
const CONDITIONS: [&str; 3] = ["Valid", "Ready", "Conflict"];

fn exports(value: &Value) -> String {
    let mut rows = Vec::new();
    let mut remarks = Vec::new();
    for service in list(&value["services"]) {
        let hostname = text(service, "hostname");
        let first = remarks.len();
        for export in list(&service["exports"]) {
            let remark = remark(export).map(|remark| format!("{hostname}: {remark}"));
            // A conflict is told of all exports alike.
            remarks.extend(remark.filter(|remark| !remarks[first..].contains(remark)));
            let [valid, ready, conflict] = CONDITIONS.map(|kind| cell(condition(export, kind), kind));
            rows.push([
                hostname.clone(),
                text(export, "registry"),
                text(export, "cluster"),
                valid,
                ready,
                conflict,
            ]);
        }
    }
    let head = ["HOSTNAME", "REGISTRY", "CLUSTER", "VALID", "READY", "CONFLICT"];
    let mut shown = table(head, rows);
    if !remarks.is_empty() {
        shown.push('\n');
    }
    for remark in remarks {
        shown.push_str(&remark.replace(char::is_control, " "));
        shown.push('\n');
    }
    shown
}

/// What is the matter with an export: the first condition that is not as usual explains those after it.
fn remark(export: &Value) -> Option<String> {
    let unusual = |kind: &&str| {
        let status = text(condition(export, kind), "status");
        !status.is_empty() && status != usual(kind)
    };
    let kind = CONDITIONS.into_iter().find(unusual)?;
    let condition = condition(export, kind);
    let words = format!("{}: {}", text(condition, "reason"), text(condition, "message"));
    Some(match kind {
        "Conflict" => words,
        _ => format!("{}: {words}", text(export, "registry")),
    })
}

/// Such as `True`, or `False: NoService` where that is not as usual.
fn cell(condition: &Value, kind: &str) -> String {
    let (status, reason) = (text(condition, "status"), text(condition, "reason"));
    if status == usual(kind) || reason.is_empty() {
        status
    } else {
        format!("{status}: {reason}")
    }
}

fn condition<'a>(export: &'a Value, kind: &str) -> &'a Value {
    let mut all = list(&export["conditions"]).iter();
    all.find(|condition| condition["type"] == kind)
        .unwrap_or(&Value::Null)
}

/// The status of a condition where all is well.
fn usual(kind: &str) -> &'static str {
    if kind == "Conflict" { "False" } else { "True" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_columns_and_what_is_not_as_usual_is_explained() {
        let condition = |kind: &str, status: &str, reason: &str, message: &str| serde_json::json!({ "type": kind, "status": status, "reason": reason, "message": message });
        let value = serde_json::json!({ "services": [{
            "hostname": "db.shop.svc.clusterset.local",
            "exports": [
                { "registry": "set/a", "cluster": "eu", "conditions": [
                    condition("Valid", "True", "Valid", "is valid"),
                    condition("Ready", "True", "Ready", ""),
                    condition("Conflict", "True", "PortConflict", "port http: 80 wins over 8080"),
                ] },
                { "registry": "set/c", "cluster": "ap", "conditions": [
                    condition("Valid", "True", "Valid", "is valid"),
                    condition("Ready", "True", "Ready", ""),
                    condition("Conflict", "True", "PortConflict", "port http: 80 wins over 8080"),
                ] },
                { "registry": "set/b", "cluster": "us", "conditions": [
                    condition("Valid", "False", "NoService", "there is no Service\u{7} db"),
                    condition("Ready", "False", "Pending", "waiting"),
                    condition("Conflict", "False", "NoConflicts", ""),
                ] },
            ],
        }] });
        assert_eq!(
            exports(&value),
            "\
HOSTNAME                       REGISTRY   CLUSTER   VALID              READY            CONFLICT
db.shop.svc.clusterset.local   set/a      eu        True               True             True: PortConflict
db.shop.svc.clusterset.local   set/c      ap        True               True             True: PortConflict
db.shop.svc.clusterset.local   set/b      us        False: NoService   False: Pending   False

db.shop.svc.clusterset.local: PortConflict: port http: 80 wins over 8080
db.shop.svc.clusterset.local: set/b: NoService: there is no Service  db
"
        );
        assert_eq!(
            exports(&serde_json::json!({ "services": [] })),
            "HOSTNAME   REGISTRY   CLUSTER   VALID   READY   CONFLICT\n"
        );
    }
}
