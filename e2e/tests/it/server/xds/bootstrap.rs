//! A bootstrap as it is printed is all that Envoy needs (acceptance 1).

use registry_testkit::envoy::{Envoy, Options, Version};
use registry_testkit::ports;
use registry_testkit::upstream::{Kind, Upstream, client};
use tokio::time::Instant;

use super::fleet::{Api, Fleet};
use crate::daemon::DEADLINE;

#[tokio::test]
async fn acceptance_1_a_printed_bootstrap_is_valid_and_leads_to_the_first_answer() {
    let web = Upstream::start("web-1", Kind::Http).await.unwrap();
    let mut fleet = Fleet::new();
    let services = format!(
        "services:\n  - name: web\n    ports: [{{ name: http, number: 80 }}]\n    endpoints: [{{ address: 127.0.0.1, ports: {{ http: {} }} }}]\n",
        web.port()
    );
    fleet.daemon.write("vms.yaml", &services);
    let registries =
        "registries: [{ name: vms, hostname: \"{name}.mesh.internal\", file: { path: vms.yaml } }]\n";
    fleet.start(&format!("{}{registries}", fleet.head(""))).await;

    for version in [Version::V1_40, Version::V1_36] {
        for api in [Api::Delta, Api::Sotw] {
            let admin = ports::free(1).unwrap()[0].to_string();
            let mut arguments = vec![
                "bootstrap",
                "envoy",
                "--config",
                "registryd.yaml",
                "--admin-port",
                &admin,
            ];
            arguments.extend((api == Api::Sotw).then_some("--sotw"));
            let bootstrap = fleet.daemon.prints(&arguments);
            let api_type = match api {
                Api::Sotw => "api_type: GRPC\n",
                Api::Delta => "api_type: DELTA_GRPC\n",
            };
            assert!(bootstrap.contains(api_type), "{bootstrap}");
            Envoy::validate(&bootstrap, version).await.unwrap();

            let start = Instant::now();
            let options = Options {
                version,
                ..Options::default()
            };
            let mut envoy = Envoy::start(&bootstrap, &options).await.unwrap();
            envoy.ready(DEADLINE).await.unwrap();
            let ready = start.elapsed();
            // It says that it is ready: then everything is there.
            let answer = client::http(fleet.outbound(), "web.mesh.internal", "/")
                .await
                .unwrap();
            assert_eq!((answer.status, answer.body.as_str()), (200, "web-1"));
            let answered = start.elapsed();
            println!("{version:?} {api:?}: ready after {ready:?}, the first answer after {answered:?}");
            assert!(answered < DEADLINE, "{answered:?}");
        }
    }
}
