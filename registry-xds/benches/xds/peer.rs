//! The peer, which Go builds.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Outcome;

/// Builds it; its dependencies come from the module proxy.
pub(crate) fn build() -> Outcome<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peer");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("xds-peer");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(&source)
        .status()?;
    if built.success() {
        Ok(program)
    } else {
        Err(format!("go build in {}: {built}", source.display()).into())
    }
}
