//! VIP names: what clients of Eureka look services up by, beside the names of applications.
//!
//! Each is an alias of the service. Where several applications have one VIP, the alias leads to the one whose hostname
//! comes first in the order of letters, whichever registered first; and a service whose own hostname is that name goes
//! before all of them. With the last instance of an application that has a VIP, its claim to it goes.

use super::told;
use crate::wire::Instance;

/// The longest name that anyone could look up in DNS.
const LONGEST: usize = 253;

/// The VIP names of an instance in lower case, plain and secure ones, sorted.
pub(crate) fn of(instance: &Instance<'_>) -> Vec<String> {
    let lists = [&instance.vip_address, &instance.secure_vip_address];
    let host = told(instance.host_name.as_ref());
    let mut names: Vec<String> = lists
        .into_iter()
        .filter_map(|list| told(list.as_ref()))
        .flat_map(|list| list.split(','))
        .filter_map(|entry| name(entry.trim(), host))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The name that an entry of a VIP list stands for.
fn name(entry: &str, host: Option<&str>) -> Option<String> {
    let (name, port) = match entry.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit()) => (name, true),
        _ => (entry, false),
    };
    // An instance that was given no VIP says its own host and port: that names a machine, not a service.
    let is_default = port && host.is_some_and(|host| host.eq_ignore_ascii_case(name));
    let name = name.strip_suffix('.').unwrap_or(name);
    let usable = !name.is_empty()
        && name.len() <= LONGEST
        && !name.contains(|c: char| c.is_whitespace() || c.is_control());
    (usable && !is_default).then(|| name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vips(vip: &str, secure: &str, host: &str) -> Vec<String> {
        of(&Instance {
            vip_address: Some(vip.into()),
            secure_vip_address: Some(secure.into()),
            host_name: Some(host.into()),
            ..Instance::default()
        })
    }

    #[test]
    fn every_name_of_both_lists_is_taken_once() {
        assert_eq!(
            vips("orders, Orders-Alt ,,orders", "orders-s,orders", "h1"),
            ["orders", "orders-alt", "orders-s"]
        );
        assert!(vips("", " , ", "h1").is_empty());
    }

    #[test]
    fn the_port_of_a_name_is_no_part_of_it() {
        assert_eq!(
            vips("orders:7001,a:b,:7001", "pay.mesh.:443", "h1"),
            ["a:b", "orders", "pay.mesh"]
        );
    }

    #[test]
    fn the_host_and_port_that_stand_for_no_vip_are_none() {
        assert!(vips("H1.example:7001", "h1.example:7002", "h1.example").is_empty());
        assert_eq!(
            vips("orders", "", "orders"),
            ["orders"],
            "without a port it was meant"
        );
    }

    #[test]
    fn what_nobody_could_look_up_is_left_out() {
        let long = "x".repeat(254);
        assert!(vips(&format!("a b,{long},a\u{7}"), "", "h1").is_empty());
    }
}
