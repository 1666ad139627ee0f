//! The xDS output: its listener is open before any registry is asked, its server runs until the daemon ends.

use std::net::SocketAddr;
use std::path::Path;

use registry_core::Discovery;
use registry_xds::{TlsConfig, Xds, XdsConfig};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::error::Error;

/// An xDS server that listens, and answers nobody yet.
pub(super) struct Listening {
    listener: TcpListener,
    address: SocketAddr,
    config: XdsConfig,
}

/// Opens its listener.
pub(super) async fn listen(config: &XdsConfig, port_file: Option<&Path>) -> Result<Listening, Error> {
    let (listener, address) = super::listen("xds.listen", config.listen, port_file).await?;
    Ok(Listening {
        listener,
        address,
        config: config.clone(),
    })
}

impl Listening {
    /// Serves what a discovery has until `stop`, as one of these servers.
    pub(super) fn serve(
        self,
        discovery: &Discovery,
        servers: &mut JoinSet<Result<(), Error>>,
        stop: &CancellationToken,
    ) -> Result<Xds, Error> {
        let xds = Xds::start(discovery.clone(), self.config, stop.clone()).map_err(Error::Xds)?;
        let (server, listener, stop) = (xds.clone(), self.listener, stop.clone());
        servers.spawn(async move { server.serve(listener, stop).await.map_err(Error::Xds) });
        tracing::info!("registryd serves xDS on {}", self.address);
        Ok(xds)
    }
}

/// What of new settings a server takes that runs on others: all but where it listens and what protects it there. The two
/// were checked together, and a listener that other hosts can reach must not lose its protection because the next
/// one would not need any.
pub(super) fn applicable(new: &XdsConfig, running: &XdsConfig) -> XdsConfig {
    let mut tls = running.tls.clone();
    if let (Some(tls), Some(new)) = (&mut tls, &new.tls)
        && same_files(tls, new)
    {
        tls.clients.clone_from(&new.clients);
    }
    XdsConfig {
        listen: running.listen,
        insecure: running.insecure,
        tls,
        ..new.clone()
    }
}

/// The settings that are read at the start alone, and whether they differ.
pub(super) fn needs_restart(old: &Config, new: &Config) -> Vec<(&'static str, bool)> {
    let (Some(old), Some(new)) = (&old.xds, &new.xds) else {
        return vec![("xds", old.xds.is_some() != new.xds.is_some())];
    };
    let tls_differs = match (&old.tls, &new.tls) {
        (Some(old), Some(new)) => !same_files(old, new),
        (old, new) => old.is_some() != new.is_some(),
    };
    vec![
        ("xds.listen", old.listen != new.listen),
        ("xds.insecure", old.insecure != new.insecure),
        ("xds.tls", tls_differs),
    ]
}

/// True where nothing but who may connect differs.
fn same_files(a: &TlsConfig, b: &TlsConfig) -> bool {
    (&a.certificate, &a.key, &a.client_ca) == (&b.certificate, &b.key, &b.client_ca)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(listen: &str, client: Option<&str>) -> XdsConfig {
        XdsConfig {
            listen: listen.parse().unwrap(),
            tls: client.map(|client| TlsConfig {
                certificate: "a.pem".into(),
                key: "a.key".into(),
                client_ca: Some("ca.pem".into()),
                clients: vec![client.to_owned()],
            }),
            services: vec![listen.to_owned()],
            ..XdsConfig::default()
        }
    }

    #[test]
    fn an_open_listener_keeps_its_protection_though_the_next_one_would_need_none() {
        let running = config("0.0.0.0:7381", Some("a"));
        let new = config("127.0.0.1:7381", None);
        let taken = applicable(&new, &running);
        assert_eq!((taken.listen, &taken.tls), (running.listen, &running.tls));
        assert_eq!(taken.services, new.services);
    }

    #[test]
    fn who_may_connect_changes_at_once_and_files_with_a_restart() {
        let running = config("0.0.0.0:7381", Some("a"));
        let new = config("0.0.0.0:7381", Some("b"));
        assert_eq!(applicable(&new, &running), new);
        let mut other = new;
        if let Some(tls) = &mut other.tls {
            tls.client_ca = Some("other.pem".into());
        }
        assert_eq!(applicable(&other, &running).tls, running.tls);
        let of = |xds: &XdsConfig| Config {
            xds: Some(xds.clone()),
            ..Config::default()
        };
        let told = |old: &Config, new: &Config| -> Vec<&str> {
            let told = needs_restart(old, new);
            told.into_iter()
                .filter_map(|(key, differs)| differs.then_some(key))
                .collect()
        };
        assert_eq!(told(&of(&running), &of(&other)), ["xds.tls"]);
        assert_eq!(
            told(&of(&running), &of(&config("0.0.0.0:1", Some("b")))),
            ["xds.listen"]
        );
        assert_eq!(told(&of(&running), &Config::default()), ["xds"]);
    }
}
