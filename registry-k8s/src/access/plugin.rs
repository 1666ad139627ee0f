//! Credential plug-ins: programs that a kubeconfig names under `exec`.
//!
//! They are run here and not by the client library, which would run each several times in a row, without a deadline
//! and in the middle of requests, and put what it printed into its errors.

use std::process::Stdio;
use std::time::{Duration, SystemTime};

use kube::config::{Cluster, ExecAuthCluster, ExecConfig, ExecInteractiveMode};
use registry_core::short;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use super::date;
use crate::base64;

const VERSIONS: [&str; 2] = [
    "client.authentication.k8s.io/v1",
    "client.authentication.k8s.io/v1beta1",
];

/// More than any token or chain of certificates has.
const MOST_BYTES: u64 = 1 << 20;

/// What a plug-in gave.
pub(super) struct Issued {
    pub(super) token: Option<SecretString>,
    pub(super) identity: Option<Identity>,
    pub(super) expires: Option<SystemTime>,
}

/// A client certificate and its key, in PEM.
pub(super) struct Identity {
    pub(super) certificate: String,
    pub(super) key: SecretString,
}

impl Identity {
    /// Certificate and key, each as the client library takes it: in base64.
    pub(super) fn encoded(&self) -> (String, SecretString) {
        (
            base64::encode(self.certificate.as_bytes()),
            base64::encode(self.key.expose_secret().as_bytes()).into(),
        )
    }
}

/// What is said to a plug-in, and what it says.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecCredential {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(skip_deserializing)]
    spec: Spec,
    #[serde(skip_serializing)]
    status: Option<Status>,
}

#[derive(Serialize, Default)]
struct Spec {
    interactive: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<ExecAuthCluster>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
    expiration_timestamp: Option<String>,
}

/// Runs the plug-in. An error names the program and never what it printed.
pub(super) async fn run(exec: &ExecConfig, cluster: &Cluster, deadline: Duration) -> Result<Issued, String> {
    let version = exec.api_version.as_deref().unwrap_or_default();
    if !VERSIONS.contains(&version) {
        let (found, expected) = (short(version, 100), VERSIONS.join(" or "));
        return Err(format!("exec.apiVersion: found {found:?}, expected {expected}"));
    }
    if exec.interactive_mode == Some(ExecInteractiveMode::Always) {
        return Err(
            "exec.interactiveMode: found Always, expected Never or IfAvailable: there is no terminal here"
                .to_owned(),
        );
    }
    let program = exec.command.as_deref().unwrap_or_default();
    if program.is_empty() {
        return Err("exec.command: found nothing, expected a program".to_owned());
    }
    let shown = short(program, 200);
    let mut command = command(exec, cluster, program, version)?;
    let child = command.spawn().map_err(|error| {
        let hint = exec
            .install_hint
            .as_deref()
            .map(|hint| format!(" ({})", short(hint, 300)));
        format!(
            "exec.command: cannot run {shown}: {error}{}",
            hint.unwrap_or_default()
        )
    })?;
    let mut running = Running { child };
    let finished = tokio::time::timeout(deadline, running.output()).await;
    let output = match finished {
        Ok(output) => output.map_err(|problem| format!("exec: {shown} {problem}"))?,
        Err(_) => {
            let waited = registry_core::duration::format(deadline);
            return Err(format!(
                "exec: {shown} was ended, having printed no credentials within {waited}"
            ));
        }
    };
    read(&output, version).map_err(|problem| format!("exec: the answer of {shown}: {problem}"))
}

fn command(exec: &ExecConfig, cluster: &Cluster, program: &str, version: &str) -> Result<Command, String> {
    let cluster = exec
        .provide_cluster_info
        .then(|| ExecAuthCluster::try_from(cluster));
    // The files of the cluster were read before this; the text has their paths at most.
    let cluster = cluster
        .transpose()
        .map_err(|error| format!("exec.provideClusterInfo: {error}"))?;
    let asked = ExecCredential {
        api_version: version.to_owned(),
        kind: "ExecCredential".to_owned(),
        spec: Spec {
            interactive: false,
            cluster,
        },
        status: None,
    };
    let asked = serde_json::to_string(&asked)
        .map_err(|_| "exec.provideClusterInfo: cannot be put as JSON".to_owned())?;
    let mut command = Command::new(program);
    command.args(exec.args.iter().flatten());
    for variable in exec.env.iter().flatten() {
        if let (Some(name), Some(value)) = (variable.get("name"), variable.get("value")) {
            command.env(name, value);
        }
    }
    command.env("KUBERNETES_EXEC_INFO", asked);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    // A group of its own, so that what a shell script started can be ended with it.
    #[cfg(unix)]
    command.process_group(0);
    Ok(command)
}

/// A program that is ended, with what it started, when nobody waits for it any more.
struct Running {
    child: Child,
}

impl Running {
    async fn output(&mut self) -> Result<Vec<u8>, String> {
        let mut printed = Vec::new();
        if let Some(stdout) = &mut self.child.stdout {
            let read = stdout.take(MOST_BYTES + 1).read_to_end(&mut printed).await;
            read.map_err(|error| format!("cannot be listened to: {error}"))?;
        }
        if printed.len() as u64 > MOST_BYTES {
            return Err(format!("printed too much, expected at most {MOST_BYTES} bytes"));
        }
        let status = self
            .child
            .wait()
            .await
            .map_err(|error| format!("cannot be waited for: {error}"))?;
        if !status.success() {
            return Err(format!("failed ({status}); what it says by itself may tell why"));
        }
        Ok(printed)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only as long as it was not waited for: after that its number may be somebody else's.
        #[cfg(unix)]
        if let Some(group) = self
            .child
            .id()
            .and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()))
        {
            // There is nothing more to be done where this fails; the program itself is ended by its handle.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

/// What of the text of a parser's error may be shown is where it happened.
fn read(output: &[u8], version: &str) -> Result<Issued, String> {
    let expected = "expected an ExecCredential in JSON";
    let answer: ExecCredential = serde_json::from_slice(output).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        format!("found something else at line {line}, column {column}, {expected}")
    })?;
    if answer.kind != "ExecCredential" {
        return Err(format!("found another kind, {expected}"));
    }
    if answer.api_version != version {
        return Err(format!("found another apiVersion, expected {version}"));
    }
    let status = answer
        .status
        .ok_or_else(|| format!("found no status, {expected} with one"))?;
    let expires = status.expiration_timestamp.map(|text| date::rfc_3339(&text));
    if expires == Some(None) {
        return Err(
            "expirationTimestamp: found something else, expected a time such as 2026-11-21T10:00:00Z"
                .to_owned(),
        );
    }
    let identity = match (status.client_certificate_data, status.client_key_data) {
        (Some(certificate), Some(key)) => Some(Identity {
            certificate,
            key: key.into(),
        }),
        (None, None) => None,
        _ => return Err("found one of clientCertificateData and clientKeyData, expected both".to_owned()),
    };
    if status.token.is_none() && identity.is_none() {
        return Err("found neither a token nor a client certificate, expected one of them".to_owned());
    }
    Ok(Issued {
        token: status.token.map(Into::into),
        identity,
        expires: expires.flatten(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = VERSIONS[0];

    fn answer(kind: &str, version: &str, status: &str) -> String {
        format!(r#"{{"kind":"{kind}","apiVersion":"{version}","spec":{{}},"status":{status}}}"#)
    }

    #[test]
    fn an_answer_is_checked_and_never_shown() {
        let all = answer(
            "ExecCredential",
            V1,
            r#"{"token":"t","expirationTimestamp":"2026-11-21T00:00:00Z"}"#,
        );
        let issued = read(all.as_bytes(), V1).ok().unwrap();
        assert!(issued.token.is_some() && issued.expires.is_some() && issued.identity.is_none());
        let pair = r#"{"clientCertificateData":"c","clientKeyData":"k"}"#;
        assert!(
            read(answer("ExecCredential", V1, pair).as_bytes(), V1)
                .ok()
                .unwrap()
                .identity
                .is_some()
        );
        for (answer, expected) in [
            (answer("geheim", V1, "{}"), "found another kind"),
            (
                answer("ExecCredential", "geheim", "{}"),
                "found another apiVersion",
            ),
            (answer("ExecCredential", V1, "null"), "found no status"),
            (answer("ExecCredential", V1, "{}"), "found neither"),
            (
                answer("ExecCredential", V1, r#"{"clientKeyData":"geheim"}"#),
                "found one of",
            ),
            (
                answer("ExecCredential", V1, r#"{"token":["geheim"]}"#),
                "found something else at line 1",
            ),
            (
                answer(
                    "ExecCredential",
                    V1,
                    r#"{"token":"geheim","expirationTimestamp":"geheim"}"#,
                ),
                "expirationTimestamp",
            ),
            ("geheim".to_owned(), "found something else at line 1, column 1"),
            (String::new(), "found something else"),
        ] {
            let error = read(answer.as_bytes(), V1).err().unwrap();
            assert!(
                error.starts_with(expected) && !error.contains("geheim"),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn what_cannot_be_run_names_the_field() {
        let exec = |version: Option<&str>, command: Option<&str>, mode| ExecConfig {
            api_version: version.map(ToOwned::to_owned),
            command: command.map(ToOwned::to_owned),
            interactive_mode: mode,
            install_hint: Some("get it from the shop".to_owned()),
            ..ExecConfig::default()
        };
        for (exec, expected) in [
            (
                exec(None, Some("a"), None),
                "exec.apiVersion: found \"\", expected client.auth",
            ),
            (
                exec(Some("v1alpha1"), Some("a"), None),
                "exec.apiVersion: found \"v1alpha1\"",
            ),
            (exec(Some(V1), None, None), "exec.command: found nothing"),
            (
                exec(Some(V1), Some("a"), Some(ExecInteractiveMode::Always)),
                "exec.interactiveMode",
            ),
            (
                exec(Some(V1), Some("/nowhere/login"), None),
                "exec.command: cannot run /nowhere/login: ",
            ),
        ] {
            let error = run(&exec, &Cluster::default(), Duration::from_secs(60))
                .await
                .err()
                .unwrap();
            assert!(error.starts_with(expected), "{error}");
            assert_eq!(
                error.ends_with("(get it from the shop)"),
                error.contains("nowhere"),
                "{error}"
            );
        }
    }
}
