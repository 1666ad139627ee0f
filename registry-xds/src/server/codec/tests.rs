use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::ControlPlane;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryResponse, DiscoveryResponse, Resource as DeltaResource, ResourceError, ResourceName,
};
use envoy_types::pb::google::protobuf::Any;
use envoy_types::pb::google::rpc;

use super::*;
use crate::resource::ResourceType;

fn response(variant: Variant, resources: usize) -> Response {
    let resource = |n: usize| {
        let name = format!("outbound|80||web-{n}.mesh.internal");
        let cluster = Cluster {
            name: name.clone(),
            alt_stat_name: "x".repeat(n % 300),
            ..Cluster::default()
        };
        Arc::new(Resource::new(ResourceType::Cluster, name, &cluster))
    };
    Response {
        variant,
        type_: ResourceType::Cluster,
        version: "0123456789abcdef".to_owned(),
        nonce: "7".to_owned(),
        resources: (0..resources).map(resource).collect(),
        removed: match variant {
            Variant::Sotw => Vec::new(),
            Variant::Delta => vec!["gone".into(), "never".into()],
        },
        errors: vec![("nosuch".into(), "no service of this name".to_owned())],
    }
}

/// All of it, piece by piece, without the prefix; each piece fits, but for a last resource.
fn written(mut outgoing: Outgoing, full: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while outgoing.left() > 0 {
        let before = outgoing.left();
        let mut piece = BytesMut::new();
        outgoing.fill(&mut piece, full);
        assert!(!piece.is_empty());
        assert!(piece.len() <= full + 1000, "{} of {full}", piece.len());
        assert_eq!(before - outgoing.left(), piece.len());
        all.extend_from_slice(&piece);
    }
    assert_eq!(all[0], 0);
    let length = u32::from_be_bytes(all[1..PREFIX].try_into().unwrap());
    assert_eq!(length as usize, all.len() - PREFIX);
    all.split_off(PREFIX)
}

fn plane() -> Option<ControlPlane> {
    Some(ControlPlane {
        identifier: "here".to_owned(),
    })
}

fn errors() -> Vec<ResourceError> {
    vec![ResourceError {
        resource_name: Some(ResourceName {
            name: "nosuch".to_owned(),
            dynamic_parameter_constraints: None,
        }),
        error_detail: Some(rpc::Status {
            code: 5,
            message: "no service of this name".to_owned(),
            details: Vec::new(),
        }),
    }]
}

#[test]
fn a_response_of_the_state_of_the_world_says_what_prost_would_have_said() {
    for count in [0, 1, 700] {
        let response = response(Variant::Sotw, count);
        let expected = DiscoveryResponse {
            version_info: response.version.clone(),
            resources: response
                .resources
                .iter()
                .map(|resource| Any::decode(resource.any()).unwrap())
                .collect(),
            canary: false,
            type_url: ResourceType::Cluster.url().to_owned(),
            nonce: "7".to_owned(),
            control_plane: plane(),
            resource_errors: errors(),
        };
        let bytes = written(Outgoing::new(response, "here").unwrap(), 4096);
        assert_eq!(DiscoveryResponse::decode(&bytes[..]).unwrap(), expected);
        assert_eq!(bytes.len(), expected.encoded_len());
    }
}

#[test]
fn a_delta_response_says_what_prost_would_have_said() {
    for count in [0, 1, 700] {
        let response = response(Variant::Delta, count);
        let expected = DeltaDiscoveryResponse {
            system_version_info: response.version.clone(),
            resources: response
                .resources
                .iter()
                .map(|resource| DeltaResource::decode(resource.delta()).unwrap())
                .collect(),
            type_url: ResourceType::Cluster.url().to_owned(),
            removed_resources: vec!["gone".to_owned(), "never".to_owned()],
            removed_resource_names: Vec::new(),
            nonce: "7".to_owned(),
            control_plane: plane(),
            resource_errors: errors(),
        };
        let bytes = written(Outgoing::new(response, "here").unwrap(), 4096);
        assert_eq!(DeltaDiscoveryResponse::decode(&bytes[..]).unwrap(), expected);
        assert_eq!(bytes.len(), expected.encoded_len());
    }
}

#[test]
fn what_is_no_request_is_refused_with_a_status() {
    for variant in [Variant::Sotw, Variant::Delta] {
        assert!(decode(variant, Bytes::new()).is_ok(), "a message without fields");
        let error = decode(variant, Bytes::from_static(&[0x0a, 0xff, 0xff])).unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
    }
}

#[test]
fn a_request_is_weighed_before_it_is_read() {
    let code = |variant, tag, pieces: usize, length: usize| {
        let mut request = Vec::new();
        for _ in 0..pieces {
            put_field(&mut request, tag, &vec![b'a'; length]);
        }
        decode(variant, request.into()).err().map(|status| status.code())
    };
    let too_much = Some(Code::ResourceExhausted);
    assert_eq!(code(Variant::Sotw, 3, 100_000, 60), None);
    for (variant, tag) in [(Variant::Sotw, 3), (Variant::Delta, 3), (Variant::Delta, 5)] {
        assert_eq!(code(variant, tag, 1 << 20, 1), too_much, "{variant:?} {tag}");
    }
    // An error has a list of details, a node its metadata: a few of them are enough.
    assert_eq!(code(Variant::Sotw, 5, 1, 1 << 20), too_much);
    assert_eq!(code(Variant::Delta, 1, 1 << 10, 1 << 10), too_much);
    // A key without a value, and a length beyond the end.
    for broken in [&[0x1a][..], &[0x1a, 9, b'a']] {
        let status = decode(Variant::Sotw, Bytes::from_static(broken)).unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
    }
}
