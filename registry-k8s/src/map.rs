//! From objects of Kubernetes to the model: pure functions. Conditions become health right here; the rest is in
//! [`endpoints`], [`export`], [`ports`] and [`service`].

pub(crate) mod endpoints;
pub(crate) mod export;
pub(crate) mod ports;
pub(crate) mod service;
pub(crate) mod text;

use registry_core::Health;

use crate::wire::Conditions;

/// What the conditions of an endpoint come to. Unset ones count as ready, serving and not terminating.
///
/// | ready | serving | terminating | health | |
/// |---|---|---|---|---|
/// | yes | yes | no | healthy | |
/// | yes | no | no | degraded | published although not ready: `publishNotReadyAddresses` |
/// | no | any | no | unhealthy | |
/// | any | yes | yes | draining | used where nothing else is left, as kube-proxy does |
/// | yes | no | yes | draining | published, and on its way out |
/// | no | no | yes | unhealthy | |
pub(crate) fn health(conditions: Conditions) -> Health {
    let Conditions {
        ready,
        serving,
        terminating,
    } = conditions;
    match (
        ready.unwrap_or(true),
        serving.unwrap_or(true),
        terminating.unwrap_or(false),
    ) {
        (true, true, false) => Health::Healthy,
        (true, false, false) => Health::Degraded,
        (false, _, false) | (false, false, true) => Health::Unhealthy,
        (_, true, true) | (true, false, true) => Health::Draining,
    }
}

/// The words of [`status`], of all 27 combinations: ready, serving, terminating; each unset, false, true.
const STATUS: [&str; 27] = {
    macro_rules! row {
        ($($ready:literal $serving:literal),*) => {
            [$(
                concat!("ready=", $ready, " serving=", $serving, " terminating=unset"),
                concat!("ready=", $ready, " serving=", $serving, " terminating=false"),
                concat!("ready=", $ready, " serving=", $serving, " terminating=true"),
            )*]
        };
    }
    row!(
        "unset" "unset", "unset" "false", "unset" "true",
        "false" "unset", "false" "false", "false" "true",
        "true" "unset", "true" "false", "true" "true"
    )
};

/// The raw status: the conditions as they are.
pub(crate) fn status(conditions: Conditions) -> &'static str {
    let digit = |condition: Option<bool>| condition.map_or(0, |set| 1 + usize::from(set));
    STATUS[digit(conditions.ready) * 9 + digit(conditions.serving) * 3 + digit(conditions.terminating)]
}

/// The conditions that a raw status was made of; all unset where it is none.
pub(crate) fn conditions(status: &str) -> Conditions {
    let at = STATUS.iter().position(|known| *known == status).unwrap_or(0);
    let condition = |digit: usize| (digit > 0).then_some(digit == 2);
    Conditions {
        ready: condition(at / 9),
        serving: condition(at / 3 % 3),
        terminating: condition(at % 3),
    }
}

#[cfg(test)]
mod tests;
