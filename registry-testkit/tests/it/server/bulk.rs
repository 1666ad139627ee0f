//! Many services.

use registry_testkit::consul::{Consul, ConsulApi, instance_id, node_name, service_check_id, service_name};

#[tokio::test]
async fn services_are_registered_in_bulk() {
    let consul = Consul::builder().start().await.unwrap();
    let api = consul.api();
    api.register_services(300, 5, 20).await.unwrap();
    let services = api.get("/v1/catalog/services").await.unwrap();
    // And Consul itself.
    assert_eq!(services.as_object().unwrap().len(), 301);
    let nodes = api.get("/v1/catalog/nodes").await.unwrap();
    assert_eq!(nodes.as_array().unwrap().len(), 21);
    assert!(nodes.to_string().contains(&node_name(19)));

    let path = format!("/v1/health/service/{}?passing", service_name(299));
    assert_eq!(api.get(&path).await.unwrap().as_array().unwrap().len(), 5);
    let node = ConsulApi::instance_node(299, 2, 5, 20);
    api.set_check(
        &node,
        &service_check_id(299, 2),
        Some(&instance_id(299, 2)),
        "critical",
    )
    .await
    .unwrap();
    assert_eq!(api.get(&path).await.unwrap().as_array().unwrap().len(), 4);
}
