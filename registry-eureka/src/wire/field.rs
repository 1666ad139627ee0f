//! The fields of an instance by their names, which are the same in both formats, and what their texts mean.

use std::borrow::Cow;
use std::collections::HashSet;

use super::{Action, Instance, Port, Status};

/// Entries of a map of texts.
pub(super) type Entries<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// A field of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// One that is a mere text.
    Text(Text),
    Port,
    SecurePort,
    DataCenter,
    Metadata,
    /// One that nobody needs.
    Other,
}

/// A field that is a mere text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    InstanceId,
    App,
    HostName,
    IpAddr,
    Status,
    Overridden,
    VipAddress,
    SecureVipAddress,
    AsgName,
    AppGroupName,
    LastUpdated,
    LastDirty,
    Action,
}

impl Field {
    /// The field of that name.
    pub(super) fn of(name: &str) -> Self {
        Self::Text(match name {
            "instanceId" => Text::InstanceId,
            "app" => Text::App,
            "hostName" => Text::HostName,
            "ipAddr" => Text::IpAddr,
            "status" => Text::Status,
            // JSON of today, XML and older JSON, other implementations.
            "overriddenStatus" | "overriddenstatus" | "overridden_status" => Text::Overridden,
            "vipAddress" => Text::VipAddress,
            "secureVipAddress" => Text::SecureVipAddress,
            "asgName" => Text::AsgName,
            "appGroupName" => Text::AppGroupName,
            "lastUpdatedTimestamp" => Text::LastUpdated,
            "lastDirtyTimestamp" => Text::LastDirty,
            "actionType" => Text::Action,
            "port" => return Self::Port,
            "securePort" => return Self::SecurePort,
            "dataCenterInfo" => return Self::DataCenter,
            "metadata" => return Self::Metadata,
            _ => return Self::Other,
        })
    }
}

impl<'a> Instance<'a> {
    /// Takes in what a field is told to be; absent where it is no text.
    pub(super) fn set(&mut self, field: Text, text: Option<Cow<'a, str>>) {
        let text = text.filter(|text| !text.trim_ascii().is_empty());
        match field {
            Text::InstanceId => self.instance_id = text,
            Text::App => self.app = text,
            Text::HostName => self.host_name = text,
            Text::IpAddr => self.ip_addr = text,
            Text::VipAddress => self.vip_address = text,
            Text::SecureVipAddress => self.secure_vip_address = text,
            Text::AsgName => self.asg_name = text,
            Text::AppGroupName => self.app_group_name = text,
            Text::Status => self.status = text.as_deref().map(Status::of).unwrap_or_default(),
            Text::Overridden => self.overridden = text.as_deref().map(Status::of).unwrap_or_default(),
            Text::LastUpdated => self.last_updated = text.as_deref().and_then(number),
            Text::LastDirty => self.last_dirty = text.as_deref().and_then(number),
            Text::Action => self.action = text.as_deref().map(Action::of).unwrap_or_default(),
        }
    }
}

impl Status {
    /// The status of that word. A server knows only the exact words (`up` is stored as `UNKNOWN`).
    fn of(word: &str) -> Self {
        let word = word.trim_ascii();
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == word)
            .unwrap_or_default()
    }
}

impl Action {
    fn of(word: &str) -> Self {
        match word.trim_ascii() {
            "MODIFIED" => Self::Modified,
            "DELETED" => Self::Deleted,
            _ => Self::Added,
        }
    }
}

impl Port {
    /// A port from the text of its number and whether it is enabled, which `otherwise` decides where that is not told.
    pub(super) fn of(text: Option<&str>, enabled: Option<bool>, otherwise: bool) -> Self {
        let number = text.and_then(number);
        Self {
            number,
            enabled: enabled.unwrap_or(otherwise && number.is_some()),
        }
    }
}

/// What a word says of something being so.
pub(super) fn boolean(word: &str) -> Option<bool> {
    let word = word.trim_ascii();
    let is = |other: &str| word.eq_ignore_ascii_case(other);
    is("true")
        .then_some(true)
        .or_else(|| is("false").then_some(false))
}

fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.trim_ascii().parse().ok()
}

/// Drops what is no metadata, and of keys that are told more than once all but the last.
pub(super) fn tidy(entries: &mut Entries<'_>) {
    // Nearly all instances have few, for which comparing each to each is the cheapest. It must not be quadratic for one
    // that has a body full of them.
    const FEW: usize = 16;
    entries.retain(|(key, _)| !key.starts_with('@'));
    if entries.len() <= FEW {
        let mut at = 0;
        while at < entries.len() {
            if entries[at + 1..].iter().any(|later| later.0 == entries[at].0) {
                entries.remove(at);
            } else {
                at += 1;
            }
        }
        return;
    }
    let mut seen = HashSet::with_capacity(entries.len());
    let keep: Vec<bool> = entries.iter().rev().map(|(key, _)| seen.insert(&**key)).collect();
    if keep.iter().all(|keep| *keep) {
        return;
    }
    let mut keep = keep.into_iter().rev();
    entries.retain(|_| keep.next().unwrap_or_default());
}
