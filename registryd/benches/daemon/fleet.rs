//! From a change in Consul to the Envoy that it is for.

use std::time::Duration;

use registry_testkit::consul::{Consul, ConsulApi, instance_id, service_check_id, service_name};
use registry_testkit::envoy::{Envoy, Options};
use registry_testkit::ports;
use tokio::time::Instant;

use super::daemon::{Daemon, errors, output, printed};
use super::{DEADLINE, INSTANCES, Latencies, NODES, Outcome, row, synced};

/// Services, one instance of which fails or recovers each time.
const SERVICES: usize = 10;

/// The time runs from before the request to Consul until Envoy's administration interface shows one host less, or more.
pub(crate) async fn changes(count: usize) -> Outcome {
    let consul = Consul::builder().start().await?;
    consul.api().register_services(SERVICES, INSTANCES, NODES).await?;
    let [xds, outbound, admin] = ports::free(3)?[..] else {
        return Err("three ports".into());
    };
    let config = format!(
        "http: {{ listen: \"127.0.0.1:0\" }}\n\
         xds: {{ listen: \"127.0.0.1:{xds}\", outbound: {{ listen: \"127.0.0.1:{outbound}\" }} }}\n\
         registries:\n  - name: consul\n    consul:\n      address: {}\n",
        consul.url()
    );
    let daemon = Daemon::start(&[("registryd.yaml", &config)]).await;
    synced(&daemon, SERVICES + 1).await?;

    let admin = admin.to_string();
    let arguments = [
        "bootstrap",
        "envoy",
        "--config",
        "registryd.yaml",
        "--admin-port",
        &admin,
    ];
    let said = output(daemon.directory(), &arguments);
    if !said.status.success() {
        return Err(errors(&said).into());
    }
    let mut envoy = Envoy::start(&printed(&said), &Options::default()).await?;
    envoy.ready(DEADLINE).await?;
    for service in 0..SERVICES {
        shows(&envoy, service, INSTANCES).await?;
    }

    let mut times = Vec::with_capacity(count);
    for change in 0..count {
        let (service, instance) = (change / 2 % SERVICES, change / 2 / SERVICES % INSTANCES);
        let (status, hosts) = match change % 2 {
            0 => ("critical", INSTANCES - 1),
            _ => ("passing", INSTANCES),
        };
        let node = ConsulApi::instance_node(service, instance, INSTANCES, NODES);
        let check = service_check_id(service, instance);
        let id = instance_id(service, instance);
        let started = Instant::now();
        consul.api().set_check(&node, &check, Some(&id), status).await?;
        shows(&envoy, service, hosts).await?;
        times.push(started.elapsed());
    }
    let found = Latencies::of(times);
    Ok(vec![row(
        &format!("change in Consul to Envoy's /clusters, {count} changes"),
        found.to_string(),
        "p99 150 ms",
        found.p99 < Duration::from_millis(150),
    )])
}

/// Waits until the cluster of a service has that many hosts.
async fn shows(envoy: &Envoy, service: usize, hosts: usize) -> Result<(), Box<dyn std::error::Error>> {
    let name = format!("|{}.service.consul", service_name(service));
    let started = Instant::now();
    loop {
        let all = envoy.hosts().await?;
        let cluster = all.iter().find(|(cluster, _)| cluster.ends_with(&name));
        if cluster.is_some_and(|(_, held)| held.len() == hosts) {
            return Ok(());
        }
        if started.elapsed() > DEADLINE {
            return Err(format!("not {hosts} hosts of {name} within {DEADLINE:?}: {all:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
