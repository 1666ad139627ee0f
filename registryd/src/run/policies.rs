//! Policies of the merge while exports leave: they brought the policy of their hostnames along, and nobody should see them
//! merged in another way just because they are about to go. Rules of the configuration apply at once, to whoever leaves too.

use std::collections::HashMap;

use registry_core::{Discovery, Pattern, RegistryId};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::config::{Config, PolicyName};

/// The policies of a discovery that runs.
#[derive(Debug)]
pub(super) struct Policies {
    discovery: Discovery,
    /// Rules of entries that have none any more, which come after those of the configuration in force.
    former: Vec<(RegistryId, (Pattern, PolicyName))>,
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

    /// Puts the rules of a new configuration in force, and keeps after them those of entries that have none any more.
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
        let unchanged = old.merge_rules() == rules && self.former.is_empty();
        let entries = old.registries.iter();
        let before = entries.filter_map(|entry| Some((entry.id().clone(), entry.merge_rule()?)));
        let former = before.chain(std::mem::take(&mut self.former));
        let has_rule = |id: &RegistryId| {
            let mut entries = new.registries.iter();
            entries.any(|entry| entry.id() == id && entry.merge_rule().is_some())
        };
        self.former = former.filter(|(id, _)| !has_rule(id)).collect();
        if !unchanged {
            let former = self.former.iter().map(|(_, rule)| rule.clone());
            self.discovery
                .set_policies(policies(rules.into_iter().chain(former)))
                .await;
        }
    }

    /// Ends the rules that the configuration does not have, once the entries have left that brought them.
    pub(super) async fn settle(&mut self, new: &Config, leaving: &HashMap<RegistryId, CancellationToken>) {
        if self.former.is_empty() {
            return;
        }
        let rules = new.policies();
        let leaving = self.former.iter().filter_map(|(id, _)| leaving.get(id));
        let leaving: Vec<CancellationToken> = leaving.cloned().collect();
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
