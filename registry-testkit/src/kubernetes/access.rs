//! Who may come in, and what they may do: the two files that the server reads for each request.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Error, files};

/// The user who may do everything.
pub const ADMIN: &str = "admin";

/// The users, their tokens and their rights.
#[derive(Debug)]
pub(super) struct Access {
    tokens_file: PathBuf,
    rules_file: PathBuf,
    admin: String,
    lists: Mutex<Lists>,
}

#[derive(Debug, Default)]
struct Lists {
    /// Token and user, the oldest first.
    tokens: Vec<(String, String)>,
    /// User, namespace and resource.
    rules: Vec<[String; 3]>,
}

// === impl Access ===

impl Access {
    /// Writes both files; only the administrator has a token.
    pub(super) fn create(folder: &Path) -> Result<Self, Error> {
        let admin = files::random_uuid()?;
        let lists = Lists {
            tokens: vec![(admin.clone(), ADMIN.to_owned())],
            rules: Vec::new(),
        };
        let access = Self {
            tokens_file: folder.join("tokens.csv"),
            rules_file: folder.join("access.csv"),
            admin,
            lists: Mutex::default(),
        };
        access.write(&lists)?;
        *access.lock() = lists;
        Ok(access)
    }

    pub(super) fn admin(&self) -> &str {
        &self.admin
    }

    pub(super) fn add_token(&self, user: &str) -> Result<String, Error> {
        let token = files::random_uuid()?;
        let mut lists = self.lock();
        lists.tokens.push((token.clone(), user.to_owned()));
        self.write(&lists)?;
        Ok(token)
    }

    pub(super) fn revoke_token(&self, token: &str) -> Result<(), Error> {
        let mut lists = self.lock();
        lists.tokens.retain(|(known, _)| known != token);
        self.write(&lists)
    }

    /// The newest token of a user.
    pub(super) fn token_of(&self, user: &str) -> Option<String> {
        let lists = self.lock();
        let found = lists.tokens.iter().rev().find(|(_, name)| name == user);
        found.map(|(token, _)| token.clone())
    }

    pub(super) fn allow(&self, user: &str, namespace: &str, resource: &str) -> Result<(), Error> {
        let mut lists = self.lock();
        lists.rules.push([user, namespace, resource].map(str::to_owned));
        self.write(&lists)
    }

    pub(super) fn deny(&self, user: &str, namespace: &str, resource: &str) -> Result<(), Error> {
        let mut lists = self.lock();
        lists.rules.retain(|rule| *rule != [user, namespace, resource]);
        self.write(&lists)
    }

    fn write(&self, lists: &Lists) -> Result<(), Error> {
        let mut tokens = String::new();
        for (token, user) in &lists.tokens {
            let groups = if user == ADMIN { ",system:masters" } else { "" };
            tokens.push_str(&format!("{token},{user},{user}{groups}\n"));
        }
        let mut rules = String::new();
        for rule in &lists.rules {
            rules.push_str(&rule.join(","));
            rules.push('\n');
        }
        files::replace(&self.tokens_file, &tokens)?;
        files::replace(&self.rules_file, &rules)
    }

    fn lock(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_files_follow_what_is_granted_and_revoked() {
        let folder = files::temporary("access-").expect("the temporary folder is writable");
        let access = Access::create(folder.path()).expect("writable");
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).expect("written");
        let admin = format!("{},admin,admin,system:masters\n", access.admin());
        let token = access.add_token("sd").expect("writable");
        assert_eq!(read("tokens.csv"), format!("{admin}{token},sd,sd\n"));
        assert_eq!(access.token_of("sd"), Some(token.clone()));
        access.allow("sd", "demo", "services").expect("writable");
        access.allow("sd", "*", "nodes").expect("writable");
        assert_eq!(read("access.csv"), "sd,demo,services\nsd,*,nodes\n");
        access.deny("sd", "demo", "services").expect("writable");
        access.revoke_token(&token).expect("writable");
        assert_eq!(read("access.csv"), "sd,*,nodes\n");
        assert_eq!(read("tokens.csv"), admin);
        assert_eq!(access.token_of("sd"), None);
    }
}
