//! Where the address and the credentials of a cluster are looked for, and in which order.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::Uri;
use kube::config::{AuthInfo, Cluster, Kubeconfig};
use secrecy::ExposeSecret;

use super::Origin;
use super::environment::Environment;
use super::kubeconfig::{self, Chosen, wrong};
use super::stamp::Stamps;
use crate::config::KubernetesConfig;
use crate::error::Error;

/// Bytes of the URL of a server, which is part of messages.
const MOST_SERVER: usize = 1000;

/// What a cluster is called that a Pod runs in.
const IN_CLUSTER: &str = "kubernetes";

/// Where to look; nothing is read before it is asked for.
#[derive(Debug, Clone)]
pub(super) struct Source {
    kind: Kind,
    context: Option<String>,
    environment: Environment,
}

#[derive(Debug, Clone)]
enum Kind {
    InCluster,
    File(PathBuf),
    /// The variable `KUBECONFIG`, the file in the home directory, the service account: the first that there is.
    Usual,
    Text {
        kubeconfig: Arc<secrecy::SecretString>,
        place: String,
        trusted: bool,
    },
}

/// What was found.
pub(super) struct Found {
    /// The file or the Secret, for messages.
    pub(super) place: String,
    pub(super) chosen: Chosen,
    pub(super) server: Uri,
}

impl Source {
    pub(super) fn new(config: &KubernetesConfig, origin: Origin, environment: Environment) -> Self {
        // `context` is about the configured kubeconfig; in others only their own authors know one.
        let context = match origin {
            Origin::Configured => config.context.clone(),
            Origin::Text { .. } => None,
        };
        let kind = match origin {
            Origin::Text {
                kubeconfig,
                place,
                trusted,
            } => Kind::Text {
                kubeconfig,
                place,
                trusted,
            },
            Origin::Configured if config.in_cluster => Kind::InCluster,
            Origin::Configured => match &config.kubeconfig {
                Some(path) => Kind::File(path.clone()),
                None => Kind::Usual,
            },
        };
        Self {
            kind,
            context,
            environment,
        }
    }

    pub(super) fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Reads it, adding the files that it looked at to `stamps`. Blocks.
    pub(super) fn find(&self, stamps: &mut Stamps) -> Result<Found, Error> {
        match &self.kind {
            Kind::InCluster => self.in_cluster(),
            Kind::File(path) => self.file(path, stamps),
            Kind::Usual => self.usual(stamps),
            Kind::Text {
                kubeconfig,
                place,
                trusted,
            } => {
                let folder = if *trusted { Path::new(place).parent() } else { None };
                let kubeconfig = kubeconfig::parse(kubeconfig.expose_secret(), place, folder)?;
                let found = self.choose(kubeconfig, place.clone())?;
                if !trusted && let Some(field) = found.chosen.untrustworthy() {
                    let problem = format!(
                        "{field}: found in a kubeconfig from a cluster, expected it to be left out: it would reach \
                         into the machine that reads it"
                    );
                    return Err(wrong(place, problem));
                }
                Ok(found)
            }
        }
    }

    /// What tells one target from another, without anything secret: the address of the server, as far as it can be read.
    pub(super) fn target(&self) -> String {
        match self.find(&mut Stamps::default()) {
            Ok(found) => found.server.to_string(),
            Err(_) => {
                let place = match &self.kind {
                    Kind::InCluster => "in-cluster".to_owned(),
                    Kind::Usual => "kubeconfig".to_owned(),
                    Kind::File(path) => path.display().to_string(),
                    Kind::Text { place, .. } => place.clone(),
                };
                let context = self.context.as_ref();
                context.map_or(place.clone(), |context| format!("{place} context {context}"))
            }
        }
    }

    fn file(&self, path: &Path, stamps: &mut Stamps) -> Result<Found, Error> {
        stamps.add(path);
        self.choose(kubeconfig::read(path)?, path.display().to_string())
    }

    fn usual(&self, stamps: &mut Stamps) -> Result<Found, Error> {
        if let Some(list) = self.environment.var_os("KUBECONFIG") {
            let paths: Vec<PathBuf> = std::env::split_paths(&list)
                .filter(|path| !path.as_os_str().is_empty())
                .collect();
            if !paths.is_empty() {
                return self.several(&paths, stamps);
            }
        }
        let home = self
            .environment
            .var_os("HOME")
            .or_else(|| self.environment.var_os("USERPROFILE"));
        let file = home.map(|home| Path::new(&home).join(".kube").join("config"));
        if let Some(file) = &file {
            stamps.add(file);
            if file.exists() {
                return self.choose(kubeconfig::read(file)?, file.display().to_string());
            }
        }
        if self.environment.var("KUBERNETES_SERVICE_HOST").is_some() && self.context.is_none() {
            return self.in_cluster();
        }
        let file = file.map_or("~/.kube/config".to_owned(), |file| file.display().to_string());
        let problem = match &self.context {
            None => "expected one of them, or `kubeconfig`".to_owned(),
            Some(context) => format!("expected a kubeconfig with the context {context:?}"),
        };
        Err(wrong(
            "kubeconfig",
            format!("found neither $KUBECONFIG nor {file} nor a service account, {problem}"),
        ))
    }

    /// Files that are missing are passed over, as kubectl does, but not all of them.
    fn several(&self, paths: &[PathBuf], stamps: &mut Stamps) -> Result<Found, Error> {
        let shown: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        let place = shown.join(", ");
        let mut merged: Option<Kubeconfig> = None;
        for path in paths {
            stamps.add(path);
            if !path.exists() {
                continue;
            }
            let next = kubeconfig::read(path)?;
            merged = Some(match merged {
                None => next,
                Some(first) => kubeconfig::merge(first, next, &path.display().to_string())?,
            });
        }
        match merged {
            Some(kubeconfig) => self.choose(kubeconfig, place),
            None => Err(wrong(
                &place,
                "found none of these files of $KUBECONFIG, expected at least one",
            )),
        }
    }

    fn choose(&self, kubeconfig: Kubeconfig, place: String) -> Result<Found, Error> {
        let chosen = kubeconfig::choose(kubeconfig, self.context.as_deref(), &place)?;
        let server = server(&chosen, &place)?;
        Ok(Found {
            place,
            chosen,
            server,
        })
    }

    /// The service account of the Pod, put as a kubeconfig would put it.
    fn in_cluster(&self) -> Result<Found, Error> {
        let place = "in_cluster";
        let missing = |name: &str| {
            wrong(
                place,
                format!("${name}: found nothing, expected what every Pod has"),
            )
        };
        let variable = |name: &str| self.environment.var(name).ok_or_else(|| missing(name));
        let host = variable("KUBERNETES_SERVICE_HOST")?;
        let port = variable("KUBERNETES_SERVICE_PORT")?;
        let host = if host.contains(':') && !host.starts_with('[') {
            format!("[{host}]")
        } else {
            host
        };
        let folder = self.environment.service_account();
        let file = |name: &str| folder.join(name).to_str().map(ToOwned::to_owned);
        let chosen = Chosen {
            context: IN_CLUSTER.to_owned(),
            cluster: Cluster {
                server: Some(format!("https://{host}:{port}")),
                certificate_authority: file("ca.crt"),
                ..Cluster::default()
            },
            user: AuthInfo {
                token_file: file("token"),
                ..AuthInfo::default()
            },
        };
        let server = server(&chosen, place)?;
        Ok(Found {
            place: place.to_owned(),
            chosen,
            server,
        })
    }
}

/// The address of the server. It has no credentials in it: it is shown in messages.
pub(super) fn server(chosen: &Chosen, place: &str) -> Result<Uri, Error> {
    let expected = "expected a URL such as https://10.0.0.1:6443";
    let wrong = |found: &str| {
        let context = chosen.shown();
        wrong(
            place,
            format!("context {context:?}: server: found {found}, {expected}"),
        )
    };
    let text = chosen.cluster.server.as_deref().ok_or_else(|| wrong("none"))?;
    if text.len() > MOST_SERVER {
        return Err(wrong("more than 1000 bytes"));
    }
    let uri: Uri = text.trim().parse().map_err(|_| wrong("something else"))?;
    let authority = uri.authority().ok_or_else(|| wrong("no host"))?;
    if !matches!(uri.scheme_str(), Some("https" | "http")) {
        return Err(wrong("no scheme"));
    }
    if authority.as_str().contains('@') {
        return Err(wrong("credentials in it"));
    }
    if uri.query().is_some() {
        return Err(wrong("a query in it"));
    }
    Ok(uri)
}

#[cfg(test)]
mod tests;
