//! Tokens that are replaced, that expire, and that cannot be had.

use std::path::{Path, PathBuf};

use registry_core::{Discovery, ErrorKind, Phase};
use registry_k8s::KubernetesConfig;
use registry_testkit::kubernetes::Kubernetes;
use registry_testkit::wait;
use registry_testkit::witness::Witness;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::deltas::Deltas;
use crate::support::{DEADLINE, config, discovered, slice, spec, status, until_addresses, until_phase};

/// Whom the registry is to the server.
const USER: &str = "discovery";

/// A server with one service, and a folder for credentials.
struct World {
    kubernetes: Kubernetes,
    folder: TempDir,
}

impl World {
    async fn start() -> Self {
        registry_testkit::init_tls();
        let kubernetes = Kubernetes::builder().start().await.unwrap();
        for resource in ["services", "endpointslices"] {
            kubernetes.allow(USER, "*", resource).unwrap();
        }
        kubernetes.api().namespace("shop").await.unwrap();
        let world = Self {
            kubernetes,
            folder: tempfile::tempdir().unwrap(),
        };
        world.publish(&["10.1.0.1"]).await;
        world
    }

    async fn publish(&self, addresses: &[&str]) {
        let api = self.kubernetes.api();
        let slice = slice(addresses, 8080);
        api.endpoint_slice("shop", "web-1", "web", &slice).await.unwrap();
        api.service("shop", "web", &spec()).await.unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes beside it and renames, as a kubelet does.
    fn replace(&self, name: &str, text: &str) {
        replace(&self.path(name), text);
    }

    /// A token more for the user, in the file.
    fn issue(&self) -> String {
        let token = self.kubernetes.add_token(USER).unwrap();
        self.replace("token", &token);
        token
    }

    /// A registry whose user is described so.
    fn config(&self, user: &Value) -> KubernetesConfig {
        let cluster = json!({
            "server": self.kubernetes.url(),
            "certificate-authority": self.kubernetes.ca_file().unwrap(),
        });
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{ "name": "test", "cluster": cluster }],
            "users": [{ "name": USER, "user": user }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": USER } }],
        });
        self.replace("kubeconfig", &kubeconfig.to_string());
        KubernetesConfig {
            nodes: false,
            ..config(self.path("kubeconfig"))
        }
    }

    /// A user of a credential plug-in, which is a shell script.
    fn plugin(&self) -> Value {
        // Run by a shell that exists already: a script that was just written cannot be run itself while another thread
        // is between fork and exec.
        json!({ "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "/bin/sh",
            "args": [self.path("plugin.sh")],
            "interactiveMode": "Never",
        } })
    }

    /// The plug-in gives the token of the file from now on, good for ten seconds.
    fn plugin_works(&self) {
        let token = self.path("token");
        self.plugin_does(&format!(
            "until=$(date -u -d '+10 seconds' +%Y-%m-%dT%H:%M:%SZ)\n\
             printf '{{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",\
             \"status\":{{\"token\":\"%s\",\"expirationTimestamp\":\"%s\"}}}}' \"$(cat {})\" \"$until\"\n",
            token.display()
        ));
    }

    fn plugin_does(&self, script: &str) {
        let runs = self.path("runs");
        self.replace("plugin.sh", &format!("echo run >> {}\n{script}", runs.display()));
    }

    fn runs(&self) -> usize {
        std::fs::read_to_string(self.path("runs")).map_or(0, |runs| runs.lines().count())
    }

    async fn until_runs(&self, runs: usize) {
        let what = format!("{runs} runs of the plug-in");
        let found = wait::until(what, DEADLINE, async || (self.runs() >= runs).then_some(()));
        found.await.unwrap();
    }

    /// Asserts that a change arrives, and that nothing happened before.
    async fn goes_on(&self, discovery: &Discovery, witness: &Witness, deltas: &Deltas) {
        witness.saw_everything("with new credentials", discovery);
        deltas.saw_no_service("with new credentials").await;
        self.publish(&["10.1.0.1", "10.1.0.2"]).await;
        until_addresses(discovery, "shop", "web", &["10.1.0.1:8080", "10.1.0.2:8080"]).await;
        until_phase(discovery, Phase::Synced).await;
        witness.saw_everything("with new credentials", discovery);
    }
}

fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(&beside, path).unwrap();
}

/// Waits until the registry was confirmed anew, so long after credentials changed that they were needed.
async fn until_confirmed_twice(discovery: &Discovery) {
    for _ in 0..2 {
        let before = status(discovery).last_confirmed;
        let confirmed = wait::until("a confirmation", DEADLINE, async || {
            (status(discovery).last_confirmed > before).then_some(())
        });
        confirmed.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_27_a_token_that_is_rotated_and_revoked_is_followed() {
    let world = World::start().await;
    let old = world.issue();
    let user = json!({ "tokenFile": world.path("token") });
    let discovery = discovered(world.config(&user)).await;
    let (witness, deltas) = (Witness::call(&discovery), Deltas::of(&discovery));
    world.issue();
    world.kubernetes.revoke_token(&old).unwrap();
    until_confirmed_twice(&discovery).await;
    world.goes_on(&discovery, &witness, &deltas).await;
    assert_eq!(deltas.phases().await, [], "it was never out of touch");
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_27_a_plugin_is_run_before_what_it_gave_expires() {
    let world = World::start().await;
    let old = world.issue();
    world.plugin_works();
    let discovery = discovered(world.config(&world.plugin())).await;
    let (witness, deltas) = (Witness::call(&discovery), Deltas::of(&discovery));
    world.until_runs(2).await;
    // What it gives from now on is another one, and the old one is of no use any more once it was given.
    world.issue();
    let runs = world.runs();
    world.until_runs(runs + 1).await;
    until_confirmed_twice(&discovery).await;
    world.kubernetes.revoke_token(&old).unwrap();
    until_confirmed_twice(&discovery).await;
    world.goes_on(&discovery, &witness, &deltas).await;
    assert_eq!(deltas.phases().await, [], "it was never out of touch");
    assert!(
        status(&discovery).last_error.is_none(),
        "{:?}",
        status(&discovery)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_27_a_plugin_that_fails_takes_nothing_away() {
    let world = World::start().await;
    let old = world.issue();
    world.plugin_works();
    let discovery = discovered(world.config(&world.plugin())).await;
    let (witness, deltas) = (Witness::call(&discovery), Deltas::of(&discovery));
    world.plugin_does("echo geheim; echo geheim >&2; exit 3");
    world.kubernetes.revoke_token(&old).unwrap();
    until_phase(&discovery, Phase::Stale).await;
    let found = wait::until("the failure of the plug-in", DEADLINE, async || {
        let error = status(&discovery).last_error?;
        error.message.contains("exit status: 3").then_some(error)
    });
    let error = match found.await {
        Ok(error) => error,
        Err(error) => panic!("{error}; {:?}", status(&discovery)),
    };
    assert!(
        matches!(error.kind, ErrorKind::Denied | ErrorKind::Configuration),
        "{error:?}"
    );
    assert!(
        !error.message.contains("geheim") && !error.message.contains(&old),
        "{error:?}"
    );
    witness.saw_everything("while the plug-in failed", &discovery);

    world.issue();
    world.plugin_works();
    until_phase(&discovery, Phase::Synced).await;
    world.goes_on(&discovery, &witness, &deltas).await;
}
