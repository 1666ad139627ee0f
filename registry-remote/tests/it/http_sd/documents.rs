//! Documents in the shapes that exporters write them, from bytes to services.

use std::path::{Path, PathBuf};

use registry_core::ServiceRecord;
use registry_remote::{HttpSdConfig, LabelNames};

use super::pages::Pages;
use super::watching::{Watching, config, config_of};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/http-sd")
        .join(name)
}

fn names(name: &str) -> Vec<String> {
    vec![name.to_owned()]
}

/// A line for each target: service, target, zone or region, and the names of its labels.
fn lines(record: &ServiceRecord) -> Vec<String> {
    let line = |endpoint: &registry_core::Endpoint| {
        let locality = endpoint.locality();
        let labels: Vec<&str> = endpoint.labels().iter().map(|(key, _)| key.as_str()).collect();
        let (id, region, zone) = (endpoint.id(), &locality.region, &locality.zone);
        format!("{} {id} {region}/{zone} {}", record.id(), labels.join(","))
    };
    let mut lines: Vec<String> = record.endpoints().iter().map(|endpoint| line(endpoint)).collect();
    if lines.is_empty() {
        lines.push(format!("{} -", record.id()));
    }
    lines.sort();
    lines
}

/// What a document says, from a file and from a URL.
async fn assert_says(name: &str, change: impl Fn(&mut HttpSdConfig), expected: &[&str]) {
    let mut of_file = HttpSdConfig {
        files: vec![fixture(name)],
        ..config()
    };
    let pages = Pages::start(&std::fs::read_to_string(fixture(name)).unwrap()).await;
    if name.ends_with(".yml") {
        pages.change(|page| page.content_type = Some("application/yaml".to_owned()));
    }
    let mut of_url = config_of(&pages.url());
    for config in [&mut of_file, &mut of_url] {
        change(config);
        let watching = Watching::listed(config.clone()).await;
        let said: Vec<String> = watching.records.values().flat_map(lines).collect();
        assert_eq!(said, expected, "{name}");
    }
}

#[tokio::test]
async fn the_example_of_prometheus_documentation() {
    let zones = |config: &mut HttpSdConfig| config.labels.zone = names("__meta_datacenter");
    assert_says(
        "prometheus-docs.json",
        zones,
        &[
            "alertmanager 10.0.40.2:9093 /paris ",
            "alertmanager [2001:db8:40::3]:9093 /paris ",
            "node 10.0.10.2:9100 /london ",
            "node 10.0.10.3:9100 /london ",
            "node 10.0.10.4:9100 /london ",
            "node 10.0.40.2:9100 /paris ",
        ],
    )
    .await;
}

#[tokio::test]
async fn the_devices_of_an_inventory_without_ports() {
    let labels = |config: &mut HttpSdConfig| {
        config.labels = LabelNames {
            service: names("__meta_netbox_role_slug"),
            zone: names("__meta_netbox_site_slug"),
            ..LabelNames::default()
        };
    };
    assert_says(
        "netbox.json",
        labels,
        &[
            "edge-router edge-1.ams1.example.net /ams1 ",
            "edge-router edge-1.fra2.example.net /fra2 ",
        ],
    )
    .await;
}

#[tokio::test]
async fn the_exporters_of_a_configuration_database() {
    let kept = "certname,host,job,metrics_path,scheme";
    let lines = [
        format!("node db-1.example.com:9100 / {kept}"),
        format!("node web-1.example.com:9100 / {kept}"),
        format!("postgres db-1.example.com:9187 / {kept}"),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert_says("puppetdb.json", |_| {}, &lines).await;
}

#[tokio::test]
async fn files_that_are_written_by_hand() {
    assert_says(
        "file-sd.yml",
        |_| {},
        &[
            "blackbox blackbox-1:9115 / job,on",
            "node 10.1.0.1:9100 eu/ job,rack,region",
            "node 10.1.0.2:9100 eu/ job,rack,region",
            "retired -",
        ],
    )
    .await;
}

#[tokio::test]
async fn documents_of_programs_that_write_null_for_nothing() {
    let fixed = |config: &mut HttpSdConfig| config.service = Some("web".to_owned());
    assert_says("go-empty.json", fixed, &["web 10.2.0.1:80 / "]).await;
}
