//! Which troubles are worth a line in the log: each when it begins, and not each attempt. A server may be down for a night.

use std::collections::BTreeMap;

use registry_core::ErrorKind;

use super::parts::Subject;

/// What is wrong at the moment, as last logged.
#[derive(Debug, Default)]
pub(super) struct Troubles(BTreeMap<Subject, ErrorKind>);

// === impl Troubles ===

impl Troubles {
    /// Whether this is one that nobody was told of.
    pub(super) fn begin(&mut self, subject: &Subject, kind: ErrorKind) -> bool {
        // A server that cannot answer fails all feeds; what they may not read differs from one to the next.
        let is_of_server = matches!(kind, ErrorKind::Unreachable | ErrorKind::Unavailable);
        let is_known =
            (self.0.iter()).any(|(held, logged)| *logged == kind && (is_of_server || held == subject));
        self.0.insert(subject.clone(), kind);
        !is_known
    }

    /// The feed works, or is not needed any more.
    pub(super) fn end(&mut self, subject: &Subject) {
        self.0.remove(subject);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_told_when_it_begins() {
        let mut troubles = Troubles::default();
        let (services, slices) = (Subject::Services(None), Subject::Slices(None));
        assert!(troubles.begin(&services, ErrorKind::Denied));
        assert!(!troubles.begin(&services, ErrorKind::Denied));
        assert!(troubles.begin(&slices, ErrorKind::Denied));
        troubles.end(&services);
        assert!(troubles.begin(&services, ErrorKind::Denied));
    }

    #[test]
    fn a_server_that_is_down_is_one_trouble() {
        let mut troubles = Troubles::default();
        let subjects = [Subject::Nodes, Subject::Services(None), Subject::Slices(None)];
        let told = |troubles: &mut Troubles| {
            let begins = |subject| troubles.begin(subject, ErrorKind::Unreachable);
            subjects.iter().map(begins).collect::<Vec<_>>()
        };
        assert_eq!(told(&mut troubles), [true, false, false]);
        assert_eq!(told(&mut troubles), [false; 3]);
        for subject in &subjects {
            troubles.end(subject);
        }
        assert_eq!(told(&mut troubles), [true, false, false]);
    }
}
