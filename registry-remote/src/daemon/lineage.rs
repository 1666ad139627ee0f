//! Loops: a daemon that gets back what it said itself would hold it up for ever.
//!
//! Every daemon has a name of its own, made up at its start, and shows those of the daemons behind it. Who finds its own
//! name there refuses to take anything from that parent until it is gone. A service cannot come round before the name
//! does: a daemon publishes both together, and the registries stand before the services in what it sends.

use registry_core::{Behind, InstanceId};

/// Where this daemon itself stands behind a parent.
#[derive(Debug)]
pub(super) struct Loop {
    /// The registries behind the parent, cut off where this one comes round: what it watches itself is behind it in
    /// turn, and would grow with every round.
    pub(super) cut: Vec<Behind>,
    /// The ways to this daemon.
    pub(super) ways: Vec<String>,
}

impl Loop {
    /// Looks for this daemon among what is behind a parent.
    pub(super) fn find(own: InstanceId, behind: &[Behind]) -> Option<Self> {
        let mut ways = Vec::new();
        let cut = cut(own, behind, "", &mut ways);
        (!ways.is_empty()).then_some(Self { cut, ways })
    }

    /// True where something that came by that way came from this daemon itself.
    pub(super) fn is_own(&self, way: &str) -> bool {
        let mut ways = self.ways.iter();
        ways.any(|own| {
            way.strip_prefix(own.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

fn cut(own: InstanceId, behind: &[Behind], before: &str, ways: &mut Vec<String>) -> Vec<Behind> {
    let one = |registry: &Behind| {
        let way = format!("{before}{}", registry.id);
        let behind = if registry.instance == Some(own) {
            ways.push(way);
            Vec::new()
        } else {
            cut(own, &registry.behind, &format!("{way}/"), ways)
        };
        Behind {
            behind: behind.into(),
            ..registry.clone()
        }
    };
    behind.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use registry_core::Phase;

    use super::*;

    fn daemon(id: &str, instance: InstanceId, behind: impl IntoIterator<Item = Behind>) -> Behind {
        Behind {
            instance: Some(instance),
            behind: behind.into_iter().collect(),
            ..Behind::new(id.parse().unwrap(), "registryd", Phase::Synced)
        }
    }

    #[test]
    fn its_own_name_is_found_at_any_depth_and_nothing_behind_it_is_kept() {
        let [own, b, c] = [(); 3].map(|()| InstanceId::random());
        let vms = Behind::new("vms".parse().unwrap(), "file", Phase::Synced);
        let innocent = [vms.clone(), daemon("c", c, [vms.clone()])];
        assert!(Loop::find(own, &innocent).is_none());

        let round = [
            vms.clone(),
            daemon("c", c, [daemon("a", own, [daemon("b", b, [vms])])]),
        ];
        let found = Loop::find(own, &round).unwrap();
        assert_eq!(found.ways, ["c/a"]);
        assert_eq!(found.cut[1].behind[0].instance, Some(own));
        assert!(found.cut[1].behind[0].behind.is_empty());
        for (way, is_own) in [
            ("c/a", true),
            ("c/a/vms", true),
            ("c", false),
            ("c/abc", false),
            ("vms", false),
        ] {
            assert_eq!(found.is_own(way), is_own, "{way}");
        }
    }
}
