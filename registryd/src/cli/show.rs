//! `get` and `status`: what a running daemon knows.

use std::time::Duration;

use registry_core::duration;
use reqwest::StatusCode;
use serde_json::Value;

use super::client::Client;
use super::output::{print_as, table};
use super::{Get, Output, ServerArgs, count, names};
use crate::error::Error;

/// Where all of a registry is in trouble, this many of its parts are enough to read about.
const MOST_PARTS: usize = 3;

pub(super) async fn get(get: Get) -> Result<(), Error> {
    match get {
        Get::Services {
            host,
            registry,
            namespace,
            label,
            server,
        } => {
            let single = [
                ("host", &host),
                ("registry", &registry),
                ("namespace", &namespace),
            ];
            let mut query: Vec<(&str, &str)> = single
                .iter()
                .filter_map(|(key, value)| Some((*key, value.as_deref()?)))
                .collect();
            query.extend(label.iter().map(|label| ("label", label.as_str())));
            let value = Client::new(&server)?.get("/v1/services", &query).await?;
            print_as(server.output.output, &value, services)
        }
        Get::Service { host, server } => {
            let value = one(&host, &server).await?;
            print_as(server.output.output, &value, service)
        }
        Get::Endpoints { host, server } => {
            let mut value = one(&host, &server).await?;
            if server.output.output != Output::Table {
                value = value["endpoints"].take();
            }
            print_as(server.output.output, &value, |service| {
                endpoints(&service["endpoints"])
            })
        }
    }
}

pub(super) async fn status(server: &ServerArgs) -> Result<(), Error> {
    let client = Client::new(server)?;
    let mut value = client.get("/v1/registries", &[]).await?;
    let (status, readiness) = client.ask("/readyz", &[]).await?;
    if let Some(fields) = value.as_object_mut() {
        fields.insert("awaited".to_owned(), readiness["awaited"].clone());
    }
    print_as(server.output.output, &value, |value| {
        let ready = if status == StatusCode::OK {
            "ready".to_owned()
        } else {
            text(&readiness, "detail")
        };
        format!("{ready}\n\n{}", registries(&value["registries"]))
    })
}

async fn one(host: &str, server: &ServerArgs) -> Result<Value, Error> {
    let path = format!("/v1/services/{}", registry_http::encode_segment(host));
    Client::new(server)?.get(&path, &[]).await
}

fn services(value: &Value) -> String {
    let rows = list(&value["services"]).iter().map(|service| {
        let all = list(&service["endpoints"]);
        let routable = all.iter().filter(|endpoint| is_routable(endpoint)).count();
        [
            text(service, "hostname"),
            ports(&service["ports"]),
            match all.iter().filter(|endpoint| endpoint["held"] == true).count() {
                0 => format!("{routable}/{}", all.len()),
                held => format!("{routable}/{} ({held} held)", all.len()),
            },
            words(&service["sources"]),
            match list(&service["conflicts"]).len() {
                0 => String::new(),
                conflicts => conflicts.to_string(),
            },
        ]
    });
    table(["HOSTNAME", "PORTS", "ENDPOINTS", "SOURCES", "CONFLICTS"], rows)
}

fn service(value: &Value) -> String {
    let mut text_of = String::new();
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            text_of.push_str(&format!(
                "{:<12}{}\n",
                format!("{name}:"),
                value.replace(char::is_control, " ")
            ));
        }
    };
    line("Hostname", text(value, "hostname"));
    line("Namespace", text(value, "namespace"));
    line("Aliases", words(&value["aliases"]));
    line("Ports", ports(&value["ports"]));
    line("Labels", pairs(&value["labels"]));
    line("Sources", words(&value["sources"]));
    line("Revision", value["revision"].to_string());
    for conflict in list(&value["conflicts"]) {
        line("Conflict", text(conflict, "text"));
    }
    format!("{text_of}\n{}", endpoints(&value["endpoints"]))
}

fn endpoints(value: &Value) -> String {
    let named = list(value)
        .iter()
        .any(|endpoint| endpoint["dns_name"].is_string());
    let rows = list(value).iter().map(|endpoint| {
        let locality = &endpoint["locality"];
        let places = [
            text(locality, "region"),
            text(locality, "zone"),
            text(locality, "sub_zone"),
        ];
        let places: Vec<&str> = places
            .iter()
            .map(String::as_str)
            .filter(|place| !place.is_empty())
            .collect();
        let sources = list(&endpoint["sources"]).iter().map(|source| {
            let (registry, status) = (text(source, "registry"), text(source, "status"));
            if status.is_empty() {
                registry
            } else {
                format!("{registry} ({status})")
            }
        });
        [
            text(endpoint, "address"),
            number_ports(&endpoint["ports"]),
            match text(endpoint, "health") {
                health if endpoint["held"] == true => format!("{health}, held"),
                health => health,
            },
            endpoint["weight"].to_string(),
            endpoint["priority"].to_string(),
            places.join("/"),
            pairs(&endpoint["labels"]),
            sources.collect::<Vec<_>>().join(", "),
            text(endpoint, "dns_name"),
        ]
    });
    let head = [
        "ADDRESS", "PORTS", "HEALTH", "WEIGHT", "PRIORITY", "LOCALITY", "LABELS", "SOURCES", "DNS NAME",
    ];
    if named {
        return table(head, rows);
    }
    // Few services have names for their endpoints: a column of dashes in all the others would tell nothing.
    table(but_last(head), rows.map(but_last))
}

fn but_last<T>(row: [T; 9]) -> [T; 8] {
    let [columns @ .., _] = row;
    columns
}

fn registries(value: &Value) -> String {
    let all = list(value);
    let rows = all.iter().map(|registry| {
        [
            text(registry, "id"),
            text(registry, "kind"),
            if registry["required"] == true { "yes" } else { "no" }.to_owned(),
            match text(registry, "phase") {
                phase if registry["restored"] == true => format!("{phase}, restored"),
                phase => phase,
            },
            time(&registry["age_s"]),
            registry["services"].to_string(),
            registry["endpoints"].to_string(),
            held(&registry["held"]),
            outage(&registry["outage"]),
        ]
    });
    let head = [
        "NAME",
        "KIND",
        "REQUIRED",
        "PHASE",
        "CONFIRMED",
        "SERVICES",
        "ENDPOINTS",
        "HELD",
        "OUTAGE",
    ];
    let mut text_of = table(head, rows);
    for registry in all {
        let mut say = |what: &str, words: &str| {
            let line = format!("\n{}: {what}: {words}", text(registry, "id"));
            text_of.push_str(&line.replace(|c: char| c.is_control() && c != '\n', " "));
        };
        if registry["phase"] != "synced"
            && let Some(message) = registry["last_error"]["message"].as_str()
        {
            say("last error", message);
        }
        for (way, behind) in troubled("", &registry["behind"]) {
            let confirmed = match time(&behind["age_s"]) {
                age if age.is_empty() => String::new(),
                age => format!(", confirmed {age} ago"),
            };
            let error = match behind["error"].as_str() {
                Some(error) => format!(": {error}"),
                None => String::new(),
            };
            let words = format!("{} behind it{confirmed}{error}", text(behind, "phase"));
            say(&way, &words);
        }
        let back = &registry["held"];
        if let Some(services) = back["services"].as_u64() {
            let endpoints = count(back["endpoints"].as_u64().unwrap_or(0), "endpoint");
            let named = names(&back["names"], services);
            let id = text(registry, "id");
            let words = format!(
                "{endpoints} of {}{named} since {}, no longer listed but too many to be believed; \
                 if they are gone indeed: registryd ack {id}",
                count(services, "service"),
                text(back, "since"),
            );
            say("held", &words);
        }
        if let Some(error) = registry["save_error"].as_str() {
            say("state", error);
        }
        // What concerns the whole registry was said above.
        let degraded = list(&registry["degraded"]).iter();
        let parts: Vec<&Value> = degraded.filter(|part| part["scope"] != "registry").collect();
        for part in parts.iter().take(MOST_PARTS) {
            say(&text(part, "scope"), &text(part, "error"));
        }
        if parts.len() > MOST_PARTS {
            say(
                "more",
                &format!("{} further parts cannot be read", parts.len() - MOST_PARTS),
            );
        }
        for warning in list(&registry["warnings"]).iter().filter_map(Value::as_str) {
            say("warning", warning);
        }
        if let Some(note) = registry["note"].as_str() {
            say("note", note);
        }
    }
    if !text_of.ends_with('\n') {
        text_of.push('\n');
    }
    text_of
}

/// The registries behind one that are not synced, and the ways to them.
fn troubled<'a>(before: &str, behind: &'a Value) -> Vec<(String, &'a Value)> {
    let mut found = Vec::new();
    for (id, registry) in behind.as_object().into_iter().flatten() {
        let way = format!("{before}{id}");
        if registry["behind"].is_object() {
            found.extend(troubled(&format!("{way}/"), &registry["behind"]));
        } else if registry["phase"] != "synced" {
            found.push((way, registry));
        }
    }
    found
}

/// How many endpoints are held back, and how long until the registry is asked about them.
fn held(held: &Value) -> String {
    match held["endpoints"].as_u64() {
        None => String::new(),
        Some(endpoints) if held["remaining_s"].as_f64() == Some(0.0) => format!("{endpoints}, asked again"),
        Some(endpoints) => format!("{endpoints}, {} left", time(&held["remaining_s"])),
    }
}

/// What happens while the registry is stale, and when.
fn outage(outage: &Value) -> String {
    let mut words = text(outage, "policy");
    let keep_for = time(&outage["keep_for_s"]);
    if !keep_for.is_empty() {
        words.push(' ');
        words.push_str(&keep_for);
    }
    let stale = !outage["since"].is_null();
    match outage["remaining_s"].as_f64() {
        Some(left) if left > 0.0 => format!("{words}, {} left", time(&left.into())),
        Some(_) => format!("{words}, taken out"),
        None if stale && words == "drop" => format!("{words}, taken out"),
        None if stale && words == "degrade" => format!("{words}, degraded"),
        None => words,
    }
}

/// Seconds as people read them: `4s`, `9m58s`, `3h20m`, `2d1h`.
fn time(seconds: &Value) -> String {
    let Some(seconds) = seconds.as_f64().filter(|seconds| *seconds >= 0.0) else {
        return String::new();
    };
    let duration = Duration::try_from_secs_f64(seconds.round()).unwrap_or(Duration::MAX);
    let whole = duration.as_secs();
    let shown = match whole {
        0..3_600 => whole,
        3_600..86_400 => whole - whole % 60,
        _ => whole - whole % 3_600,
    };
    duration::format(Duration::from_secs(shown))
}

/// As `registry_core::Health::routable` has it.
fn is_routable(endpoint: &Value) -> bool {
    matches!(
        endpoint["health"].as_str(),
        Some("healthy" | "degraded" | "unknown")
    )
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(super) fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

fn words(value: &Value) -> String {
    let words: Vec<&str> = list(value).iter().filter_map(Value::as_str).collect();
    words.join(", ")
}

fn ports(value: &Value) -> String {
    let ports = list(value).iter().map(|port| {
        let name = text(port, "name");
        match port["number"].as_u64() {
            Some(number) => format!("{name}:{number}"),
            None => name,
        }
    });
    ports.collect::<Vec<_>>().join(", ")
}

fn number_ports(value: &Value) -> String {
    let ports = value.as_object().into_iter().flatten();
    ports
        .map(|(name, number)| format!("{name}:{number}"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn pairs(value: &Value) -> String {
    let pairs = value.as_object().into_iter().flatten();
    let pairs = pairs.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
    pairs.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_timers_are_short() {
        for (seconds, text) in [
            (0.2, "0s"),
            (59.6, "1m"),
            (598.0, "9m58s"),
            (12_059.0, "3h20m"),
            (180_000.0, "2d2h"),
        ] {
            assert_eq!(time(&seconds.into()), text);
        }
        assert_eq!(time(&Value::Null), "");
        let keep_for = |remaining: Option<f64>| {
            outage(
                &serde_json::json!({ "policy": "keep_for", "keep_for_s": 600.0, "remaining_s": remaining }),
            )
        };
        assert_eq!(keep_for(None), "keep_for 10m");
        assert_eq!(keep_for(Some(90.0)), "keep_for 10m, 1m30s left");
        assert_eq!(keep_for(Some(0.0)), "keep_for 10m, taken out");
        assert_eq!(
            held(&serde_json::json!({ "endpoints": 12, "remaining_s": 48.2 })),
            "12, 48s left"
        );
    }

    #[test]
    fn of_registries_behind_those_in_trouble_are_named_with_the_way_to_them() {
        let value = serde_json::json!([{ "id": "parent", "phase": "stale", "behind": {
            "vms": { "phase": "synced", "age_s": 1.0 },
            "middle": { "phase": "stale", "behind": {
                "consul": { "phase": "stale", "age_s": 90.0, "error": "no answer" },
                "k8s": { "phase": "connecting", "age_s": null },
            } },
        } }]);
        let shown = registries(&value);
        let lines: Vec<&str> = shown.lines().filter(|line| line.contains("behind it")).collect();
        assert_eq!(
            lines,
            [
                "parent: middle/consul: stale behind it, confirmed 1m30s ago: no answer",
                "parent: middle/k8s: connecting behind it",
            ]
        );
    }

    #[test]
    fn services_and_endpoints_are_tables() {
        let value = serde_json::json!({ "services": [{
            "hostname": "payments.mesh.internal",
            "ports": [{ "name": "http", "number": 80 }, { "name": "admin" }],
            "endpoints": [
                { "address": "10.0.0.7", "ports": { "http": 8080 }, "health": "healthy", "weight": 1, "priority": 0,
                  "locality": { "region": "eu", "zone": "eu-1a" }, "labels": { "version": "v2" },
                  "sources": [{ "registry": "vms", "status": "" }, { "registry": "consul", "status": "passing" }] },
                { "address": "10.0.0.8", "ports": {}, "health": "unhealthy", "weight": 1, "priority": 0, "sources": [] },
            ],
            "sources": ["vms", "consul"], "conflicts": [],
        }] });
        assert_eq!(
            services(&value),
            "HOSTNAME                 PORTS            ENDPOINTS   SOURCES       CONFLICTS\n\
             payments.mesh.internal   http:80, admin   1/2         vms, consul   -\n"
        );
        assert_eq!(
            endpoints(&value["services"][0]["endpoints"]),
            "ADDRESS    PORTS       HEALTH      WEIGHT   PRIORITY   LOCALITY   LABELS       SOURCES\n\
             10.0.0.7   http:8080   healthy     1        0          eu/eu-1a   version=v2   vms, consul (passing)\n\
             10.0.0.8   -           unhealthy   1        0          -          -            -\n"
        );
    }

    #[test]
    fn names_of_endpoints_are_shown_where_there_are_any() {
        let named = serde_json::json!([
            { "address": "10.0.0.7", "health": "healthy", "weight": 1, "priority": 0, "dns_name": "db-0.db.mesh" },
            { "address": "10.0.0.8", "health": "healthy", "weight": 1, "priority": 0 },
        ]);
        assert_eq!(
            endpoints(&named),
            "ADDRESS    PORTS   HEALTH    WEIGHT   PRIORITY   LOCALITY   LABELS   SOURCES   DNS NAME\n\
             10.0.0.7   -       healthy   1        0          -          -        -         db-0.db.mesh\n\
             10.0.0.8   -       healthy   1        0          -          -        -         -\n"
        );
    }
}
