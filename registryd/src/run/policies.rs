//! Policies of the merge while registries leave: they had their hostnames by the rules of a configuration that is no longer
//! in force, and nobody should see their services merged in another way just because they are about to go.

use registry_core::{Discovery, Pattern};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::config::{Config, PolicyName};

/// The policies of a discovery that runs.
#[derive(Debug)]
pub(super) struct Policies {
    discovery: Discovery,
    /// Rules that no configuration has any more, which come after those of the one in force.
    former: Vec<(Pattern, PolicyName)>,
    /// Ends these rules.
    end: Option<AbortOnDropHandle<()>>,
}

impl Policies {
    pub(super) fn new(discovery: Discovery) -> Self {
        Self {
            discovery,
            former: Vec::new(),
            end: None,
        }
    }

    /// Puts the rules of a new configuration in force, and keeps after them those that it has no longer.
    pub(super) async fn change(&mut self, old: &Config, new: &Config) {
        if let Some(end) = self.end.take() {
            if end.is_finished() {
                self.former.clear();
            }
            // It must not speak after us.
            end.abort();
            let _ = end.await;
        }
        let rules = new.merge_rules();
        let before = old.merge_rules();
        let unchanged = before == rules && self.former.is_empty();
        let former = std::mem::take(&mut self.former);
        let kept = before.into_iter().chain(former);
        self.former = kept.filter(|rule| !rules.contains(rule)).collect();
        if !unchanged {
            let all = rules.into_iter().chain(self.former.iter().cloned());
            self.discovery.set_policies(policies(all)).await;
        }
    }

    /// Ends the rules that the configuration does not have, once nothing leaves any more.
    pub(super) async fn settle(&mut self, new: &Config, leaving: Vec<CancellationToken>) {
        if self.former.is_empty() {
            return;
        }
        let rules = new.policies();
        if leaving.is_empty() {
            self.former.clear();
            self.discovery.set_policies(rules).await;
            return;
        }
        let discovery = self.discovery.clone();
        self.end = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            for ended in leaving {
                ended.cancelled().await;
            }
            discovery.set_policies(rules).await;
        })));
    }
}

fn policies(
    rules: impl Iterator<Item = (Pattern, PolicyName)>,
) -> Vec<(Pattern, std::sync::Arc<dyn registry_core::MergePolicy>)> {
    rules.map(|(hosts, name)| (hosts, name.policy())).collect()
}
