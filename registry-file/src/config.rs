//! What an operator may set.

use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use registry_core::duration;

/// The largest limit on the size of a file that can be set.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// Settings of a [`FileRegistry`](crate::FileRegistry), strict and with every default visible in its schema.
///
/// A path is a file, or a directory of which all `*.yaml`, `*.yml` and `*.json` files are read: not those of its
/// subdirectories, and none whose name begins with a dot.
///
/// ```
/// let config: registry_file::FileConfig =
///     serde_json::from_str(r#"{ "paths": ["vms.yaml", "/etc/registryd/services.d"], "poll_interval": "10s" }"#)?;
/// assert_eq!(config.paths().count(), 2);
/// assert_eq!(config.debounce.as_millis(), 200);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FileConfig {
    /// The file or directory, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// The files and directories, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<PathBuf>,
    /// How long a file has to rest after a change before it is read; at most ten times as long if it never rests.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub debounce: Duration,
    /// How often all files are looked at even if the system tells of no change, since it may miss some.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub poll_interval: Duration,
    /// The largest file that is read, in bytes.
    pub max_file_bytes: u64,
}

impl Default for FileConfig {
    fn default() -> Self {
        Self {
            path: None,
            paths: Vec::new(),
            debounce: Duration::from_millis(200),
            poll_interval: Duration::from_secs(5),
            max_file_bytes: 64 * 1024 * 1024,
        }
    }
}

impl FileConfig {
    /// That path, and defaults for all else.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: Some(path.into()),
            ..Self::default()
        }
    }

    /// All paths, as configured.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.path.iter().chain(&self.paths).map(PathBuf::as_path)
    }

    /// Checks what types cannot.
    ///
    /// # Errors
    ///
    /// Names the setting that is wrong.
    pub fn validate(&self) -> Result<(), Error> {
        let wrong = |field, found: &str, expected| {
            Err(Error::Config {
                field,
                found: found.to_owned(),
                expected,
            })
        };
        match (&self.path, self.paths.as_slice()) {
            (None, []) => return wrong("path", "nothing", "a file or directory (or several as `paths`)"),
            (Some(_), [_, ..]) => return wrong("paths", "a list beside `path`", "either of the two"),
            _ => {}
        }
        if self.paths().any(|path| path.as_os_str().is_empty()) {
            return wrong("path", "an empty text", "a file or directory");
        }
        if self.debounce > Duration::from_secs(60) {
            return wrong("debounce", &duration::format(self.debounce), "at most 1m");
        }
        if !(Duration::from_millis(10)..=Duration::from_secs(3600)).contains(&self.poll_interval) {
            return wrong(
                "poll_interval",
                &duration::format(self.poll_interval),
                "10ms to 1h",
            );
        }
        if !(1..=MAX_FILE_BYTES).contains(&self.max_file_bytes) {
            return wrong(
                "max_file_bytes",
                &self.max_file_bytes.to_string(),
                "1 to 1073741824",
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_settings_and_numbers_without_a_unit_are_refused() {
        for (text, part) in [
            (r#"{ "path": "a", "poll": "5s" }"#, "poll"),
            (r#"{ "path": "a", "debounce": 200 }"#, "a duration such as `30s`"),
            (r#"{ "path": "a", "debounce": "200" }"#, "200"),
        ] {
            let error = serde_json::from_str::<FileConfig>(text).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn settings_that_cannot_work_are_named() {
        let with = |change: fn(&mut FileConfig)| {
            let mut config = FileConfig::new("vms.yaml");
            change(&mut config);
            config.validate().unwrap_err().to_string()
        };
        assert_eq!(
            with(|config| config.path = None),
            "path: found nothing, expected a file or directory (or several as `paths`)"
        );
        assert!(with(|config| config.paths.push("b".into())).starts_with("paths: found a list beside"));
        assert!(with(|config| config.poll_interval = Duration::ZERO).starts_with("poll_interval: found 0s"));
        assert!(with(|config| config.max_file_bytes = 0).starts_with("max_file_bytes: found 0,"));
        assert!(with(|config| config.path = Some(PathBuf::new())).starts_with("path: found an empty text"));
    }

    #[test]
    fn defaults_survive_a_round_trip_and_show_in_the_schema() {
        let text = serde_json::to_string(&FileConfig::new("vms.yaml")).unwrap();
        assert_eq!(
            serde_json::from_str::<FileConfig>(&text).unwrap(),
            FileConfig::new("vms.yaml")
        );
        let schema = serde_json::to_value(schemars::schema_for!(FileConfig)).unwrap();
        assert_eq!(schema["properties"]["debounce"]["default"], "200ms");
        assert_eq!(schema["properties"]["poll_interval"]["default"], "5s");
        assert_eq!(schema["additionalProperties"], false);
    }
}
