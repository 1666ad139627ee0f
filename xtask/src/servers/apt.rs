//! The Debian mirrors of this machine, read from apt's own sources.
//!
//! No address of a mirror is written into this repository: behind a firewall the system's own is the only one
//! that works, and a machine that could install its packages can install ours.

use std::env;
use std::fs;
use std::path::Path;

/// The variable that names a further mirror or archive to try, such as `http://archive.example/debian`.
pub(crate) const ARCHIVE: &str = "REGISTRY_DEBIAN_ARCHIVE";

/// The addresses to try, best first: the configured mirrors, [`ARCHIVE`], archives named in comments.
pub(crate) fn mirrors() -> Vec<String> {
    let mut found = Found::default();
    for (path, text) in source_files(Path::new("/etc/apt")) {
        if path.ends_with(".sources") {
            found.deb822(&text);
        } else {
            found.one_line(&text);
        }
    }
    found.expand_lists();
    found.ordered(env::var(ARCHIVE).ok())
}

fn source_files(apt: &Path) -> Vec<(String, String)> {
    let mut paths = vec![apt.join("sources.list")];
    if let Ok(folder) = fs::read_dir(apt.join("sources.list.d")) {
        let mut parts: Vec<_> = folder.flatten().map(|entry| entry.path()).collect();
        parts.retain(|path| {
            path.extension()
                .is_some_and(|end| end == "list" || end == "sources")
        });
        // The order in which apt reads them.
        parts.sort();
        paths.extend(parts);
    }
    paths
        .into_iter()
        .filter_map(|path| {
            Some((
                path.to_string_lossy().into_owned(),
                fs::read_to_string(&path).ok()?,
            ))
        })
        .collect()
}

/// Addresses in the order in which they were found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    configured: Vec<String>,
    commented: Vec<String>,
}

// === impl Found ===

impl Found {
    /// A file of stanzas (`URIs: http://mirror.example/debian`).
    fn deb822(&mut self, text: &str) {
        for line in text.lines() {
            if let Some(comment) = line.strip_prefix('#') {
                self.comment(comment);
            } else if let Some(addresses) = strip_prefix_ignoring_case(line, "uris:") {
                self.configured.extend(addresses.split_whitespace().map(clean));
            }
        }
    }

    /// A file of lines (`deb [options] http://mirror.example/debian bookworm main`).
    fn one_line(&mut self, text: &str) {
        for line in text.lines().map(str::trim) {
            if let Some(comment) = line.strip_prefix('#') {
                self.comment(comment);
            } else if let Some(rest) = line.strip_prefix("deb ") {
                self.configured.extend(address_of(rest).map(clean));
            }
        }
    }

    /// A comment counts when it is nothing but an address or a disabled line: installers and images note the
    /// archive that holds the release's state there.
    fn comment(&mut self, comment: &str) {
        let comment = comment.trim();
        let address = comment
            .strip_prefix("deb ")
            .and_then(address_of)
            .unwrap_or(comment);
        if address.contains("://") && !address.contains(char::is_whitespace) {
            self.commented.push(clean(address));
        }
    }

    /// Cloud images configure a file that lists the mirrors.
    fn expand_lists(&mut self) {
        self.configured = std::mem::take(&mut self.configured)
            .into_iter()
            .flat_map(|address| {
                let Some(path) = address.strip_prefix("mirror+file:") else {
                    return vec![address];
                };
                let path = path.strip_prefix("//").unwrap_or(path);
                let text = fs::read_to_string(path).unwrap_or_default();
                text.lines()
                    .filter_map(|line| line.split_whitespace().next())
                    .map(clean)
                    .collect()
            })
            .collect();
    }

    fn ordered(self, archive: Option<String>) -> Vec<String> {
        let archive = archive
            .filter(|address| !address.is_empty())
            .map(|address| clean(&address));
        let mut mirrors: Vec<String> = Vec::new();
        let main = self.configured.into_iter().filter(|address| is_main(address));
        for address in main
            .chain(archive)
            .chain(self.commented.into_iter().filter(|address| is_main(address)))
        {
            if !mirrors.contains(&address) {
                mirrors.push(address);
            }
        }
        mirrors
    }
}

/// Whether the address is one of Debian's main archive, not of its security updates or of another project: a
/// mirror's path is `/debian`, the snapshot archive's `/archive/debian/<time>`.
fn is_main(address: &str) -> bool {
    let mut segments = address.rsplit('/');
    segments.next() == Some("debian") || segments.next() == Some("debian")
}

fn address_of(rest: &str) -> Option<&str> {
    let rest = rest.trim_start();
    let rest = match rest.strip_prefix('[') {
        Some(options) => options.split_once(']')?.1,
        None => rest,
    };
    rest.split_whitespace().next()
}

fn clean(address: &str) -> String {
    address.trim_end_matches('/').to_owned()
}

fn strip_prefix_ignoring_case<'a>(line: &'a str, prefix: &str) -> Option<&'a str> {
    let start = line.get(..prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then(|| &line[prefix.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "\
Types: deb
# http://snapshot.example/archive/debian/20250520T000000Z
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates

Types: deb
# http://snapshot.example/archive/debian-security/20250520T000000Z
URIs: http://mirror.example/debian-security
Suites: bookworm-security
";

    #[test]
    fn stanzas_give_the_mirror_and_the_commented_archive() {
        let mut found = Found::default();
        found.deb822(DEB822);
        assert_eq!(
            found.ordered(None),
            [
                "http://mirror.example/debian",
                "http://snapshot.example/archive/debian/20250520T000000Z"
            ]
        );
    }

    #[test]
    fn lines_give_the_mirror_whatever_their_options() {
        let mut found = Found::default();
        found.one_line(
            "# see sources.list(5)\n\
             deb [arch=amd64 signed-by=/k.gpg] https://mirror.example/debian/ bookworm main\n\
             deb https://packages.example/apt stable main\n\
             deb-src https://mirror.example/debian bookworm main\n\
             # deb http://old.example/debian bullseye main\n",
        );
        assert_eq!(
            found.ordered(None),
            ["https://mirror.example/debian", "http://old.example/debian"]
        );
    }

    #[test]
    fn the_named_archive_comes_after_the_mirrors_and_need_not_look_like_one() {
        let mut found = Found::default();
        found.deb822(DEB822);
        let mirrors = found.ordered(Some("http://cache.example/d/".to_owned()));
        assert_eq!(mirrors[1], "http://cache.example/d");
        assert_eq!(
            Found::default().ordered(Some(String::new())),
            Vec::<String>::new()
        );
    }

    #[test]
    fn several_addresses_in_one_field_are_all_tried() {
        let mut found = Found::default();
        found.deb822("uris: http://a.example/debian http://b.example/debian http://a.example/debian/\n");
        assert_eq!(
            found.ordered(None),
            ["http://a.example/debian", "http://b.example/debian"]
        );
    }

    #[test]
    fn a_list_of_mirrors_is_followed() {
        let list = env::temp_dir().join(format!("xtask-mirrors-{}", std::process::id()));
        fs::write(
            &list,
            "http://a.example/debian\nhttp://b.example/debian priority:2\n",
        )
        .expect("writable");
        let mut found = Found::default();
        found.deb822(&format!("URIs: mirror+file://{}\n", list.display()));
        found.expand_lists();
        fs::remove_file(&list).expect("it is ours");
        assert_eq!(
            found.ordered(None),
            ["http://a.example/debian", "http://b.example/debian"]
        );
    }
}
