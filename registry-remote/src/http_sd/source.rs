//! Where documents come from: a URL, or files.

mod files;
mod page;

use std::sync::Arc;

use registry_core::{Meter, RegistryError};

use self::files::Files;
use self::page::Page;
use super::config::HttpSdConfig;
use super::map::{Group, Reading};
use crate::error::Error;

/// Where documents come from, and what they last said.
#[derive(Debug)]
pub(crate) enum Source {
    Page(Box<Page>),
    Files(Files),
}

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Closely {
    /// What is known to be unchanged is not read.
    Glance,
    /// Everything that is there is read, though a cache may still answer in place of the server.
    Read,
    /// Nothing is taken from anybody's memory.
    Anew,
}

/// What came of looking.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// Something is said now that was not said before.
    pub(crate) changed: bool,
    /// There is no document of which nothing is known.
    pub(crate) complete: bool,
    /// What could not be read; what it said before stands.
    pub(crate) trouble: Option<Arc<RegistryError>>,
}

impl Source {
    pub(crate) fn try_new(config: &HttpSdConfig) -> Result<Self, Error> {
        Ok(if config.url.is_empty() {
            Self::Files(Files::new(config))
        } else {
            Self::Page(Box::new(Page::try_new(config)?))
        })
    }

    pub(crate) async fn look(&mut self, closely: Closely, reading: &mut Reading, meter: &Meter) -> Look {
        match self {
            Self::Page(page) => {
                let look = page.look(closely, reading).await;
                meter.set_connections(page.connections());
                meter.count_request(look.trouble.is_some());
                look
            }
            Self::Files(files) => files.look(closely, reading, meter).await,
        }
    }

    /// Whether each look is somebody else's work.
    pub(crate) fn is_remote(&self) -> bool {
        matches!(self, Self::Page(_))
    }

    /// What all documents said when they could last be read.
    pub(crate) fn groups(&self) -> Box<dyn Iterator<Item = &Group> + '_> {
        match self {
            Self::Page(page) => Box::new(page.groups().iter()),
            Self::Files(files) => Box::new(files.groups()),
        }
    }
}
