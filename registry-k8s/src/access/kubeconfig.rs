//! Kubeconfigs: reading them, merging several, and choosing a context.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use kube::config::{AuthInfo, Cluster, Kubeconfig, KubeconfigError};
use registry_core::short;

use crate::error::Error;

/// More than any kubeconfig has that leads to hundreds of clusters.
const MOST_BYTES: u64 = 16 << 20;

/// The names of an error's choice that are shown.
const MOST_NAMES: usize = 10;

/// A context, with what it stands for.
#[derive(Clone)]
pub(super) struct Chosen {
    pub(super) context: String,
    pub(super) cluster: Cluster,
    pub(super) user: AuthInfo,
}

/// An error of this kubeconfig.
pub(super) fn wrong(place: &str, problem: impl Into<String>) -> Error {
    Error::Kubeconfig {
        place: place.to_owned(),
        problem: problem.into(),
    }
}

/// A file's content, if it is not absurdly long.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error| format!("cannot be read: {error}");
    let file = File::open(path).map_err(unreadable)?;
    let mut content = Vec::new();
    // Counted while reading: files that are no files have no length to look at before.
    file.take(MOST_BYTES + 1)
        .read_to_end(&mut content)
        .map_err(unreadable)?;
    if content.len() as u64 > MOST_BYTES {
        return Err(format!(
            "found more than {MOST_BYTES} bytes, expected a short file"
        ));
    }
    Ok(content)
}

/// The kubeconfig of a file; paths in it count from its directory.
pub(super) fn read(path: &Path) -> Result<Kubeconfig, Error> {
    let place = path.display().to_string();
    let bytes = read_file(path).map_err(|problem| wrong(&place, problem))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| wrong(&place, "found bytes that are not UTF-8, expected YAML"))?;
    parse(&text, &place, path.parent())
}

/// The kubeconfig of a text. Without a `folder`, relative paths in it count from where the process runs.
pub(super) fn parse(text: &str, place: &str, folder: Option<&Path>) -> Result<Kubeconfig, Error> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // What the parser says shows lines of the text, and values: both may be secret.
    let mut kubeconfig = Kubeconfig::from_yaml(text).map_err(|error| {
        let at = match &error {
            KubeconfigError::Parse(error) => error.location(),
            _ => None,
        };
        let at = at.map(|at| format!(" at line {}, column {}", at.line(), at.column()));
        wrong(
            place,
            format!(
                "found something else{}, expected a kubeconfig in YAML",
                at.unwrap_or_default()
            ),
        )
    })?;
    if let Some(folder) = folder {
        resolve(&mut kubeconfig, folder);
    }
    Ok(kubeconfig)
}

/// What the first says counts: neither values nor entries of the same name are mixed.
pub(super) fn merge(first: Kubeconfig, next: Kubeconfig, place: &str) -> Result<Kubeconfig, Error> {
    let merged = first.merge(next);
    merged.map_err(|_| {
        wrong(
            place,
            "found another `kind` or `apiVersion` than in the files before it, expected the same",
        )
    })
}

/// Makes paths absolute, or at least the same from wherever the process runs.
fn resolve(kubeconfig: &mut Kubeconfig, folder: &Path) {
    let join = |path: &mut Option<String>| {
        if let Some(path) = path
            && !path.is_empty()
            && let Some(joined) = folder.join(&*path).to_str()
        {
            *path = joined.to_owned();
        }
    };
    for cluster in kubeconfig
        .clusters
        .iter_mut()
        .filter_map(|named| named.cluster.as_mut())
    {
        join(&mut cluster.certificate_authority);
    }
    for user in kubeconfig
        .auth_infos
        .iter_mut()
        .filter_map(|named| named.auth_info.as_mut())
    {
        join(&mut user.client_certificate);
        join(&mut user.client_key);
        join(&mut user.token_file);
        // A bare name is looked up in `PATH`, as a shell does.
        if let Some(exec) = &mut user.exec
            && exec
                .command
                .as_ref()
                .is_some_and(|command| command.contains(std::path::MAIN_SEPARATOR))
        {
            join(&mut exec.command);
        }
    }
}

/// The context of this name, else the current one.
pub(super) fn choose(kubeconfig: Kubeconfig, context: Option<&str>, place: &str) -> Result<Chosen, Error> {
    let current = kubeconfig.current_context.filter(|name| !name.is_empty());
    let names = || names(kubeconfig.contexts.iter().map(|named| named.name.as_str()));
    let name = match (context, current) {
        (Some(name), _) => name.to_owned(),
        (None, Some(name)) => name,
        (None, None) => {
            let problem = format!(
                "current-context: found none, and no `context` is configured, expected {}",
                names()
            );
            return Err(wrong(place, problem));
        }
    };
    let shown = short(&name, 100);
    let context = kubeconfig.contexts.iter().find(|named| named.name == name);
    let Some(context) = context.and_then(|named| named.context.as_ref()) else {
        return Err(wrong(
            place,
            format!("context {shown:?}: not found, expected {}", names()),
        ));
    };
    let clusters = &kubeconfig.clusters;
    let cluster = clusters.iter().find(|named| named.name == context.cluster);
    let Some(cluster) = cluster.and_then(|named| named.cluster.clone()) else {
        let known = self::names(clusters.iter().map(|named| named.name.as_str()));
        let problem = format!(
            "context {shown:?}: cluster: found {:?}, expected {known}",
            short(&context.cluster, 100)
        );
        return Err(wrong(place, problem));
    };
    // Without a user there are no credentials, which is what kubectl makes of it, too.
    let user = match context.user.as_deref().unwrap_or_default() {
        "" => AuthInfo::default(),
        user => {
            let users = &kubeconfig.auth_infos;
            let Some(found) = users.iter().find(|named| named.name == user) else {
                let known = self::names(users.iter().map(|named| named.name.as_str()));
                let problem = format!(
                    "context {shown:?}: user: found {:?}, expected {known}",
                    short(user, 100)
                );
                return Err(wrong(place, problem));
            };
            found.auth_info.clone().unwrap_or_default()
        }
    };
    let mut chosen = Chosen {
        context: name,
        cluster,
        user,
    };
    chosen.drop_empty();
    Ok(chosen)
}

/// The names to choose from, as far as they fit a message.
fn names<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let count = names.len();
    if count == 0 {
        return "one, but there are none".to_owned();
    }
    let shown: Vec<String> = names.take(MOST_NAMES).map(|name| short(name, 100)).collect();
    let more = if count > MOST_NAMES { ", …" } else { "" };
    format!("one of {}{more}", shown.join(", "))
}

impl Chosen {
    /// The name of the context, as far as it fits a message.
    pub(super) fn shown(&self) -> String {
        short(&self.context, 100)
    }

    /// Fields that are there but empty count as left out, as they do for kubectl.
    fn drop_empty(&mut self) {
        let drop = |field: &mut Option<String>| {
            field.take_if(|value| value.is_empty());
        };
        let (cluster, user) = (&mut self.cluster, &mut self.user);
        for field in [
            &mut cluster.server,
            &mut cluster.certificate_authority,
            &mut cluster.certificate_authority_data,
            &mut cluster.proxy_url,
            &mut cluster.tls_server_name,
            &mut user.username,
            &mut user.token_file,
            &mut user.client_certificate,
            &mut user.client_certificate_data,
            &mut user.client_key,
            &mut user.impersonate,
            &mut user.impersonate_uid,
        ] {
            drop(field);
        }
        for field in [&mut user.password, &mut user.token, &mut user.client_key_data] {
            field.take_if(|value| secrecy::ExposeSecret::expose_secret(value).is_empty());
        }
    }

    /// The first field that would run a program here, read a file of this machine, or trust anybody.
    pub(super) fn untrustworthy(&self) -> Option<&'static str> {
        let (cluster, user) = (&self.cluster, &self.user);
        [
            ("user.exec", user.exec.is_some()),
            ("user.auth-provider", user.auth_provider.is_some()),
            ("user.tokenFile", user.token_file.is_some()),
            ("user.client-certificate", user.client_certificate.is_some()),
            ("user.client-key", user.client_key.is_some()),
            (
                "cluster.certificate-authority",
                cluster.certificate_authority.is_some(),
            ),
            (
                "cluster.insecure-skip-tls-verify",
                cluster.insecure_skip_tls_verify == Some(true),
            ),
        ]
        .into_iter()
        .find_map(|(field, set)| set.then_some(field))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "
contexts:
- {name: a, context: {cluster: one, user: me}}
- {name: b, context: {cluster: gone, user: me}}
- {name: c, context: {cluster: one, user: nobody}}
- {name: d, context: {cluster: one}}
clusters:
- {name: one, cluster: {server: 'https://one', certificate-authority: ca.pem, proxy-url: ''}}
users:
- {name: me, user: {tokenFile: /abs/token, client-key: keys/me, exec: {command: ./bin/login}}}
";

    fn chosen(text: &str, context: Option<&str>) -> Result<Chosen, String> {
        let kubeconfig = parse(text, "x.yaml", Some(Path::new("/etc/k")));
        let chosen = kubeconfig.and_then(|kubeconfig| choose(kubeconfig, context, "x.yaml"));
        chosen.map_err(|error| error.to_string())
    }

    #[test]
    fn paths_count_from_the_directory_of_the_file() {
        let chosen = chosen(TWO, Some("a")).ok().unwrap();
        assert_eq!(
            chosen.cluster.certificate_authority.as_deref(),
            Some("/etc/k/ca.pem")
        );
        assert_eq!(chosen.cluster.proxy_url, None);
        assert_eq!(chosen.user.token_file.as_deref(), Some("/abs/token"));
        assert_eq!(chosen.user.client_key.as_deref(), Some("/etc/k/keys/me"));
        assert_eq!(
            chosen.user.exec.unwrap().command.as_deref(),
            Some("/etc/k/./bin/login")
        );
    }

    #[test]
    fn what_is_missing_is_named_with_what_is_there() {
        for (context, expected) in [
            (
                Some("x"),
                "x.yaml: context \"x\": not found, expected one of a, b, c, d",
            ),
            (
                None,
                "x.yaml: current-context: found none, and no `context` is configured, expected one of a, b, c, d",
            ),
            (
                Some("b"),
                "x.yaml: context \"b\": cluster: found \"gone\", expected one of one",
            ),
            (
                Some("c"),
                "x.yaml: context \"c\": user: found \"nobody\", expected one of me",
            ),
        ] {
            assert_eq!(chosen(TWO, context).err().as_deref(), Some(expected));
        }
        assert!(chosen(TWO, Some("d")).is_ok());
        let nothing = chosen("{}", Some("a")).err().unwrap();
        assert!(nothing.ends_with("expected one, but there are none"), "{nothing}");
    }

    #[test]
    fn nothing_of_a_broken_text_is_shown() {
        for text in [
            "users:\n- name: a\n  user: {token: geheim, exec: geheim}\n",
            "users:\n- name: a\n  user: {token: [geheim]}\n",
            "geheim",
            "users: {geheim: [",
        ] {
            let error = chosen(text, None).err().unwrap();
            assert!(error.starts_with("x.yaml: found something else"), "{error}");
            assert!(!error.contains("geheim"), "{error}");
        }
    }

    #[test]
    fn the_first_of_several_counts() {
        let parse = |text| parse(text, "x", None).unwrap();
        let first = parse("{current-context: a, users: [{name: me, user: {token: t}}]}");
        let next = parse("{current-context: b, users: [{name: me, user: {tokenFile: f}}, {name: you}]}");
        let merged = merge(first, next, "x").unwrap();
        assert_eq!(merged.current_context.as_deref(), Some("a"));
        assert_eq!(merged.auth_infos.len(), 2);
        assert!(
            merged.auth_infos[0]
                .auth_info
                .as_ref()
                .unwrap()
                .token_file
                .is_none()
        );
        let kinds = merge(parse("kind: Config"), parse("kind: Other"), "x");
        assert!(kinds.unwrap_err().to_string().contains("kind"));
    }

    #[test]
    fn fields_that_reach_into_this_machine_are_told() {
        let of = |cluster: &str, user: &str| {
            let text = format!(
                "{{current-context: a, contexts: [{{name: a, context: {{cluster: a, user: a}}}}],
                clusters: [{{name: a, cluster: {{{cluster}}}}}], users: [{{name: a, user: {{{user}}}}}]}}"
            );
            chosen(&text, None).ok().unwrap().untrustworthy()
        };
        for (cluster, user, field) in [
            ("", "exec: {command: a}", Some("user.exec")),
            ("", "auth-provider: {name: gcp}", Some("user.auth-provider")),
            ("", "tokenFile: a", Some("user.tokenFile")),
            ("", "client-certificate: a", Some("user.client-certificate")),
            ("", "client-key: a", Some("user.client-key")),
            (
                "certificate-authority: a",
                "",
                Some("cluster.certificate-authority"),
            ),
            (
                "insecure-skip-tls-verify: true",
                "",
                Some("cluster.insecure-skip-tls-verify"),
            ),
            ("insecure-skip-tls-verify: false", "token: a", None),
            (
                "certificate-authority-data: a",
                "client-certificate-data: a, client-key-data: b",
                None,
            ),
            ("certificate-authority: ''", "tokenFile: ''", None),
        ] {
            assert_eq!(of(cluster, user), field);
        }
    }
}
