//! Names of members: `entry/member`, of which no two are the same.

use registry_core::RegistryId;
use xxhash_rust::xxh3::xxh3_64;

use super::Member;

/// Letters of a suffix that tells names apart.
const SUFFIX: usize = 8;

/// Gives each member the name of its registry. It depends on the set alone, not on its order: of several that would
/// have the same name, the one keeps it that was called so from the beginning, or else the first; the others get a
/// suffix, as do names that are too long.
pub(crate) fn assign(entry: &RegistryId, mut members: Vec<Member>) -> Vec<(RegistryId, Member)> {
    members.sort_by_cached_key(|member| {
        let plain = RegistryId::member(entry, &member.name).ok();
        let altered = plain
            .as_ref()
            .is_none_or(|id| !id.as_str().ends_with(&format!("/{}", member.name)));
        (altered, member.name.clone(), member.fingerprint)
    });
    let mut named: Vec<(RegistryId, Member)> = Vec::with_capacity(members.len());
    for member in members {
        let free = |id: &RegistryId| !named.iter().any(|(taken, _)| taken == id);
        let plain = RegistryId::member(entry, &member.name).ok().filter(free);
        match plain.or_else(|| with_suffix(entry, &member.name).filter(free)) {
            Some(id) => named.push((id, member)),
            // Two of exactly the same name, which their source should not have.
            None => {
                tracing::error!(registry = %entry, member = member.name, "left out, as its name is taken");
            }
        }
    }
    named
}

fn with_suffix(entry: &RegistryId, name: &str) -> Option<RegistryId> {
    let suffix = format!("{:016x}", xxh3_64(name.as_bytes()));
    let room = RegistryId::MAX_LENGTH.checked_sub(entry.as_str().len() + 1 + SUFFIX + 1)?;
    // One character of the name is at most one of the result, if it is a lower-case letter at all.
    let start: String = name.chars().take(room).filter(char::is_ascii).collect();
    RegistryId::member(entry, &format!("{start}-{}", &suffix[..SUFFIX])).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use registry_core::StaticRegistry;

    use super::*;

    fn assigned(names: &[&str]) -> Vec<(String, String)> {
        let members = names.iter().map(|name| Member {
            name: (*name).to_owned(),
            registry: Arc::new(StaticRegistry::new([])),
            fingerprint: 0,
        });
        let entry = "clusters".parse().unwrap();
        let mut pairs: Vec<(String, String)> = assign(&entry, members.collect())
            .into_iter()
            .map(|(id, member)| (member.name, id.to_string()))
            .collect();
        pairs.sort();
        pairs
    }

    fn of(pairs: &[(String, String)], name: &str) -> String {
        pairs.iter().find(|(of, _)| of == name).unwrap().1.clone()
    }

    #[test]
    fn names_depend_on_the_set_and_not_on_its_order() {
        let names = ["EU_1", "eu-1", "Eu-1", "us.east"];
        let pairs = assigned(&names);
        assert_eq!(pairs.len(), 4);
        assert_eq!(of(&pairs, "eu-1"), "clusters/eu-1");
        assert_eq!(of(&pairs, "us.east"), "clusters/us.east");
        for clash in ["EU_1", "Eu-1"] {
            let id = of(&pairs, clash);
            assert!(
                id.starts_with("clusters/eu-1-") && id.len() == "clusters/eu-1-".len() + SUFFIX,
                "{id}"
            );
        }
        assert_ne!(of(&pairs, "EU_1"), of(&pairs, "Eu-1"));
        let mut reversed = names;
        reversed.reverse();
        assert_eq!(assigned(&reversed), pairs);
    }

    #[test]
    fn a_name_that_is_too_long_or_has_no_letters_gets_a_suffix_or_dashes() {
        let long = "x".repeat(100);
        let other = format!("{long}y");
        let pairs = assigned(&[&long, &other, "東京"]);
        assert_eq!(of(&pairs, &long).len(), RegistryId::MAX_LENGTH);
        assert_ne!(of(&pairs, &long), of(&pairs, &other));
        assert_eq!(of(&pairs, "東京"), "clusters/--");
    }

    #[test]
    fn the_second_of_two_that_are_called_the_same_gets_a_suffix_and_the_third_is_left_out() {
        assert_eq!(assigned(&["a", "a", "a"]).len(), 2);
    }
}
