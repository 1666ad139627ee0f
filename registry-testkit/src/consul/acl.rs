//! Policies and tokens.

use serde_json::{Value, json};

use super::ConsulApi;
use crate::Error;

/// A token that [`ConsulApi::create_token`] made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AclToken {
    /// What names it in the API; not secret.
    pub accessor: String,
    /// What a client sends.
    pub secret: String,
}

// === impl ConsulApi ===

impl ConsulApi {
    /// Creates a policy of the given rules, such as `service_prefix "" { policy = "read" }`.
    ///
    /// # Errors
    ///
    /// See [`ConsulApi`].
    pub async fn create_policy(&self, name: &str, rules: &str) -> Result<(), Error> {
        self.put("/v1/acl/policy", &json!({ "Name": name, "Rules": rules }))
            .await
            .map(drop)
    }

    /// Creates a token with the named policies.
    ///
    /// # Errors
    ///
    /// See [`ConsulApi`].
    pub async fn create_token(&self, policies: &[&str]) -> Result<AclToken, Error> {
        let path = "/v1/acl/token";
        let policies: Vec<Value> = policies.iter().map(|name| json!({ "Name": name })).collect();
        let body = self.put(path, &json!({ "Policies": policies })).await?;
        let made: Value = serde_json::from_str(&body).map_err(|source| Error::Json {
            url: path.to_owned(),
            source,
        })?;
        let field = |name: &str| made[name].as_str().unwrap_or_default().to_owned();
        Ok(AclToken {
            accessor: field("AccessorID"),
            secret: field("SecretID"),
        })
    }

    /// Revokes a token, by its accessor.
    ///
    /// # Errors
    ///
    /// See [`ConsulApi`].
    pub async fn delete_token(&self, accessor: &str) -> Result<(), Error> {
        self.delete(&format!("/v1/acl/token/{accessor}")).await
    }
}
