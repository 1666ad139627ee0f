//! Kubeconfig files: those that tests hand to the code under test, and as much of a real one as is needed.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::json;

use crate::{Error, files};

/// How a user gets in. Everything that is a file in a kubeconfig is one here.
#[derive(Debug, Clone, Default)]
pub(super) struct Login {
    pub(super) ca: Option<PathBuf>,
    pub(super) token: Option<String>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
}

/// Writes a file, in JSON, which every reader of YAML reads, and returns where it is.
pub(super) fn write(folder: &Path, url: &str, user: &str, login: &Login) -> Result<PathBuf, Error> {
    let mut cluster = json!({ "server": url });
    // Some clients refuse an authority for what is not encrypted.
    if let Some(ca) = login.ca.as_ref().filter(|_| url.starts_with("https:")) {
        cluster["certificate-authority"] = json!(ca);
    }
    let mut credentials = json!({});
    if let Some(token) = &login.token {
        credentials["token"] = json!(token);
    }
    if let (Some(certificate), Some(key)) = (&login.certificate, &login.key) {
        credentials["client-certificate"] = json!(certificate);
        credentials["client-key"] = json!(key);
    }
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{ "name": "test", "cluster": cluster }],
        "users": [{ "name": user, "user": credentials }],
        "contexts": [{ "name": "test", "context": { "cluster": "test", "user": user } }],
    });
    let path = folder.join(format!("kubeconfig-{}.yaml", files::random_uuid()?));
    files::write(&path, &format!("{config:#}\n"))?;
    Ok(path)
}

/// Reads a context of a file, the current one unless named: its URL and login. What the file holds in itself is written
/// to `folder`.
pub(super) fn read(path: &Path, context: Option<&str>, folder: &Path) -> Result<(String, Login), Error> {
    let config = parse(path)?;
    let unusable = |reason: String| unusable(path, reason);
    let missing = |what: &str, name: &str| unusable(format!("it has no {what} `{name}`"));
    let named = |entries: &[Entry], name: &str| entries.iter().find(|entry| entry.name == name).cloned();

    let name = context.unwrap_or(&config.current_context);
    let context = named(&config.contexts, name).ok_or_else(|| missing("context", name))?;
    let cluster = named(&config.clusters, &context.context.cluster);
    let cluster = cluster
        .ok_or_else(|| missing("cluster", &context.context.cluster))?
        .cluster;
    let user = named(&config.users, &context.context.user);
    let user = user.ok_or_else(|| missing("user", &context.context.user))?.user;
    let beside = path.parent().unwrap_or(Path::new("."));
    let file =
        |name: &str, file: &Option<PathBuf>, data: &Option<String>| -> Result<Option<PathBuf>, Error> {
            let Some(data) = data else {
                return Ok(file.as_ref().map(|file| beside.join(file)));
            };
            let bytes = base64(data).ok_or_else(|| unusable(format!("its {name} is no base64")))?;
            let path = folder.join(name);
            fs::write(&path, bytes).map_err(Error::file("cannot write", &path))?;
            Ok(Some(path))
        };
    let token = match (&user.token, &user.token_file) {
        (Some(token), _) => Some(token.clone()),
        (None, Some(file)) => {
            let text = fs::read_to_string(beside.join(file)).map_err(|error| unusable(error.to_string()))?;
            Some(text.trim().to_owned())
        }
        (None, None) => None,
    };
    let login = Login {
        ca: file("ca.pem", &cluster.ca_file, &cluster.ca_data)?,
        certificate: file("client.pem", &user.certificate_file, &user.certificate_data)?,
        key: file("client.key", &user.key_file, &user.key_data)?,
        token,
    };
    if login.token.is_none() && login.certificate.is_none() {
        return Err(unusable(
            "its user has neither a token nor a certificate".to_owned(),
        ));
    }
    Ok((cluster.server.trim_end_matches('/').to_owned(), login))
}

/// The names of all contexts of a file, in their order there.
pub(super) fn contexts(path: &Path) -> Result<Vec<String>, Error> {
    let contexts = parse(path)?.contexts.into_iter();
    Ok(contexts.map(|context| context.name).collect())
}

fn parse(path: &Path) -> Result<Config, Error> {
    let text = fs::read_to_string(path).map_err(|error| unusable(path, error.to_string()))?;
    serde_saphyr::from_str(&text).map_err(|error| unusable(path, error.to_string()))
}

fn unusable(path: &Path, reason: String) -> Error {
    Error::Kubeconfig {
        path: path.display().to_string(),
        reason,
    }
}

#[derive(Debug, Deserialize)]
struct Config {
    #[serde(rename = "current-context", default)]
    current_context: String,
    clusters: Vec<Entry>,
    users: Vec<Entry>,
    contexts: Vec<Entry>,
}

/// One of each kind of list; what it is not is empty.
#[derive(Debug, Clone, Deserialize)]
struct Entry {
    name: String,
    #[serde(default)]
    cluster: ClusterEntry,
    #[serde(default)]
    user: UserEntry,
    #[serde(default)]
    context: ContextEntry,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct ClusterEntry {
    server: String,
    #[serde(rename = "certificate-authority")]
    ca_file: Option<PathBuf>,
    #[serde(rename = "certificate-authority-data")]
    ca_data: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct UserEntry {
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<PathBuf>,
    #[serde(rename = "client-certificate")]
    certificate_file: Option<PathBuf>,
    #[serde(rename = "client-certificate-data")]
    certificate_data: Option<String>,
    #[serde(rename = "client-key")]
    key_file: Option<PathBuf>,
    #[serde(rename = "client-key-data")]
    key_data: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct ContextEntry {
    cluster: String,
    user: String,
}

/// Decodes base64 of the standard alphabet, with or without padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for letter in text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=')
    {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    Some(bytes)
}

/// What is in a file of ours, for tests.
#[cfg(test)]
fn parsed(path: &Path) -> serde_json::Value {
    let text = fs::read_to_string(path).expect("it was written");
    serde_json::from_str(&text).expect("it is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_write_we_read() {
        let folder = files::temporary("kubeconfig-").expect("the temporary folder is writable");
        let login = Login {
            ca: Some("/ca.pem".into()),
            token: Some("secret".to_owned()),
            ..Login::default()
        };
        let path = write(folder.path(), "https://127.0.0.1:1", "reader", &login).expect("writable");
        let (url, read) = read(&path, None, folder.path()).expect("it is complete");
        assert_eq!(url, "https://127.0.0.1:1");
        assert_eq!((read.ca, read.token), (login.ca.clone(), login.token.clone()));
        let plain = write(folder.path(), "http://127.0.0.1:1", "reader", &login).expect("writable");
        let cluster = &parsed(&plain)["clusters"][0]["cluster"];
        assert_eq!(cluster, &json!({ "server": "http://127.0.0.1:1" }));
    }

    #[test]
    fn data_in_a_file_become_files_and_other_contexts_are_left_alone() {
        let folder = files::temporary("kubeconfig-").expect("the temporary folder is writable");
        let path = folder.path().join("config");
        let text = "\
apiVersion: v1
kind: Config
preferences: {}
current-context: b
clusters:
- name: other
  cluster: { server: 'https://other:6443' }
- name: real
  cluster:
    server: https://real:6443/
    certificate-authority-data: Y2E=
contexts:
- name: a
  context: { cluster: other, user: nobody }
- name: b
  context: { cluster: real, user: admin, namespace: default }
users:
- name: admin
  user:
    client-certificate-data: Y2VydA==
    client-key: key.pem
";
        files::write(&path, text).expect("writable");
        assert_eq!(contexts(&path).expect("it is complete"), ["a", "b"]);
        let (url, login) = read(&path, None, folder.path()).expect("it is complete");
        assert_eq!(url, "https://real:6443");
        assert_eq!(fs::read(login.ca.expect("data")).expect("written"), b"ca");
        assert_eq!(
            fs::read(login.certificate.expect("data")).expect("written"),
            b"cert"
        );
        assert_eq!(login.key, Some(folder.path().join("key.pem")));
        assert_eq!(login.token, None);
    }

    #[test]
    fn a_file_that_cannot_be_used_says_why() {
        let folder = files::temporary("kubeconfig-").expect("the temporary folder is writable");
        let path = folder.path().join("config");
        files::write(
            &path,
            "current-context: gone\nclusters: []\nusers: []\ncontexts: []\n",
        )
        .expect("writable");
        for (context, missing) in [(None, "gone"), (Some("other"), "other")] {
            let error = read(&path, context, folder.path()).expect_err("it has no context");
            let ends = format!("it has no context `{missing}`");
            assert!(error.to_string().ends_with(&ends), "{error}");
        }
    }

    #[test]
    fn base64_is_decoded_with_and_without_padding() {
        assert_eq!(base64("TWFu\nTWE=").as_deref(), Some(&b"ManMa"[..]));
        assert_eq!(base64("+/8").as_deref(), Some(&[0xfb, 0xff][..]));
        assert_eq!(base64("T!"), None);
    }
}
