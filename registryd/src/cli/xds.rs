//! `xds`: what the xDS server of a running daemon serves, and to whom.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::ServerArgs;
use super::client::Client;
use super::output::{print_as, table};
use crate::error::Error;

#[derive(Debug, Subcommand)]
pub(super) enum XdsCommand {
    /// Show what a node gets, whether it is connected or not
    Dump(DumpArgs),
    /// Show who is connected, and what was refused
    Clients(ServerArgs),
    /// Show which services cannot be served as their registries have them
    Warnings(ServerArgs),
}

#[derive(Debug, Args)]
pub(super) struct DumpArgs {
    /// The node: the id of an Envoy, or a description in JSON as below `node` in a bootstrap, such as
    /// '{"id":"vm-1","metadata":{"registryd.services":["a.mesh"]}}'; with "user_agent_name":"gRPC" a gRPC client
    #[arg(long, value_name = "NODE")]
    node: String,
    /// Only resources of this type: cds, eds, lds or rds; may be repeated
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Only resources whose name fits the pattern, such as "*payments*"; may be repeated
    #[arg(long, value_name = "PATTERN")]
    name: Vec<String>,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn show(command: XdsCommand) -> Result<(), Error> {
    match command {
        XdsCommand::Dump(args) => {
            let mut query = vec![("node", args.node.as_str())];
            query.extend(args.types.iter().map(|type_| ("type", type_.as_str())));
            query.extend(args.name.iter().map(|name| ("name", name.as_str())));
            let value = Client::new(&args.server)?
                .get("/v1/xds/resources", &query)
                .await?;
            print_as(args.server.output.output, &value, resources)
        }
        XdsCommand::Clients(server) => {
            let value = Client::new(&server)?.get("/v1/xds/clients", &[]).await?;
            print_as(server.output.output, &value, clients)
        }
        XdsCommand::Warnings(server) => {
            let value = Client::new(&server)?.get("/v1/xds/warnings", &[]).await?;
            print_as(server.output.output, &value, warnings)
        }
    }
}

const TYPES: [&str; 4] = ["cds", "eds", "lds", "rds"];

fn resources(value: &Value) -> String {
    let rows = TYPES.iter().flat_map(|type_| {
        list(&value[*type_]).iter().map(|resource| {
            [
                (*type_).to_owned(),
                text(&resource["name"]),
                text(&resource["version"]),
            ]
        })
    });
    let mut shown = table(["TYPE", "NAME", "VERSION"], rows);
    if !list(&value["warnings"]).is_empty() {
        shown.push('\n');
        shown.push_str(&warnings(value));
    }
    shown
}

fn clients(value: &Value) -> String {
    let all = list(&value["clients"]);
    let rows = all.iter().map(|client| {
        let types = &client["types"];
        let of_each = |what: &dyn Fn(&Value) -> Option<String>| {
            let each = TYPES.iter().filter_map(|type_| {
                let said = what(types.get(*type_)?)?;
                Some(format!("{type_} {said}"))
            });
            each.collect::<Vec<_>>().join(", ")
        };
        [
            text(&client["node"]["id"]),
            text(&client["kind"]),
            text(&client["node"]["user_agent"]),
            text(&client["variant"]),
            text(&client["peer"]),
            text(&client["identity"]),
            text(&client["since"]),
            of_each(&|of| {
                Some(if of["wildcard"] == true {
                    "all".to_owned()
                } else {
                    of["names"].to_string()
                })
            }),
            of_each(&|of| (of["pending"] == true).then(|| "unanswered".to_owned())),
            of_each(&|of| {
                of["nacks"]
                    .as_u64()
                    .filter(|nacks| *nacks > 0)
                    .map(|nacks| nacks.to_string())
            }),
        ]
    });
    let head = [
        "NODE",
        "KIND",
        "USER AGENT",
        "PROTOCOL",
        "PEER",
        "IDENTITY",
        "SINCE",
        "SUBSCRIBED",
        "PENDING",
        "REFUSED",
    ];
    let mut shown = table(head, rows);
    for client in all {
        for type_ in TYPES {
            let nack = &client["types"][type_]["last_nack"];
            if let Some(message) = nack["message"].as_str() {
                let line = format!(
                    "{}: {type_} refused at {}: {message}",
                    text(&client["node"]["id"]),
                    text(&nack["at"])
                );
                shown.push_str(&format!("\n{}\n", line.replace(char::is_control, " ")));
            }
        }
    }
    shown
}

fn warnings(value: &Value) -> String {
    let rows = list(&value["warnings"])
        .iter()
        .map(|warning| [text(&warning["hostname"]), text(&warning["problem"])]);
    table(["SERVICE", "WARNING"], rows)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn clients_are_a_table_with_what_they_refused() {
        let value = json!({ "clients": [{
            "stream": 1, "peer": "127.0.0.1:4711", "identity": null, "variant": "delta", "since": "2026-01-01T00:00:00Z",
            "kind": "envoy", "node": { "id": "vm-1", "cluster": "a", "user_agent": "envoy 1.40.0" },
            "types": {
                "cds": { "wildcard": true, "names": 0, "pending": false, "nacks": 0, "last_nack": null },
                "eds": { "wildcard": false, "names": 3, "pending": true, "nacks": 2,
                         "last_nack": { "at": "2026-01-01T00:00:01Z", "version": "1", "message": "bad\naddress" } },
            },
        }] });
        assert_eq!(
            clients(&value),
            "NODE   KIND    USER AGENT     PROTOCOL   PEER             IDENTITY   SINCE                  SUBSCRIBED       PENDING          REFUSED\n\
             vm-1   envoy   envoy 1.40.0   delta      127.0.0.1:4711   -          2026-01-01T00:00:00Z   cds all, eds 3   eds unanswered   eds 2\n\
             \nvm-1: eds refused at 2026-01-01T00:00:01Z: bad address\n"
        );
    }

    #[test]
    fn resources_are_a_table_with_what_could_not_be_served() {
        let mut value = json!({ "cds": [{ "name": "outbound|80||web", "version": "01", "resource": {} }], "warnings": [] });
        let resources_alone = "TYPE   NAME               VERSION\ncds    outbound|80||web   01\n";
        assert_eq!(resources(&value), resources_alone);
        value["warnings"] = json!([{ "hostname": "db.mesh", "problem": "no port" }]);
        assert_eq!(
            resources(&value),
            format!("{resources_alone}\nSERVICE   WARNING\ndb.mesh   no port\n")
        );
    }
}
