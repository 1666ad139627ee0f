//! The name that somebody probably meant.

use registry_core::{Snapshot, Str};

/// How many hostnames are looked at: a mistyped name must not cost a walk over a million services.
const LOOKED_AT: usize = 20_000;

/// The hostname that somebody who asked for `name` probably meant.
pub(super) fn hostname(snapshot: &Snapshot, name: &str) -> Option<Str> {
    let name = name.to_ascii_lowercase();
    let bare = name.split('@').next().unwrap_or_default();
    let hostnames = || {
        snapshot
            .services()
            .take(LOOKED_AT)
            .map(|service| service.hostname())
    };
    let begins = |hostname: &&Str| {
        let rest = hostname.strip_prefix(bare);
        !bare.is_empty() && rest.is_some_and(|rest| rest.starts_with('.'))
    };
    // Of several that are equally near the first by name, whatever order they are stored in.
    hostnames().filter(begins).min().cloned().or_else(|| {
        let near = hostnames().filter_map(|hostname| Some((distance(bare, hostname)?, hostname)));
        near.min().map(|(_, hostname)| hostname.clone())
    })
}

/// The one of the candidates that is nearest, if one is near.
pub(super) fn among<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = candidates
        .into_iter()
        .filter_map(|candidate| Some((distance(name, candidate)?, candidate)));
    near.min().map(|(_, candidate)| candidate)
}

/// How many letters have to be added, left out or changed, where that is few: at most a quarter of them, and three.
fn distance(a: &str, b: &str) -> Option<usize> {
    let most = (a.len() / 4).clamp(1, 3);
    if a.len().abs_diff(b.len()) > most || a.len() > 300 {
        return None;
    }
    let b: Vec<u8> = b.bytes().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
        if row.iter().min().is_none_or(|least| *least > most) {
            return None;
        }
    }
    row.last().copied().filter(|distance| *distance <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_near_and_another_name_is_not() {
        let names = ["payments.mesh.internal", "orders.mesh.internal"];
        assert_eq!(among("paymets.mesh.internal", names), Some(names[0]));
        assert_eq!(among("order.mesh.internl", names), Some(names[1]));
        assert_eq!(among("invoices.mesh.internal", names), None);
        assert_eq!(among("", names), None);
        assert_eq!(among("namspace", ["host", "namespace"]), Some("namespace"));
    }
}
