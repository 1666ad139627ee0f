//! What was read, written again as servers write it.

use std::borrow::Cow;
use std::fmt::Write;

use super::Registry;
use crate::wire::{Instance, Port};

/// The fields of an instance that are texts.
pub(super) fn texts<'i>(instance: &'i Instance<'_>) -> [(&'static str, Option<&'i str>); 8] {
    [
        ("instanceId", instance.instance_id.as_deref()),
        ("app", instance.app.as_deref()),
        ("hostName", instance.host_name.as_deref()),
        ("ipAddr", instance.ip_addr.as_deref()),
        ("vipAddress", instance.vip_address.as_deref()),
        ("secureVipAddress", instance.secure_vip_address.as_deref()),
        ("asgName", instance.asg_name.as_deref()),
        ("appGroupName", instance.app_group_name.as_deref()),
    ]
}

/// All fields of an instance that are written as one text.
fn fields(instance: &Instance<'_>) -> Vec<(&'static str, String)> {
    let mut fields = vec![
        ("status", instance.status.as_str().to_owned()),
        ("overriddenstatus", instance.overridden.as_str().to_owned()),
        ("actionType", format!("{:?}", instance.action).to_uppercase()),
    ];
    let texts = texts(instance).into_iter();
    fields.extend(texts.filter_map(|(name, text)| Some((name, text?.to_owned()))));
    let times = [
        ("lastUpdatedTimestamp", instance.last_updated),
        ("lastDirtyTimestamp", instance.last_dirty),
    ];
    let times = times.into_iter();
    fields.extend(times.filter_map(|(name, time)| Some((name, time?.to_string()))));
    fields
}

/// A registry in JSON.
pub(super) fn json(registry: &Registry<'_>) -> String {
    let applications = registry.applications.iter().map(|application| {
        let instances: Vec<String> = application.instances.iter().map(json_instance).collect();
        let (name, instances) = (quoted(&application.name), instances.join(","));
        format!("{{\"instance\":[{instances}],\"name\":{name}}}")
    });
    let applications: Vec<String> = applications.collect();
    let hash = registry.head.hash.as_deref().map_or("null".to_owned(), quoted);
    format!(
        "{{\"applications\":{{\"application\":[{}],\"apps__hashcode\":{hash}}}}}",
        applications.join(",")
    )
}

fn json_instance(instance: &Instance<'_>) -> String {
    let entries = |entries: &[(Cow<'_, str>, Cow<'_, str>)]| {
        let entry =
            |(key, value): &(Cow<'_, str>, Cow<'_, str>)| format!("{}:{}", quoted(key), quoted(value));
        entries.iter().map(entry).collect::<Vec<_>>().join(",")
    };
    let port = |port: Port| {
        let number = port
            .number
            .map_or(String::new(), |number| format!("\"$\":{number},"));
        format!("{{{number}\"@enabled\":\"{}\"}}", port.enabled)
    };
    let fields = fields(instance).into_iter();
    let fields: String = fields.fold(String::new(), |fields, (name, text)| {
        format!("{fields}\"{name}\":{},", quoted(&text))
    });
    format!(
        "{{{fields}\"port\":{},\"securePort\":{},\"dataCenterInfo\":{{\"metadata\":{{{}}}}},\"metadata\":{{{}}}}}",
        port(instance.port),
        port(instance.secure_port),
        entries(&instance.data_center),
        entries(&instance.metadata)
    )
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A registry in XML.
pub(super) fn xml(registry: &Registry<'_>) -> String {
    let mut xml = "<applications>".to_owned();
    for application in &registry.applications {
        xml += "\n<application>\n";
        element(&mut xml, "name", &application.name);
        application
            .instances
            .iter()
            .for_each(|instance| xml_instance(&mut xml, instance));
        xml += "</application>";
    }
    if let Some(hash) = &registry.head.hash {
        element(&mut xml, "apps__hashcode", hash);
    }
    xml + "</applications>"
}

fn xml_instance(xml: &mut String, instance: &Instance<'_>) {
    *xml += "<instance>\n";
    for (name, text) in fields(instance) {
        element(xml, name, &text);
    }
    for (name, port) in [("port", instance.port), ("securePort", instance.secure_port)] {
        let number = port.number.map_or(String::new(), |number| number.to_string());
        let _ = write!(xml, "<{name} enabled=\"{}\">{number}</{name}>", port.enabled);
    }
    *xml += "<dataCenterInfo>";
    metadata(xml, &instance.data_center);
    *xml += "</dataCenterInfo>";
    metadata(xml, &instance.metadata);
    *xml += "</instance>";
}

fn metadata(xml: &mut String, entries: &[(Cow<'_, str>, Cow<'_, str>)]) {
    *xml += "<metadata>";
    for (key, value) in entries {
        let name = key.chars().fold(String::new(), |mut name, character| {
            let _ = match character {
                '_' => write!(name, "__"),
                '$' => write!(name, "_-"),
                _ if character.is_ascii_alphanumeric() || character > '\u{ffff}' => {
                    write!(name, "{character}")
                }
                _ => write!(name, "_.{:04x}", u32::from(character)),
            };
            name
        });
        element(xml, &name, value);
    }
    *xml += "</metadata>";
}

fn element(xml: &mut String, name: &str, text: &str) {
    let _ = write!(xml, "<{name}>");
    for character in text.chars() {
        let _ = match character {
            '<' | '&' | '>' | '\0'..'\t' | '\r' => write!(xml, "&#x{:x};", u32::from(character)),
            _ => write!(xml, "{character}"),
        };
    }
    let _ = write!(xml, "</{name}>");
}
