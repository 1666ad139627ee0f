//! What was last seen of each service, and the verdict on a new answer.

use std::collections::HashMap;

use registry_core::Str;

use super::answer::Headers;

/// What was seen before. It outlives a watch: only against it can a filtered answer be recognised.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// What was last accepted of each service.
    pub(super) services: HashMap<Str, Seen>,
    /// The catalogue has listed the servers themselves, which are always there: where it does not any more, it is
    /// filtered.
    pub(super) servers_listed: bool,
}

/// The last accepted answer about one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) index: u64,
    pub(super) streaming: bool,
    pub(super) instances: usize,
}

/// What to make of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the truth.
    Accept,
    /// Instances are missing that the server knows; the text says how it shows.
    Filtered(&'static str),
    /// It may be a glimpse of a server that is starting or behind: look again before believing it.
    LookAgain,
}

/// Circumstances of an answer about one service.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances {
    /// Instances in it.
    pub(super) instances: usize,
    /// The catalogue lists the service.
    pub(super) listed: bool,
    /// The catalogue does not even list the servers any more.
    pub(super) blind: bool,
    /// The server leaves instances out by our own wish.
    pub(super) narrowed: bool,
    /// Requests carry a token.
    pub(super) token: bool,
    /// The answer before this one was looked at again for the same reason.
    pub(super) again: bool,
}

/// An answer that lost instances while its index did not move is filtered: what takes instances away moves the index.
/// That the index moved proves nothing, it may have been another change: a service that lost all of its instances has to
/// be gone from the catalogue as well.
pub(super) fn judge(seen: Option<Seen>, headers: Headers, now: Circumstances) -> Verdict {
    let lost = seen.is_some_and(|seen| now.instances < seen.instances);
    let denied = headers.filtered || (!now.token && headers.denied_by_default);
    let missing = lost || (now.instances == 0 && now.listed && (!now.narrowed || denied));
    if !missing {
        return Verdict::Accept;
    }
    if headers.filtered {
        return Verdict::Filtered(
            "instances are left out for lack of rights; the token needs service:read and node:read",
        );
    }
    if now.instances == 0 && !now.token && headers.denied_by_default {
        return Verdict::Filtered("there is no token, and without one the server shows nothing");
    }
    let empty_yet_listed = now.instances == 0 && now.listed && !now.narrowed;
    match seen {
        Some(seen)
            if lost
                && headers.index > 0
                && seen.streaming == headers.streaming
                && seen.index == headers.index =>
        {
            Verdict::Filtered("instances vanished while the index stood still: the token lost its rights")
        }
        // Deregistered this moment, and the catalogue is about to say so, or the token lacks node:read.
        _ if empty_yet_listed && !now.again => Verdict::LookAgain,
        _ if empty_yet_listed => Verdict::Filtered(
            "the catalogue lists the service, yet no instance is shown: the token needs node:read",
        ),
        _ if now.blind => Verdict::Filtered(
            "the catalogue does not list `consul` any more, which is always there: the token lost its rights",
        ),
        // An index that went back is another server's, or that of one which was wiped; without one nothing can be told.
        Some(seen) if (headers.index < seen.index || headers.index == 0) && !now.again => Verdict::LookAgain,
        _ => Verdict::Accept,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADERS: Headers = Headers {
        index: 20,
        streaming: false,
        filtered: false,
        denied_by_default: false,
        leader: true,
        behind: std::time::Duration::ZERO,
    };

    fn now(instances: usize) -> Circumstances {
        Circumstances {
            instances,
            listed: true,
            blind: false,
            narrowed: false,
            token: true,
            again: false,
        }
    }

    #[test]
    fn lost_instances_are_judged_by_the_index() {
        let seen = |index| {
            Some(Seen {
                index,
                streaming: false,
                instances: 5,
            })
        };
        assert_eq!(
            judge(seen(10), HEADERS, now(4)),
            Verdict::Accept,
            "the index moved on"
        );
        assert_eq!(
            judge(seen(10), HEADERS, now(0)),
            Verdict::LookAgain,
            "the index may have moved for another reason while the catalogue still lists it"
        );
        let unlisted = Circumstances {
            listed: false,
            ..now(0)
        };
        assert_eq!(judge(seen(10), HEADERS, unlisted), Verdict::Accept);
        let blind = Circumstances {
            blind: true,
            ..unlisted
        };
        assert!(
            matches!(judge(seen(10), HEADERS, blind), Verdict::Filtered(_)),
            "with the servers gone from the catalogue no loss is believed"
        );
        assert!(
            matches!(judge(seen(20), HEADERS, now(4)), Verdict::Filtered(_)),
            "the index stood still"
        );
        assert!(matches!(judge(seen(20), HEADERS, now(0)), Verdict::Filtered(_)));
        assert_eq!(
            judge(seen(30), HEADERS, now(0)),
            Verdict::LookAgain,
            "the index went back"
        );
        assert_eq!(
            judge(
                seen(30),
                HEADERS,
                Circumstances {
                    again: true,
                    ..unlisted
                }
            ),
            Verdict::Accept
        );
        let without = Headers { index: 0, ..HEADERS };
        assert_eq!(
            judge(seen(0), without, now(4)),
            Verdict::LookAgain,
            "there is no index"
        );
        let again = Circumstances {
            again: true,
            ..now(4)
        };
        assert_eq!(judge(seen(0), without, again), Verdict::Accept);
        assert_eq!(
            judge(seen(20), HEADERS, now(6)),
            Verdict::Accept,
            "gains are believed"
        );
        let streaming = Headers {
            streaming: true,
            ..HEADERS
        };
        assert_ne!(
            judge(seen(20), streaming, now(4)),
            Verdict::Filtered("instances vanished while the index stood still: the token lost its rights"),
            "indexes of the two backends cannot be compared"
        );
    }

    #[test]
    fn headers_that_admit_it_are_believed() {
        let filtered = Headers {
            filtered: true,
            ..HEADERS
        };
        assert!(matches!(judge(None, filtered, now(0)), Verdict::Filtered(_)));
        assert_eq!(
            judge(None, filtered, now(3)),
            Verdict::Accept,
            "what is seen for the first time is kept"
        );
        let narrowed = Circumstances {
            narrowed: true,
            ..now(0)
        };
        assert!(
            matches!(judge(None, filtered, narrowed), Verdict::Filtered(_)),
            "our own filter is no excuse"
        );
        let denied = Headers {
            denied_by_default: true,
            ..HEADERS
        };
        let anonymous = Circumstances {
            token: false,
            ..now(0)
        };
        assert!(matches!(judge(None, denied, anonymous), Verdict::Filtered(_)));
    }

    #[test]
    fn a_listed_service_without_instances_is_suspicious() {
        assert_eq!(judge(None, HEADERS, now(0)), Verdict::LookAgain);
        assert!(matches!(
            judge(
                None,
                HEADERS,
                Circumstances {
                    again: true,
                    ..now(0)
                }
            ),
            Verdict::Filtered(_)
        ));
        assert_eq!(
            judge(
                None,
                HEADERS,
                Circumstances {
                    narrowed: true,
                    ..now(0)
                }
            ),
            Verdict::Accept
        );
        assert_eq!(
            judge(
                None,
                HEADERS,
                Circumstances {
                    listed: false,
                    ..now(0)
                }
            ),
            Verdict::Accept
        );
    }
}
