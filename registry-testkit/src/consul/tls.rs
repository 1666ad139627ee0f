//! Certificates, made with Consul's own tool.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::Error;

/// An authority with one certificate for servers on 127.0.0.1 and one for clients.
#[derive(Debug)]
pub(super) struct Certificates {
    pub(super) ca: PathBuf,
    pub(super) server_cert: PathBuf,
    pub(super) server_key: PathBuf,
    pub(super) client_cert: PathBuf,
    pub(super) client_key: PathBuf,
    // Holds the files above.
    _folder: TempDir,
}

// === impl Certificates ===

impl Certificates {
    /// Blocks for about a tenth of a second.
    pub(super) fn make(program: &Path, datacenter: &str) -> Result<Self, Error> {
        let folder = tempfile::Builder::new()
            .prefix("consul-tls-")
            .tempdir()
            .map_err(|source| Error::Io {
                what: "cannot make a temporary folder".to_owned(),
                source,
            })?;
        let dc = format!("-dc={datacenter}");
        for arguments in [
            &["tls", "ca", "create"][..],
            &[
                "tls",
                "cert",
                "create",
                "-server",
                "-additional-ipaddress=127.0.0.1",
                &dc,
            ],
            &["tls", "cert", "create", "-client", &dc],
        ] {
            run(program, arguments, folder.path())?;
        }
        let file = |name: String| folder.path().join(name);
        Ok(Self {
            ca: file("consul-agent-ca.pem".to_owned()),
            server_cert: file(format!("{datacenter}-server-consul-0.pem")),
            server_key: file(format!("{datacenter}-server-consul-0-key.pem")),
            client_cert: file(format!("{datacenter}-client-consul-0.pem")),
            client_key: file(format!("{datacenter}-client-consul-0-key.pem")),
            _folder: folder,
        })
    }
}

/// Runs the tool; it writes into its current directory.
fn run(program: &Path, arguments: &[&str], folder: &Path) -> Result<(), Error> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .output()
        .map_err(|source| Error::Spawn {
            program: program.display().to_string(),
            source,
        })?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(Error::Tool {
        command: format!("consul {}", arguments.join(" ")),
        output: String::from_utf8_lossy(&said).trim().to_owned(),
    })
}
