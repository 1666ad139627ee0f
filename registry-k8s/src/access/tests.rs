//! The whole of it against servers on this machine.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use registry_core::ErrorKind;

use self::server::{Reply, Server};
use super::*;

mod answers;
mod credentials;
mod proxies;
mod server;
mod tls;

/// Far above what anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Builds again whenever there is a reason.
const EAGER: Pace = Pace {
    pause: Duration::ZERO,
    pause_after_failure: Duration::ZERO,
    look_every: Duration::ZERO,
};

/// Never builds again, and looks at no file.
const LAZY: Pace = Pace {
    pause: Duration::from_secs(3600),
    pause_after_failure: Duration::from_secs(3600),
    look_every: Duration::from_secs(3600),
};

fn get(path: &str) -> Ask {
    Ask {
        path: path.to_owned(),
        form: Form::Object,
        watch: false,
        patience: PATIENCE,
    }
}

/// No setting that a busy machine could fail.
fn config() -> KubernetesConfig {
    KubernetesConfig {
        connect_timeout: PATIENCE,
        ..KubernetesConfig::default()
    }
}

/// A kubeconfig with one context, `here`; the fields are those of its cluster and of its user.
fn kubeconfig(server: &str, cluster: &str, user: &str) -> String {
    format!(
        "current-context: here\n\
         contexts: [{{name: here, context: {{cluster: c, user: u}}}}]\n\
         clusters: [{{name: c, cluster: {{server: '{server}', {cluster}}}}}]\n\
         users: [{{name: u, user: {{{user}}}}}]\n"
    )
}

fn nothing() -> Environment {
    Environment::made_up(&[], Path::new("/nowhere"))
}

/// The API server of a text.
fn of_text(text: String, pace: Pace) -> ApiServer {
    let origin = Origin::Text {
        kubeconfig: Arc::new(text.into()),
        place: "/nowhere/cluster.yaml".to_owned(),
        trusted: true,
    };
    ApiServer::with(&config(), origin, nothing(), pace, PATIENCE)
}

/// The API server of a file.
fn of_file(path: &Path, pace: Pace) -> ApiServer {
    let config = KubernetesConfig {
        kubeconfig: Some(path.to_owned()),
        ..config()
    };
    ApiServer::with(&config, Origin::Configured, nothing(), pace, PATIENCE)
}

async fn read(mut body: Body) -> Result<String, RegistryError> {
    let mut whole = Vec::new();
    while let Some(piece) = body.next().await {
        whole.extend_from_slice(&piece?);
    }
    Ok(String::from_utf8(whole).unwrap())
}

/// The text of an answer, or of the refusal.
async fn text_of(api: &ApiServer, path: &str) -> Result<String, String> {
    match api.get(get(path)).await {
        Ok(body) => Ok(read(body).await.unwrap()),
        Err(refusal) => Err(refusal.error.report()),
    }
}

async fn refusal(api: &ApiServer, ask: Ask) -> Refusal {
    match api.get(ask).await {
        Ok(_) => panic!("answered"),
        Err(refusal) => refusal,
    }
}
