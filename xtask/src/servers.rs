//! `cargo xtask servers`: the real servers that tests run against, pinned and checksummed.
//!
//! What is installed is the table [`SERVERS`]; how, is a matter of the kind of [`Artifact`]. A server is
//! unpacked into `target/servers/<name>`, nothing is installed into the system and nothing needs root. A stamp
//! with the checksum tells whether what lies there is what the table asks for; an installation appears by one
//! rename, so a test never sees half of one.

mod apt;
mod debian;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::failure::Failure;
use crate::workspace::Workspace;

/// The file in a server's folder that says which artifact it came from.
const STAMP: &str = ".stamp";

/// A server that tests start.
#[derive(Debug)]
pub(crate) struct Server {
    /// The folder under `target/servers`, and the name in messages.
    name: &'static str,
    version: &'static str,
    artifact: Artifact,
    /// A file that is there once the server is installed, relative to its folder.
    program: &'static str,
}

/// Where a server comes from.
#[derive(Debug)]
enum Artifact {
    /// The folder `usr` of a Debian package that needs nothing but libc.
    Debian(debian::Package),
}

const SERVERS: &[Server] = &[Server {
    name: "consul",
    version: "1.8.7",
    // From Debian 11 (bullseye); later releases have no Consul.
    artifact: Artifact::Debian(debian::Package {
        path: "pool/main/c/consul/consul_1.8.7+dfsg1-2+b3_amd64.deb",
        architecture: "x86_64",
        sha256: "e4e888bba104daba1d9161f49bfc52649a7e4efd45b1a7ead5bc54f2cb9c89d9",
    }),
    program: "bin/consul",
}];

/// Installs what is missing and says where it is.
pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    if let Some(argument) = arguments.first() {
        return Err(Failure::usage(format!("`servers` does not know `{argument}`")));
    }
    let missing = missing_tools(workspace);
    if !missing.is_empty() {
        return Err(Failure::new(missing.join("\n")));
    }
    install_all(workspace)
}

/// Installs every server of the table that is not there yet.
///
/// One that fails does not keep the others from being installed.
pub(crate) fn install_all(workspace: &Workspace) -> Result<(), Failure> {
    let failures: Vec<String> = SERVERS
        .iter()
        .filter_map(|server| server.install(&workspace.servers()).err())
        .map(|failure| failure.to_string())
        .collect();
    if failures.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(failures.join("\n")))
    }
}

/// The programs that are needed to install what is not installed yet, but are not on this machine.
pub(crate) fn missing_tools(workspace: &Workspace) -> Vec<String> {
    SERVERS
        .iter()
        .filter(|server| !server.is_installed(&server.folder(&workspace.servers())))
        .flat_map(|server| match &server.artifact {
            Artifact::Debian(package) => package.missing_tools(server.name),
        })
        .collect()
}

// === impl Server ===

impl Server {
    fn folder(&self, servers: &Path) -> PathBuf {
        servers.join(self.name)
    }

    /// What the stamp of this very artifact says.
    fn stamp(&self) -> String {
        match &self.artifact {
            Artifact::Debian(package) => format!("{} {}\n", self.version, package.sha256),
        }
    }

    fn is_installed(&self, folder: &Path) -> bool {
        fs::read_to_string(folder.join(STAMP)).is_ok_and(|stamp| stamp == self.stamp())
            && folder.join(self.program).is_file()
    }

    fn install(&self, servers: &Path) -> Result<(), Failure> {
        let folder = self.folder(servers);
        if self.is_installed(&folder) {
            println!(
                "{} {} is installed in {}",
                self.name,
                self.version,
                folder.display()
            );
            return Ok(());
        }
        let start = Instant::now();
        // Beside its final place, so that the rename stays within one file system; with our process number, so
        // that two runs do not disturb each other.
        let work = servers.join(format!(".{}-{}", self.name, std::process::id()));
        let outcome = self.install_by(&work, &folder);
        let _ = fs::remove_dir_all(&work);
        outcome.map_err(|failure| {
            Failure::new(format!(
                "{} {} could not be installed: {failure}",
                self.name, self.version
            ))
        })?;
        let elapsed = start.elapsed().as_secs_f32();
        println!(
            "{} {} installed into {} in {elapsed:.1} s",
            self.name,
            self.version,
            folder.display()
        );
        Ok(())
    }

    fn install_by(&self, work: &Path, folder: &Path) -> Result<(), Failure> {
        fs::create_dir_all(work).map_err(|error| failed("make", work, &error))?;
        let unpacked = match &self.artifact {
            Artifact::Debian(package) => package.unpack(work)?,
        };
        if !unpacked.join(self.program).is_file() {
            return Err(Failure::new(format!("the artifact has no {}", self.program)));
        }
        let stamp = unpacked.join(STAMP);
        fs::write(&stamp, self.stamp()).map_err(|error| failed("write", &stamp, &error))?;
        // A rename does not replace a folder that has something in it: the old one steps aside first.
        let old = work.join("old");
        if folder.exists() {
            fs::rename(folder, &old).map_err(|error| failed("move", folder, &error))?;
        }
        match fs::rename(&unpacked, folder) {
            Ok(()) => Ok(()),
            // Another run was quicker and has put the same there.
            Err(_) if self.is_installed(folder) => Ok(()),
            Err(error) => Err(failed("make", folder, &error)),
        }
    }
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot {what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_complete() {
        for server in SERVERS {
            let Artifact::Debian(package) = &server.artifact;
            assert_eq!(package.sha256.len(), 64, "{}", server.name);
            assert!(package.path.contains(server.version), "{}", server.name);
            assert!(server.stamp().contains(package.sha256), "{}", server.name);
        }
    }

    #[test]
    fn an_empty_folder_is_no_installation() {
        let folder = std::env::temp_dir().join(format!("xtask-servers-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("the temporary folder is writable");
        assert!(SERVERS.iter().all(|server| !server.is_installed(&folder)));
        fs::write(folder.join(STAMP), "0.0.0 another\n").expect("the temporary folder is writable");
        assert!(SERVERS.iter().all(|server| !server.is_installed(&folder)));
        fs::remove_dir_all(&folder).expect("it is ours");
    }
}
