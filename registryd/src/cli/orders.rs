//! `ack` and `resync`: telling a running daemon what to do with a registry.

use serde_json::Value;

use super::client::Client;
use super::output::print_as;
use super::{OrderArgs, names};
use crate::error::Error;

pub(super) async fn acknowledge(args: &OrderArgs) -> Result<(), Error> {
    let value = order(args, "ack").await?;
    print_as(args.server.output.output, &value, released)
}

pub(super) async fn resync(args: &OrderArgs) -> Result<(), Error> {
    let value = order(args, "resync").await?;
    print_as(args.server.output.output, &value, |value| {
        format!("{}: asked for everything\n", registry(value))
    })
}

async fn order(args: &OrderArgs, order: &str) -> Result<Value, Error> {
    let registry = registry_http::encode_segment(&args.registry);
    Client::new(&args.server)?
        .post(&format!("/v1/registries/{registry}/{order}"))
        .await
}

fn released(value: &Value) -> String {
    let registry = registry(value);
    match value["endpoints"].as_u64().unwrap_or(0) {
        0 => format!("{registry}: nothing is held back\n"),
        endpoints => {
            let services = value["services"].as_u64().unwrap_or(0);
            let named = names(&value["names"], services);
            format!(
                "{registry}: let go of {} of {}{named}\n",
                super::count(endpoints, "endpoint"),
                super::count(services, "service")
            )
        }
    }
}

fn registry(value: &Value) -> String {
    let registry = value["registry"].as_str().unwrap_or_default();
    registry.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_let_go_is_said() {
        let none = json!({ "registry": "vms", "endpoints": 0, "services": 0, "names": [] });
        assert_eq!(released(&none), "vms: nothing is held back\n");
        let one = json!({ "registry": "vms", "endpoints": 12, "services": 1, "names": ["default/payments"] });
        assert_eq!(
            released(&one),
            "vms: let go of 12 endpoints of 1 service (default/payments)\n"
        );
        let many =
            json!({ "registry": "vms", "endpoints": 1, "services": 9, "names": ["a", "b", "c", "d", "e"] });
        assert_eq!(
            released(&many),
            "vms: let go of 1 endpoint of 9 services (a, b, c and 6 more)\n"
        );
    }
}
