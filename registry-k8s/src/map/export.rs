//! A ServiceExport, and what it makes of the Service of its name.

use std::sync::Arc;

use registry_core::{Interner, Labels, Resolution, ServiceId, ServiceMeta, ServicePort, Str};

use super::service::{Terms, created, variables};
use crate::index::Mapping;
use crate::view::{ANNOTATION, EXPORT, INVALID_SERVICE_TYPE, NO_SERVICE, VALID};
use crate::wire;

/// Maps an export as if it were all there is of the service: only what it exports of labels and annotations, the latter as
/// metadata, and when it was made.
pub(crate) fn export(
    export: &wire::Export<'_>,
    mapping: &Mapping,
    interner: &mut Interner,
) -> Arc<ServiceMeta> {
    let (metadata, spec) = (&export.metadata, &export.spec);
    let namespace = interner.text(&metadata.namespace);
    let id = ServiceId::new(namespace.clone(), namespace, &*metadata.name);
    let labels: Labels = spec
        .exported_labels
        .iter()
        .map(|(key, value)| (interner.text(key), interner.text(value)))
        .collect();
    let annotations: Labels = spec
        .exported_annotations
        .iter()
        .map(|(key, value)| {
            (
                interner.text(&format!("{ANNOTATION}{}", &**key)),
                Str::from(&**value),
            )
        })
        .collect();
    ServiceMeta::builder(id)
        .labels(labels)
        .metadata(annotations)
        .variables(variables(mapping, interner))
        .created(created(&metadata.creation_timestamp))
        .build()
}

/// What an export and the Service of its name come to, with these ports. One that exports nothing has no ports, and
/// takes part in no merge.
pub(crate) fn joined(
    export: &ServiceMeta,
    service: Option<(&ServiceMeta, &Terms)>,
    ports: Vec<ServicePort>,
) -> Arc<ServiceMeta> {
    let nothing = || export.to_builder().resolution(Resolution::Nothing);
    let (builder, said, worth) = match service {
        None => (nothing(), None, NO_SERVICE),
        Some((service, Terms::External(_))) => (nothing(), Some(service), INVALID_SERVICE_TYPE),
        Some((service, Terms::Slices { .. })) => {
            let builder = service.to_builder().ports(ports);
            let builder = builder.labels(export.labels().clone()).created(export.created());
            (builder, Some(service), VALID)
        }
    };
    let said = said.into_iter().flat_map(|service| service.metadata().iter());
    let metadata: Labels = said
        .chain(export.metadata().iter())
        .map(|(key, value)| (key.clone(), value.clone()))
        .chain([(Str::from(EXPORT), Str::from(worth))])
        .collect();
    builder.metadata(metadata).build()
}
