//! `check`: everything that can be found out before the daemon runs.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use registry_core::{Control, PortDefaults, RegistryId, ServiceRegistry};
use serde_json::{Value, json};

use super::Output;
use super::output::{print, print_as, table, warn};
use crate::config::{self, Config, RegistryConfig, Source};
use crate::error::Error;
use crate::registries::{self, Built, Member, Members, names};

/// How long a registry may take to answer.
const PROBE: Duration = Duration::from_secs(10);

pub(super) async fn check(source: &Source, offline: bool, output: Output) -> Result<(), Error> {
    let config = config::load(source)?;
    let wrong: Vec<String> = config
        .registries
        .iter()
        .flat_map(registries::check_files)
        .chain(certificates(&config))
        .collect();
    if !wrong.is_empty() {
        return Err(Error::Files(wrong));
    }
    let mut backends = Vec::new();
    for registry in &config.registries {
        backends.push((registry, registries::build(registry)?));
    }
    for warning in shared_defaults(&backends) {
        warn(&format!("warning: {warning}"));
    }
    if offline {
        return print_as(output, &json!({ "registries": config.registries.len() }), |_| {
            fine(source, &config)
        });
    }
    let results: Vec<Value> = join_all(
        backends
            .into_iter()
            .map(|(registry, built)| entry(registry, built)),
    )
    .await
    .concat();
    let failed = results
        .iter()
        .any(|result| result["required"] == true && result["reachable"] == false);
    for result in &results {
        if let (Some(name), Some(remark)) = (result["name"].as_str(), result["remark"].as_str()) {
            warn(&format!("warning: registry {name}: {remark}"));
        }
    }
    print_as(output, &json!({ "registries": results }), results_table)?;
    if failed {
        return Err(Error::Unreachable);
    }
    if output == Output::Table {
        print(&format!("\n{}", fine(source, &config)))?;
    }
    Ok(())
}

/// Files of certificates that the xDS server cannot read.
#[cfg(feature = "xds")]
fn certificates(config: &Config) -> Vec<String> {
    let Some(tls) = config.xds.as_ref().and_then(|xds| xds.tls.as_ref()) else {
        return Vec::new();
    };
    let files = [("certificate", &tls.certificate), ("key", &tls.key)];
    let files = files
        .into_iter()
        .chain(tls.client_ca.iter().map(|file| ("client_ca", file)));
    files
        .filter_map(|(field, file)| {
            let error = std::fs::File::open(file).err()?;
            Some(format!(
                "xds.tls.{field}: {}: cannot be read: {error}",
                file.display()
            ))
        })
        .collect()
}

#[cfg(not(feature = "xds"))]
fn certificates(_: &Config) -> Vec<String> {
    Vec::new()
}

fn fine(source: &Source, config: &Config) -> String {
    let count = config.registries.len();
    let registries = if count == 1 { "registry" } else { "registries" };
    format!("{}: fine, {count} {registries}\n", source.label())
}

/// What comes of asking a registry, and of asking each of its members.
async fn entry(registry: &RegistryConfig, built: Built) -> Vec<Value> {
    let Built {
        registry: backend,
        members,
    } = built;
    let (name, required) = (registry.id().as_str(), registry.required);
    let Some(members) = members else {
        return vec![probe(name, required, &*backend).await];
    };
    let found = async {
        let found = members_of(registry, &*backend, members).await;
        join_all(
            found
                .iter()
                .map(|(id, member)| probe(id.as_str(), required, &*member.registry)),
        )
        .await
    };
    let (own, mut all) = tokio::join!(probe(name, required, &*backend), found);
    all.insert(0, own);
    all
}

/// The members of a registry, as far as they are found out in time. What hinders that is told by its own probe.
async fn members_of(
    registry: &RegistryConfig,
    backend: &dyn ServiceRegistry,
    mut members: Box<dyn Members>,
) -> Vec<(RegistryId, Member)> {
    let first = async {
        let control = Control::new(registry.id().clone(), PortDefaults::default());
        let mut watch = backend.watch(control).await.ok()?;
        loop {
            tokio::select! {
                set = members.next() => return set,
                batch = watch.next() => drop(batch?.ok()?),
            }
        }
    };
    let set = tokio::time::timeout(PROBE, first).await.ok().flatten();
    set.map(|set| names::assign(registry.id(), set.members))
        .unwrap_or_default()
}

async fn probe(name: &str, required: bool, backend: &dyn ServiceRegistry) -> Value {
    let problem = match tokio::time::timeout(PROBE, backend.probe()).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.report()),
        Err(_) => Some(format!("no answer within {} s", PROBE.as_secs())),
    };
    let remark = match problem {
        None => tokio::time::timeout(PROBE, backend.remark()).await.ok().flatten(),
        Some(_) => None,
    };
    json!({
        "name": name,
        "kind": backend.kind(),
        "required": required,
        "reachable": problem.is_none(),
        "problem": problem,
        "remark": remark,
    })
}

fn results_table(value: &Value) -> String {
    let rows = value["registries"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|result| {
            let text = |field: &str| result[field].as_str().unwrap_or_default().to_owned();
            [
                text("name"),
                text("kind"),
                if result["required"] == true { "yes" } else { "no" }.to_owned(),
                if result["reachable"] == true {
                    "fine".to_owned()
                } else {
                    text("problem")
                },
            ]
        });
    table(["NAME", "KIND", "REQUIRED", "RESULT"], rows)
}

/// Registries whose services have the same names only because nobody named them otherwise.
fn shared_defaults(backends: &[(&RegistryConfig, Built)]) -> Vec<String> {
    let mut by_template = BTreeMap::<String, Vec<&str>>::new();
    let mut warnings = Vec::new();
    for (registry, built) in backends
        .iter()
        .filter(|(registry, _)| registry.template().is_none())
    {
        if registries::has_members(registry) {
            warnings.push(format!(
                "all members of registry {} rely on the default hostname of their kind: where they have services of the \
                 same name these are not merged, and the first owns the name; set `hostname`, with `{{cluster}}` in it to \
                 separate them",
                registry.id()
            ));
            continue;
        }
        let names = by_template.entry(built.registry.default_hostname()).or_default();
        names.push(registry.id().as_str());
    }
    for (template, names) in &by_template {
        let set = |registry: &RegistryConfig| registry.template().is_some_and(|set| set.as_str() == template);
        let setting = backends.iter().filter(|(registry, _)| set(registry));
        let setting: Vec<&str> = setting.map(|(registry, _)| registry.id().as_str()).collect();
        for name in names.iter().filter(|_| !setting.is_empty()) {
            warnings.push(format!(
                "registry {name} relies on the default hostname {template:?}, which is that of {} as well: where they have \
                 services of the same name these are not merged, and the first owns the name; set `hostname` in {name} to \
                 merge or to separate them",
                setting.join(", ")
            ));
        }
    }
    by_template.retain(|_, names| names.len() > 1);
    warnings.extend(by_template.into_iter().map(|(template, names)| {
        format!(
            "registries {} all rely on the default hostname {template:?}: where they have services of the same name \
             these are not merged, and the first owns the name; set `hostname` in each to merge or to separate them",
            names.join(", ")
        )
    }));
    warnings
}
