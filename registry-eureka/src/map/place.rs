//! Where an instance runs, and its share of the traffic.

use super::{fits, of_data_center, of_metadata, told};
use crate::config::EurekaConfig;
use crate::wire::Instance;

/// Zone and region, each empty where nothing tells.
///
/// The zone is that of the metadata, else that of an Amazon data centre. The region is that of the metadata, else the
/// configured one, else what the Amazon zone says.
pub(super) fn zone_and_region<'t>(
    instance: &'t Instance<'_>,
    config: &'t EurekaConfig,
) -> (&'t str, &'t str) {
    let amazon = of_data_center(instance, "availability-zone").filter(|zone| fits(zone));
    let zone = of_metadata(instance, &config.metadata.zone)
        .filter(|zone| fits(zone))
        .or(amazon);
    let region = of_metadata(instance, &config.metadata.region)
        .filter(|region| fits(region))
        .or(config.region.as_deref())
        .or_else(|| amazon_region(amazon?));
    (zone.unwrap_or_default(), region.unwrap_or_default())
}

/// `us-east-1` of `us-east-1c`, and of the local zone `us-east-1-bos-1a`: all up to the first number.
fn amazon_region(zone: &str) -> Option<&str> {
    let number = zone.match_indices('-').find_map(|(dash, _)| {
        let rest = &zone[dash + 1..];
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        (digits > 0).then_some(dash + 1 + digits)
    });
    number.map(|end| &zone[..end])
}

/// The machine: Amazon's id of it, else its host name.
pub(super) fn node<'t>(instance: &'t Instance<'_>) -> &'t str {
    of_data_center(instance, "instance-id")
        .or_else(|| told(instance.host_name.as_ref()))
        .filter(|node| fits(node))
        .unwrap_or_default()
}

/// The weight of the metadata. What is no whole number counts as not told.
pub(super) fn weight(instance: &Instance<'_>, config: &EurekaConfig) -> u32 {
    of_metadata(instance, &config.metadata.weight)
        .and_then(|weight| weight.trim().parse().ok())
        .unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_of_amazon_says_its_region() {
        for (zone, region) in [
            ("us-east-1c", Some("us-east-1")),
            ("us-gov-west-1a", Some("us-gov-west-1")),
            ("us-east-1-bos-1a", Some("us-east-1")),
            ("ap-south-12b", Some("ap-south-12")),
            ("defaultZone", None),
            ("eu-west", None),
            ("", None),
            ("-", None),
        ] {
            assert_eq!(amazon_region(zone), region, "{zone}");
        }
    }
}
